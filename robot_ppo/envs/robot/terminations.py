"""What counts as a failure: name -> f(world, limits) -> (n,) bool.

The time limit is not here: it is not a failure, and what was still to come is bootstrapped.
"""

from collections.abc import Callable

from robot_ppo.config import Terminations
from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array


def tilt(world: World, limits: Terminations) -> Array:
    """Body z leans more than `tilt` [rad] away from world z."""
    return frames.tilt(world.base_quat) > limits.tilt


def base_height(world: World, limits: Terminations) -> Array:
    """The base is lower than `base_height` [m]."""
    return world.base_height < limits.base_height


TERMS: dict[str, Callable[[World, Terminations], Array]] = {
    "tilt": tilt,
    "base_height": base_height,
}
