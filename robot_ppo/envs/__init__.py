"""The simulated world as gymnasium VectorEnvs; `make` knows which class a task needs."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_ppo.config import AnyTask, Config, Task
    from robot_ppo.envs.batch_env import BatchEnv
    from robot_ppo.envs.environment import Environment
    from robot_ppo.mirror import Symmetry

log = logging.getLogger(__name__)


def make(config: "Config", num_envs: int | None = None, seed: int | None = None) -> "Environment":
    """Return the environment of a run, with another number of simulations or seed if given."""
    from robot_ppo.config import Task

    n = config.num_envs if num_envs is None else num_envs
    seed = config.seed if seed is None else seed
    if config.engine == "warp" and isinstance(config.task, Task):
        return on_device(config.task, n, seed, config.device)
    return make_task(config.task, n, config.threads, seed)


def on_device(task: "Task", num_envs: int, seed: int | None, device: str) -> "Environment":
    """Return the environment of a robot's task on mujoco_warp, whose arrays are on `device`."""
    from robot_ppo import project
    from robot_ppo.envs.robot.warp_env import WarpEnv

    return WarpEnv(task, project.load_robot(task.robot), num_envs, seed, device)


def make_named(
    name: str, num_envs: int = 1, threads: int = 0, seed: int | None = None
) -> "Environment":
    """Return the environment of a task by name; an error names the file that its key is in."""
    from robot_ppo import config

    with config.layers_of(name).naming():
        return make_task(config.load_task(name), num_envs, threads, seed)


def make_task(
    task: "AnyTask", num_envs: int = 1, threads: int = 0, seed: int | None = None
) -> "Environment":
    """Return the environment of a task."""
    from robot_ppo.config import Task

    if isinstance(task, Task) or task.foreign_id is None:
        return native(task, num_envs, threads, seed)
    from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv

    return ForeignVectorEnv(task.foreign_id, num_envs, seed)


def native(
    task: "AnyTask", num_envs: int = 1, threads: int = 0, seed: int | None = None
) -> "BatchEnv":
    """Return the environment of a task that runs on the native engine."""
    from robot_ppo import project
    from robot_ppo.config import Task

    if isinstance(task, Task):
        from robot_ppo.envs.robot.robot_env import RobotEnv

        return RobotEnv(task, project.load_robot(task.robot), num_envs, threads, seed)
    from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv

    return MujocoVectorEnv(task.name, num_envs, threads, seed)


def symmetry(env: "Environment", wanted: "bool | str" = True) -> "Symmetry | None":
    """Return how left and right are exchanged in what an environment tells and is told.

    Args:
        env: any.
        wanted: `networks.symmetric`: False returns None, and "auto" does where there is no mirror
            image, after saying why.

    Raises:
        InputError: it is wanted and robot or task do not have a mirror image.
    """
    from robot_ppo.envs.robot.mirrored import symmetry as of_robot
    from robot_ppo.envs.robot.robot_env import RobotEnv
    from robot_ppo_export.errors import InputError

    if wanted is False:
        return None
    try:
        if not isinstance(env, RobotEnv):
            raise InputError("`networks.symmetric`: only tasks of robots have a mirror image")
        return of_robot(env)
    except InputError as error:
        if wanted != "auto":
            raise
        log.warning("left and right are learned apart: %s", error)
        return None
