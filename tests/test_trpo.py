"""TRPO's step: Fisher's matrix, conjugate gradients, the line search, and the bound."""

import math

import pytest
import torch
from ppo_helpers import ACTIONS, bandit, learner, rollout, weights
from torch import nn

from robot_ppo.ppo import gaussian, trpo

SIZE = 3
OUT = 2


@pytest.fixture(params=["linear", "tanh"])
def policy(request):
    """Return a small network, log deviations and states, in double precision."""
    torch.manual_seed(0)
    model = nn.Linear(SIZE, OUT)
    if request.param == "tanh":
        model = nn.Sequential(nn.Linear(SIZE, 4), nn.Tanh(), nn.Linear(4, OUT))
    log_std = nn.Parameter(torch.tensor([-0.5, 0.3], dtype=torch.float64))
    return model.double(), log_std, torch.randn(7, SIZE, dtype=torch.float64)


def jacobian_of(model, state):
    """Return d mean / d parameters at one state, (OUT, p)."""
    parameters = list(model.parameters())
    rows = [torch.autograd.grad(m, parameters, retain_graph=True) for m in model(state)]
    return torch.stack([trpo.flat(row) for row in rows])


def fisher(model, log_std, states):
    """Return E[J' diag(1 / std^2) J] for the mean's parameters, and 2 for each log deviation."""
    size = sum(p.numel() for p in model.parameters())
    matrix = torch.zeros(size + OUT, size + OUT, dtype=torch.float64)
    for state in states:
        jacobian = jacobian_of(model, state)
        precision = torch.diag(torch.exp(-2 * log_std.detach()))
        matrix[:size, :size] += jacobian.T @ precision @ jacobian / len(states)
    matrix[size:, size:] = 2 * torch.eye(OUT)
    return matrix


def test_the_fisher_product_is_that_of_the_explicit_matrix(policy):
    model, log_std, states = policy
    parameters = [*model.parameters(), log_std]
    old = model(states).detach(), log_std.detach().clone()
    kl = gaussian.kl(*old, model(states), log_std).mean()
    product = trpo.fisher_product(kl, parameters)
    explicit = fisher(*policy)
    columns = [product(v) for v in torch.eye(len(explicit), dtype=torch.float64)]
    assert torch.allclose(torch.stack(columns, 1), explicit, atol=1e-12)
    assert explicit.diagonal().min() > 1e-4


def test_the_explicit_matrix_is_the_covariance_of_the_score(policy):
    """What makes it Fisher's, by sampling actions."""
    model, log_std, states = policy
    scores = []
    m = 4000
    for state in states[:2]:
        z = torch.randn(m, OUT, dtype=torch.float64)
        inverse = torch.exp(-log_std.detach())
        of_mean = (z * inverse) @ jacobian_of(model, state)
        scores.append(torch.cat((of_mean, z * z - 1), 1))
    scores = torch.cat(scores)
    products = scores[:, :, None] * scores[:, None, :]
    error = products.std(0) / math.sqrt(len(scores))
    expected = fisher(model, log_std, states[:2])
    assert ((products.mean(0) - expected).abs() < 5 * error + 1e-12).all()  # standard errors


# -- conjugate gradients ------------------------------------------------------------------------


