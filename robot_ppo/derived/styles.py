"""Factors that depend on how a robot balances: on two feet, or on more."""

from dataclasses import dataclass

from robot_ppo.robot_model.body import Body


@dataclass(frozen=True)
class Style:
    """What the formulas of the task take from it."""

    forward: float
    """Highest speed, in sqrt(g leg)."""
    backward: float
    sideways: float
    yaw: float
    """In 1 / sqrt(leg / g)."""
    swing: float
    """Height of a step, in legs."""
    bend: float
    """[rad] A step bends no knee by more."""
    standing: float
    """Fraction of commands that say to stand."""
    height: float
    """Weight of the height of the base, in 1 / leg^2."""
    orientation: float
    """Weight."""
    push: float
    """In sqrt(g leg)."""
    velocity_error: float
    """Limit of the scorecard, of the highest speed."""
    yaw_error: float
    collisions: str


ON_MANY = Style(0.589, 0.589, 0.236, 0.173, 0.272, 0.569, 0.15, -2.6, -3.0, 0.412, 0.15, 0.2, "feet")
ON_TWO = Style(0.314, 0.196, 0.118, 0.156, 0.12, 1.0, 0.3, -17.0, -6.0, 0.2, 0.25, 0.4, "self")


def of(body: Body) -> Style:
    """Return the style of a robot."""
    return ON_TWO if len(body.feet) == 2 else ON_MANY
