"""The loss at the outputs, by closed form and by autograd; both passes of the whole network."""

import env_helpers as helpers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ppo_helpers import ACTIONS, NETWORKS, SIZE, fingerprint, learner, trained

from robot_ppo.ppo import actor_loss, autograd, gaussian, mlp, objectives
from robot_ppo.ppo.actor_loss import ActorLoss
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.objectives import OBJECTIVES, Coefficients, Objective
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.rollout import ActorSamples
from robot_ppo_export.errors import InputError

M = 50
EPSILON = 0.2


def tensor(x):
    return torch.from_numpy(np.asarray(x))


# -- the terms, at random and at boundaries -----------------------------------------------------

RATIOS = st.sampled_from([1 - EPSILON, 1.0, 1 + EPSILON]) | st.floats(0.01, 5)
ADVANTAGES = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-10, 10)


@given(st.lists(st.tuples(RATIOS, ADVANTAGES), min_size=1, max_size=8))
@pytest.mark.parametrize("name", ["clip", "unclipped"])
def test_the_surrogates_value_and_derivative(name, batch):
    options = {"epsilon": EPSILON} if name == "clip" else {}
    ratio, estimated = (np.array(x) for x in zip(*batch, strict=True))
    x = tensor(ratio.copy()).requires_grad_()
    wanted = getattr(objectives, name)(x, tensor(estimated), **options)
    (slopes,) = torch.autograd.grad(wanted, x)
    found = OBJECTIVES[name].derivative(ratio, estimated, 0.0, Coefficients(EPSILON, 0.0))
    assert found.value == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12)
    assert np.allclose(found.by_ratio / len(ratio), slopes, rtol=1e-12, atol=0)


CHANGES = st.sampled_from([-EPSILON, 0.0, EPSILON]) | st.floats(-1, 1)
VALUES = st.lists(st.tuples(CHANGES, st.floats(-3, 3)), min_size=1, max_size=8)


@given(VALUES)
@pytest.mark.parametrize("epsilon", [None, EPSILON])
def test_the_value_losss_value_and_derivative(epsilon, batch):
    """Old values are zero, so that boundaries are exact; at equal terms any slope is right."""
    change, returns = (np.array(x) for x in zip(*batch, strict=True))
    beyond = np.clip(change, -EPSILON, EPSILON)
    kink = (change != beyond) & np.isclose(np.abs(change - returns), np.abs(beyond - returns))
    returns[kink] += 0.1
    old = np.zeros_like(change)
    x = tensor(change.copy()).requires_grad_()
    wanted = objectives.value_loss(x, tensor(returns), tensor(old), epsilon)
    (slopes,) = torch.autograd.grad(wanted, x)
    value, found = objectives.value_loss_derivative(change, returns, old, epsilon)
    assert value == pytest.approx(wanted.item(), rel=1e-12, abs=1e-12)
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
    mean, log_std = (x.detach() for x in actor.distribution(tensor(observations)))
    means = mean.numpy() + 0.1 * rng.normal(size=mean.shape)
    log_stds = log_std.numpy() + 0.1 * rng.normal(size=log_std.shape)
    actions = means + np.exp(log_stds) * rng.normal(size=means.shape)
    log_probs = gaussian.log_prob(tensor(actions), tensor(means), tensor(log_stds)).numpy()
    own = log_stds if log_stds.ndim == 2 else None
    estimated = rng.normal(size=M)
    return ActorSamples(observations, actions, means, log_probs, estimated, own), log_stds


def defined(actor, some, log_stds, name, beta, weight):
    """What objectives.py and gaussian.py say: the loss, and metrics."""
    mean, log_std = actor.distribution(tensor(some.observations))
    both = actor_loss.compare(mean, log_std, some, log_stds)
    value = OBJECTIVES[name].value(both, Coefficients(EPSILON, beta))
    entropy = gaussian.entropy(log_std).mean()
    metrics = {"kl": both.kl.mean(), "surrogate": value, "entropy": entropy}
    metrics |= {"ratio_max": both.ratio.max()}
    metrics["clip_fraction"] = objectives.clip_fraction(both.ratio, EPSILON)
    if log_std.ndim == 2:
        metrics["std"] = log_std.exp().mean()
    return -value - weight * entropy, {k: v.item() for k, v in metrics.items()}


