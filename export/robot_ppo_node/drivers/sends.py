"""Counts of sent and lost messages: a driver counts what it cannot send, and raises nothing.

sends = Sends()                 # beside a socket or a writer
sends.note(went=False)
driver.unsent()                 # Unsent(lost=1, failing=0.02): how the node asks a driver
"""

import time
from typing import NamedTuple, Protocol, runtime_checkable


class Sends:
    """The sends of one socket or writer."""

    def __init__(self) -> None:
        self.lost = 0
        """Sends that failed, since the start."""
        self._since: float | None = None

    def note(self, went: bool) -> None:
        """Take in one send."""
        if went:
            self._since = None
            return
        self.lost += 1
        if self._since is None:
            self._since = time.monotonic()

    def failing(self) -> float:
        """Return for how long every send has failed [s]; 0 after one that succeeded."""
        since = self._since  # another thread may send
        return 0.0 if since is None else time.monotonic() - since


class Unsent(NamedTuple):
    """Commands that were not sent, or were late."""

    lost: int = 0
    """Could not be sent, since `open`."""
    failing: float = 0.0
    """How long none could [s]."""
    stale: int = 0
    """Times that the driver began to send damping because no fresh command came."""

    def __str__(self) -> str:
        """Return a sentence."""
        return f"commands: {self.lost} could not be sent, {self.stale} were late and became damping"


@runtime_checkable
class CountsSends(Protocol):
    """A driver that does not raise what it cannot send, but counts it."""

    def unsent(self) -> Unsent:
        """Return the unsent commands; cheap, asked at every tick, and without `open`."""
        ...
