"""How a second process sends damping to a driver's robot; see robot_ppo_node/safety/watchdog.py.

A driver describes such a sender by a `Handover`; the watchdog's process makes it. This module
imports next to nothing, since that process must start quickly.
"""

from typing import Any, NamedTuple, Protocol


class Handover(NamedTuple):
    """A sender of damping that another process can make."""

    module: str
    """Has `sender(arguments, files) -> Sender`; imports as little as it can."""
    arguments: dict[str, Any]
    """Plain data."""
    files: tuple[int, ...] = ()
    """Open files that it needs, such as the driver's socket."""


class Sender(Protocol):
    """Made by `Handover.module` when the watchdog starts; silent until it takes over."""

    def begin(self, takeover: int) -> None:
        """Take the robot over, for the `takeover`-th time. Does not block."""
        ...

    def send(self) -> None:
        """Send damping to every motor, once."""
        ...

    def close(self) -> None:
        """Free the connection when the watchdog ends."""
        ...
