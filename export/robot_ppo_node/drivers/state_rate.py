"""How often a robot states its measurements, and what that says when its joints oscillate.

A simulator computes the motors' torques once per step of its physics and sends a state per step.
With long steps, gains that are stable on a robot are not: a joint of little inertia is braked past
its standstill before the next torque.

rate = StateRate()
rate.note(now)                            # one state
explanation(driver, "joint_velocity")     # None, or a sentence for the operator
"""

from typing import Any, Protocol, runtime_checkable

LONG = 0.004
"""[s] Robots that compute torques at 500 Hz or more send a state at least every 2 ms."""
FEWEST = 20
"""States from which a rate is told."""
OSCILLATION = "joint_velocity"
"""The guard that fires on joints that oscillate."""


class StateRate:
    """States of one source, counted over time."""

    def __init__(self) -> None:
        self._first = 0.0
        self._last = 0.0
        self._count = 0

    def note(self, now: float) -> None:
        """Take in a state that arrived at `now` [s]."""
        if not self._count:
            self._first = now
        self._last = now
        self._count += 1

    @property
    def period(self) -> float | None:
        """Mean time between two states [s]; None while too few have come."""
        if self._count < FEWEST:
            return None
        return (self._last - self._first) / (self._count - 1)


@runtime_checkable
class MeasuresStateRate(Protocol):
    """A driver that knows how often its robot states its measurements."""

    @property
    def state_period(self) -> float | None:
        """Mean time between two states [s]; None while too few have come."""
        ...


def explanation(driver: Any, fault: str | None) -> str | None:
    """Return what may be behind a fault, given by its code: a sentence, or None."""
    period = driver.state_period if isinstance(driver, MeasuresStateRate) else None
    if fault != OSCILLATION or period is None or period < LONG:
        return None
    return (
        f"states come every {1e3 * period:.1f} ms: at such steps of a simulator light joints "
        "oscillate: give it steps of 2 ms (docs/drivers.md#the-vendors-simulator)"
    )
