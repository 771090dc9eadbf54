"""Which publisher states what, and who else would: values of two publishers are never mixed.

What is stated belongs to the publisher that stated it first, until that one has been silent for
`OWNED` seconds; while a command is out it stays with it for good. Where a second publisher speaks
and the first one goes on, both live: that is contested, until one of them has been silent for
`LIVE` seconds.

    owners = Owners("/imu")
    owners.require(writer, ("/imu",), now)      # MalformedCdrError for a second publisher
    owners.claim(writer, ("/imu",), now)        # once the message is taken in
    owners.contest(now)                         # None, or what two publishers state, and which
"""

from collections.abc import Iterable
from dataclasses import dataclass

from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError

OWNED = 0.5
"""[s] Silence after which what a publisher stated may be stated by another one."""
LIVE = 2.0
"""[s] A publisher that was heard within it is taken to be there."""


@dataclass(frozen=True)
class Contest:
    """Something that two publishers state."""

    topic: str
    what: str
    """A joint, or the topic itself."""
    owner: int
    """Publisher whose messages are taken in."""
    other: int
    """Publisher whose messages are dropped."""

    def __str__(self) -> str:
        """Return what is stated twice."""
        return self.what if self.what == self.topic else f"{self.what} on {self.topic}"


@dataclass
class _Second:
    """A second publisher, since the first of its messages that was dropped."""

    what: str
    heard: float
    both: bool = False
    """Whether the owner has spoken since."""


class Owners:
    """The publishers of one topic."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.held = False
        """Whether nothing changes hands, however long its publisher is silent."""
        self._owner: dict[str, int] = {}
        self._heard: dict[int, float] = {}
        self._seconds: dict[tuple[int, int], _Second] = {}

    def require(self, writer: int, names: Iterable[str], now: float) -> None:
        """Raise `MalformedCdrError` where another publisher has one of `names`."""
        for name in names:
            owner = self._owner.get(name, writer)
            if owner != writer and (self.held or now - self._heard[owner] < OWNED):
                self._note(owner, writer, name, now)
                raise MalformedCdrError("second publisher", f"another publisher states {name}")

    def claim(self, writer: int, names: Iterable[str], now: float) -> None:
        """Make `writer` the publisher of `names`, or raise as `require` does."""
        names = tuple(names)
        self.require(writer, names, now)
        self._owner.update(dict.fromkeys(names, writer))
        self._heard[writer] = now
        for (owner, _), second in self._seconds.items():
            second.both = second.both or owner == writer

    def contest(self, now: float) -> Contest | None:
        """Return what two publishers state that both live, or None."""
        for (owner, other), second in self._seconds.items():
            lives = now - min(second.heard, self._heard[owner]) < LIVE
            if second.both and lives and self._owner[second.what] == owner:
                return Contest(self.topic, second.what, owner, other)
        return None

    def _note(self, owner: int, other: int, name: str, now: float) -> None:
        """Remember that `other` stated `name`, which `owner` has; forget who has gone."""
        second = self._seconds.get((owner, other))
        if second is None or now - second.heard >= LIVE or self._owner[second.what] != owner:
            gone = [key for key, s in self._seconds.items() if now - s.heard >= LIVE]
            for key in gone:
                del self._seconds[key]
            self._seconds[owner, other] = _Second(name, now)
        else:
            second.heard = now
