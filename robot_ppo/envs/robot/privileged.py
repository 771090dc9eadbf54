"""Privileged terms: what the critic sees and an actor never may, because no robot measures it.

name -> f(world) -> (n, k). Scales keep each near one; the critic normalizes besides.
"""

from collections.abc import Callable

from array_api_compat import array_namespace

from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.errors import InputError

TERMS: dict[str, Callable[[World], Array]] = {}


def _term(function: Callable[[World], Array]) -> Callable[[World], Array]:
    TERMS[function.__name__] = function
    return function


@_term
def base_lin_vel(world: World) -> Array:
    """Base velocity in the body frame [m/s], (n, 3)."""
    return world.base_lin_vel


@_term
def base_ang_vel_true(world: World) -> Array:
    """Base angular velocity without noise or delay [rad/s], (n, 3)."""
    return world.base_ang_vel


@_term
def projected_gravity_true(world: World) -> Array:
    """Gravity in the body frame without noise or delay, (n, 3)."""
    return world.projected_gravity


@_term
def base_height(world: World) -> Array:
    """Height of the base [m], (n, 1)."""
    return world.base_height[:, None]


@_term
def joint_pos_true(world: World) -> Array:
    """Joint angles without noise, delay or offset [rad], (n, joints)."""
    return world.joint_pos


@_term
def joint_vel_true(world: World) -> Array:
    """Joint velocities without noise or delay [rad/s], (n, joints)."""
    return world.joint_vel


@_term
def foot_height(world: World) -> Array:
    """Clearance of each foot [m], (n, feet)."""
    return world.foot_height


@_term
def foot_contact(world: World) -> Array:
    """1 where a foot touches the ground, (n, feet)."""
    xp = array_namespace(world.phase)
    return xp.astype(world.foot_contact, world.phase.dtype)


@_term
def randomized(world: World) -> Array:
    """This episode's randomization draws in [-1, 1], (n, r)."""
    return world.randomized


def compute(names: tuple[str, ...], world: World) -> Array:
    """Return the privileged terms `names`, side by side, (n, size); (n, 0) of none."""
    xp = array_namespace(world.phase)
    if not names:
        return xp.empty((len(world.phase), 0), dtype=world.phase.dtype)
    return xp.concat([TERMS[name](world) for name in names], axis=-1)


def check(names: tuple[str, ...]) -> None:
    """Raise `InputError` with the list of terms if one does not exist."""
    for name in names:
        if name not in TERMS:
            hint = strict.did_you_mean(name, TERMS)
            raise InputError(f"task.privileged: unknown term {name!r}{hint}")
