"""Requests to a running node, set from any thread or signal handler and taken by the tick."""

from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class Requests:
    """Everything that was asked for since the last tick."""

    approval: bool = False
    """Leave PREFLIGHT or READY when its checks pass."""
    stop: str | None = None
    """Sit down, for this reason."""
    emergency: str | None = None
    """Damp at once, for this reason."""
    reset: bool = False
    """Leave DAMP for PASSIVE."""
    time_over: bool = False
    """The time of the run is over; a check that has not passed by now is its fault."""
    end: float | None = None
    """Stop damping at most this many seconds after the next tick [s]."""
    taken_over: str | None = None
    """The watchdog has the robot, as this says."""
    unguarded: str | None = None
    """The watchdog is lost, as this says."""

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
            value = getattr(self, name)
            blank = getattr(taken, name)
            if value is not blank:
                setattr(taken, name, value)
                setattr(self, name, blank)
        return taken


NOTHING: Final = Requests()
"""Nobody asked for anything. Not to be changed."""
