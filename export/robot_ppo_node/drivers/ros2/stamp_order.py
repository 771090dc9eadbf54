"""The order of messages by their stamps, and clocks that are set back.

A message that is not later than the one before is late or doubled, and is dropped. DDS delivers the
messages of one writer in the order in which they were written: several in a row that are older than
what came before, and grow, are of a clock that was set back.

    order = StampOrder()
    order.check(source, stamp, now)     # MalformedCdrError for a message to be dropped
    step = order.set_back()             # None, or how far a clock was set back
    order.accept()                      # from now on the older stamps are the time
"""

from collections.abc import Hashable
from dataclasses import dataclass

from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import Stamp

IN_A_ROW = 3
"""Older messages, each later than the one before, that a late message does not explain."""


@dataclass
class _Backward:
    """A run of messages that are older than the newest."""

    since: float
    """Arrival of the first one [s]."""
    newest: Stamp
    count: int = 1


@dataclass(frozen=True)
class SetBack:
    """A clock that was set back."""

    source: Hashable
    seconds: float
    """How far."""
    since: float
    """When the first message with the new time arrived [s]."""


class StampOrder:
    """The newest stamp of every source."""

    def __init__(self) -> None:
        self._newest: dict[Hashable, Stamp] = {}
        self._backward: dict[Hashable, _Backward] = {}

    def check(self, source: Hashable, stamp: Stamp, now: float) -> None:
        """Accept a message, or raise `MalformedCdrError`: "duplicated" or "reordered".

        Args:
            source: whose clock it is; messages of one source come in order.
            stamp: of the message; zero says nothing and is always accepted.
            now: time of its arrival [s].
        """
        if not any(stamp):
            return
        newest = self._newest.get(source)
        if newest is None or stamp > newest:
            self._newest[source] = stamp
            self._backward.pop(source, None)
            return
        if stamp == newest:
            raise MalformedCdrError("duplicated")
        self._count(source, stamp, now)
        raise MalformedCdrError("reordered")

    def set_back(self) -> SetBack | None:
        """Return a clock that was set back and whose new time is not accepted yet."""
        for source, run in self._backward.items():
            if run.count >= IN_A_ROW:
                seconds = _seconds(self._newest[source]) - _seconds(run.newest)
                return SetBack(source, seconds, run.since)
        return None

    def accept(self) -> None:
        """Take the older stamps of every clock that was set back as its time."""
        for source in [s for s, run in self._backward.items() if run.count >= IN_A_ROW]:
            self._newest[source] = self._backward.pop(source).newest

    def _count(self, source: Hashable, stamp: Stamp, now: float) -> None:
        run = self._backward.get(source)
        if run is None or stamp <= run.newest:
            self._backward[source] = _Backward(now, stamp)
            return
        run.newest = stamp
        run.count += 1


def _seconds(stamp: Stamp) -> float:
    return stamp.seconds + 1e-9 * stamp.nanoseconds
