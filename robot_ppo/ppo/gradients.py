"""What objectives.py and gaussian.py define, with its gradient in closed form.

PPO's losses are a few lines of algebra on the networks' outputs; their derivatives are a few more,
and cost a fraction of what autograd takes to find them. The tests hold every one of them equal to
autograd's of the definition. Samples are columns: (k, m) where there are k actions, else (m,).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from robot_ppo.ppo.rollout import ActorSamples

Surrogate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(ratio, advantages) -> the terms whose mean is the objective, and d term / d ratio; (m,) each"""


def clip(
    ratio: np.ndarray, advantages: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms of `objectives.clip` and their derivatives by the ratio.

    The derivative is A, but 0 where the clipped side is the smaller: it does not move with r.
    """
    plain = ratio * advantages
    bounded = np.minimum(np.maximum(ratio, 1 - epsilon), 1 + epsilon) * advantages
    return np.minimum(plain, bounded), advantages * (plain <= bounded)


def unclipped(ratio: np.ndarray, advantages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms of `objectives.unclipped` and their derivatives by the ratio."""
    return ratio * advantages, advantages


class Policies(NamedTuple):
    """The policy now and the one that acted, side by side."""

    ratio: np.ndarray
    """(m,) of the densities of the action that was taken, now over then"""
    kl: float
    """KL(then || now), mean over the samples"""
    inverse: np.ndarray
    """1 / std, (k, 1) or (k, m)"""
    z: np.ndarray
    """(action - mean) / std, (k, m)"""
    shift: np.ndarray
    """(mean then - mean) / std, (k, m)"""
    widening: np.ndarray
    """-d KL / d log std of each sample, (k, m)"""


def compare(
    mean: np.ndarray, log_std: np.ndarray, some: ActorSamples, old_log_std: np.ndarray
) -> Policies:
    """Return how the policy now compares with the one that acted.

    Args:
        mean: (k, m).
        log_std: (k, m), or (k, 1) if it is the same for all samples.
        some: what was done, and by which policy.
        old_log_std: of that, like `log_std`.
    """
    inverse = np.exp(-log_std)
    z, shift = (some.actions.T - mean) * inverse, (some.means.T - mean) * inverse
    constant = 0.5 * len(mean) * math.log(2 * math.pi)
    log_prob = -0.5 * (z * z).sum(0) - (log_std.sum(0) + constant)
    gap = 2 * (old_log_std - log_std)
    growth = np.expm1(gap)  # (std then / std)^2 - 1
    widening = shift * shift + growth
    kl = 0.5 * float((widening - gap).sum()) / len(some)
    return Policies(np.exp(log_prob - some.log_probs), kl, inverse, z, shift, widening)


def ascent(
    two: Policies, by_ratio: np.ndarray, beta: float, entropy_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of term - beta KL + weight H by mean and log std, (k, m) each.

    d log p / d mean = z / std          d log p / d log std = z^2 - 1
    d KL / d mean = -shift / std        d KL / d log std = 1 - (std then / std)^2 - shift^2
    d H / d mean = 0                    d H / d log std = 1

    Args:
        two: the policies.
        by_ratio: d term / d ratio, (m,); and d ratio / d log p is the ratio.
        beta: price of KL.
        entropy_weight: of the entropy H.
    """
    by_log_prob = by_ratio * two.ratio
    by_mean = by_log_prob * two.z
    by_log_std = by_mean * two.z - by_log_prob
    if beta:
        by_mean += beta * two.shift
        by_log_std += beta * two.widening
    if entropy_weight:
        by_log_std += entropy_weight
    by_mean *= two.inverse
    return by_mean, by_log_std


def bounded(
    raw: np.ndarray, bounds: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the log std that a network's raw number stands for, and its derivative by that."""
    if bounds is None:
        return raw, 1.0
    low, high = bounds
    share = 1 / (1 + np.exp(-raw))
    return low + (high - low) * share, (high - low) * share * (1 - share)


def value_loss(
    values: np.ndarray, returns: np.ndarray, old_values: np.ndarray, epsilon: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the terms whose mean is `objectives.value_loss`, and d term / d value; (m,) each."""
    error = values - returns
    squared = error * error
    if epsilon is None:
        return 0.5 * squared, error
    change = values - old_values
    other = old_values + np.minimum(np.maximum(change, -epsilon), epsilon) - returns
    other *= other
    moves = (np.abs(change) <= epsilon) | (squared > other)  # else the larger term is a constant
    return 0.5 * np.maximum(squared, other), error * moves


def entropy(log_std: np.ndarray) -> float:
    """Return `gaussian.entropy` of log std (k, 1) or (k, m), mean over the samples."""
    each = float(log_std.sum()) / log_std.shape[1]
    return each + 0.5 * len(log_std) * (1 + math.log(2 * math.pi))