def both_ways(name, std, bounds, weight=0.03, activation="tanh", by_value=False, by_hand=True):
    """Return gradient and metrics of the learner's own way, and of autograd on the definition."""
    actor = policy(std, bounds, activation)
    some, log_stds = experience(actor)
    loss, wanted = defined(actor, some, log_stds, name, 0.7, weight)
    slopes = torch.autograd.grad(loss, list(actor.parameters()))
    layers = mlp.layers(actor) if by_hand else []
    flat = FlatParameters(actor, layers)
    one = mlp.ActorMlp(actor, flat) if layers else autograd.of_actor(actor, flat)
    objective = Objective(OBJECTIVES[name].value) if by_value else OBJECTIVES[name]
    own = ActorLoss(objective, Coefficients(EPSILON, 0.7), log_stds, weight)
    outputs = one.forward(one.inputs(tensor(some.observations)))
    found = own.differentiate(*outputs, some, M)
    one.backward(found.by_mean, found.by_log_std)
    return (
        flat.in_order(flat.gradient),
        torch.cat([g.flatten() for g in slopes]),
        found.metrics,
        wanted,
    )


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("by_value", [True, False])
@pytest.mark.parametrize("bounds", [None, (-3.0, 1.0)])
@pytest.mark.parametrize("std", ["global", "state"])
@pytest.mark.parametrize("name", ["clip", "kl_fixed", "unclipped"])
def test_the_actors_gradient_is_that_of_the_definition(name, std, bounds, by_value, by_hand):
    """By hand or by autograd, with the closed form or from the value alone."""
    found, wanted, metrics, defined_metrics = both_ways(
        name, std, bounds, by_value=by_value, by_hand=by_hand
    )
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    assert wanted.abs().max() > 1e-2
    assert metrics == pytest.approx(defined_metrics, rel=1e-7)  # one is a float32
    assert 0.1 < metrics["clip_fraction"] < 0.9


@pytest.mark.parametrize("activation", ["elu", "relu"])
def test_so_it_is_with_other_activations_and_without_a_bonus(activation):
    found, wanted, *_ = both_ways("clip", "global", (-3.0, 1.0), 0.0, activation)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("change", ["objective", "weight"])
def test_other_settings_have_another_gradient(change):
    """Negative control: the equality above can tell them apart."""
    other = both_ways("unclipped", "global", None) if change == "objective" else None
    other = other or both_ways("clip", "global", None, weight=0.031)
    assert not torch.allclose(both_ways("clip", "global", None)[0], other[0], rtol=0, atol=1e-5)


def test_pieces_of_a_minibatch_add_up_to_its_gradient():
    actor = policy("global", None)
    some, log_stds = experience(actor)
    loss = ActorLoss(OBJECTIVES["clip"], Coefficients(EPSILON, 0.7), log_stds, 0.03)
    mean, log_std = (x.detach().numpy() for x in actor.distribution(tensor(some.observations)))
    whole = loss.differentiate(mean, log_std, some, M)
    pieces = []
    at = 0
    for piece in some.pieces(20):
        pieces.append(loss.differentiate(mean[at : at + 20], log_std, piece, M))
        at += 20
    assert np.allclose(np.concatenate([p.by_mean for p in pieces]), whole.by_mean, atol=1e-14)
    assert np.allclose(sum(p.by_log_std for p in pieces), whole.by_log_std, atol=1e-14)


# -- the table of objectives ------------------------------------------------------------------


def test_an_objective_of_ones_own_trains_by_its_name(monkeypatch):
    """Its value is enough; with the value of `clip` it is `clip`."""
    value = lambda new, at: objectives.clip(new.ratio, new.advantages, at.clip)  # noqa: E731
    monkeypatch.setitem(OBJECTIVES, "mine", Objective(value))
    mine, clip = (trained(objective=name) for name in ("mine", "clip"))
    assert mine.objective.derivative is None
    for a, b in zip(mine.actor.parameters(), clip.actor.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-4)
    assert fingerprint(mine) != fingerprint(trained(objective="unclipped"))


def zero(*_):
    return torch.zeros((), requires_grad=True)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("change", ["entry", "value"])
