"""Failures that end an episode: name -> f(world, *, parameters) -> (n,) bool.

The time limit is not here: it is not a failure, and what was still to come is bootstrapped.
"""

from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.tables import Positive, Table

TERMINATIONS = Table("termination")


@TERMINATIONS.add()
def tilt(world: World, *, limit: Positive) -> Array:
    """Body z leans more than `limit` [rad] away from world z."""
    return frames.tilt(world.base_quat) > limit


@TERMINATIONS.add()
def base_height(world: World, *, limit: float) -> Array:
    """The base is lower than `limit` [m]."""
    return world.base_height < limit


@TERMINATIONS.add()
def sunk(world: World, *, fraction: Positive) -> Array:
    """The base is lower than `fraction` of its height in the default pose."""
    return world.base_height < fraction * world.constants.home_height


@TERMINATIONS.add(reads=("base_clearance",))
def base_contact(world: World) -> Array:
    """A collision geom of the base is on the ground, whether or not `physics` lets it collide."""
    assert world.base_clearance is not None
    return world.base_clearance <= 0
