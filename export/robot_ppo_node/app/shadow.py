"""Shadow mode: the policy runs on a live robot that somebody else moves, and sends nothing.

It takes in the robot's state and a command as the node does, computes targets, and compares them
with where the joints really went. A joint that is turned around shows here, at no risk, and a
wrong pose or unit, or a robot unlike the training, in what the monitor says. It is no proof of the
joint order: legs that do alike are told apart by moving one joint at a time.

    shadow = Shadow(policy, ReadOnly(driver), clock, commands)
    shadow.prepare()
    shadow.run(seconds=30, say=print)
    print(shadow.report())
"""

import contextlib
import math
from collections.abc import Callable, Mapping

import numpy as np

from robot_ppo_export.contract.state import NO_WIDTHS
from robot_ppo_export.errors import RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.commands.base import CommandSource, bounded
from robot_ppo_node.drivers.base import (
    Driver,
    DriverWarning,
    MotorCommand,
    Sample,
    Warns,
    mounting_of,
)
from robot_ppo_node.drivers.capabilities import Capabilities
from robot_ppo_node.host.text_table import table
from robot_ppo_node.safety.measured import Measured, held_signals
from robot_ppo_node.safety.monitor import Monitor
from robot_ppo_node.startup.compatibility import check_compatibility

LONGEST = 600.0
"""[s] of a long run that are scored: its end."""
LAGS = range(11)
"""Ticks after which a joint is looked for where its target was; the best one counts."""
STILL = 0.01
"""[rad] A joint or target that spreads by less says nothing about the other."""
AGAINST = -0.5
"""Correlation below which a joint goes against its target."""


