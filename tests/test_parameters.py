"""Parameters as one vector, and Adam on it."""

import copy

import env_helpers as helpers
import pytest
import torch
from ppo_helpers import ACTIONS, NETWORKS, SIZE

from robot_ppo.ppo import mlp, trpo
from robot_ppo.ppo.networks import Actor
from robot_ppo.ppo.optimizer import Adam
from robot_ppo.ppo.parameters import FlatParameters


def actor(std="global"):
    torch.manual_seed(0)
    return Actor(SIZE, ACTIONS, helpers.replace(NETWORKS, std=std))


def parameters(model, side_by_side):
    return FlatParameters(model, mlp.layers(model) if side_by_side else ())


@pytest.mark.parametrize(
    ("std", "side_by_side"), [("global", True), ("global", False), ("state", False)]
)
def test_the_tensors_keep_their_values_and_share_the_vector(std, side_by_side):
    one = actor(std)
    plain = actor(std)
    flat = parameters(one, side_by_side)
    wanted = torch.cat([p.detach().flatten() for p in plain.parameters()])
    vector = flat.vector.detach()
    assert torch.equal(flat.in_order(vector), wanted)
    assert torch.equal(flat.from_order(wanted), vector)
    assert torch.equal(vector, wanted) == (not side_by_side)
    vector += 1
    flat.gradient[:] = 2 * vector
    for p, old in zip(one.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, old + 1) and torch.equal(p.grad, 2 * (old + 1))


def test_a_layer_is_its_weights_and_its_bias():
    one = actor()
    flat = parameters(one, True)
    assert [tuple(x.shape) for x in flat.layers] == [(16, SIZE + 1), (16, 17), (ACTIONS, 17)]
    assert torch.equal(flat.layers[1][:, :-1], one.mlp[2].weight)
    assert torch.equal(flat.layers[1][:, -1], one.mlp[2].bias)


def loss(model, x):
    mean, log_std = model.distribution(x)
    return mean.square().mean() + log_std.exp().mean()


def slopes(model, x):
    """The gradient of that loss, in the order of the tensors, (p,)."""
    return trpo.flat(torch.autograd.grad(loss(model, x), list(model.parameters())))


@pytest.mark.parametrize("side_by_side", [True, False])
def test_adam_over_one_vector_is_adam_over_the_tensors(side_by_side):
    ours = actor()
    plain = actor()
    flat = parameters(ours, side_by_side)
    adam = Adam(flat)
    theirs = torch.optim.Adam(plain.parameters(), 1e-2)
    for i in range(10):
        x = torch.randn(16, SIZE)
        flat.gradient[:] = flat.from_order(slopes(ours, x))
        theirs.zero_grad()
        loss(plain, x).backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.1 / (i + 1))
        assert flat.clip_grad_norm(0.1 / (i + 1)) == pytest.approx(norm.item(), rel=1e-5)
        theirs.param_groups[0]["lr"] = 1e-2 / (i + 1)
        theirs.step()
        adam.step(1e-2 / (i + 1))
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_step_is_that_of_torchs_fused_adam_to_the_bit():
    flat = parameters(actor(), True)
    theirs = torch.nn.Parameter(flat.vector.detach().clone())
    adam = Adam(flat)
    optimizer = torch.optim.Adam([theirs], fused=True)
    for i in range(5):
        flat.gradient.normal_()
        theirs.grad = flat.gradient.clone()
        optimizer.param_groups[0]["lr"] = 1e-2 / (i + 1)
        optimizer.step()
        adam.step(1e-2 / (i + 1))
    assert torch.equal(flat.vector, theirs)


def test_a_short_gradient_is_not_clipped():
    flat = parameters(actor(), True)
    flat.gradient[:2] = torch.tensor([3.0, 4.0])
    assert flat.clip_grad_norm(5.1) == pytest.approx(5)
    assert flat.gradient[:2].tolist() == [3, 4]
    assert flat.clip_grad_norm(1.0) == pytest.approx(5)
    assert flat.gradient[:2].tolist() == pytest.approx([0.6, 0.8])


def test_adam_goes_on_from_its_state():
    """Also where the parameters lie in another order."""
    first = parameters(actor(), True)
    second = parameters(actor(), False)
    one = Adam(first)
    two = Adam(second)

    def step(adam, flat, seed):
        generator = torch.Generator().manual_seed(seed)
        flat.gradient[:] = flat.from_order(torch.randn(len(flat.gradient), generator=generator))
        adam.step(1e-2)

    step(one, first, 0)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    second.vector.data[:] = second.from_order(first.in_order(first.vector.detach()))
    for adam, flat in ((one, first), (two, second)):
        step(adam, flat, 1)
    vectors = [flat.in_order(flat.vector.detach()) for flat in (first, second)]
    assert torch.allclose(*vectors, rtol=1e-6, atol=1e-7)


def test_the_state_is_in_the_order_of_the_tensors():
    """As of any optimizer over the model: a file does not depend on the layout in memory."""
    flat = parameters(actor(), True)
    adam = Adam(flat)
    gradient = slopes(actor(), torch.randn(4, SIZE))
    flat.gradient[:] = flat.from_order(gradient)
    adam.step(1e-3)
    assert torch.allclose(adam.state_dict()["exp_avg"], 0.1 * gradient, rtol=1e-5)
