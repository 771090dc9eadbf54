"""Advantage estimation: pure functions over (T, n) tensors.

A step ends an episode by failure (`terminated`: nothing more was to come) or by the time limit
(`truncated`: more was to come, and V of the true final observation stands for it). `next_values`
holds V of the state that each step led to, before any reset; that is all the difference.
"""

import torch
from torch import Tensor


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
    advantages = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        running = deltas[t] + keep[t] * running
        advantages[t] = running
    return advantages


def normalize(advantages: Tensor) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1."""
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)
