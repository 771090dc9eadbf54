"""One run of the comparison: its score is that of its last whole episodes."""

import math

import numpy as np
import pytest
import torch

from benchmarks.ppo_paper import protocol, training
from benchmarks.ppo_paper.protocol import RANDOM, Run
from robot_ppo.training.train import Trainer

STEPS = 4096
RUN = Run("clip_0.2", "Reacher-v5", 3)  # an episode has 50 steps: several end in every rollout


class Silent:
    def log(self, trainer, figures, times):
        pass


def trained(config, folder, record):
    """Train by the plain loop; `record` hears of every step."""
    trainer = Trainer(config, folder)
    step = trainer.env.step

    def recorded(actions):
        out = step(actions)
        record(*out[1:4])
        return out

    trainer.env.step = recorded
    trainer.run(Silent())
    return trainer


def test_the_score_is_the_mean_of_the_last_hundred_episodes_that_were_whole(tmp_path):
    sums = np.zeros(8)
    lengths = np.zeros(8)
    returns = []
    cut = 0

    def record(reward, failed, truncated):
        nonlocal cut
        sums[:] += reward
        lengths[:] += 1
        for i in np.flatnonzero(failed | truncated):
            if truncated[i] and lengths[i] < 50:
                cut += 1
            else:
                returns.append(sums[i])
            sums[i] = lengths[i] = 0

    trainer = trained(RUN.config(STEPS), tmp_path, record)
    result, curve = training.train(RUN, STEPS)
    assert 0 < cut <= 8 and len(returns) > 100  # both sides of the law were there
    assert result.score == pytest.approx(np.mean(returns[-100:]), rel=1e-12)
    assert result.episodes == 100 and result.ended == "done" and result.run == RUN
    assert result.steps == trainer.steps == STEPS
    assert curve == [(2048, curve[0][1]), (4096, result.score)]
    assert 0 < result.seconds_physics < result.seconds_collect < result.seconds
    assert 0 < result.seconds_learn < result.seconds


def test_an_episode_that_was_cut_off_early_does_not_count():
    episodes = {
        "return": np.array([1.0, 2.0, 3.0, 4.0]),
        "episode_steps": np.array([50.0, 20.0, 20.0, 50.0]),
        "failed": np.array([0.0, 0.0, 1.0, 1.0]),
    }
    assert training.whole(episodes, limit=50).tolist() == [1.0, 3.0, 4.0]


def test_the_untrained_policy_stays_so(tmp_path):
    config = Run(RANDOM, "Reacher-v5", 1).config(STEPS)
    weights = [p.clone() for p in Trainer(config, tmp_path).learner.actor.parameters()]
    after = trained(config, tmp_path, lambda *_: None).learner.actor.parameters()
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))
    learned = trained(RUN.config(STEPS), tmp_path, lambda *_: None).learner.actor.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(weights, learned, strict=True))
    assert Run(RANDOM, "Reacher-v5", 1).config(10**6).steps == protocol.RANDOM_STEPS
    assert protocol.RANDOM_STEPS > 100 * 1000 + 8 * 1000


def test_a_run_that_diverges_is_a_result(monkeypatch):
    """The policy's output is soon not finite; the episodes until then are the score."""
    config = Run("unclipped", "Reacher-v5", 1).config(10 * STEPS)
    monkeypatch.setattr(
        Run,
        "config",
        lambda run, steps: protocol.config.load(
            run.task, "ppo_paper", ["ppo.objective=unclipped", "ppo.learning_rate=1e9"], steps=steps
        ),
    )
    result, curve = training.train(Run("unclipped", "Reacher-v5", 1), config.steps)
    assert result.ended == "diverged" and 0 < result.steps < config.steps
    assert math.isfinite(result.score) and result.episodes > 0
    assert all(steps <= result.steps for steps, _ in curve)


def test_a_run_whose_sweep_is_gone_ends():
    watch = training.Watch(RUN.config(STEPS), alive=lambda: False)
    with pytest.raises(training.Stopped):
        watch.log(None, {}, {})  # type: ignore[arg-type]  # it is not looked at any more
