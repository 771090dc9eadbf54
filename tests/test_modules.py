"""Modules that are not MLPs learn by the protocol of networks.py, by autograd."""

import pytest
import torch
from ppo_helpers import ACTIONS, SIZE, bandit_step, learner
from torch import nn

from robot_ppo.ppo import autograd
from robot_ppo.ppo.networks import Policy, Value
from robot_ppo.ppo.update import Learner

WIDTH = 24


class GatedPolicy(Policy):
    """A product of two branches, and a common deviation."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Linear(SIZE, WIDTH)
        self.gate = nn.Linear(SIZE, WIDTH)
        self.mean = nn.Bilinear(WIDTH, WIDTH, ACTIONS)
        self.log_std = nn.Parameter(torch.full((ACTIONS,), -0.7))
        self.updates = 0

    def distribution(self, observations):
        branch = torch.sin(self.branch(observations))
        gate = torch.tanh(self.gate(observations))
        return self.mean(branch, gate), self.log_std

    def update_normalizer(self, observations):
        self.updates += len(observations)


class AttentionValue(Value):
    """Entries of the observation attend to each other."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(1, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.value = nn.Linear(8, 1)

    def forward(self, observations):
        tokens = self.embed(observations[..., None])
        return self.value(self.attend(tokens, tokens, tokens)[0].mean(1)).squeeze(-1)


@pytest.fixture
def gated():
    settings = learner(
        epochs=5, minibatches=2, learning_rate=3e-3, critic_learning_rate=3e-3
    ).config
    torch.manual_seed(0)
    return Learner(settings, GatedPolicy(), AttentionValue())


def test_a_policy_and_a_value_that_are_no_mlps_learn_the_bandit(gated):
    assert isinstance(gated.actor_pass, autograd.Autograd)
    start = [p.clone() for p in gated.critic.parameters()]
    errors = [bandit_step(gated, i)[0] for i in range(40)]
    assert errors[0] > 0.4 and errors[-1] < 0.75 * errors[0]
    assert gated.actor.updates == 40 * 4 * 64
    moved = zip(gated.critic.parameters(), start, strict=True)
    assert sum((now - old).abs().sum() for now, old in moved) > 1


def test_they_are_taken_up_as_if_they_had_not_stopped(gated):
    settings = gated.config
    for i in range(2):
        bandit_step(gated, i)
    other = Learner(settings, GatedPolicy(), AttentionValue())
    other.load_state_dict(gated.state_dict())
    for one in (gated, other):
        bandit_step(one, 2)
    for a, b in zip(gated.actor.parameters(), other.actor.parameters(), strict=True):
        assert torch.equal(a, b)
