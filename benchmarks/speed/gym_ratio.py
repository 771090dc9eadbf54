"""Environment steps/s beside `gymnasium.make_vec`, sync and async."""

import time
from importlib.util import find_spec
from statistics import median
from typing import Any

import gymnasium
import numpy as np

from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo_export.errors import InputError

TASKS = ("HalfCheetah-v5", "Humanoid-v5")
SIMULATIONS = 64


def bench_gym(rounds: int = 7, steps: int = 100) -> dict[str, Any]:
    """Return steps/s of ours and of the two kinds of `make_vec`, random actions, resets included.

    The three take turns, `steps` control steps each, so that a noisy machine disturbs all alike;
    figures are medians over `rounds`, after one that does not count.
    """
    if find_spec("imageio") is None:
        raise InputError("gymnasium's own MuJoCo tasks need imageio: pip install imageio")
    figures: dict[str, Any] = {"simulations": SIMULATIONS}
    for task in TASKS:
        figures |= _compare(task, rounds, steps)
    return figures


def _compare(task: str, rounds: int, steps: int) -> dict[str, Any]:
    ours = MujocoVectorEnv(task, SIMULATIONS, seed=0)
    theirs = {way: gymnasium.make_vec(task, SIMULATIONS, way) for way in ("sync", "async")}
    ours.action_space.seed(0)
    actions = [ours.action_space.sample() for _ in range(steps)]
    for env in (ours, *theirs.values()):
        env.reset(seed=0)
    times: dict[str, list[float]] = {name: [] for name in ("ours", *theirs)}
    for _ in range(rounds + 1):
        times["ours"].append(_seconds(ours, actions))
        for way, env in theirs.items():
            times[way].append(_seconds(env, actions))
    for env in (ours, *theirs.values()):
        env.close()
    speed = {name: SIMULATIONS * steps / median(t[1:]) for name, t in times.items()}
    result: dict[str, Any] = {f"{task}_{name}_per_second": round(v) for name, v in speed.items()}
    result[f"{task}_ratio"] = round(speed["ours"] / max(speed["sync"], speed["async"]), 2)
    return result


def _seconds(env: gymnasium.vector.VectorEnv, actions: list[np.ndarray]) -> float:
    begin = time.perf_counter()
    for action in actions:
        env.step(action)
    return time.perf_counter() - begin
