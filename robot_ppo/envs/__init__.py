"""The simulated world as gymnasium VectorEnvs; `make` knows which class a task needs."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from robot_ppo.config import AnyTask, Config
    from robot_ppo.envs.environment import Environment


def make(config: "Config", num_envs: int | None = None, seed: int | None = None) -> "Environment":
    """Return the environment of a run, with another number of simulations or seed if given."""
    n = config.num_envs if num_envs is None else num_envs
    return make_task(config.task, n, config.threads, config.seed if seed is None else seed)


def make_task(
    task: "AnyTask", num_envs: int = 1, threads: int = 0, seed: int | None = None
) -> "Environment":
    """Return the environment of a task."""
    from robot_ppo import project
    from robot_ppo.config import Task

    if isinstance(task, Task):
        from robot_ppo.envs.robot.robot_env import RobotEnv

        robot = project.load_robot(task.robot)
        return cast("Environment", RobotEnv(task, robot, num_envs, threads, seed))
    if task.foreign_id is None:
        from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv

        return cast("Environment", MujocoVectorEnv(task.name, num_envs, threads, seed))
    from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv

    return cast("Environment", ForeignVectorEnv(task.foreign_id, num_envs, seed))
