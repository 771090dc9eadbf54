"""Generalized advantage estimates, by hand, at their limits, and at the end of an episode."""

import pytest
import torch

from robot_ppo.ppo import advantages

GAMMA = 0.9
LAMBDA = 0.8


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def flags(*values):
    return torch.tensor(values, dtype=torch.bool)[:, None]


NEVER = flags(0, 0, 0)
REWARDS = column(1, 2, 3)
VALUES = column(10, 20, 30)
NEXT = column(20, 30, 40)


def gae(
    terminated=NEVER, truncated=NEVER, rewards=REWARDS, values=VALUES, following=NEXT, lam=LAMBDA
):
    return advantages.gae(rewards, values, following, terminated, truncated, GAMMA, lam)


# -- by hand ------------------------------------------------------------------------------------


def test_three_steps_of_one_episode():
    # delta_0 = 1 + 0.9 * 20 - 10 = 9    delta_1 = 2 + 0.9 * 30 - 20 = 9
    # delta_2 = 3 + 0.9 * 40 - 30 = 9    gamma lambda = 0.72
    # A_2 = 9    A_1 = 9 + 0.72 * 9 = 15.48    A_0 = 9 + 0.72 * 15.48 = 20.1456
    assert torch.allclose(gae(), column(20.1456, 15.48, 9))


def test_after_a_failure_nothing_is_to_come():
    # delta_1 = 2 + 0 - 20 = -18, and nothing flows back over it:
    # A_2 = 9    A_1 = -18    A_0 = 9 + 0.72 * -18 = -3.96
    assert torch.allclose(gae(terminated=flags(0, 1, 0)), column(-3.96, -18, 9))


def test_at_the_time_limit_the_value_of_the_true_last_state_stands_for_what_is_cut_off():
    # next_values[1] = 50: V of the true final observation, not of the new episode's first.
    # delta_1 = 2 + 0.9 * 50 - 20 = 27, and nothing flows back over the cut:
    # A_2 = 9    A_1 = 27    A_0 = 9 + 0.72 * 27 = 28.44
    following = column(20, 50, 40)
    assert torch.allclose(gae(truncated=flags(0, 1, 0), following=following), column(28.44, 27, 9))


def test_a_failure_at_the_time_limit_is_a_failure():
    both = gae(terminated=flags(0, 1, 0), truncated=flags(0, 1, 0))
    assert torch.equal(both, gae(terminated=flags(0, 1, 0)))


def test_simulations_do_not_mix():
    two = torch.cat((REWARDS, 2 * REWARDS), dim=1)
    wide = advantages.gae(
        two,
        VALUES.expand(-1, 2),
        NEXT.expand(-1, 2),
        torch.cat((NEVER, flags(0, 1, 0)), dim=1),
        NEVER.expand(-1, 2),
        GAMMA,
        LAMBDA,
    )
    assert torch.equal(wide[:, :1], gae())
    assert torch.equal(wide[:, 1:], gae(rewards=2 * REWARDS, terminated=flags(0, 1, 0)))


# -- limits -------------------------------------------------------------------------------------


def random(seed, steps=12, n=3):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(steps + 1, n, generator=generator, dtype=torch.float64)
    rewards = torch.randn(steps, n, generator=generator, dtype=torch.float64)
    ends = torch.rand(steps, n, generator=generator)
    return rewards, values[:-1], values[1:], ends < 0.1, (ends > 0.9)


def test_lambda_zero_is_the_one_step_error():
    rewards, values, following, terminated, truncated = random(0)
    got = advantages.gae(rewards, values, following, terminated, truncated, GAMMA, 0.0)
    assert torch.allclose(got, rewards + GAMMA * following * ~terminated - values)


def test_lambda_one_is_the_discounted_return_less_the_value():
    rewards, values, following, terminated, truncated = random(1)
    assert terminated.any() and truncated.any()
    got = advantages.gae(rewards, values, following, terminated, truncated, GAMMA, 1.0)
    steps, n = rewards.shape
    for i in range(n):
        for t in range(steps):
            total = 0.0
            discount = 1.0
            for u in range(t, steps):
                total += discount * rewards[u, i]
                discount *= GAMMA
                if terminated[u, i]:
                    break
                if truncated[u, i] or u == steps - 1:
                    total += discount * following[u, i]
                    break
            assert got[t, i] == pytest.approx(float(total - values[t, i]), abs=1e-6)


