"""Driver `replay`: the measurements of a recorded run come back, at the pace they came in.

Commands go nowhere: the robot of a log does what it did. So this shows what a policy would have
answered (another one too, if the joints are the same), not how the robot would have moved. When
the log is over there are no more samples, and the node damps for a stale state.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_ppo_export.contract.state import NO_WIDTHS, SIGNALS, RobotState
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import DAMPING, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING
from robot_ppo_node.drivers.joint_map import JointMap, StateMap

ROUNDING = 1e-6
"""[s] Times that are equal on paper differ by the last bits of their sums."""


class ReplayDriver:
    """The robot of a log."""

    in_base_frame = True
    """A log holds the IMU's signals as the policy saw them."""

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
        self.capabilities = NOTHING
        places = [place.partition("[")[0] for place in meta["measured"]]
        self._columns = {
            name: np.flatnonzero([place == name for place in places])
            for name in SIGNALS
            if name in places
        }
        self.signals = frozenset(self._columns)
        self.written: deque[MotorCommand] = deque(maxlen=1000)
        """Copies of the newest commands, in the log's joint order."""
        fresh = np.flatnonzero(np.diff(rows["sequence"], prepend=-1) > 0)
        if not len(fresh):
            raise InputError("the log holds no measurement that could be played")
        self._measured = rows["measured"][fresh]
        self._due = rows["sample_time"][fresh] - rows["sample_time"][fresh[0]]
        self._next = 0
        self._start = 0.0

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Map by name and begin to play; `RefusedError` where the log's robot is another."""
        self.map = JointMap(joints, self.joint_names, self.name)
        for name, columns in self._columns.items():
            counts = {"joints": len(joints), "feet": len(feet)}
            wanted = signals.get(name, counts.get(SIGNALS[name].size))
            if wanted not in (None, len(columns)):
                raise RefusedError(
                    f"driver replay: the log holds {len(columns)} numbers of {name}, the policy's "
                    f"robot measures {wanted}: give a log of this robot"
                )
        self._states = StateMap(self.map, feet, feet, self.signals)
        self.feet = feet
        self._next = 0
        self._start = self.clock.now()

    def read(self) -> Sample | None:
        """Return the newest measurement that is due and has not been returned, or None."""
        now = self.clock.now()
        due = int(np.searchsorted(self._due, now - self._start + ROUNDING, side="right"))
        if due <= self._next:
            return None
        self._next = due
        row = self._measured[due - 1]
        state = RobotState(**{name: row[columns] for name, columns in self._columns.items()})
        return Sample(self._states.from_robot(state), due, now)

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
