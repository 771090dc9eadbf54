"""Factors that depend on how a robot balances: on two feet, or on more."""

from dataclasses import dataclass

from robot_ppo.robot_model.body import Body


@dataclass(frozen=True)
class Style:
    """Factors of the formulas of the task."""

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
    frequency: float
    """Cycles in the time sqrt(leg / g)."""
    sigma2: tuple[float, float]
    """Tolerance of errors of velocity and yaw rate, of the highest command squared."""
    drop: float
    """Height above the ground at the start of an episode, in legs."""
    speed: float
    """Velocity of the base at the start, in sqrt(g leg)."""
    reach: tuple[float, float]
    """Action scale of legs, in half sweeps of a leg at the highest speed, and in sags under load;
    the larger one counts."""
    tilt: float
    """Where an episode ends, in the robot's `max_tilt`."""
    sunk: float
    """Where an episode ends, in heights of the base."""
    preset: str
    """What it trains with."""


ON_MANY = Style(
    forward=0.589,
    backward=0.589,
    sideways=0.236,
    yaw=0.173,
    swing=0.272,
    bend=0.569,
    standing=0.15,
    height=-2.6,
    orientation=-3.0,
    push=0.412,
    velocity_error=0.15,
    yaw_error=0.2,
    collisions="feet",
    frequency=0.346,
    sigma2=(0.2, 0.25),
    drop=0.1,
    speed=0.177,
    reach=(1.07, 1.07),
    tilt=1.0,
    sunk=0.511,
    preset="walk",
)
ON_TWO = Style(
    forward=0.314,
    backward=0.196,
    sideways=0.118,
    yaw=0.156,
    swing=0.12,
    bend=1.0,
    standing=0.3,
    height=-17.0,
    orientation=-6.0,
    push=0.2,
    velocity_error=0.25,
    yaw_error=0.4,
    collisions="self",
    frequency=0.39,
    sigma2=(0.25, 0.4),
    drop=0.05,
    speed=0.06,
    reach=(1.07, 0.5),
    tilt=0.6,
    sunk=0.7,
    preset="two_feet",
)


def of(body: Body) -> Style:
    """Return the style of a robot."""
    return ON_TWO if len(body.feet) == 2 else ON_MANY
