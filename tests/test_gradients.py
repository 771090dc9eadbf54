"""Closed-form gradients against autograd on the definitions, in double precision."""

import env_helpers as helpers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ppo_helpers import ACTIONS, NETWORKS, SIZE

from robot_ppo.config import Ppo
from robot_ppo.ppo import gaussian, gradients, objectives
from robot_ppo.ppo.mlp import with_one
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.passes import ActorPass, CriticPass
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples

M, EPSILON = 50, 0.2


def tensor(x):
    return torch.from_numpy(np.asarray(x))


# -- the terms, at random and at boundaries -----------------------------------------------------

RATIOS = st.sampled_from([1 - EPSILON, 1.0, 1 + EPSILON]) | st.floats(0.01, 5)
ADVANTAGES = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-10, 10)


@given(st.lists(st.tuples(RATIOS, ADVANTAGES), min_size=1, max_size=8))
@pytest.mark.parametrize("name", ["clip", "unclipped"])
def test_the_surrogates_terms_and_slopes(name, batch):
    options = {"epsilon": EPSILON} if name == "clip" else {}
    ratio, gain = (np.array(x) for x in zip(*batch, strict=True))
    x = tensor(ratio.copy()).requires_grad_()
    wanted = getattr(objectives, name)(x, tensor(gain), **options)
    (slopes,) = torch.autograd.grad(wanted, x)
    terms, found = getattr(gradients, name)(ratio, gain, **options)
    assert terms.mean() == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12)
    # Below 1e-300 a float loses digits.
    assert np.allclose(found / len(ratio), slopes, rtol=1e-12, atol=1e-300)


CHANGES = st.sampled_from([-EPSILON, 0.0, EPSILON]) | st.floats(-1, 1)
VALUES = st.lists(st.tuples(CHANGES, st.floats(-3, 3)), min_size=1, max_size=8)


@given(VALUES)
@pytest.mark.parametrize("epsilon", [None, EPSILON])
def test_the_value_losss_terms_and_slopes(epsilon, batch):
    """Old values are zero, so that boundaries are exact; at equal terms any slope is right."""
    change, returns = (np.array(x) for x in zip(*batch, strict=True))
    beyond = np.clip(change, -EPSILON, EPSILON)
    kink = (change != beyond) & np.isclose(np.abs(change - returns), np.abs(beyond - returns))
    returns[kink] += 0.1
    old = np.zeros_like(change)
    x = tensor(change.copy()).requires_grad_()
    wanted = objectives.value_loss(x, tensor(returns), tensor(old), epsilon)
    (slopes,) = torch.autograd.grad(wanted, x)
    terms, found = gradients.value_loss(change, returns, old, epsilon)
    assert terms.mean() == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12)
    assert np.allclose(found / len(change), slopes, rtol=1e-12, atol=1e-14)


# -- the whole of the actor's loss --------------------------------------------------------------


def policy(std, bounds, activation="tanh"):
    torch.manual_seed(0)
    networks = helpers.replace(NETWORKS, std=std, log_std_range=bounds, activation=activation)
    actor = Actor(SIZE, ACTIONS, networks).double()
    with torch.no_grad():
        for p in actor.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return actor


def experience(actor):
    """Samples of a policy that is so far away that ratios are on both sides of the clip."""
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(M, SIZE))
    mean, log_std = (x.detach() for x in actor.distribution_of_normalized(tensor(observations)))
    means = mean.numpy() + 0.1 * rng.normal(size=mean.shape)
    log_stds = log_std.numpy() + 0.1 * rng.normal(size=log_std.shape)
    actions = means + np.exp(log_stds) * rng.normal(size=means.shape)
    log_probs = gaussian.log_prob(tensor(actions), tensor(means), tensor(log_stds)).numpy()
    own = log_stds if log_stds.ndim == 2 else None
    gain = rng.normal(size=M)
    return ActorSamples(with_one(observations), actions, means, log_probs, gain, own), log_stds


def defined(actor, some, log_stds, ppo, beta, weight):
    """What objectives.py and gaussian.py say: the loss, and figures."""
    mean, log_std = actor.distribution_of_normalized(tensor(some.observations[:, :-1]))
    log_prob = gaussian.log_prob(tensor(some.actions), mean, log_std)
    ratio = torch.exp(log_prob - tensor(some.log_probs))
    kl = gaussian.kl(tensor(some.means), tensor(log_stds), mean, log_std).mean()
    gain, entropy = tensor(some.advantages), gaussian.entropy(log_std).mean()
    if ppo.objective == "clip":
        surrogate = objectives.clip(ratio, gain, ppo.clip)
    elif ppo.objective == "kl_fixed":
        surrogate = objectives.penalized(ratio, gain, kl, beta)
    else:
        surrogate = objectives.unclipped(ratio, gain)
    figures = {"kl": kl, "surrogate": surrogate, "entropy": entropy, "ratio_max": ratio.max()}
    figures["clip_fraction"] = objectives.clip_fraction(ratio, ppo.clip)
    if actor.log_std_head is not None:
        figures["std"] = log_std.exp().mean()
    return -surrogate - weight * entropy, {k: v.item() for k, v in figures.items()}


