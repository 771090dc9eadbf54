"""Parameters as one vector, and Adam on it."""

import copy

import env_helpers as helpers
import numpy as np
import pytest
import torch
from ppo_helpers import ACTIONS, NETWORKS, SIZE

from robot_ppo.ppo import trpo
from robot_ppo.ppo.adam import Adam
from robot_ppo.ppo.networks import Actor
from robot_ppo.ppo.parameters import FlatParameters


def actor(std="global"):
    torch.manual_seed(0)
    return Actor(SIZE, ACTIONS, helpers.replace(NETWORKS, std=std))


@pytest.mark.parametrize("std", ["global", "state"])
def test_the_tensors_keep_their_values_and_share_the_vector(std):
    one, plain = actor(std), actor(std)
    flat = FlatParameters(one)
    wanted = torch.cat([p.detach().flatten() for p in plain.parameters()])
    assert np.array_equal(flat.vector[flat.order], wanted)
    assert np.array_equal(np.sort(flat.order), np.arange(len(wanted)))
    flat.vector += 1
    flat.gradient[:] = 2 * flat.vector
    for p, old in zip(one.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, old + 1) and torch.equal(p.grad, 2 * (old + 1))


@pytest.mark.parametrize("std", ["global", "state"])
def test_a_layer_is_its_weights_and_its_bias(std):
    one = actor(std)
    flat = FlatParameters(one)
    assert [x.shape for x in flat.layers[:2]] == [(16, SIZE + 1), (16, 17)]
    assert torch.equal(torch.from_numpy(flat.layers[1][:, :-1]), one.mlp[2].weight)
    assert torch.equal(torch.from_numpy(flat.layers[1][:, -1]), one.mlp[2].bias)
    assert len(flat.layers[2]) == (ACTIONS if std == "global" else 2 * ACTIONS)
    if one.log_std_head is not None:
        assert torch.equal(torch.from_numpy(flat.layers[2][ACTIONS:, -1]), one.log_std)


def loss(model, x):
    mean, log_std = model.distribution(x)
    return mean.square().mean() + log_std.exp().mean()


def slopes(model, x):
    """The gradient of that loss, in the order of the tensors, (p,)."""
    return trpo.flat(torch.autograd.grad(loss(model, x), list(model.parameters())))


def test_adam_over_one_vector_is_adam_over_the_tensors():
    ours, plain = actor("state"), actor("state")
    flat = FlatParameters(ours)
    adam, theirs = Adam(flat), torch.optim.Adam(plain.parameters(), 1e-2)
    for i in range(10):
        x = torch.randn(16, SIZE)
        flat.gradient[flat.order] = slopes(ours, x)
        theirs.zero_grad()
        loss(plain, x).backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1 / (i + 1))
        assert flat.limit(0.1 / (i + 1)) == pytest.approx(norm.item(), rel=1e-5)
        theirs.param_groups[0]["lr"] = 1e-2 / (i + 1)
        theirs.step()
        adam.step(1e-2 / (i + 1))
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_short_gradient_is_not_limited():
    flat = FlatParameters(actor())
    flat.gradient[:2] = 3.0, 4.0
    assert flat.limit(5.1) == pytest.approx(5)
    assert np.array_equal(flat.gradient[:2], np.array([3, 4], np.float32))
    assert flat.limit(1.0) == pytest.approx(5)
    assert np.allclose(flat.gradient[:2], [0.6, 0.8])


def test_adam_goes_on_from_its_state():
    first, second = FlatParameters(actor()), FlatParameters(actor())
    one, two = Adam(first), Adam(second)

    def step(adam, seed):
        rng = np.random.default_rng(seed)
        gradient = adam.parameters.gradient
        gradient[:] = rng.normal(size=gradient.shape)
        adam.step(1e-2)

    step(one, 0)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    second.vector[:] = first.vector
    for adam in (one, two):
        step(adam, 1)
    assert np.array_equal(first.vector, second.vector)


def test_the_state_is_in_the_order_of_the_tensors():
    """As of any optimizer over the model: a file does not depend on the layout in memory."""
    flat = FlatParameters(actor())
    adam, gradient = Adam(flat), slopes(actor(), torch.randn(4, SIZE))
    flat.gradient[flat.order] = gradient
    adam.step(1e-3)
    assert torch.allclose(adam.state_dict()["exp_avg"], 0.1 * gradient, rtol=1e-5)
