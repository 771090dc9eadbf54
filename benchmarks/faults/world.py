"""A node that walks a simulated robot in lockstep, with hooks for every fault.

    with World(policy_file) as world:
        world.walk()                     # until the policy has run for a second
        world.driver.change = ...        # a fault
        seen = world.damped(since=world.clock.now(), allowed=0.1)

Nothing depends on the computer's speed. The robot keeps the times of the commands that it hears.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from benchmarks.faults.fault import DAMPED, NOTHING, Seen
from robot_ppo import project
from robot_ppo.sim.server import FLICKER
from robot_ppo.sim.simulated_robot import LockstepDriver, SimulatedRobot
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.policy import Policy
from robot_ppo_node.clock import Pacer
from robot_ppo_node.commands.base import CommandSource
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Driver, MotorCommand, Sample
from robot_ppo_node.node import Node
from robot_ppo_node.safety import limits

COMMAND = (0.5, 0.0, 0.0)
"""Forward [m/s]: a robot that walks has more to lose than one that stands."""
WALK = 50
"""Ticks that the policy has run when the fault comes."""
MORE = 15
"""Ticks that are watched beyond those which a limit allows."""
AT_MOST = 400
"""Ticks from lying to walking."""


class Heard(NamedTuple):
    """One command, as the robot heard it."""

    time: float
    """[s]"""
    damping: bool


class WitnessRobot(SimulatedRobot):
    """A robot that remembers what it was told, and whose measurements can be changed."""

    def __init__(self, spec: RobotSpec, now: Callable[[], float] | None = None) -> None:
        """Lie down; `now` is the clock of what is remembered, by default the simulated time."""
        self.heard: list[Heard] = []
        self.change: Callable[[RobotState], RobotState] | None = None
        self.now = now or (lambda: self.time)
        super().__init__(spec, noise=FLICKER)
        self.heard.clear()

    def drive(self, target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> None:
        """Hold `target`, and remember whether that was damping."""
        super().drive(target, kp, kd)
        self.heard.append(Heard(self.now(), not np.any(kp) and bool(np.all(kd))))

    def damp(self) -> None:
        """Brake because nobody commands, and remember it."""
        super().damp()
        self.heard.append(Heard(self.now(), True))

    def state(self) -> RobotState:
        """Return what the robot measures, or what `change` makes of it."""
        state = super().state()
        return self.change(state) if self.change else state


class WitnessDriver(LockstepDriver):
    """The robot in the same process; `change` sees each sample before the node does."""

    def __init__(self, robot: SimulatedRobot) -> None:
        """Change nothing."""
        super().__init__(robot)
        self.change: Callable[[Sample], Sample | None] | None = None
        self.others: tuple[str, ...] = ()
        self.asked: list[np.ndarray] = []
        """kp (target - q) - kd dq of each command, (joints,) [N m]."""
        self._state: RobotState | None = None

    def read(self) -> Sample | None:
        """Return the newest measurement, changed."""
        sample = super().read()
        if sample and self.change:
            sample = self.change(sample)
        self._state = sample.state if sample else self._state
        return sample

    def write(self, command: MotorCommand) -> None:
        """Pass the command to the motors, and store the torque that it demands."""
        super().write(command)
        if self._state:
            error = command.target - self._state.joint_pos
            self.asked.append(command.kp * error - command.kd * self._state.joint_vel)

    def other_writers(self) -> tuple[str, ...]:
        """Return who else commands the robot."""
        return self.others


class LeapingClock:
    """A clock that can leap; the world goes on at its own pace.

    A wait ends when the time asked for is over in the world, as on a machine.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        """Bring the world to the time that `advance` is called with [s]."""
        self.advance = advance
        self.world = 0.0
        """Time of the world [s]."""
        self.ahead = 0.0
        """Offset of the node's clock [s]."""
        self.leap = 0.0
        """Jump of the clock during the next wait [s]."""

    def now(self) -> float:
        """Return what the clock shows [s]."""
        return self.world + self.ahead

    def sleep_until(self, deadline: float) -> None:
        """Wait, and leap meanwhile."""
        if deadline > self.now():
            self.world += deadline - self.now()
            self.advance(self.world)
        self.ahead = self.ahead + self.leap
        self.leap = 0.0


