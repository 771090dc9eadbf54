"""A task that cannot be solved without memory: a cue is shown once, and asked for ever after.

Solved by a cell and by a history of observations, not by an MLP that sees the newest one alone.
"""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import FrameStackObservation

from robot_ppo import cli
from robot_ppo.evaluation import gym_evaluation
from robot_ppo.training.checkpoint import Checkpoints, load_actor

LONGEST = 12
STEPS = 24_000
CUE = 0.8
BLIND = -(CUE**2)
"""Reward of a step at best for who does not know the cue, which is as often above 0 as below."""


class Cue(gymnasium.Env):
    """Episodes of 8 to 12 steps. The cue is in the first observation; say it at every step."""

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cue = CUE * self.np_random.choice([-1.0, 1.0])
        self.left = self.np_random.integers(8, LONGEST, endpoint=True)
        return np.array([self.cue, 1.0], np.float32), {}

    def step(self, action):
        self.left -= 1
        reward = -float((action[0] - self.cue) ** 2)
        return np.zeros(2, np.float32), reward, bool(self.left == 0), False, {}


@pytest.fixture(autouse=True)
def registry():
    before = dict(gymnasium.registry)
    gymnasium.register("Test/Cue-v0", entry_point=Cue)
    gymnasium.register(
        "Test/CueHistory-v0", entry_point=lambda: FrameStackObservation(Cue(), LONGEST)
    )
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


COMMON = (
    "num_envs=32",
    "rollout=16",
    "ppo.epochs=4",
    "ppo.minibatches=2",
    "ppo.recompute_advantages=false",
    "ppo.gamma=0.5",
    "ppo.learning_rate=3e-3",
    "ppo.critic_learning_rate=3e-3",
    "ppo.learning_rate_schedule=constant",
    "networks.actor=[16]",
    "networks.critic=[16]",
    "threads=1",
)


def per_step(run, task, steps, *settings):
    """Train, and return the mean reward per step of the mean action, in episodes of its own."""
    sets = [word for key in (*COMMON, *settings) for word in ("--set", key)]
    arguments = ["train", f"gym:Test/{task}", "--out", str(run), "--steps", str(steps), *sets]
    assert cli.main(arguments) == 0
    checkpoints = Checkpoints(run)
    newest = checkpoints.newest()
    config = checkpoints.settings(newest)
    score = gym_evaluation.evaluate(config, load_actor(config, newest), episodes=64)
    return score.returns.sum() / score.lengths.sum()


def cells(cell):
    memory = f"{{cell: {cell}, units: 16}}"
    return f"networks.actor_memory={memory}", f"networks.critic_memory={memory}"


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_a_cell_solves_it(cell, tmp_path):
    assert per_step(tmp_path / "run", "Cue-v0", STEPS, *cells(cell)) > 0.1 * BLIND


def test_so_does_a_history(tmp_path):
    assert per_step(tmp_path / "run", "CueHistory-v0", STEPS) > 0.1 * BLIND


def test_without_either_nobody_can(tmp_path):
    assert per_step(tmp_path / "run", "Cue-v0", STEPS) < 0.8 * BLIND


@pytest.mark.slow
def test_sequences_span_rollouts(tmp_path):
    """Rollouts of half an episode: what was seen in the one is known in the next."""
    settings = ("rollout=6", "num_envs=64", *cells("gru"))
    assert per_step(tmp_path / "run", "Cue-v0", 60_000, *settings) > 0.2 * BLIND
