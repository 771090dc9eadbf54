"""The Gymnasium ids, one simulation or many: `robot_ppo/<Task>-v0`, `robot_ppo/HalfCheetah-v5`."""

from typing import Any

import gymnasium

from robot_ppo import project


def env_id(task: str) -> str:
    """Return the Gymnasium id of a task: "go2_walk" -> "robot_ppo/Go2Walk-v0"."""
    if task in project.GYM_TASKS:
        return f"robot_ppo/{task}"
    return f"robot_ppo/{''.join(word.capitalize() for word in task.split('_'))}-v0"


def register() -> None:
    """Register every shipped task, for `gymnasium.make` and `gymnasium.make_vec`."""
    for task in (*project.task_names(), *project.GYM_TASKS):
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


def _make_vec(
    task: str,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **kwargs: Any,
) -> gymnasium.vector.VectorEnv:
    """Return the vector environment of `task`; `max_episode_steps` as `gymnasium.make` takes it."""
    from robot_ppo import envs
    from robot_ppo.envs.batch_env import BatchEnv

    size = {key: kwargs.pop(key) for key in ("width", "height") if key in kwargs}
    limit = _checked_limit(max_episode_steps)
    env = envs.make_named(task, **kwargs)
    assert isinstance(env, BatchEnv)  # shipped tasks run on the native engine
    if limit is not None:
        env.max_ticks = min(env.max_ticks, limit)
    if render_mode is None:
        return env
    from robot_ppo.envs.view import Rendered

    return Rendered(env, render_mode, **size)


def _checked_limit(steps: int | None) -> int | None:
    """Return the steps after which an episode is cut off; None and -1: the task's own alone."""
    if steps is None or steps == -1:
        return None
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"max_episode_steps={steps!r}: must be an int from 1 on, or -1 for none")
    return steps
