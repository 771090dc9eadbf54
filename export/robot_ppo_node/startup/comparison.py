"""Rows of the comparison of policy and robot: one function each, in `ROWS`.

    rows = [function(Sides(contract, driver, command_rate=50.0)) for function in ROWS]

What a robot does not state (drivers/capabilities.py) is not guessed: its row says "not stated".
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_node.drivers.base import Driver
from robot_ppo_node.safety.measured import needed_signals
from robot_ppo_node.startup.joint_check import TOLERANCE as DELAY_TOLERANCE
from robot_ppo_node.startup.joint_check import TRAIN_WITH_IT

ROUNDING = 1e-3
"""Share by which figures may differ: they are published with three or four digits."""
ANGLE_ROUNDING = 1e-3
"""[rad] The same for angles."""


class Fit(enum.Enum):
    """The result of one row."""

    FITS = "fits"
    DIFFERS = "DIFFERS"
    UNSTATED = "not stated"


@dataclass(frozen=True)
class Row:
    """One thing that the policy needs."""

    what: str
    policy: str
    robot: str
    fit: Fit
    fix: str = ""
    """The remedy where it differs."""


@dataclass(frozen=True)
class Sides:
    """The two that are compared."""

    contract: Contract
    driver: Driver
    command_rate: float
    """Commands per second that the node sends [Hz]."""

    def stated(self, field: str) -> np.ndarray | None:
        """Return a joint vector of the capabilities in the contract's order, or None."""
        values = getattr(self.driver.capabilities, field)
        if values is None:
            return None
        places = [self.driver.joint_names.index(n) for n in self.contract.robot.joint_names]
        return np.array(values, np.float64)[places]


def joints(sides: Sides) -> Row:
    """The same joints, by name; `compare` has refused all others."""
    count = str(len(sides.contract.robot.joints))
    return Row("joints", count, count, Fit.FITS)


def signals(sides: Sides) -> Row:
    """Everything that the observation and the envelope read is measured."""
    needed = needed_signals(sides.contract)
    offered = sides.driver.signals
    missing = [name for name in needed if name not in offered]
    return Row(
        "signals",
        ", ".join(needed),
        ", ".join(sorted(offered)) or "none",
        _fit(not missing),
        f"the robot does not measure {', '.join(missing)}: train without, or add it to the driver",
    )


def feet(sides: Sides) -> Row | None:
    """The same feet, where the policy reads them."""
    if "foot_force" not in needed_signals(sides.contract):
        return None
    wanted = sides.contract.robot.feet
    offered = sides.driver.feet
    return Row(
        "feet",
        ", ".join(wanted),
        ", ".join(offered) or "none",
        _fit(set(wanted) == set(offered)),
        "name the robot's feet as robot.yaml does",
    )


def state_rate(sides: Sides) -> Row:
    """At least one new state per tick."""
    needed = 1 / sides.contract.control_period
    stated = sides.driver.capabilities.state_rate
    return _row(
        "state rate [Hz]",
        f"{needed:g} or more",
        None if stated is None else f"{stated:g}",
        stated is None or stated >= needed * (1 - ROUNDING),
        f"let the robot send {2 * needed:g} states per second or more",
    )


def command_rate(sides: Sides) -> Row:
    """Not so few commands that the robot gives up, and not more than it takes."""
    sent = sides.command_rate
    stated = sides.driver.capabilities.command_rate
    fits = stated is None or (
        stated[0] * (1 - ROUNDING) <= sent <= stated[1] * (1 + ROUNDING)  # of a rate like 1/0.003
    )
    return _row(
        "command rate [Hz]",
        f"{sent:g}",
        None if stated is None else f"{stated[0]:g} to {stated[1]:g}",
        fits,
        "give a --publish-hz that the robot takes",
    )


def position_range(sides: Sides) -> Row:
    """Every angle that the policy knows is one that the joint can have."""
    trained = sides.contract.robot.vector("range")
    stated = sides.stated("position_range")
    short = None
    if stated is not None:
        inward = np.stack([stated[:, 0] - trained[:, 0], trained[:, 1] - stated[:, 1]])
        short = inward.max(axis=0) > ANGLE_ROUNDING
    fix = "train with the robot's ranges (robot.yaml)"
    return _joint_row(sides, "joint range [rad]", trained, stated, short, fix)


