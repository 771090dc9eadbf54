"""The price of KL: its three rules, on a problem whose multiplier is known."""

import math

import pytest
import torch

from robot_ppo.config import Ppo
from robot_ppo.ppo import gaussian, objectives, penalty

TARGET = 0.01
STD = 0.5

# One Gaussian N(0, STD) whose advantage is linear in the action, A = g a. With its mean at m,
# E[r A] = g m and KL = m^2 / (2 STD^2), so the best mean at price beta is STD^2 g / beta, its KL
# is (STD g / beta)^2 / 2, and the multiplier of KL <= TARGET is STD g / sqrt(2 TARGET).


def slope(multiplier):
    """Return the g whose multiplier is given."""
    return multiplier * math.sqrt(2 * TARGET) / STD


def best(beta, g):
    """Return the best mean at price beta, and its KL."""
    return STD**2 * g / beta, (STD * g / beta) ** 2 / 2


def prices(objective, multiplier, updates=200, beta=1.0, rate=0.2):
    """Return beta before every update, each of which solves the penalized problem."""
    ours = penalty.create(Ppo(objective=objective, beta=beta, kl_bound=TARGET, beta_rate=rate))
    seen = []
    for _ in range(updates):
        seen.append(ours.beta)
        ours.follow(best(ours.beta, slope(multiplier))[1])
    return seen


@pytest.mark.parametrize("beta", [0.5, 2.0, 20.0])
def test_the_closed_form_is_the_maximum_of_the_penalized_objective(beta):
    """So that the problem above is the one that `objectives.penalized` poses."""
    share = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    actions = (STD * torch.special.ndtri(share))[:, None]
    log_std = torch.tensor([math.log(STD)], dtype=torch.float64)
    old = torch.zeros(1, dtype=torch.float64)
    g = 0.7

    def gradient(at):
        mean = torch.tensor([at], dtype=torch.float64, requires_grad=True)
        change = gaussian.log_prob(actions, mean, log_std) - gaussian.log_prob(
            actions, old, log_std
        )
        kl = gaussian.kl(old, log_std, mean, log_std)
        objectives.penalized(change.exp(), g * actions[:, 0], kl, beta).backward()
        return mean.grad.item()

    mean = best(beta, g)[0]
    assert gradient(mean) == pytest.approx(0, abs=0.01 * g)
    assert gradient(0.9 * mean) > 0.05 * g
    assert gradient(1.1 * mean) < -0.05 * g


# -- the rules, step by step --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.0, 0.5), (0.0066, 0.5), (0.0067, 1), (0.0149, 1), (0.0151, 2), (9.0, 2)]
)
def test_the_adaptive_rule_halves_doubles_or_leaves(kl, factor):
    assert penalty.kl_adaptive(3.0, kl, TARGET, 0.2) == 3.0 * factor


@pytest.mark.parametrize("kl", [0.0, 0.01, 5.0])
def test_the_fixed_price_stays(kl):
    assert penalty.kl_fixed(3.0, kl, TARGET, 0.2) == 3.0


def test_the_dual_rule_ascends_the_gradient_of_the_dual():
    # d dual / d beta = kl - target: up above the bound, down below, still at it.
    assert penalty.kl_dual(3.0, TARGET, TARGET, 0.2) == 3.0
    assert penalty.kl_dual(3.0, 1.5 * TARGET, TARGET, 0.2) == pytest.approx(3 * math.exp(0.1))
    assert penalty.kl_dual(3.0, 0.5 * TARGET, TARGET, 0.2) == pytest.approx(3 * math.exp(-0.1))


def test_one_runaway_does_not_throw_the_dual_price_away():
    assert penalty.kl_dual(3.0, 1e6, TARGET, 0.2) == pytest.approx(3 * math.exp(0.2))
    assert penalty.kl_dual(3.0, 0.0, TARGET, 0.2) == pytest.approx(3 * math.exp(-0.2))


@pytest.mark.parametrize("objective", ["clip", "unclipped", "trpo"])
def test_other_objectives_have_no_price(objective):
    assert penalty.create(Ppo(objective=objective)) is None


# -- where they lead ----------------------------------------------------------------------------

BETWEEN = 5.6
"""At 4 the KL is 1.96 targets, at 8 it is 0.49: both outside the band, nothing in between."""


@pytest.mark.parametrize("multiplier", [1e-2, 0.3, 4.0, BETWEEN, 700.0])
@pytest.mark.parametrize("start", [1e-2, 1.0, 1e2])
def test_the_dual_price_converges_to_the_multiplier(multiplier, start):
    beta = prices("kl_dual", multiplier, beta=start)[-1]
    assert beta == pytest.approx(multiplier, rel=1e-6)
    assert best(beta, slope(multiplier))[1] == pytest.approx(TARGET, rel=1e-5)


def test_there_the_adaptive_price_switches_for_ever():
    assert prices("kl_adaptive", BETWEEN)[-6:] == [4.0, 8.0] * 3


def test_where_the_band_holds_a_power_of_two_the_adaptive_price_settles():
    """So it is the band that makes it switch, not the rule's sign."""
    assert prices("kl_adaptive", 4.3)[-6:] == [4.0] * 6


def test_too_fast_a_dual_price_does_not_converge():
    """Negative control: the error's factor is 1 - 2 rate."""
    late = prices("kl_dual", BETWEEN, rate=1.5)[-50:]
    assert max(late) / min(late) > 1.5


@pytest.mark.parametrize("objective", ["kl_adaptive", "kl_dual"])
def test_a_price_that_nobody_needs_falls_and_stays_a_number(objective):
    ours = penalty.create(Ppo(objective=objective))
    for _ in range(5000):
        ours.follow(0.0)
    assert ours.beta == penalty.MIN_BETA
    for _ in range(5000):
        ours.follow(1.0)
    assert ours.beta == penalty.MAX_BETA
