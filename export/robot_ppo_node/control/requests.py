"""What people ask of a running node. Set from any thread or signal handler, taken by the tick."""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class Requests:
    """Everything that was asked for since the last tick."""

    approval: bool = False
    """Leave PREFLIGHT or READY when its checks pass."""
    stop: str | None = None
    """Why to sit down."""
    emergency: str | None = None
    """Why to damp."""
    reset: bool = False
    """Leave DAMP for PASSIVE."""
    time_over: bool = False
    """The time of the run is over: what has not passed by now is why nothing happened."""
    end: float | None = None
    """Stop damping at most this many seconds after the next tick [s]."""
    taken_over: str | None = None
    """What the watchdog says that it did."""
    unguarded: str | None = None
    """What became of the watchdog, where there is none any more."""

    def take(self) -> "Requests":
        """Return what was asked, and forget it; `NOTHING` where nothing was, nearly always.

        Field by field, because a signal may come in between: it is then in this tick's or in the
        next one's, and never in neither.
        """
        asked = self.approval or self.reset or self.stop or self.emergency or self.taken_over
        if not (asked or self.unguarded) and self.end is None:
            return NOTHING
        taken = Requests()
        for name in self.__slots__:
            value, blank = getattr(self, name), getattr(taken, name)
            if value is not blank:
                setattr(taken, name, value)
                setattr(self, name, blank)
        return taken


NOTHING: Final = Requests()
"""Nobody asked for anything. Not to be changed."""
