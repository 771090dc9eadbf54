"""Environments of both engines, and how far apart they are after a control step."""

import dataclasses

import env_helpers as helpers
import numpy as np
import pytest
import torch

from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.envs.robot.warp_env import WarpEnv
from robot_ppo.sim import warp_engine

missing = warp_engine.missing()


def simulated(test):
    """Marks what compiles kernels of Warp."""
    return pytest.mark.slow(pytest.mark.skipif(missing is not None, reason=missing or "")(test))


def quiet(task, **physics):
    """A task without noise, by a solver that converges unless `physics` say otherwise."""
    settings = {"iterations": 100, "ls_iterations": 50} | physics
    return helpers.replace(task, noise={}, physics=helpers.replace(task.physics, **settings))


N = 8
CONVERGED = quiet(helpers.shipped().task).physics
"""After 3 iterations both solvers are cut off, each somewhere else (tests/test_warp_engine.py)."""


def task_of(**changes):
    """The shipped task with every randomization but packets, pushes, and no noise."""
    wanted = {"randomization": helpers.PROMPT, "noise": {}, "physics": CONVERGED}
    return helpers.loud(**wanted | changes)


def watch(env):
    """Let an environment keep the newest world and its weighted rewards as `seen`."""
    compute = env.rewards.compute

    def keep(world):
        reward, terms = compute(world)
        env.seen = (world, terms)
        return reward, terms

    env.rewards.compute = keep
    return env


def pair(n=N, seed=4, **changes):
    """An environment of each kind whose episodes start alike: without noise both draw the same."""
    return pair_of(task_of(**changes), helpers.robot(), n, seed)


def pair_of(task, robot, n=N, seed=4):
    """The same of any task."""
    plain = watch(RobotEnv(task, robot, n, 1, seed))
    twin = watch(WarpEnv(task, robot, n, seed, "cpu"))
    assert plain._rng.bit_generator.state == twin._rng.bit_generator.state
    return plain, twin


def numbers(world):
    """Every field of a world that holds numbers, as numpy's arrays."""
    values = {f.name: getattr(world, f.name) for f in dataclasses.fields(world)}
    held = {name: v for name, v in values.items() if isinstance(v, np.ndarray | torch.Tensor)}
    return {name: np.asarray(v).astype(np.float64) for name, v in held.items()}


def gaps(plain, twin, actions):
    """Step both; return name -> largest difference in each simulation, of its largest number."""
    ours = plain.step(actions)
    theirs = twin.step(torch.from_numpy(actions))
    assert ours[2].tolist() == theirs[2].tolist()
    assert ours[3].tolist() == theirs[3].tolist()
    mine = everything(plain, ours)
    its = everything(twin, theirs)
    assert mine.keys() == its.keys()
    return {name: gap(values, its[name]) for name, values in mine.items()}


def everything(env, step):
    """What the newest step shows: its world, the parts of its reward, what was observed."""
    world, terms = env.seen
    parts = {f"reward {name}": terms[i] for i, name in enumerate(env.rewards.names)}
    seen = {f"observed {name}": rows for name, rows in step[4]["observations"].items()}
    rows = parts | seen | {"reward": step[1]}
    return numbers(world) | {name: np.float64(np.asarray(v)) for name, v in rows.items()}


def gap(ours, theirs):
    """Largest difference (n,), of the largest of these numbers where that is above 1."""
    assert ours.shape == theirs.shape
    apart = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1, initial=0.0)
    return apart / max(1.0, float(np.abs(ours).max(initial=0.0)))
