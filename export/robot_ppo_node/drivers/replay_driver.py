"""Driver `replay`: the measurements of a recorded run come back, at the pace they came in.

Commands go nowhere: the robot of a log does what it did. So this shows what a policy would have
answered (another one too, if the joints are the same), not how the robot would have moved. When
the log is over there are no more samples, and the node damps for a stale state.
"""

from collections import deque
from typing import Any

import numpy as np

from robot_ppo_export.contract.state import SIGNALS
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import DAMPING, JointMap, Measured, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING

ROUNDING = 1e-6
"""[s] Times that are equal on paper differ by the last bits of their sums."""


class ReplayDriver:
    """The robot of a log."""

    def __init__(self, clock: Clock, rows: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        """Play `rows` of a log with `meta`, or raise `InputError` where there is nothing to play.

        Args:
            clock: tells when the next measurement is due.
            rows: columns of the log, oldest tick first.
            meta: its joints, and what each number of a measurement is.
        """
        self.name = "replay"
        self.clock = clock
        self.joint_names: tuple[str, ...] = tuple(meta["joints"])
        self.feet: tuple[str, ...] = ()
        self.offer = NOTHING
        self.signals = frozenset(SIGNALS)
        self.written: deque[MotorCommand] = deque(maxlen=1000)
        """Copies of the newest commands, in the log's joint order."""
        fresh = np.flatnonzero(np.diff(rows["sequence"], prepend=-1) > 0)
        if not len(fresh):
            raise InputError("the log holds no measurement that could be played")
        self._measured = rows["measured"][fresh]
        self._due = rows["sample_time"][fresh] - rows["sample_time"][fresh[0]]
        self._places = tuple(meta["measured"])
        self._next = 0
        self._start = 0.0

    def open(self, joints: tuple[str, ...], feet: tuple[str, ...] = ()) -> None:
        """Map by name and begin to play; `RefusedError` where the log's robot is another."""
        self.map = JointMap(joints, self.joint_names, self.name)
        self._state = Measured(len(joints), len(feet))
        if self._state.places != self._places:
            raise RefusedError(
                f"driver replay: the log measured {len(self._places)} numbers per tick, and the "
                f"policy's robot has {len(self._state.places)}: they are different robots"
            )
        self.feet = feet
        self._next, self._start = 0, self.clock.now()

    def read(self) -> Sample | None:
        """Return the newest measurement that is due and has not been returned, or None."""
        now = self.clock.now()
        due = int(np.searchsorted(self._due, now - self._start + ROUNDING, side="right"))
        if due <= self._next:
            return None
        self._next = due
        self._state.flat[:] = self._measured[due - 1]
        state = self._state.state
        for name in ("joint_pos", "joint_vel", "joint_torque"):
            values = getattr(state, name)
            values[:] = self.map.from_robot(values)
        return Sample(state, due, now)

    def write(self, command: MotorCommand) -> None:
        """Keep a copy."""
        vectors = (command.target, command.kp, command.kd)
        self.written.append(MotorCommand(*(self.map.to_robot(v).copy() for v in vectors)))

    def damp(self) -> None:
        """Keep a command that only brakes."""
        zero = np.zeros(len(self.joint_names), np.float32)
        self.written.append(MotorCommand(zero, zero, zero + np.float32(DAMPING)))

    def close(self) -> None:
        """Keep damping as the last command."""
        if self.written and self.written[-1].kp.any():
            self.damp()