class ReadOnly:
    """A driver that cannot send: every way to do so raises before it reaches the robot.

    What a driver does when it opens is its own affair: `Connection.watch_only` tells it to listen.
    """

    name: str  # these are the driver's, by __getattr__
    joint_names: tuple[str, ...]
    signals: frozenset[str]
    feet: tuple[str, ...]
    capabilities: Capabilities

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> object:
        """Return what the driver says of its robot; what is not listed here does not exist."""
        if name in (
            "name",
            "joint_names",
            "signals",
            "feet",
            "capabilities",
            "remote",
            "remote_heard",
            "in_base_frame",
        ):
            return getattr(self._driver, name)
        raise AttributeError(f"a read-only driver has no {name}")

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Connect, and map by name."""
        self._driver.open(joints, feet, signals)

    def read(self) -> Sample | None:
        """Return the newest sample, or None."""
        return self._driver.read()

    def warnings(self) -> tuple[DriverWarning, ...]:
        """Return what the driver warns of since the last call."""
        return self._driver.warnings() if isinstance(self._driver, Warns) else ()

    def write(self, command: MotorCommand) -> None:
        """Raise: nothing is sent in shadow mode."""
        raise RuntimeError("shadow mode sends nothing")

    def damp(self) -> None:
        """Raise: somebody else moves this robot."""
        raise RuntimeError("shadow mode sends nothing")

    def close(self) -> None:
        """Release the connection."""
        self._driver.close()


class Shadow:
    """One policy that looks on."""

    def __init__(
        self, policy: Policy, driver: ReadOnly, clock: Clock, commands: CommandSource
    ) -> None:
        self.policy = policy
        self.driver = driver
        self.clock = clock
        self.commands = commands
        self.period = policy.contract.control_period
        self.monitor = Monitor(policy.contract)
        self.measured = Measured(held_signals(policy.contract))
        ticks = math.ceil(LONGEST / self.period)
        self._targets = np.zeros((ticks, len(policy.contract.robot.joints)), np.float32)
        self._positions = np.zeros_like(self._targets)
        self._bounds = policy.contract.command.bounds().tolist()
        self.ticks = self.fresh = self.missed = 0
        self.stopped = False

    def prepare(self) -> None:
        """Check the golden traces, open the driver and compare it with the contract.

        Raises:
            RefusedError: one of them does not fit.
        """
        self.policy.check_golden()
        robot = self.policy.contract.robot
        self.driver.open(robot.joint_names, robot.feet, self.measured.widths)
        self.compared = check_compatibility(self.policy.contract, self.driver)
        self.measured.expect(self.driver.signals, mounting_of(robot, self.driver))
        self.policy.reset()

    def stop(self) -> None:
        """End `run` at the next tick; may be called from a signal handler."""
        self.stopped = True

    def run(self, seconds: float | None = None, say: Callable[[str], None] = print) -> None:
        """Look on until `stop`, or for `seconds`; `say` takes what leaves the training."""
        pacer = Pacer(self.clock, self.period)
        ends = math.inf if seconds is None else self.clock.now() + seconds
        while not self.stopped and self.clock.now() < ends:
            self.missed += pacer.wait()
            for text in self.tick():
                say(text)

    def tick(self) -> list[str]:
        """Do one control period's work; return what is worth telling."""
        try:
            sample = self.driver.read()
        except Exception as error:
            raise RefusedError(f"driver {self.driver.name} cannot read: {error}") from None
        told = [f"driver {self.driver.name}: {w.text}" for w in self.driver.warnings()]
        if sample is not None:
            self.fresh += 1
            self.measured.update(sample.state)
        if not self.fresh:
            return told  # nothing has arrived yet
        now = self.clock.now()
        command = np.zeros(len(self._bounds), np.float32)
        age = math.inf
        with contextlib.suppress(Exception):  # a gamepad that is gone
            command, age = self.commands.read(now)
        i = self.ticks % len(self._targets)
        self._positions[i] = self.measured.state.joint_pos
        command = bounded(command, age, self._bounds)
        self._targets[i] = self.policy.tick(self.measured.state, command)
        self.ticks += 1
        return told + self.monitor.watch(self.policy.observation)

    def report(self) -> str:
        """Return the scores of every joint, and what they and the monitor say."""
        names = self.policy.contract.robot.joint_names
        targets, positions = self._in_order()
        if len(targets) <= len(LAGS):
            raise RefusedError("the robot sent too few states to score: give more --seconds")
        score = Score(targets, positions)
        rows = [
            (name, f"{score.rms[i]:.3f}", _number(score.correlation[i]), score.remark(i))
            for i, name in enumerate(names)
        ]
        excursions = ", ".join(f"{k} {n}" for k, n in self.monitor.excursions().items())
        return "\n".join(
            (
                f"{self.ticks} ticks, {self.fresh} states, {self.missed} deadlines missed; "
                f"nothing was sent",
                score.fit(self.period),
                "",
                table(("joint", "RMS [rad]", "correlation", "remark"), rows),
                "",
                f"outside of training: {excursions or 'nothing'}",
            )
        )

    def _in_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and positions, oldest first, (T, joints) each."""
        kept = min(self.ticks, len(self._targets))
        shift = -(self.ticks % len(self._targets)) if self.ticks > kept else 0
        return np.roll(self._targets, shift, 0)[:kept], np.roll(self._positions, shift, 0)[:kept]


class Score:
    """Agreement of targets (T, joints) with later positions (T, joints) [rad].

    A target is where a weak spring pulls, not where the joint will be: on a walking robot that
    obeys, correlations between 0 and 0.9 are usual. A joint that goes against its target is not.
    """

    def __init__(self, targets: np.ndarray, positions: np.ndarray) -> None:
        by_lag = [_correlation(targets, positions, lag) for lag in LAGS]
        self.lag = int(np.argmax([np.nan_to_num(c).mean() for c in by_lag]))
        """Ticks from a target to the position that it fits best."""
        self.correlation = by_lag[self.lag]
        """(joints,) of targets with positions; NaN where either stands still."""
        difference = targets[: len(targets) - self.lag] - positions[self.lag :]
        self.rms = np.sqrt(np.square(difference.astype(float)).mean(axis=0))
        """(joints,) [rad]"""

    def fit(self, period: float) -> str:
        """Return how long after its target a joint is where it was told to be."""
        if np.isnan(self.correlation).all():
            return "no joint moved: there is nothing to compare"
        return f"targets fit best {self.lag} ticks later ({self.lag * period * 1e3:g} ms)"

    def remark(self, i: int) -> str:
        """Return what is suspicious about joint `i`, or nothing."""
        return (
            "moves against its target: is its sign wrong?" if self.correlation[i] < AGAINST else ""
        )


def _correlation(targets: np.ndarray, positions: np.ndarray, lag: int) -> np.ndarray:
    """Return each joint's correlation of its target with its position `lag` ticks later."""
    a = targets[: len(targets) - lag].astype(float)
    b = positions[lag:].astype(float)
    a = a - a.mean(axis=0)
    b = b - b.mean(axis=0)
    moving = (a.std(axis=0) > STILL) & (b.std(axis=0) > STILL)
    spread = np.where(moving, a.std(axis=0) * b.std(axis=0), 1)
    return np.where(moving, (a * b).mean(axis=0) / spread, np.nan)


def _number(value: float) -> str:
    return "still" if np.isnan(value) else f"{value:.2f}"
