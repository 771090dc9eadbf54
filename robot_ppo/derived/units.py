"""Times that are multiples of sqrt(leg / g)."""

from robot_ppo.derived.numbers import Number, number
from robot_ppo.robot_model.body import Body


def seconds(body: Body, factor: float) -> Number:
    """Return a time [s]."""
    return number(factor * body.unit_time, f"{factor:g} sqrt(leg / g)")


def span(body: Body, factors: list[float]) -> Number:
    """Return a range of times [s]."""
    low, high = (f"{factor:g}" for factor in factors)
    return number([f * body.unit_time for f in factors], f"{low} to {high} sqrt(leg / g)")
