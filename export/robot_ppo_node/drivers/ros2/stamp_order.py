"""The order of messages by their stamps, and clocks that are set.

A message that is not later than the one before is late or doubled, and is dropped. DDS delivers the
messages of one writer in the order in which they were written: several in a row that are older than
what came before, and grow, are of a clock that was set back. A stamp that leaps ahead may be one
broken message, after which every other would look old: it counts only once several in a row have
leapt, and until then the message is dropped.

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
"""Messages, each later than the one before, that one late or broken message does not explain."""
AHEAD = 0.1
"""[s] By which a stamp may be ahead of the source's clock, as all messages before showed it."""


@dataclass
class _Run:
    """A run of messages that are older than the newest, or far ahead of it."""

    since: float
    """Arrival of the first one [s]."""
    arrived: float
    """Arrival of the newest one [s]."""
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
        self._offset: dict[Hashable, float] = {}
        """Of a source's clock from ours [s]; what is read late makes it no smaller."""
        self._backward: dict[Hashable, _Run] = {}
        self._forward: dict[Hashable, _Run] = {}

    def check(self, source: Hashable, stamp: Stamp, now: float) -> None:
        """Accept a message, or raise `MalformedCdrError`: "duplicated", "reordered" or "ahead".

        Args:
            source: whose clock it is; messages of one source come in order.
            stamp: of the message; zero says nothing and is always accepted.
            now: time of its arrival [s].
        """
        if not any(stamp):
            return
        newest = self._newest.get(source)
        if newest is None or stamp > newest:
            if newest is not None:
                self._require_near(source, stamp, now)
            self._accept(source, stamp, now)
            return
        if stamp == newest:
            raise MalformedCdrError("duplicated", "its stamp is that of the one before")
        self._count(source, stamp, now)
        raise MalformedCdrError("reordered", "its stamp is older than that of the one before")

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
            run = self._backward[source]
            del self._offset[source]
            self._accept(source, run.newest, run.arrived)

    def _accept(self, source: Hashable, stamp: Stamp, now: float) -> None:
        """Make `stamp`, which arrived at `now` [s], the time of a source."""
        offset = _seconds(stamp) - now
        self._newest[source] = stamp
        self._offset[source] = max(self._offset.get(source, offset), offset)
        self._backward.pop(source, None)
        self._forward.pop(source, None)

    def _require_near(self, source: Hashable, stamp: Stamp, now: float) -> None:
        """Raise `MalformedCdrError` where a stamp leaps, until `IN_A_ROW` have leapt together."""
        offset = _seconds(stamp) - now
        leap = offset - self._offset[source]
        if leap <= AHEAD:
            return
        run = self._forward.get(source)
        if run and stamp == run.newest:
            raise MalformedCdrError("duplicated", "its stamp is that of the one before")
        leaps_on = run and offset - (_seconds(run.newest) - run.arrived) > AHEAD
        if run is None or stamp < run.newest or leaps_on:
            run = self._forward[source] = _Run(now, now, stamp, count=0)
        run.newest = stamp
        run.arrived = now
        run.count += 1
        if run.count < IN_A_ROW:
            raise MalformedCdrError("ahead", f"its stamp leaps ahead by {leap:.1f} s")

    def _count(self, source: Hashable, stamp: Stamp, now: float) -> None:
        self._forward.pop(source, None)
        run = self._backward.get(source)
        if run is None or stamp < run.newest:
            self._backward[source] = _Run(now, now, stamp)
            return
        if stamp == run.newest:
            return
        run.newest = stamp
        run.arrived = now
        run.count += 1


def _seconds(stamp: Stamp) -> float:
    return stamp.seconds + 1e-9 * stamp.nanoseconds
