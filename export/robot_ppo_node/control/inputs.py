"""What the node takes in at every tick: the newest measurement and the operator's command."""

import collections
import math

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_node.commands.base import CommandSource, bounded
from robot_ppo_node.drivers.base import Driver, SeesWriters
from robot_ppo_node.safety.tick_state import IMU, JOINTS, TickState

SAG = 1.0
"""[s] for which a voltage must be low."""
TOLD = 0.01
"""[rad] A target that moves by more from one sample to the next asks a joint to move."""


class NodeInputs:
    """The newest measurement and command, with their ages."""

    def __init__(
        self, contract: Contract, driver: Driver, commands: CommandSource, tick_state: TickState
    ) -> None:
        """Read into `tick_state`."""
        self.driver = driver
        self.commands = commands
        self.measured, self.health = tick_state.measured, tick_state.health
        self._tick_state = tick_state
        self._writers = driver if isinstance(driver, SeesWriters) else None
        self.sequence = 0
        self.command = np.zeros(contract.command.size, np.float32)
        """What the policy is asked for, (k,) in the units of `contract.command`."""
        self.wanted = (np.zeros_like(self.command), 0.0)
        """The command as its source gave it, and its age [s]."""
        self._bounds = contract.command.bounds().tolist()
        self._spans = tuple(self.measured.span(*part) for part in (IMU, JOINTS))
        ticks = max(round(SAG / contract.control_period), 1)
        self._volts = collections.deque([math.inf] * ticks, ticks)
        """[V] No verdict before a second is full."""
        self._bits = (b"", b"")
        self._told = tick_state.previous.copy()
        """The target that was sent before the sample before [rad]."""

    def read_robot(self, now: float) -> None:
        """Take in the newest measurement, if there is a new one, and everybody's age."""
        s, sample = self._tick_state, self.driver.read()
        s.fresh = sample is not None
        if sample is not None:
            self.measured.update(sample.state)
            if sample.health is not None:
                self.health.update(sample.health)
                self._watch_voltage(sample.health.voltage)
            self._count_repeats()
            s.sample_time, self.sequence = sample.time, sample.sequence
        s.age = abs(now - s.sample_time)  # from the future is as bad as old
        s.others = len(self._writers.other_writers()) if self._writers else 0

    def _count_repeats(self) -> None:
        """Count the samples in a row in which the IMU, or all joints, say the very same."""
        s, flat = self._tick_state, self.measured.flat
        imu, joints = bits = tuple(flat[span].tobytes() for span in self._spans)
        s.imu_repeats = s.imu_repeats + 1 if imu == self._bits[0] else 0
        still = joints == self._bits[1] and float(np.abs(s.previous - self._told).max()) > TOLD
        s.joint_repeats = s.joint_repeats + 1 if still else 0
        self._bits = bits
        self._told[:] = s.previous

    def _watch_voltage(self, volts: float) -> None:
        """Keep the highest of the last second: a battery sags in a step, and a sample may lie."""
        if not math.isnan(volts):
            self._volts.append(volts)
            self._tick_state.voltage = max(self._volts)

    def read_command(self, now: float) -> None:
        """Take in the command: too old or not a number is zero, the rest is clipped."""
        try:
            self.wanted = wanted, age = self.commands.read(now)
        except Exception:  # an operator's device that is gone must not bring the robot down
            self.wanted = wanted, age = np.zeros_like(self.command), math.inf
        self.command = bounded(wanted, age, self._bounds)
