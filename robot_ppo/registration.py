"""The Gymnasium ids: `robot_ppo/<Task>-v0`, one robot or many."""

from typing import Any

import gymnasium

from robot_ppo import assets


def env_id(task: str) -> str:
    """Return the Gymnasium id of a task: "go2_walk" -> "robot_ppo/Go2Walk-v0"."""
    return f"robot_ppo/{''.join(word.capitalize() for word in task.split('_'))}-v0"


def register() -> None:
    """Register every shipped task, for `gymnasium.make` and `gymnasium.make_vec`."""
    for task in assets.task_names():
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                id=env_id(task),
                entry_point=_make,
                vector_entry_point=_make_vec,
                kwargs={"task": task},
            )


def _make(**kwargs: Any) -> gymnasium.Env:
    from robot_ppo.envs.single_env import SingleEnv

    return SingleEnv(**kwargs)


def _make_vec(**kwargs: Any) -> gymnasium.vector.VectorEnv:
    from robot_ppo.envs.robot_env import make

    return make(**kwargs)