def both(objective, std, bounds, weight=0.03, activation="tanh"):
    """Return gradient and figures of the closed form, and of autograd on the definition."""
    actor = policy(std, bounds, activation)
    some, log_stds = experience(actor)
    ppo, beta = Ppo(objective=objective, clip=EPSILON), 0.7 * (objective == "kl_fixed")
    loss, wanted = defined(actor, some, log_stds, ppo, beta, weight)
    slopes = torch.autograd.grad(loss, list(actor.parameters()))
    flat = FlatParameters(actor)
    one = ActorPass(actor, flat, ppo)
    one.beta, one.entropy_weight = beta, weight
    if some.log_stds is None:
        one.old_log_std = log_stds[:, None]
    figures = one.gradient(some)
    return flat.gradient[flat.order], torch.cat([g.flatten() for g in slopes]), figures, wanted


@pytest.mark.parametrize("bounds", [None, (-3.0, 1.0)])
@pytest.mark.parametrize("std", ["global", "state"])
@pytest.mark.parametrize("objective", ["clip", "kl_fixed", "unclipped"])
def test_the_actors_gradient_is_that_of_the_definition(objective, std, bounds):
    found, wanted, figures, defined_figures = both(objective, std, bounds)
    assert np.allclose(found, wanted, rtol=0, atol=1e-10)
    assert wanted.abs().max() > 1e-2
    assert figures == pytest.approx(defined_figures, rel=1e-7)  # one is a float32
    assert 0.1 < figures["clip_fraction"] < 0.9


@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_so_it_is_with_other_activations_and_without_a_bonus(activation):
    found, wanted, *_ = both("clip", "state", (-3.0, 1.0), 0.0, activation)
    assert np.allclose(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", ["objective", "weight"])
def test_other_settings_have_another_gradient(change):
    """Negative control: the equality above can tell them apart."""
    other = both("unclipped", "global", None) if change == "objective" else None
    other = other or both("clip", "global", None, weight=0.031)
    assert not np.allclose(both("clip", "global", None)[0], other[0], rtol=0, atol=1e-5)


def test_evaluating_leaves_the_gradient_alone():
    actor = policy("global", None)
    some, log_stds = experience(actor)
    flat = FlatParameters(actor)
    one = ActorPass(actor, flat, Ppo())
    one.old_log_std = log_stds[:, None]
    figures = one.gradient(some)
    before = flat.gradient.copy()
    assert one.evaluate(some) == pytest.approx(figures, rel=1e-12)
    assert np.array_equal(flat.gradient, before)


# -- the whole of the critic's loss -------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [None, 0.05])
@pytest.mark.parametrize("normalize_returns", [False, True])
def test_the_critics_gradient_is_that_of_the_definition(normalize_returns, epsilon):
    torch.manual_seed(0)
    critic = Critic(SIZE, NETWORKS, normalize_returns).double()
    rng = np.random.default_rng(0)
    returns, inputs = 3 + 5 * rng.normal(size=M), rng.normal(size=(M, SIZE))
    critic.count_returns(tensor(returns))
    values = critic.of_normalized(tensor(inputs))
    old = values.detach().numpy() + 0.1 * rng.normal(size=M)
    unit = 1.0 if critic.returns is None else critic.returns.std()
    scaled = (x / unit for x in (values, tensor(returns), tensor(old)))
    wanted = objectives.value_loss(*scaled, epsilon)
    slopes = torch.autograd.grad(wanted, list(critic.parameters()))
    own = [critic.output_of(tensor(x)).numpy() for x in (old, returns)]
    flat = FlatParameters(critic)
    figures = CriticPass(critic, flat, Ppo(value_clip=epsilon)).gradient(
        CriticSamples(with_one(inputs), *own)
    )
    slopes = torch.cat([g.flatten() for g in slopes])
    assert np.allclose(flat.gradient[flat.order], slopes, rtol=0, atol=1e-10)
    assert slopes.abs().max() > 1e-2
    assert figures["value_loss"] == pytest.approx(wanted.item(), rel=1e-10)
