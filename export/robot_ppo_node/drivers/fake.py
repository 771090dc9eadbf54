"""A robot made of arithmetic, for tests and dry runs: its joints follow their targets.

It needs no other process. Tests script its faults with `mutate`, which sees every measurement
before the node does, and read what the node sent from `written`.

    driver = FakeDriver(clock, mutate=lambda tick, state: None if tick > 100 else state)
"""

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from robot_ppo_export.contract.state import BASIC, NO_WIDTHS, SIGNALS, RobotState, blank, zeros
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import DAMPING, Health, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities
from robot_ppo_node.drivers.joint_map import JointMap, StateMap

FOLLOW = 0.5
"""Share of the way to its target that a joint moves between two reads, while kp is above 0."""
GYRO_STEP = 1e-4
"""[rad/s] A real gyroscope never gives the same bits twice; neither does this one."""

Mutation = Callable[[int, RobotState], "RobotState | None"]
"""f(index of the read, state) -> what is measured instead, or None for nothing new."""


class FakeDriver:
    """A kinematic robot, level and at rest but for its joints."""

    def __init__(
        self,
        clock: Clock,
        joint_names: tuple[str, ...] | None = None,
        signals: frozenset[str] = frozenset(BASIC),
        pose: np.ndarray | None = None,
        mutate: Mutation | None = None,
        capabilities: Capabilities = NOTHING,
        keep: int = 100_000,
    ) -> None:
        """Be a robot with these joints (by default those that `open` asks for).

        Args:
            clock: stamps the samples.
            joint_names: the robot's joints, in its own order.
            signals: what it measures.
            pose: where its joints start (joints,) [rad], in its own order; by default at 0.
            mutate: hook that injects faults.
            capabilities: what it states of itself.
            keep: how many commands `written` holds.
        """
        self.name = "fake"
        self.clock = clock
        self.joint_names = joint_names or ()
        self.signals = signals
        self.feet: tuple[str, ...] = ()
        self.capabilities = capabilities
        self.pose = pose
        self.mutate = mutate
        self.written: deque[MotorCommand] = deque(maxlen=keep)
        """Copies of the commands, in the robot's joint order, newest last."""
        self.health: Health | None = None
        """What its samples say of its parts."""
        self.others: tuple[str, ...] = ()
        """Who else writes to it."""
        self.reads = 0
        self.opened = False

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Map by name; `RefusedError` where the joints differ."""
        self.joint_names = self.joint_names or joints
        self.feet = self.feet or feet
        self.map = JointMap(joints, self.joint_names, self.name)
        widths = {name: n for name, n in signals.items() if SIGNALS[name].optional}
        offered = {name: n for name, n in widths.items() if name in self.signals}
        basic = zeros((), len(joints), len(feet))
        self.state = RobotState(**basic, **blank(offered))
        measured = self.signals & self.state.keys()
        self._states = StateMap(self.map, feet, self.feet, measured)
        if self.pose is not None:
            self.state.joint_pos[:] = self.pose
        self.opened = True

    def read(self) -> Sample | None:
        """Return a new measurement at every call, unless `mutate` withholds it."""
        self.reads += 1
        self._move()
        measured: RobotState | None = self.state
        if self.mutate:
            measured = self.mutate(self.reads - 1, self.state)
        if measured is None:
            return None
        return Sample(self._states.from_robot(measured), self.reads, self.clock.now(), self.health)

    def write(self, command: MotorCommand) -> None:
        """Keep a copy of the command, in the robot's joint order."""
        vectors = (command.target, command.kp, command.kd)
        self.written.append(MotorCommand(*(self.map.to_robot(v).copy() for v in vectors)))

    def other_writers(self) -> tuple[str, ...]:
        """Return `others`."""
        return self.others

    def damp(self) -> None:
        """Keep a command that only brakes."""
        zero = np.zeros(len(self.joint_names), np.float32)
        self.written.append(MotorCommand(zero, zero, zero + np.float32(DAMPING)))

    def close(self) -> None:
        """Keep damping as the last command, and note that the node let go."""
        if self.opened and self.written:
            self.damp()
        self.opened = False

    def _move(self) -> None:
        """Let the joints follow the newest command."""
        state = self.state
        state.base_ang_vel[0] = GYRO_STEP * (self.reads % 8)
        state.base_lin_acc[2] = 9.81
        if self.written and self.written[-1].kp.any():
            state.joint_pos += FOLLOW * (self.written[-1].target - state.joint_pos)
