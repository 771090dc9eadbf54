"""The passes by hand against autograd's."""

import numpy as np
import pytest
import torch

from robot_ppo.ppo import mlp, networks

SIZES = [(4, 3), (4, 6, 3), (5, 7, 6, 1), (3, 9, 2, 8, 4)]


def pair(sizes, activation):
    """Return a torch network in double precision, and the passes on copies of its weights."""
    torch.manual_seed(0)
    network = networks.mlp(sizes, activation, 1.0, "default").double()
    linear = [m for m in network if isinstance(m, torch.nn.Linear)]
    layers = [torch.cat((m.weight, m.bias[:, None]), 1).detach().numpy() for m in linear]
    return network, mlp.Mlp(layers, [np.full_like(x, np.nan) for x in layers], activation)


def inputs(m, size, seed=0):
    return np.random.default_rng(seed).normal(size=(m, size))


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
@pytest.mark.parametrize("sizes", SIZES)
def test_passes_are_those_of_autograd(sizes, activation):
    network, ours = pair(sizes, activation)
    for m in (7, 1, 20, 7):  # buffers are used again
        x = inputs(m, sizes[0], m)
        gradient = inputs(m, sizes[-1], m + 1)
        y = network(torch.from_numpy(x))
        assert np.allclose(ours.forward(mlp.with_one(x)).T, y.detach(), rtol=0, atol=1e-14)
        wanted = torch.autograd.grad(y, list(network.parameters()), torch.from_numpy(gradient))
        ours.backward(gradient.T)
        for i, found in enumerate(ours.gradients):
            assert np.allclose(found[:, :-1], wanted[2 * i], rtol=0, atol=1e-12)
            assert np.allclose(found[:, -1], wanted[2 * i + 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
def test_activations_at_their_kink_and_far_out_are_torchs(activation):
    z = np.array([-1e4, -90.0, -1.0, -1e-9, 0.0, 1e-9, 1.0, 90.0, 1e4], np.float32)
    x = torch.from_numpy(z.copy()).requires_grad_()
    wanted = networks.ACTIVATIONS[activation]()(x)
    (slope,) = torch.autograd.grad(wanted.sum(), x)
    kept = np.empty_like(z)
    zeros = np.zeros_like(z)
    mlp.ACTIVATIONS[activation].apply(z, kept, zeros)
    mlp.ACTIVATIONS[activation].slope(z, kept, zeros)
    assert np.allclose(z, wanted.detach(), rtol=1e-6, atol=1e-7)
    assert np.allclose(kept, slope, rtol=1e-6, atol=1e-7)


def test_every_activation_of_the_networks_is_here():
    assert mlp.ACTIVATIONS.keys() == networks.ACTIVATIONS.keys()


def test_the_weights_are_read_at_every_pass():
    network, ours = pair((3, 4, 2), "tanh")
    x = inputs(5, 3)
    before = ours.forward(mlp.with_one(x))
    ours.layers[0][...] *= 2
    with torch.no_grad():
        network[0].weight.mul_(2)
        network[0].bias.mul_(2)
        after = network(torch.from_numpy(x))
    assert np.allclose(ours.forward(mlp.with_one(x)).T, after, rtol=0, atol=1e-14)
    assert not np.allclose(before.T, after, atol=1e-3)


def test_rows_get_a_one():
    assert np.array_equal(mlp.with_one(np.array([[2.0, 3.0]])), [[2.0, 3.0, 1.0]])
    assert mlp.with_one(np.zeros((2, 3), np.float32)).dtype == np.float32


@pytest.mark.parametrize("sizes", SIZES)
def test_pieces_add_up_to_the_gradient_of_the_whole(sizes):
    _, ours = pair(sizes, "tanh")
    x = inputs(20, sizes[0])
    gradient = inputs(20, sizes[-1], 1)
    ours.forward(mlp.with_one(x))
    ours.backward(gradient.T)
    whole = [g.copy() for g in ours.gradients]
    for rows in (slice(0, 7), slice(7, 20)):
        ours.forward(mlp.with_one(x[rows]))
        ours.backward(gradient[rows].T, first=rows.start == 0)
    for a, b in zip(ours.gradients, whole, strict=True):
        assert np.allclose(a, b, rtol=0, atol=1e-12)