def velocity_limit(sides: Sides) -> Row:
    """No joint is slower than in training."""
    needed = sides.contract.robot.vector("velocity_limit")
    fix = "train with the robot's limits"
    return _at_least(sides, "velocity limit [rad/s]", "velocity_limit", needed, fix)


def torque_limit(sides: Sides) -> Row:
    """No motor is weaker than in training."""
    needed = sides.contract.robot.vector("torque_limit")
    fix = "train with the robot's limits"
    return _at_least(sides, "torque limit [N m]", "torque_limit", needed, fix)


def position_gain(sides: Sides) -> Row:
    """Every motor takes the position gains that the node sends."""
    robot = sides.contract.robot
    needed = np.maximum(robot.vector("kp"), robot.stand_gains()[0])
    return _at_least(sides, "largest kp [N m/rad]", "max_kp", needed, _SOFTER)


def velocity_gain(sides: Sides) -> Row:
    """Every motor takes the velocity gains that the node sends."""
    robot = sides.contract.robot
    needed = np.max([robot.vector("kd"), robot.stand_gains()[1], robot.damping_gains()], axis=0)
    return _at_least(sides, "largest kd [N m s/rad]", "max_kd", needed, _SOFTER)


_SOFTER = "train with smaller gains, `stand:` and `damping:` of robot.yaml too"


def delay(sides: Sides) -> Row:
    """The time from a command to its effect is one that the policy was trained with."""
    low, high = sides.contract.training.delay()
    stated = sides.driver.capabilities.delay
    fits = stated is None or (
        low - DELAY_TOLERANCE <= stated[0] and stated[1] <= high + DELAY_TOLERANCE
    )
    return _row(
        "delay [ms]",
        f"{1e3 * low:g} to {1e3 * high:g}",
        None if stated is None else f"{1e3 * stated[0]:g} to {1e3 * stated[1]:g}",
        fits,
        TRAIN_WITH_IT,
    )


ROWS: tuple[Callable[[Sides], Row | None], ...] = (
    *(joints, signals, feet, state_rate, command_rate),
    *(position_range, velocity_limit, torque_limit, position_gain, velocity_gain, delay),
)
"""In the order of the table."""


def _at_least(sides: Sides, what: str, field: str, needed: np.ndarray, fix: str) -> Row:
    """Return the row of a figure (joints,) of which the robot must have as much as is needed."""
    stated = sides.stated(field)
    short = None if stated is None else stated < needed * (1 - ROUNDING)
    return _joint_row(sides, what, needed, stated, short, fix)


def _joint_row(
    sides: Sides,
    what: str,
    needed: np.ndarray,
    stated: np.ndarray | None,
    short: np.ndarray | None,
    fix: str,
) -> Row:
    """Return a row of figures (joints, ...), of which those that are `short` are named."""
    if stated is None or short is None or not short.any():
        return _row(what, _span(needed), None if stated is None else _span(stated), True, fix)
    names = [name for name, is_short in zip(_names(sides), short, strict=True) if is_short]
    i = int(short.argmax())
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    policy, robot = (f"{names[0]}: {_span(values[i])}" for values in (needed, stated))
    return _row(what, policy, robot + more, False, f"{', '.join(names)}: {fix}")


def _names(sides: Sides) -> tuple[str, ...]:
    return sides.contract.robot.joint_names


def _span(values: np.ndarray) -> str:
    """Return the smallest and the largest number."""
    low = f"{np.min(values):g}"
    high = f"{np.max(values):g}"
    return low if low == high else f"{low} to {high}"


def _row(what: str, policy: str, robot: str | None, fits: bool, fix: str) -> Row:
    fit = Fit.UNSTATED if robot is None else _fit(fits)
    return Row(what, policy, robot or "-", fit, fix)


def _fit(fits: bool) -> Fit:
    return Fit.FITS if fits else Fit.DIFFERS
