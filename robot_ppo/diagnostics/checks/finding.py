"""The result of a check that failed: evidence, likely cause, and the settings that help."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from robot_ppo.diagnostics.checks.record import Record

AT_THE_START = ("networks.", "task.", "ppo.normalize_returns", "ppo.learning_rate=", "ppo.beta=")
"""Settings that only a new run takes; a checkpoint brings its own."""


@dataclass(frozen=True)
class Finding:
    """One problem of a run."""

    name: str
    """Name of the check that found it."""
    evidence: str
    """Figures, and the iterations in which they were seen."""
    cause: str
    """The likely cause."""
    advice: str
    """The remedy, as a sentence."""
    settings: tuple[str, ...] = ()
    """The remedy as `key=value`, for `--set`."""
    lost: bool = False
    """True if the weights of the run are useless and training must start anew."""
    follows: str | None = None
    """Name of the finding that may cause this one and should be mended first."""

    @property
    def fresh(self) -> bool:
        """True if the settings need a new run; otherwise `--resume` accepts them."""
        return self.lost or any(key.startswith(AT_THE_START) for key in self.settings)


Check = Callable[[Record], Finding | None]


def needs(*columns: str) -> Callable[[Check], Check]:
    """Return a decorator that skips a check where the run does not log these columns."""

    def decorate(check: Check) -> Check:
        @functools.wraps(check)
        def wrapped(record: Record) -> Finding | None:
            return check(record) if record.has(*columns) else None

        return wrapped

    return decorate


def figure(value: float) -> str:
    """Return a number as text, with three significant digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def rounded(value: float) -> float:
    """Round a setting to one significant digit."""
    return float(f"{value:.0e}")
