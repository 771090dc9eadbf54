"""What the robot's side of a protocol offers to the robot, whichever protocol it is.

command = side.receive(now)             # newest command, or None
if side.silent(now):
    damp()                              # the node is gone, or not there yet
side.send_state(now, state)
"""

from typing import Protocol

from robot_ppo_export.contract.state import RobotState
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.counters import Counters

SILENT_AFTER = 0.1
"""[s] without a command after which the robot damps its joints by itself: five ticks at 50 Hz."""


class RobotSide(Protocol):
    """The robot's side of a protocol; vectors are in the robot's own order of joints."""

    @property
    def counters(self) -> Counters:
        """What became of the messages."""
        ...

    def receive(self, now: float) -> MotorCommand | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        ...

    def silent(self, now: float) -> bool:
        """Return whether no command came for `SILENT_AFTER`: the robot must damp by itself."""
        ...

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement."""
        ...

    def close(self) -> None:
        """Close the connection; may be called twice."""
        ...
