"""What PPO maximizes, in every form in which it has been written down."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_ppo.ppo import gaussian, objectives

EPSILON = 0.2


def edges(ratio):
    return min(abs(ratio - 1 + EPSILON), abs(ratio - 1 - EPSILON))


RATIOS = st.floats(0.01, 5).filter(lambda r: edges(r) > 1e-3)  # no gradient at a kink
ADVANTAGES = st.floats(-10, 10).filter(lambda a: abs(a) > 1e-3)
BATCHES = st.lists(st.tuples(RATIOS, ADVANTAGES), min_size=1, max_size=8)


def tensors(batch):
    ratio, advantage = (torch.tensor(x, dtype=torch.float64) for x in zip(*batch, strict=True))
    return ratio.requires_grad_(), advantage


def with_gradient(function, batch):
    ratio, advantage = tensors(batch)
    value = function(ratio, advantage)
    (gradient,) = torch.autograd.grad(value, ratio)
    return value.item(), gradient


def ours(ratio, advantage):
    return objectives.clip(ratio, advantage, EPSILON)


def spinning_up(ratio, advantage):
    """min(r A, g(e, A)), with g = (1 + e) A for A >= 0 and (1 - e) A below."""
    bound = torch.where(advantage >= 0, (1 + EPSILON) * advantage, (1 - EPSILON) * advantage)
    return torch.minimum(ratio * advantage, bound).mean()


def conditional(ratio, advantage):
    """The ratio is bounded on the side on which going further would pay."""
    bounded = torch.where(
        advantage >= 0, ratio.clamp(max=1 + EPSILON), ratio.clamp(min=1 - EPSILON)
    )
    return (bounded * advantage).mean()


@settings(deadline=None)
@given(BATCHES)
@pytest.mark.parametrize("form", [spinning_up, conditional])
def test_all_forms_of_the_clipped_surrogate_agree_in_value_and_gradient(form, batch):
    value, gradient = with_gradient(ours, batch)
    other, other_gradient = with_gradient(form, batch)
    assert value == pytest.approx(other, rel=1e-12)
    assert torch.allclose(gradient, other_gradient, rtol=1e-12, atol=0)


@settings(deadline=None)
@given(BATCHES)
def test_it_is_a_pessimistic_bound(batch):
    ratio, advantage = tensors(batch)
    assert ours(ratio, advantage) <= (ratio * advantage).mean() + 1e-12


CASES = {
    # name: (ratio, advantage, value, gradient, value of clipping alone, its gradient)
    "good, and done enough": (1.5, 2.0, 2.4, 0.0, 2.4, 0.0),
    "good, but made rarer": (0.5, 2.0, 1.0, 2.0, 1.6, 0.0),
    "bad, and done enough": (0.5, -2.0, -1.6, 0.0, -1.6, 0.0),
    "bad, but made likelier": (1.5, -2.0, -3.0, -2.0, -2.4, 0.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_minimum_keeps_the_way_back_that_clipping_alone_closes(case):
    ratio, advantage, value, gradient, alone, alone_gradient = CASES[case]

    def clipping_alone(r, a):
        return (r.clamp(1 - EPSILON, 1 + EPSILON) * a).mean()

    batch = [(ratio, advantage)]
    got = with_gradient(ours, batch)
    assert (got[0], got[1].item()) == pytest.approx((value, gradient))
    got = with_gradient(clipping_alone, batch)
    assert (got[0], got[1].item()) == pytest.approx((alone, alone_gradient))


@pytest.mark.parametrize("form", [spinning_up, conditional])
@pytest.mark.parametrize("ratio", [1 - EPSILON, 1.0, 1 + EPSILON, 0.0, 1e6])
@pytest.mark.parametrize("advantage", [-2.0, 0.0, 2.0])
def test_all_forms_agree_at_the_edges(form, ratio, advantage):
    """In value; a kink has no gradient."""
    got = with_gradient(ours, [(ratio, advantage)])[0]
    assert got == pytest.approx(with_gradient(form, [(ratio, advantage)])[0], rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_the_unclipped_surrogate_never_stops_paying(case):
    ratio, advantage = CASES[case][:2]
    value, gradient = with_gradient(objectives.unclipped, [(ratio, advantage)])
    assert (value, gradient.item()) == (ratio * advantage, advantage)


@settings(deadline=None)
@given(BATCHES, st.floats(0, 100), st.floats(0, 10))
def test_a_penalty_is_its_price_times_the_kl_and_no_more(batch, beta, kl):
    kl = torch.full((len(batch),), kl, dtype=torch.float64)
    value, gradient = with_gradient(lambda r, a: objectives.penalized(r, a, kl, beta), batch)
    plain, plain_gradient = with_gradient(objectives.unclipped, batch)
    assert value == pytest.approx(plain - beta * kl[0].item(), abs=1e-9)
    assert torch.equal(gradient, plain_gradient)


def test_a_penalty_pulls_back_to_the_old_policy_and_clipping_only_lets_go():
    """A mean that has gone too far, with an advantage that asks for more."""
    actions = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    old = torch.zeros(1, dtype=torch.float64)

    def pull(objective):
        mean = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
        new = gaussian.log_prob(actions, mean, old)
        ratio = torch.exp(new - gaussian.log_prob(actions, old, old))
        objective(ratio, gaussian.kl(old, old, mean, old)).backward()
        return mean.grad.item()

    good = torch.ones(2, dtype=torch.float64)
    assert pull(lambda r, kl: objectives.penalized(r, good, kl, 10.0)) < 0
    assert pull(lambda r, kl: objectives.clip(r, good, EPSILON)) == 0
    assert pull(lambda r, kl: objectives.unclipped(r, good)) > 0


@pytest.mark.parametrize("form", [ours, objectives.unclipped])
def test_at_the_old_policy_it_is_the_policy_gradient(form):
    batch = [(1.0, 2.0), (1.0, -3.0)]
    value, gradient = with_gradient(form, batch)
    assert value == pytest.approx(-0.5)
    assert torch.allclose(gradient, torch.tensor([1.0, -1.5], dtype=torch.float64))


def test_clip_fraction_counts_what_is_outside():
    ratio = torch.tensor([0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 3.0, 1.0])
    assert objectives.clip_fraction(ratio, EPSILON) == pytest.approx(4 / 8)


# -- the critic's loss --------------------------------------------------------------------------

VALUES, RETURNS, OLD = (
    torch.tensor(x) for x in ([1.0, 5.0, 2.0], [2.0, 3.0, 2.0], [0.0, 4.9, 2.0])
)


def test_the_value_loss_is_half_the_squared_error():
    # ((1 - 2)^2 + (5 - 3)^2 + 0) / 3 / 2 = 5 / 6
    assert objectives.value_loss(VALUES, RETURNS, OLD, None) == pytest.approx(5 / 6)


def test_a_bounded_value_loss_takes_the_worse_of_both():
    # First: V went from 0 to 1, bounded to 0.5, error 1.5 instead of 1. Second: 4.9 to 5, free.
    # (2.25 + 4 + 0) / 3 / 2
    got = objectives.value_loss(VALUES, RETURNS, OLD, 0.5)
    assert got == pytest.approx(6.25 / 6)
    assert objectives.value_loss(VALUES, RETURNS, OLD, 1e9) == pytest.approx(5 / 6)


def test_a_value_that_went_far_enough_is_not_pulled_further():
    values = VALUES.clone().requires_grad_()
    objectives.value_loss(values, RETURNS, OLD, 0.5).backward()
    assert values.grad.tolist() == pytest.approx([0.0, 2 / 3, 0.0])
    values = VALUES.clone().requires_grad_()
    objectives.value_loss(values, RETURNS, OLD, None).backward()
    assert values.grad.tolist() == pytest.approx([-1 / 3, 2 / 3, 0.0])


def test_explained_variance_is_one_for_truth_zero_for_the_mean_and_negative_for_worse():
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert objectives.explained_variance(returns, returns) == pytest.approx(1)
    assert objectives.explained_variance(returns.mean().expand(4), returns) == pytest.approx(0)
    assert objectives.explained_variance(returns + 7, returns) == pytest.approx(1)  # of variance
    assert objectives.explained_variance(-returns, returns) == pytest.approx(-3)
