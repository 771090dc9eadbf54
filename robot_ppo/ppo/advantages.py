"""Advantage estimation: pure functions over (T, n) tensors.

A step ends an episode by failure (`terminated`: nothing more was to come) or by the time limit
(`truncated`: more was to come, and V of the true final observation stands for it). `next_values`
holds V of the state that each step led to, before any reset; that is all the difference.
"""

import torch
from torch import Tensor

from robot_ppo.config import Ppo
from robot_ppo.ppo.rollout import Rollout


def estimate(
    ppo: Ppo, rollout: Rollout, values: Tensor, next_values: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the advantages by `ppo.estimator`, and the returns that the critic learns, (T, n).

    Args:
        ppo: estimator, discount and lambda.
        rollout: (T, n, ...).
        values: V(s_t), (T, n).
        next_values: V(s_t+1) of the true next state, (T, n).
    """
    rewards = rollout.rewards
    ends = rollout.terminated, rollout.truncated
    if ppo.estimator == "gae":
        found = gae(rewards, values, next_values, *ends, ppo.gamma, ppo.gae_lambda)
        return found, found + values
    returns = rewards_to_go(rewards, next_values, *ends, ppo.gamma)
    return returns, returns


def scores(ppo: Ppo, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Return scores within groups (T, n), and which of them count, (T, n) bool."""
    returns, running = returns_since_start(
        rollout.rewards, rollout.terminated, rollout.truncated, ppo.gamma
    )
    return group_relative(returns, ppo.group_size), running


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return generalized advantage estimates (T, n).

    delta_t = r_t + gamma V(s_t+1) (1 - terminated_t) - V(s_t)
    A_t = delta_t + gamma lam (1 - terminated_t) (1 - truncated_t) A_t+1

    Args:
        rewards: (T, n).
        values: V(s_t), (T, n).
        next_values: V(s_t+1) of the true next state, (T, n).
        terminated: (T, n) bool.
        truncated: (T, n) bool.
        gamma: discount per step.
        lam: weight of longer estimates; 0 is one-step TD, 1 is Monte Carlo.
    """
    deltas = rewards + gamma * next_values * ~terminated - values
    keep = gamma * lam * ~(terminated | truncated)
    on_cpu = deltas.device.type == "cpu"
    # rows of few numbers: torch's calls cost more
    advantages = deltas.numpy() if on_cpu else deltas
    keeps = keep.numpy() if on_cpu else keep
    for t in reversed(range(len(advantages) - 1)):
        advantages[t] += keeps[t] * advantages[t + 1]
    return deltas


def rewards_to_go(
    rewards: Tensor, next_values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> Tensor:
    """Return the discounted sums of what is still to come in the episode, (T, n).

    R_t = r_t + gamma R_t+1, where R_t+1 is 0 after a failure, and V(s_t+1) of the true next state
    after a time limit and after the last step: what stands for what is cut off. No critic is
    needed for anything else; with lambda 1, `gae` is this less V(s_t).

    Args:
        rewards: (T, n).
        next_values: V(s_t+1) of the true next state, (T, n); zeros: what is cut off is ignored.
        terminated: (T, n) bool.
        truncated: (T, n) bool.
        gamma: discount per step.
    """
    sums = torch.empty_like(rewards)
    running = next_values[-1]
    for t in reversed(range(len(rewards))):
        following = torch.where(truncated[t], next_values[t], running)
        running = rewards[t] + gamma * following * ~terminated[t]
        sums[t] = running
    return sums


def group_relative(returns: Tensor, size: int) -> Tensor:
    """Return how much better each simulation did than its group, (..., n).

    A_i = (R_i - mean of the group) / (standard deviation of the group), without a critic: the
    others that started in the same state tell what the state is worth.

    Args:
        returns: of episodes, (..., n), or rewards to go, (T, n).
        size: simulations 0..size-1 are the first group, and so on; each started in one state.
    """
    # In double precision: among equal returns the mean's rounding must not pass for a difference.
    dtype = returns.dtype
    returns = returns.double()
    if size < 2 or returns.shape[-1] % size:
        raise ValueError(f"groups of {size}: must be 2 or more and divide {returns.shape[-1]}")
    groups = returns.unflatten(-1, (-1, size))
    relative = groups - groups.mean(-1, keepdim=True)
    relative /= groups.std(-1, keepdim=True) + 1e-8
    return relative.flatten(-2).to(dtype)


def returns_since_start(
    rewards: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> tuple[Tensor, Tensor]:
    """Return what is still earned in the episode that was running at the start, and where it runs.

    G_t = r_t + gamma r_t+1 + ... + gamma^(e-t) r_e up to e, the episode's first end, of either
    kind, or the last step; G_t = 0 after e, where another episode runs, which did not start in
    the group's state. Nothing stands for what comes after e: without a critic nobody knows it.
    The time limit is no one's advantage, for a group's clocks are the same.

    Args:
        rewards: (T, n).
        terminated: (T, n) bool.
        truncated: (T, n) bool.
        gamma: discount per step.

    Returns:
        G (T, n), for `group_relative` to score; and t <= e, (T, n) bool: what can be learned from.
    """
    ended = (terminated | truncated).int()
    running = ended.cumsum(0) - ended == 0
    sums = rewards_to_go(rewards, torch.zeros_like(rewards), terminated, truncated, gamma)
    return sums * running, running


def normalize(advantages: Tensor, mean: Tensor | None = None, std: Tensor | None = None) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1.

    Args:
        advantages: any shape.
        mean: of all that they belong to; None: their own.
        std: the same.
    """
    mean = advantages.mean() if mean is None else mean
    std = advantages.std() if std is None else std
    return (advantages - mean) / (std + 1e-8)
