"""What a robot states of itself, beyond its joints, signals and feet.

    Capabilities(state_rate=500.0, torque_limit=(23.7,) * 12, delay=(0.0, 0.012))

A driver knows its robot's once it is open; what nobody states is None, and is shown as such. The
node compares them with what the policy was trained for before anything is sent
(startup/comparison.py).
"""

import math

import msgspec

from robot_ppo_export.contract.spec import RobotSpec

Span = tuple[float, float]


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Figures of one robot; joint vectors are (joints,) in the robot's own order."""

    state_rate: float | None = None
    """States that it sends per second, at least [Hz]."""
    command_rate: Span | None = None
    """Commands per second that it needs at the least, and takes at the most [Hz]."""
    position_range: tuple[Span, ...] | None = None
    """Angles that each joint can have [rad]."""
    velocity_limit: tuple[float, ...] | None = None
    """[rad/s]"""
    torque_limit: tuple[float, ...] | None = None
    """[N m]"""
    max_kp: tuple[float, ...] | None = None
    """Largest position gain that each motor takes [N m/rad]."""
    max_kd: tuple[float, ...] | None = None
    """Largest velocity gain that each motor takes [N m s/rad]."""
    delay: Span | None = None
    """Shortest and longest time from a command to its measured effect [s]."""


NOTHING = Capabilities()
"""Of a robot that states nothing."""
VECTORS = ("position_range", "velocity_limit", "torque_limit", "max_kp", "max_kd")
"""Fields with one entry per joint."""
POSITIVE = ("state_rate", "velocity_limit", "torque_limit", "max_kp", "max_kd", "command_rate")
"""Fields whose numbers are above 0."""


def problem(capabilities: Capabilities, joints: int) -> str | None:
    """Return what is wrong with what a robot with so many joints states, or None."""
    for name in capabilities.__struct_fields__:
        value = getattr(capabilities, name)
        if value is None:
            continue
        if name in VECTORS and len(value) != joints:
            return f"{name} has {len(value)} entries for {joints} joints"
        numbers = list(_flat(value))
        if not all(map(math.isfinite, numbers)):
            return f"{name} has a number that is not finite"
        if name in POSITIVE and min(numbers) <= 0:
            return f"{name} has a number that is not above 0"
    spans = [
        capabilities.command_rate,
        capabilities.delay,
        *(capabilities.position_range or ()),
    ]
    if any(span is not None and span[0] > span[1] for span in spans):
        return "a range (command_rate, position_range or delay) ends below where it begins"
    if capabilities.delay is not None and capabilities.delay[0] < 0:
        return "delay begins below 0"
    return None


def of_robot(robot: RobotSpec) -> Capabilities:
    """Return what robot.yaml states: ranges and limits, in its joint order."""
    return Capabilities(
        position_range=tuple(joint.range for joint in robot.joints),
        velocity_limit=tuple(joint.velocity_limit for joint in robot.joints),
        torque_limit=tuple(joint.torque_limit for joint in robot.joints),
    )


def _flat(value: float | tuple) -> list[float]:
    """Return all numbers of a field."""
    if isinstance(value, tuple):
        return [number for part in value for number in _flat(part)]
    return [value]
