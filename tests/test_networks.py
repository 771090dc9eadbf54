"""Actor, critic, and the normalizer inside them."""

import math

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from robot_ppo.config import Networks
from robot_ppo.ppo.networks import ACTIVATIONS, Actor, Critic, Normalizer, mlp

SIZE = 7
ACTIONS = 3
CONFIG = Networks(actor=(16, 8), critic=(16, 8), activation="elu", init_std=0.4, obs_clip=3.0)


def observations(m, seed=0, shift=5.0, scale=10.0):
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(m, SIZE, generator=generator)


# -- the normalizer -----------------------------------------------------------------------------


def test_pieces_counted_in_one_by_one_are_all_counted_at_once():
    data = observations(1000, scale=30.0)
    pieces = Normalizer(SIZE, 10.0)
    whole = Normalizer(SIZE, 10.0)
    for piece in data.split([1, 9, 290, 700]):
        pieces.update(piece)
    whole.update(data)
    assert torch.allclose(pieces.mean, data.double().mean(0), rtol=1e-12)
    assert torch.allclose(pieces.var, data.double().var(0, correction=0), rtol=1e-12)
    for a, b in zip(pieces.buffers(), whole.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-12)
    assert pieces.count == 1000


def test_far_from_zero_the_variance_is_still_right():
    """Sums of squares would lose it."""
    data = 1e6 + observations(1000, shift=0.0, scale=1e-1)
    normalizer = Normalizer(SIZE, 10.0)
    for piece in data.split(100):
        normalizer.update(piece)
    assert torch.allclose(normalizer.var, data.double().var(0, correction=0), rtol=1e-6)


def test_a_new_normalizer_is_the_identity_inside_its_clip():
    x = torch.linspace(-2.9, 2.9, SIZE)
    assert torch.equal(Normalizer(SIZE, 3.0)(x), x)
    assert torch.equal(Normalizer(SIZE, 1.0)(x), x.clamp(-1, 1))


def test_what_was_counted_comes_out_with_mean_zero_and_deviation_one():
    data = observations(2000)
    normalizer = Normalizer(SIZE, 100.0)
    normalizer.update(data)
    out = normalizer(data)
    assert torch.allclose(out.mean(0), torch.zeros(SIZE), atol=1e-5)
    assert torch.allclose(out.std(0), torch.ones(SIZE), atol=1e-3)
    assert out.dtype == torch.float32


def test_a_constant_observation_is_not_divided_by_zero():
    normalizer = Normalizer(SIZE, 10.0)
    normalizer.update(torch.full((50, SIZE), 4.0))
    assert torch.equal(normalizer(torch.full((1, SIZE), 4.0)), torch.zeros(1, SIZE))
    assert torch.isfinite(normalizer(torch.full((1, SIZE), 5.0))).all()


def test_statistics_travel_with_the_model_and_are_not_learned():
    actor = Actor(SIZE, ACTIONS, CONFIG)
    actor.normalizer.update(observations(100))
    assert not list(actor.normalizer.parameters())
    other = Actor(SIZE, ACTIONS, CONFIG)
    other.load_state_dict(actor.state_dict())
    assert torch.equal(other.normalizer.mean, actor.normalizer.mean)
    x = observations(4, seed=1)
    assert torch.equal(other(x), actor(x))


# -- the networks -------------------------------------------------------------------------------


def by_hand(model, x):
    """Normalize, then layer by layer, in numpy float64."""
    norm = model.normalizer
    mean = norm.mean.numpy()
    std = np.maximum(np.sqrt(norm.var.numpy()), 1e-2)
    y = np.clip((x.double().numpy() - mean) / std, -norm.clip, norm.clip)
    layers = [m for m in model.mlp if isinstance(m, nn.Linear)]
    for i, layer in enumerate(layers):
        y = y @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        if i < len(layers) - 1:
            y = np.where(y > 0, y, np.expm1(y))
    return y


@pytest.mark.parametrize("kind", ["actor", "critic"])
def test_a_network_is_its_normalizer_and_its_layers(kind):
    torch.manual_seed(0)
    model = Actor(SIZE, ACTIONS, CONFIG) if kind == "actor" else Critic(SIZE, CONFIG)
    model.normalizer.update(observations(500, scale=2.0))
    with torch.no_grad():
        for p in model.mlp.parameters():
            p.normal_(0, 0.5)
        x = observations(20, seed=1, scale=4.0)  # some beyond the clip of 3
        got = model(x).numpy()
    expected = by_hand(model, x)
    assert (np.abs((x.numpy() - 5) / 2) > 3).any()
    assert np.allclose(got, expected if kind == "actor" else expected[:, 0], rtol=1e-4, atol=1e-4)


def test_shapes_follow_the_leading_axes():
    x = torch.zeros(5, 4, SIZE)
    assert Actor(SIZE, ACTIONS, CONFIG)(x).shape == (5, 4, ACTIONS)
    assert Critic(SIZE, CONFIG)(x).shape == (5, 4)


def test_an_actor_starts_near_zero_with_the_deviation_of_its_settings():
    torch.manual_seed(0)
    actor = Actor(SIZE, ACTIONS, CONFIG)
    assert actor(observations(100, scale=1.0)).abs().max() < 0.2
    assert torch.allclose(actor.log_std.exp(), torch.full((ACTIONS,), 0.4))


