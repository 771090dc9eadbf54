"""What the doctor says about a run: one finding per sign, each with a way out."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from robot_ppo.diagnostics.checks.record import Record

AT_THE_START = ("networks.", "task.", "ppo.normalize_returns", "ppo.learning_rate=", "ppo.beta=")
"""Settings that a run takes when it starts; a checkpoint brings its own."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    name: str
    """The function that found it."""
    evidence: str
    """Figures, with the iterations in which they were seen."""
    cause: str
    """The likely one."""
    advice: str
    """What to do, in words."""
    settings: tuple[str, ...] = ()
    """The same as `key=value`, for `--set`."""
    lost: bool = False
    """Whether what the run has learned is not worth going on with."""
    follows: str | None = None
    """A finding that it may be a consequence of; that one is to be mended first."""

    @property
    def fresh(self) -> bool:
        """Whether a new run is needed; else `--resume` takes the settings too."""
        return self.lost or any(key.startswith(AT_THE_START) for key in self.settings)


Check = Callable[[Record], Finding | None]


def needs(*columns: str) -> Callable[[Check], Check]:
    """Return a decorator: a run that does not log these columns has no such finding."""

    def decorate(check: Check) -> Check:
        @functools.wraps(check)
        def wrapped(record: Record) -> Finding | None:
            return check(record) if record.has(*columns) else None

        return wrapped

    return decorate


def figure(value: float) -> str:
    """Return a figure with as many digits as a person reads."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def rounded(value: float) -> float:
    """Return a setting of one significant digit."""
    return float(f"{value:.0e}")