def test_rewards_to_go_by_hand():
    def to_go(terminated=NEVER, truncated=NEVER, following=NEXT):
        return advantages.rewards_to_go(REWARDS, following, terminated, truncated, GAMMA)

    # R_2 = 3 + 0.9 * 40 = 39    R_1 = 2 + 0.9 * 39 = 37.1    R_0 = 1 + 0.9 * 37.1 = 34.39
    assert torch.allclose(to_go(), column(34.39, 37.1, 39))
    # A failure: R_1 = 2    R_0 = 1 + 0.9 * 2
    assert torch.allclose(to_go(terminated=flags(0, 1, 0)), column(2.8, 2, 39))
    # The time limit, V of the true last state 50: R_1 = 2 + 0.9 * 50 = 47    R_0 = 43.3
    cut = to_go(truncated=flags(0, 1, 0), following=column(20, 50, 40))
    assert torch.allclose(cut, column(43.3, 47, 39))
    # Without values: 1 + 0.9 * 2 + 0.81 * 3
    assert torch.allclose(to_go(following=column(0, 0, 0)), column(5.23, 4.7, 3))


def test_rewards_to_go_less_the_value_are_gae_with_lambda_one():
    for seed in range(5):
        rewards, values, following, terminated, truncated = random(seed)
        sums = advantages.rewards_to_go(rewards, following, terminated, truncated, GAMMA)
        got = advantages.gae(rewards, values, following, terminated, truncated, GAMMA, 1.0)
        # Values cancel in every sum but the first, to rounding.
        assert torch.allclose(sums - values, got, atol=1e-12)


# -- groups -------------------------------------------------------------------------------------


def test_a_simulation_is_scored_against_its_own_group():
    # (1, 3): mean 2, deviation sqrt(2).  (10, 10): nobody is better.
    returns = torch.tensor([1.0, 3.0, 10.0, 10.0], dtype=torch.float64)
    got = advantages.group_relative(returns, 2)
    half = 0.5**0.5
    assert torch.allclose(got, torch.tensor([-half, half, 0.0, 0.0], dtype=torch.float64))


def test_what_a_start_is_worth_does_not_count_within_its_group():
    generator = torch.Generator().manual_seed(0)
    returns = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    easy = torch.randn(5, 3, generator=generator, dtype=torch.float64).repeat_interleave(4, -1)
    got = advantages.group_relative(returns, 4)
    assert torch.allclose(advantages.group_relative(returns + 100 * easy, 4), got, atol=1e-9)
    # Negative control: it does count where all are one group.
    all_in_one = advantages.group_relative(returns, 12)
    assert not torch.allclose(advantages.group_relative(returns + 100 * easy, 12), all_in_one)


@pytest.mark.parametrize("size", [0, 1, 5])
def test_groups_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match=f"groups of {size}"):
        advantages.group_relative(torch.zeros(12), size)


# -- a task whose value is known ----------------------------------------------------------------

STEPS = 40
TRUE = 1 / (1 - GAMMA)
"""Value of a task that pays 1 per step for ever."""


def endless(truncated, terminated=None, at_the_cut=TRUE):
    """Advantages of an endless task, cut every 10 steps, under its true value function."""
    values = torch.full((STEPS, 1), TRUE, dtype=torch.float64)
    following = torch.where(truncated, at_the_cut, TRUE).double()
    none = torch.zeros(STEPS, 1, dtype=torch.bool)
    ends = none if terminated is None else terminated
    cut = truncated if terminated is None else none
    return advantages.gae(torch.ones_like(values), values, following, ends, cut, GAMMA, LAMBDA)


@pytest.fixture
def cuts():
    return (torch.arange(STEPS) % 10 == 9)[:, None]


def test_time_limits_do_not_change_the_value_of_an_endless_task(cuts):
    assert torch.allclose(endless(cuts), torch.zeros(STEPS, 1, dtype=torch.float64), atol=1e-12)


def test_taking_the_time_limit_for_a_failure_gives_a_wrong_value(cuts):
    """Negative control: at the cut, 1 - 1 / (1 - gamma) instead of 0."""
    wrong = endless(cuts, terminated=cuts)
    assert torch.allclose(wrong[cuts], torch.tensor(1 - TRUE, dtype=torch.float64))
    assert (wrong < -1e-3).all()


def test_bootstrapping_from_the_new_episode_gives_a_wrong_value(cuts):
    """Negative control: here a new episode starts where nothing is worth anything."""
    wrong = endless(cuts, at_the_cut=0.0)
    assert torch.allclose(wrong[cuts], torch.tensor(1 - TRUE, dtype=torch.float64))


# -- normalization ------------------------------------------------------------------------------


def test_normalized_advantages_have_mean_zero_and_deviation_one():
    got = advantages.normalize(3 + 5 * random(2, steps=50)[0])
    assert got.mean() == pytest.approx(0, abs=1e-12)
    assert got.std() == pytest.approx(1, abs=1e-6)


def test_equal_advantages_are_normalized_to_zero():
    assert not advantages.normalize(torch.full((4, 3), 2.5)).any()