def positive(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(n), torch.randn(n, generator=generator).double()


@pytest.mark.parametrize("n", [1, 4, 9])
def test_conjugate_gradients_solve_in_as_many_steps_as_unknowns(n):
    matrix, b = positive(n)
    x = trpo.conjugate_gradients(lambda v: matrix @ v, b, steps=n, tolerance=0.0)
    assert torch.allclose(matrix @ x, b, rtol=1e-6, atol=1e-8)
    if n > 1:  # negative control: fewer are not enough
        x = trpo.conjugate_gradients(lambda v: matrix @ v, b, steps=n - 1, tolerance=0.0)
        assert not torch.allclose(matrix @ x, b, rtol=1e-6, atol=1e-8)


def test_conjugate_gradients_stop_when_they_are_there():
    calls = []
    b = torch.arange(1.0, 5.0)
    x = trpo.conjugate_gradients(lambda v: calls.append(v) or 2 * v, b)
    assert torch.allclose(x, b / 2) and len(calls) == 1
    assert torch.equal(trpo.conjugate_gradients(lambda v: 2 * v, 0 * b), 0 * b)


# -- the step -----------------------------------------------------------------------------------

BOUND = 0.02


def quadratic(monkeypatch, stretch=1.0, gain=None):
    """A step on L = g theta and KL = stretch theta F theta / 2, F known."""
    monkeypatch.setattr(trpo, "DAMPING", 0.0)
    matrix, g = positive(5)
    theta = torch.zeros(5, dtype=torch.float64)

    def evaluate():
        kl = stretch * 0.5 * float(theta @ matrix @ theta) * (1 - 1e-9)  # room for rounding
        return float(g @ theta) if gain is None else gain, kl

    figures = trpo.ascend(theta, g, lambda v: matrix @ v, evaluate, BOUND)
    direction = torch.linalg.solve(matrix, g)
    return theta, math.sqrt(2 * BOUND / float(g @ direction)) * direction, figures


def test_where_the_model_is_true_the_step_is_the_natural_gradient_and_uses_the_bound(monkeypatch):
    theta, expected, figures = quadratic(monkeypatch)
    assert torch.allclose(theta, expected, rtol=1e-5)
    assert figures["backtracks"] == 0
    assert figures["kl_after"] == pytest.approx(BOUND, rel=1e-6)
    assert figures["surrogate_gain"] > 0


def test_where_the_kl_is_larger_than_its_model_the_step_is_halved(monkeypatch):
    # Half the step: 10 / 4 of the bound. A quarter: 10 / 16.
    theta, expected, figures = quadratic(monkeypatch, stretch=10.0)
    assert figures["backtracks"] == 2
    assert torch.allclose(theta, expected / 4, rtol=1e-5)
    assert figures["kl_after"] == pytest.approx(BOUND * 10 / 16, rel=1e-6)


def test_a_step_that_gains_nothing_is_not_taken(monkeypatch):
    theta, _, figures = quadratic(monkeypatch, gain=1.0)
    assert not theta.any()
    assert figures == {"kl_after": 0.0, "backtracks": trpo.TRIES, "surrogate_gain": 0.0}


def test_without_a_gradient_there_is_no_step():
    theta = torch.ones(3)
    trpo.ascend(theta, torch.zeros(3), lambda v: v, lambda: (0.0, 0.0), BOUND)
    assert torch.equal(theta, torch.ones(3))


# -- in the learner -----------------------------------------------------------------------------


def reached(one, experience, before):
    """KL(policy that acted || policy now), by hand."""
    with torch.no_grad():
        mean = one.actor.mlp(before(experience.observations))
        log_std = one.actor.log_std
        old = torch.full((ACTIONS,), math.log(0.5))
        return gaussian.kl(experience.means, old, mean, log_std).mean().item()


@pytest.mark.parametrize("bound", [1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_the_step_obeys_the_bound_and_gains(bound, seed):
    one = learner(seed, objective="trpo", kl_bound=bound)
    experience = rollout(one, seed)
    figures = one.update(experience)
    by_hand = reached(one, experience, lambda x: x)  # nothing was counted before: the identity
    assert by_hand == pytest.approx(figures["kl_after"], rel=1e-3)
    assert 0.1 * bound < by_hand <= bound
    assert figures["surrogate_gain"] > 0
    assert figures["kl"] == figures["kl_after"]


def test_a_step_of_the_same_direction_without_the_search_breaks_the_bound(monkeypatch):
    """Negative control: a length from a Fisher matrix that is a tenth of the true one."""
    true = trpo.fisher_product

    def tenth(*arguments):
        product = true(*arguments)
        return lambda v: 0.1 * product(v)

    monkeypatch.setattr(trpo, "fisher_product", tenth)
    monkeypatch.setattr(trpo, "DAMPING", 0.01)
    one = learner(objective="trpo", kl_bound=0.01)
    assert one.update(rollout(one))["backtracks"] >= 1
    monkeypatch.setattr(trpo, "TRIES", 1)
    two = learner(objective="trpo", kl_bound=0.01)
    before = weights(two)
    assert two.update(rollout(two))["surrogate_gain"] == 0
    actor = sum(1 for _ in two.actor.parameters())
    for old, new in zip(before[:actor], weights(two)[:actor], strict=True):
        assert torch.equal(old, new)  # and then it does not move


def test_minibatches_and_rates_do_not_concern_the_actor():
    kwargs = {"objective": "trpo"}
    one = learner(**kwargs)
    two = learner(**kwargs, epochs=5, minibatches=2, learning_rate=0.1, max_grad_norm=1e-6)
    for of in (one, two):
        of.update(rollout(of))
    for a, b in zip(one.actor.parameters(), two.actor.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.critic.mlp[0].weight, two.critic.mlp[0].weight)


def test_trpo_learns_the_bandit():
    errors, figures = bandit(60, objective="trpo", kl_bound=0.05)
    assert errors[0] > 0.4 and errors[-1] < 0.2
    assert figures["std"] < 0.4