def test_an_objective_whose_value_is_zero_trains_nothing(name, change, monkeypatch, caplog):
    """The value is what trains: a closed form that belongs to another one is reported."""
    derivative = OBJECTIVES[name].derivative if change == "value" else None
    before = learner().actor.mlp[0].weight.clone()
    assert not torch.equal(trained(objective=name).actor.mlp[0].weight, before)
    monkeypatch.setitem(OBJECTIVES, name, Objective(zero, derivative))
    assert torch.equal(trained(objective=name).actor.mlp[0].weight, before)
    assert ("is not the derivative of its value" in caplog.text) == (change == "value")


def test_the_function_behind_an_entry_is_what_trains(monkeypatch):
    monkeypatch.setattr(objectives, "clip", zero)
    assert torch.equal(trained().actor.mlp[0].weight, learner().actor.mlp[0].weight)


def test_no_shipped_closed_form_is_reported(caplog):
    for name in OBJECTIVES:
        assert learner(objective=name).objective is OBJECTIVES[name]
    assert not caplog.text


def test_an_unknown_objective_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match=r"ppo\.objective.*'clipp'; did you mean 'clip'.*kl_dual"):
        learner(objective="clipp")


# -- the whole of the critic's loss -------------------------------------------------------------


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("epsilon", [None, 0.05])
@pytest.mark.parametrize("normalize_returns", [False, True])
def test_the_critics_gradient_is_that_of_the_definition(normalize_returns, epsilon, by_hand):
    torch.manual_seed(0)
    critic = Critic(SIZE, NETWORKS, normalize_returns).double()
    rng = np.random.default_rng(0)
    returns = 3 + 5 * rng.normal(size=M)
    observations = rng.normal(size=(M, SIZE))
    critic.update_returns(tensor(returns))
    values = critic(tensor(observations))
    old = values.detach().numpy() + 0.1 * rng.normal(size=M)
    unit = 1.0 if critic.returns is None else critic.returns.std()
    scaled = (x / unit for x in (values, tensor(returns), tensor(old)))
    wanted = objectives.value_loss(*scaled, epsilon)
    slopes = torch.cat(
        [g.flatten() for g in torch.autograd.grad(wanted, list(critic.parameters()))]
    )
    own = [critic.normalize(tensor(x)).numpy() for x in (returns, old)]
    flat = FlatParameters(critic, mlp.layers(critic) if by_hand else ())
    one = (mlp.CriticMlp if by_hand else autograd.of_critic)(critic, flat)
    (found,) = one.forward(one.inputs(tensor(observations)))
    loss, by_value = objectives.value_loss_derivative(found, *own, epsilon)
    one.backward(by_value / M)
    assert torch.allclose(flat.in_order(flat.gradient), slopes, rtol=0, atol=1e-10)
    assert slopes.abs().max() > 1e-2
    assert loss == pytest.approx(wanted.item(), rel=1e-10)


# -- which passes a learner takes ---------------------------------------------------------------


def test_plain_mlps_are_differentiated_by_hand_and_everything_else_by_autograd():
    plain = learner()
    state = learner(networks=helpers.replace(NETWORKS, std="state"))
    assert isinstance(plain.actor_pass, mlp.ActorMlp)
    assert isinstance(plain.critic_passes[0], mlp.CriticMlp)
    assert isinstance(state.actor_pass, autograd.Autograd)
    assert isinstance(learner(objective="trpo").actor_pass, autograd.Autograd)


def test_learning_by_hand_is_learning_by_autograd(monkeypatch):
    by_hand = trained(entropy=0.01, normalize_returns=True)
    monkeypatch.setattr(mlp, "layers", lambda network: [])
    by_autograd = trained(entropy=0.01, normalize_returns=True)
    assert isinstance(by_autograd.actor_pass, autograd.Autograd)
    pairs = zip(by_hand.actor.parameters(), by_autograd.actor.parameters(), strict=True)
    pairs = [
        *pairs,
        *zip(by_hand.critic.parameters(), by_autograd.critic.parameters(), strict=True),
    ]
    start = [*learner().actor.parameters(), *learner().critic.parameters()]
    for (a, b), old in zip(pairs, start, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-4)
        assert not torch.allclose(a, old, rtol=0, atol=1e-3)
