"""What a guard of the safety envelope is, and how a function becomes one.

A guard passes with None, or says clamp or damp with the value that it judged and its limit. It is
arithmetic on a dozen numbers: no clock, no input or output.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo_node.safety.verdict import Outcome, Verdict

Check = Callable[..., Verdict | None]
"""f(bounds, measurement) of a state guard, f(bounds, measurement, decision) of a target guard."""


@dataclass(frozen=True)
class Guard:
    """One entry of the table."""

    name: str
    check: Check
    unit: str
    places: str
    """Kind of `Verdict.where`: "joint", "state", "entry" or ""."""
    outcome: Outcome
    """Its outcome where it does not pass."""
    text: str
    """The quantity that it watches, for the documentation."""
    limit: str
    """The source of its limit, for the documentation."""


def guard_of(found: list[Guard]) -> Callable[..., Callable[[Check], Check]]:
    """Return the decorator that appends a function to `found` as a guard of the same name."""

    def decorate(outcome: Outcome, unit: str, places: str, text: str, limit: str) -> Callable:
        def register(check: Check) -> Check:
            found.append(Guard(check.__name__, check, unit, places, outcome, text, limit))
            return check

        return register

    return decorate


def finite(vector: np.ndarray) -> Verdict | None:
    """Damp if a number is not finite."""
    is_finite = np.isfinite(vector)
    where = int(is_finite.argmin())
    if is_finite[where]:
        return None
    return Verdict(Outcome.DAMP, float(vector[where]), math.inf, where)
