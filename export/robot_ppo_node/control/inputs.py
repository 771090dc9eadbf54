"""Reads the robot and the operator at every tick: a frozen measurement and a command.

inputs = NodeInputs(contract, held_signals(contract), driver, commands)
measurement = inputs.measure(now, missed, told)     # never raises; see `trouble`
command = inputs.read_command(now)
"""

import collections
import contextlib
import math
from collections.abc import Mapping

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.state import RobotState
from robot_ppo_node.commands.base import CommandSource, bounded
from robot_ppo_node.drivers.base import (
    Driver,
    DriverFault,
    DriverWarning,
    Health,
    Sample,
    SeesWriters,
    Warns,
    mounting_of,
)
from robot_ppo_node.safety.measured import Measured
from robot_ppo_node.safety.measurement import IMU, JOINTS, SCAN, Measurement
from robot_ppo_node.safety.reason import Reason

DRIVER_FAULT = "driver"
"""Code of a fault that the driver itself reports."""
SAG = 1.0
"""[s] for which a voltage must be low."""
TOLD = 0.01
"""[rad] A target that moves by more from one sample to the next asks a joint to move."""


class NodeInputs:
    """The newest measurement and command, with their ages."""

    def __init__(
        self,
        contract: Contract,
        signals: Mapping[str, int],
        driver: Driver,
        commands: CommandSource,
    ) -> None:
        """Hold these signals of a measurement, of these widths."""
        self.contract = contract
        self.driver = driver
        self.commands = commands
        self.measured = Measured(signals)
        self._state = _read_only(self.measured.state)
        self._flat = _frozen(self.measured.flat)
        self._health = Health(len(contract.robot.joints))
        self.newest = Measurement(self._state, self._flat, self._health)
        """The measurement of the last tick."""
        self._sequence = 0
        self._sample_time = -math.inf
        self._age = math.inf
        self._voltage = math.nan
        self._others = 0
        self._missed_in_row = 0
        self.wanted = (np.zeros(contract.command.size, np.float32), 0.0)
        """The command as its source gave it, and its age [s]."""
        self.missed = 0
        """Deadlines missed since the start."""
        self._writers = driver if isinstance(driver, SeesWriters) else None
        self._warns = driver if isinstance(driver, Warns) else None
        self._bounds = contract.command.bounds().tolist()
        self._last: float | None = None
        """Time of the tick before [s]."""
        self._repeats = Repeats(self.measured, len(contract.robot.joints))
        ticks = max(round(SAG / contract.control_period), 1)
        self._volts = collections.deque([math.inf] * ticks, ticks)
        """[V] No verdict before a second is full."""

    def expect(self) -> None:
        """Prepare for the samples of the driver, which is open."""
        mounting = mounting_of(self.contract.robot, self.driver)
        self.measured.expect(self.driver.signals, mounting)

    def measure(self, now: float, missed: int, told: np.ndarray) -> Measurement:
        """Return what is known of the robot, with the newest sample if there is a new one.

        Args:
            now: [s]
            missed: deadlines missed just before.
            told: the target that was sent last (joints,) [rad].
        """
        self.missed += missed
        self._missed_in_row = self._missed_in_row + missed if missed else 0
        step = 0.0 if self._last is None else now - self._last
        self._last = now
        fresh = False
        trouble = None
        try:
            fresh = self._read(now, told)
        except Exception as error:
            trouble = self._trouble(error)
        self.newest = Measurement(
            self._state,
            self._flat,
            self._health,
            fresh,
            self._sequence,
            self._sample_time,
            self._age,
            step,
            self._repeats.imu,
            self._repeats.joints,
            self._repeats.scan,
            self._voltage,
            self._missed_in_row,
            self._others,
            trouble,
        )
        return self.newest

    def warnings(self) -> tuple[Reason, ...]:
        """Return what the driver warns of since the last call."""
        if self._warns is None:
            return ()
        warnings: tuple[DriverWarning, ...] = ()
        with contextlib.suppress(Exception):  # a warning that cannot be had is no fault
            warnings = self._warns.warnings()
        return tuple(Reason(w.code, f"driver {self.driver.name}: {w.text}") for w in warnings)

    def read_command(self, now: float) -> np.ndarray:
        """Return the command (k,): too old or not a number is zero, the rest is clipped."""
        try:
            self.wanted = self.commands.read(now)
        except Exception:  # an operator's device that is gone must not bring the robot down
            self.wanted = (np.zeros(len(self._bounds), np.float32), math.inf)
        return bounded(*self.wanted, self._bounds)

    def take_up(self, measured: np.ndarray, sample_time: float, sequence: int) -> None:
        """Hold what was measured before: for a replay that begins in the middle of a log."""
        self.measured.flat[:] = measured
        self._sample_time = sample_time
        self._sequence = sequence

    def _read(self, now: float, told: np.ndarray) -> bool:
        """Ask the driver; return whether it had a new sample."""
        sample = self.driver.read()
        if sample is not None:
            self._take_in(sample, told)
        self._age = abs(now - self._sample_time)  # from the future is as bad as old
        self._others = len(self._writers.other_writers()) if self._writers else 0
        return sample is not None

    def _take_in(self, sample: Sample, told: np.ndarray) -> None:
        """Copy a new sample in."""
        self.measured.update(sample.state)
        if sample.health is not None:
            self._health.update(sample.health)
            self._watch_voltage(sample.health.voltage)
        self._repeats.count(told)
        self._sample_time = sample.time
        self._sequence = sample.sequence

    def _watch_voltage(self, volts: float) -> None:
        """Keep the highest of the last second: a battery sags in a step, and a sample may lie."""
        if not math.isnan(volts):
            self._volts.append(volts)
            self._voltage = max(self._volts)

    def _trouble(self, error: Exception) -> Reason:
        if isinstance(error, DriverFault):
            return Reason(DRIVER_FAULT, f"driver {self.driver.name}: {error}")
        text = f"the driver cannot read: {type(error).__name__}: {error}"
        return Reason("read_failed", text)


class Repeats:
    """Counts of samples in a row in which the IMU, all joints, or the scan have the same bits."""

    def __init__(self, measured: Measured, joints: int) -> None:
        self.imu = 0
        self.joints = 0
        self.scan = 0
        self._flat = measured.flat
        scan = (measured.span(SCAN, SCAN),) if SCAN in measured.widths else ()
        self._spans = (measured.span(*IMU), measured.span(*JOINTS), *scan)
        self._bits = (b"",) * len(self._spans)
        self._told = np.zeros(joints, np.float32)
        """The target that was sent before the sample before [rad]."""

    def count(self, told: np.ndarray) -> None:
        """Count the newest sample; `told` is the target that was sent before it [rad]."""
        bits = tuple(self._flat[span].tobytes() for span in self._spans)
        old = self._bits
        self.imu = self.imu + 1 if bits[0] == old[0] else 0
        repeats = bits[1] == old[1], bits[2:] == old[2:] != ()
        moves = any(repeats) and float(np.abs(told - self._told).max()) > TOLD
        self.joints = self.joints + 1 if repeats[0] and moves else 0
        if moves or not repeats[1]:  # a robot that stands still for a tick proves nothing
            self.scan = self.scan + 1 if repeats[1] else 0
        self._bits = bits
        self._told = told


def _frozen(values: np.ndarray) -> np.ndarray:
    """Return a view of `values` that cannot be written to."""
    view = values.view()
    view.flags.writeable = False
    return view


def _read_only(state: RobotState) -> RobotState:
    return RobotState(**{name: _frozen(values) for name, values in state.items()})