def test_layers_start_orthogonal_with_zero_biases():
    torch.manual_seed(0)
    linear = [m for m in mlp((16, 16, 8, 4), "tanh", 0.01) if isinstance(m, nn.Linear)]
    for layer, gain in zip(linear, (math.sqrt(2), math.sqrt(2), 0.01), strict=True):
        gram = layer.weight @ layer.weight.T
        assert torch.allclose(gram, gain**2 * torch.eye(len(gram)), atol=1e-5)
        assert not layer.bias.any()


def test_layers_may_start_as_torch_starts_them():
    torch.manual_seed(0)
    layers = mlp((16, 8, 4), "tanh", 0.01, init="default")
    torch.manual_seed(0)
    plain = nn.Linear(16, 8), nn.Linear(8, 4)
    assert torch.equal(layers[0].weight, plain[0].weight)
    assert torch.equal(layers[0].bias, plain[0].bias) and plain[0].bias.any()
    assert torch.equal(layers[2].weight, 0.01 * plain[1].weight)
    assert torch.equal(layers[2].bias, 0.01 * plain[1].bias)


@pytest.mark.parametrize("init", ["orthogonal", "default"])
def test_a_small_last_layer_starts_near_zero_and_a_large_one_does_not(init):
    largest = []
    for gain in (0.01, 1.0):
        torch.manual_seed(0)
        settings = msgspec.structs.replace(CONFIG, init=init, last_gain=gain)
        largest.append(Actor(SIZE, ACTIONS, settings)(observations(100, scale=1.0)).abs().max())
    assert largest[1] > 50 * largest[0]


# -- the deviation ------------------------------------------------------------------------------


@pytest.mark.parametrize("std", ["global", "state"])
def test_a_bounded_deviation_stays_in_its_range_and_starts_where_it_should(std):
    bounds = (-2.0, 0.5)
    actor = Actor(SIZE, ACTIONS, msgspec.structs.replace(CONFIG, std=std, log_std_range=bounds))
    x = observations(50, scale=1.0)
    start = actor.distribution(x)[1]
    assert torch.allclose(start, torch.tensor(math.log(0.4)), atol=0.05)
    for push in (8.0, -8.0):
        with torch.no_grad():
            actor.log_std[:] = push
        log_std = actor.distribution(x)[1]
        assert (log_std >= bounds[0]).all() and (log_std <= bounds[1]).all()
        assert (log_std - bounds[push > 0]).abs().max() < 0.01
        (gradient,) = torch.autograd.grad(log_std.sum(), actor.log_std)
        assert (gradient > 0).all()  # a clamp would be stuck here


def test_without_bounds_the_deviation_is_free():
    """Negative control of the test above."""
    actor = Actor(SIZE, ACTIONS, CONFIG)
    with torch.no_grad():
        actor.log_std[:] = 8.0
    assert (actor.distribution(observations(3))[1] == 8.0).all()


def test_a_common_deviation_is_one_for_all_states_and_the_other_is_not():
    x = observations(20, scale=1.0)
    common = Actor(SIZE, ACTIONS, CONFIG)
    assert common.distribution(x)[1].shape == (ACTIONS,)
    own = Actor(SIZE, ACTIONS, msgspec.structs.replace(CONFIG, std="state"))
    with torch.no_grad():
        own.log_std_head.weight.mul_(100)
    mean, log_std = own.distribution(x)
    assert log_std.shape == (20, ACTIONS) and (log_std.std(0) > 0.01).all()
    assert torch.allclose(mean, own(x), atol=1e-6)  # what is exported


# -- returns ------------------------------------------------------------------------------------


def test_an_update_of_the_returns_changes_the_unit_and_no_value():
    torch.manual_seed(0)
    critic = Critic(SIZE, CONFIG, normalize_returns=True)
    x = observations(50)
    with torch.no_grad():
        before = critic(x)
        output = critic.mlp(critic.normalizer(x))
        critic.update_returns(300 + 70 * torch.randn(1000))
        assert torch.allclose(critic(x), before, rtol=1e-3, atol=1e-2)  # float32 around 300
        assert critic.returns.std() == pytest.approx(70, rel=0.1)
        expected = (output[:, 0] - critic.returns.mean.float()) / critic.returns.std()
        assert torch.allclose(critic.mlp(critic.normalizer(x))[:, 0], expected, atol=1e-4)


def test_a_critic_without_normalized_returns_has_no_statistics_of_them():
    critic = Critic(SIZE, CONFIG)
    before = critic.state_dict()
    critic.update_returns(torch.randn(10))
    assert critic.returns is None and before.keys() == critic.state_dict().keys()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_stand_between_layers_and_not_after_the_last(activation):
    layers = list(mlp((4, 5, 6, 2), activation, 1.0))
    assert [isinstance(m, nn.Linear) for m in layers] == [True, False, True, False, True]
    assert all(isinstance(m, ACTIVATIONS[activation]) for m in layers[1::2])


@pytest.mark.numeric
def test_one_seed_gives_one_network():
    actors = []
    for _ in range(2):
        torch.manual_seed(3)
        actors.append(Actor(SIZE, ACTIONS, CONFIG))
    for a, b in zip(*(actor.parameters() for actor in actors), strict=True):
        assert torch.equal(a, b)