class BreakablePolicy(Policy):
    """A policy whose network can fail."""

    broken: Callable[[np.ndarray], np.ndarray] | None = None

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the raw action, or what `broken` makes of it."""
        action = super().act(observation)
        return self.broken(action) if self.broken else action


class AgingCommand(CommandSource):
    """The operator; once it is lost, its command ages."""

    name = "bench"

    def __init__(self) -> None:
        self.lost_at: float | None = None
        """When the operator was last heard [s]; None: still there."""

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command and its age [s]."""
        age = 0.0 if self.lost_at is None else now - self.lost_at
        return np.array(COMMAND, np.float32), age


class World:
    """One node and one robot, in the same process."""

    def __init__(self, path: Path, tightened: dict[str, Any] | None = None) -> None:
        """Prepare the node; `tightened` are limits tighter than those of the policy file."""
        self.policy = BreakablePolicy(path)
        robot = self.policy.contract.robot
        self.robot = WitnessRobot(project.load_robot(robot.name))
        self.clock = LeapingClock(self.advance)
        self.operator = AgingCommand()
        self.limits = limits.tighten(robot.safety, tightened or {}, "this fault")
        self.driver = WitnessDriver(self.robot)
        self.node = Node(
            self.policy,
            self.connect(),
            self.clock,
            self.operator,
            arm=True,
            limits=self.limits,
        )
        self.node.prepare()
        self.period = self.node.period
        self.busy = 0.0
        """Extra duration of each tick [s]."""
        self.pacer = Pacer(self.clock, self.period)

    def __enter__(self) -> Self:
        """Return itself; leaving the block lets go of the robot."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the robot."""
        self.node.driver.close()

    def connect(self) -> Driver:
        """Return the node's driver."""
        return self.driver

    def advance(self, time: float) -> None:
        """Let the world go on until `time` [s]."""
        self.robot.advance_to(time)

    def step(self, ticks: int = 1) -> None:
        """Do what the node's loop does."""
        for _ in range(ticks):
            missed = self.pacer.wait()
            self.node.tick(missed, self.pacer.late)
            if self.busy:
                self.clock.sleep_until(self.clock.now() + self.busy)

    def walk(self) -> float:
        """Let the policy run for a second; return the time [s]."""
        for _ in range(AT_MOST):
            if self.node.state is State.POLICY:
                self.step(WALK)
                assert self.node.state is State.POLICY, self.node.fault
                return self.robot.time
            self.step()
        raise RuntimeError(f"the robot does not walk: {self.node.events}")

    def damped(self, since: float, allowed: float = 0.0, reason: str | None = None) -> Seen:
        """Go on, and return how the robot was damped.

        Args:
            since: when the fault began [s].
            allowed: how long its limit tolerates it [s].
            reason: what was said of it; by default the node's fault.
        """
        ticks = allowed / self.period
        self.step(round(ticks) + MORE)
        return damped(self.robot.heard, since, ticks, self.period, reason or self.node.fault or "")


def damped(heard: list[Heard], since: float, allowed: float, period: float, reason: str) -> Seen:
    """Return what a robot's memory says of a fault.

    Args:
        heard: the commands.
        since: when the fault began [s].
        allowed: ticks for which its limit tolerates it.
        period: of the control [s].
        reason: what was said of it.
    """
    after = [h for h in heard if h.time > since + 1e-9]
    first = next((i for i, h in enumerate(after) if h.damping), None)
    if first is None:
        return Seen(NOTHING, reason or "the robot walked on", allowed)
    if not all(h.damping for h in after[first:]):
        return Seen(NOTHING, f"damping did not last: {reason}", allowed)
    ticks = (after[first].time - since) / period - allowed
    return Seen(DAMPED, reason, allowed, max(ticks, 0.0))
