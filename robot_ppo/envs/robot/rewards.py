"""Reward terms: name -> f(world, context, parameters) -> (n,).

Each is multiplied by its weight [1/s] and the control period. The word in the task's YAML, in the
log and here is the same. Squared errors are means over joints or feet where there are many, so
that a weight means the same on another robot.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError


@dataclass(frozen=True)
class Context:
    """What rewards know besides the state: figures of robot and task, float32."""

    default_pose: np.ndarray
    soft_range: np.ndarray
    """(joints, 2) [rad]: middle and half-width of the middle 95 % of each joint's range"""
    schedule: Schedule


TERMS: dict[str, Callable[..., Array]] = {}


def _term(function: Callable[..., Array]) -> Callable[..., Array]:
    TERMS[function.__name__] = function
    return function


def context(robot: RobotSpec, schedule: Schedule) -> Context:
    """Return the context of a robot and its gait."""
    span = robot.vector("range")
    middle, half = span.mean(axis=1), 0.475 * np.diff(span, axis=1)[:, 0]
    soft = np.stack((middle, half), axis=1).astype(np.float32)
    return Context(robot.vector("default").astype(np.float32), soft, schedule)


def _sum2(x: Array) -> Array:
    return array_namespace(x).sum(x * x, axis=-1)


def _mean2(x: Array) -> Array:
    return array_namespace(x).mean(x * x, axis=-1)


@_term
def lin_vel_tracking(world: World, _: Context, sigma2: float) -> Array:
    """exp(-|v_xy - command|^2 / sigma2); sigma2 in [m^2/s^2]."""
    error = world.base_lin_vel[:, :2] - world.command[:, :2]
    return array_namespace(error).exp(-_sum2(error) / sigma2)


@_term
def yaw_rate_tracking(world: World, _: Context, sigma2: float) -> Array:
    """exp(-(yaw rate - command)^2 / sigma2); sigma2 in [rad^2/s^2]."""
    error = world.base_ang_vel[:, 2] - world.command[:, 2]
    return array_namespace(error).exp(-error * error / sigma2)


@_term
def base_height(world: World, _: Context, target: float) -> Array:
    """(height - target)^2 [m^2]."""
    return (world.base_height - target) ** 2


@_term
def lin_vel_z(world: World, _: Context) -> Array:
    """Vertical velocity squared [m^2/s^2]."""
    return world.base_lin_vel[:, 2] ** 2


@_term
def ang_vel_xy(world: World, _: Context) -> Array:
    """Roll and pitch rate squared [rad^2/s^2]."""
    return _sum2(world.base_ang_vel[:, :2])


@_term
def orientation(world: World, _: Context) -> Array:
    """Squared horizontal part of gravity in the body frame: sin^2 of the tilt."""
    return _sum2(world.projected_gravity[:, :2])


@_term
def torque(world: World, _: Context) -> Array:
    """Sum of squared torques [N^2 m^2]."""
    return _sum2(world.torque)


@_term
def action_rate(world: World, _: Context) -> Array:
    """Sum of squared changes of the raw action."""
    return _sum2(world.action - world.last_action)


@_term
def joint_acc(world: World, _: Context) -> Array:
    """Sum of squared joint accelerations [rad^2/s^4]."""
    return _sum2(world.joint_acc)


@_term
def joint_limits(world: World, context: Context) -> Array:
    """Sum of what joints are beyond the middle 95 % of their range [rad]."""
    xp = array_namespace(world.joint_pos)
    middle, half = context.soft_range[:, 0], context.soft_range[:, 1]
    beyond = xp.abs(world.joint_pos - middle) - half
    return xp.sum(xp.maximum(beyond, xp.zeros_like(beyond)), axis=-1)


@_term
def joint_pose(world: World, context: Context) -> Array:
    """Sum of squared distances to the default pose [rad^2]."""
    return _sum2(world.joint_pos - context.default_pose)


@_term
def contact_schedule(world: World, _: Context) -> Array:
    """Fraction of feet that are down in stance and up in swing."""
    xp = array_namespace(world.phase)
    agrees = xp.astype(world.foot_contact == (world.swing == 0), world.phase.dtype)
    return xp.mean(agrees, axis=-1)


@_term
def swing_height(world: World, context: Context) -> Array:
    """Mean over swinging feet's ((height - wanted) / swing height)^2."""
    xp = array_namespace(world.phase)
    schedule = context.schedule
    error = (world.foot_height - schedule.height(world.swing)) / schedule.swing_height
    return _mean2(xp.where(world.swing > 0, error, xp.zeros_like(error)))


@_term
def slip(world: World, _: Context) -> Array:
    """Mean squared horizontal velocity of feet on the ground [m^2/s^2]."""
    xp = array_namespace(world.phase)
    speed2 = _sum2(world.foot_vel_w[:, :, :2])
    return xp.mean(xp.where(world.foot_contact, speed2, xp.zeros_like(speed2)), axis=-1)


@_term
def stand_still(world: World, context: Context) -> Array:
    """While told to stand: sum of absolute distances to the default pose [rad]."""
    xp = array_namespace(world.phase)
    distance = xp.sum(xp.abs(world.joint_pos - context.default_pose), axis=-1)
    return xp.where(world.moving, xp.zeros_like(distance), distance)


class Rewards:
    """The weighted sum of a task's terms."""

    def __init__(self, weights: dict[str, dict[str, float]], context: Context, dt: float) -> None:
        """Resolve terms and parameters by name; an unknown one is an `InputError`.

        `termination` is no function of the state: its weight [reward] is given once, on failure.
        """
        weights = dict(weights)
        self.termination = np.float32(weights.pop("termination", {"weight": 0.0})["weight"] * dt)
        self.context = context
        self.terms: dict[str, tuple[Callable[..., Array], np.float32, dict[str, float]]] = {}
        for name, entry in weights.items():
            parameters = {k: v for k, v in entry.items() if k != "weight"}
            _check(name, parameters)
            self.terms[name] = (TERMS[name], np.float32(entry["weight"] * dt), parameters)
        self.names = (*self.terms, "termination")

    def compute(self, world: World, failed: Array) -> tuple[Array, Array]:
        """Return the reward (n,) and every weighted term (len(names), n)."""
        rows = np.empty((len(self.names), len(world.phase)), np.float32)
        for i, (name, (function, weight, parameters)) in enumerate(self.terms.items()):
            value = function(world, self.context, **parameters)
            if value.shape != rows[i].shape:
                raise ValueError(f"reward {name!r} has shape {value.shape}, not {rows[i].shape}")
            np.multiply(value, weight, out=rows[i])
        np.multiply(failed, self.termination, out=rows[-1])
        return rows.sum(axis=0), rows


def _check(name: str, parameters: dict[str, float]) -> None:
    if name not in TERMS:
        hint = strict.did_you_mean(name, (*TERMS, "termination"))
        raise InputError(f"task.rewards: unknown reward {name!r}{hint}")
    known = list(inspect.signature(TERMS[name]).parameters)[2:]
    for key in parameters:
        if key not in known:
            raise InputError(
                f"task.rewards.{name}: unknown parameter {key!r}; it takes weight"
                + "".join(f", {k}" for k in known)
            )
    missing = [k for k in known if k not in parameters]
    if missing:
        raise InputError(f"task.rewards.{name}: lacks {', '.join(missing)}")
