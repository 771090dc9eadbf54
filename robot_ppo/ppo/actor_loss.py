"""The actor's loss at the outputs of its network: its derivatives and its metrics.

    loss = -(objective + entropy_weight H)

The derivative of the objective by mean and log std comes from its closed form and the chain rule
of a Gaussian, or from autograd where an objective is its value alone. Arrays are numpy's: in a
small minibatch a call of torch takes longer than its arithmetic. B samples, k actions.
"""

import logging
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from robot_ppo.ppo import gaussian
from robot_ppo.ppo.metrics import Metrics
from robot_ppo.ppo.objectives import Coefficients, Comparison, Objective
from robot_ppo.ppo.rollout import ActorSamples

log = logging.getLogger(__name__)


class Gradient(NamedTuple):
    """The derivative of the loss at the outputs of the actor's network, and the metrics."""

    by_mean: np.ndarray
    """(B, k)"""
    by_log_std: np.ndarray
    """(k,) or (B, k), the shape of log std"""
    metrics: Metrics


@dataclass(frozen=True)
class ActorLoss:
    """The loss of one update."""

    objective: Objective
    """Objective that the actor maximizes."""
    at: Coefficients
    """Coefficients of the objective."""
    old_log_std: np.ndarray
    """(k,) of the policy that acted, where the samples do not have their own"""
    entropy_weight: float = 0.0

    def differentiate(
        self, mean: np.ndarray, log_std: np.ndarray, samples: ActorSamples, whole: int
    ) -> Gradient:
        """Differentiate the loss at the outputs of the actor's network.

        Args:
            mean: (B, k) of the policy now.
            log_std: (k,) or (B, k) of the policy now.
            samples: what was done in these states, a minibatch or a piece of one.
            whole: samples of the minibatch; the gradients of its pieces add up to its own.
        """
        both = _compare(mean, log_std, samples, self.old_log_std)
        if self.objective.derivative is None:
            value, by_mean, by_log_std = self._by_autograd(mean, log_std, samples)
        else:
            value, by_mean, by_log_std = self._in_closed_form(both, samples)
        fraction = len(samples) / whole
        if fraction != 1:
            by_mean = fraction * by_mean
            by_log_std = fraction * by_log_std
        by_log_std = by_log_std.sum(1) if log_std.ndim == 1 else by_log_std.T
        return Gradient(by_mean.T, by_log_std, self._metrics(both, log_std, value))

    def _in_closed_form(
        self, both: "_Gaussians", samples: ActorSamples
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the objective, and the derivatives of the loss by mean and log std, (k, B).

        d log p / d mean = z / std          d log p / d log std = z^2 - 1
        d KL / d mean = -shift / std        d KL / d log std = -widening
        d H / d mean = 0                    d H / d log std = 1
        """
        assert self.objective.derivative is not None
        slopes = self.objective.derivative(both.ratio, samples.advantages, both.kl, self.at)
        by_log_prob = slopes.by_ratio * both.ratio  # d ratio / d log p is the ratio
        by_mean = by_log_prob * both.z
        by_log_std = by_mean * both.z - by_log_prob
        if slopes.by_kl:
            by_mean -= slopes.by_kl * both.shift
            by_log_std -= slopes.by_kl * both.widening
        if self.entropy_weight:
            by_log_std += self.entropy_weight
        scale = -1 / len(samples)
        by_mean *= scale * both.inverse
        by_log_std *= scale
        return slopes.value, by_mean, by_log_std

    def _by_autograd(
        self, mean: np.ndarray, log_std: np.ndarray, samples: ActorSamples
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return what `_in_closed_form` does, from the objective's value alone."""
        with torch.enable_grad():
            leaves = torch.tensor(mean), torch.tensor(np.broadcast_to(log_std, mean.shape))
            for leaf in leaves:
                leaf.requires_grad_()
            value = self.objective.value(compare(*leaves, samples, self.old_log_std), self.at)
            loss = -value - self.entropy_weight * gaussian.entropy(leaves[1]).mean()
            slopes = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        return value.item(), slopes[0].numpy().T, slopes[1].numpy().T

    def _metrics(self, both: "_Gaussians", log_std: np.ndarray, value: float) -> Metrics:
        outside = np.count_nonzero(np.abs(both.ratio - 1) > self.at.clip)
        k = log_std.shape[-1]
        entropy = float(log_std.sum()) * k / log_std.size + 0.5 * k * (1 + math.log(2 * math.pi))
        metrics = {
            "kl": both.kl,
            "surrogate": value,
            "entropy": entropy,
            "clip_fraction": outside / len(both.ratio),
            "ratio_max": float(both.ratio.max()),
        }
        if log_std.ndim > 1:
            metrics["std"] = float(np.exp(log_std).mean())
        return metrics


def compare(
    mean: torch.Tensor, log_std: torch.Tensor, samples: ActorSamples, old_log_std: np.ndarray
) -> Comparison:
    """Return the policy now, mean (B, k) and log std, beside the one that acted."""
    old = old_log_std if samples.log_stds is None else samples.log_stds
    return Comparison(
        gaussian.log_prob(torch.from_numpy(samples.actions), mean, log_std),
        torch.from_numpy(samples.log_probs),
        torch.from_numpy(samples.advantages),
        mean,
        log_std,
        torch.from_numpy(samples.means),
        torch.from_numpy(old),
    )


class _Gaussians(NamedTuple):
    """The policy now and the one that acted, as the closed form needs them.

    Samples are columns, because sums over few actions are slow along rows.
    """

    ratio: np.ndarray
    """(B,) of the densities of the action that was taken, now over then"""
    kl: float
    """KL(then || now), mean over the samples"""
    inverse: np.ndarray
    """1 / std, (k, 1) or (k, B)"""
    z: np.ndarray
    """(action - mean) / std, (k, B)"""
    shift: np.ndarray
    """(mean then - mean) / std, (k, B)"""
    widening: np.ndarray
    """-d KL / d log std = shift^2 + (std then / std)^2 - 1, (k, B)"""


def _compare(
    mean: np.ndarray, log_std: np.ndarray, samples: ActorSamples, old_log_std: np.ndarray
) -> _Gaussians:
    log_std = _columns(log_std)
    old = _columns(old_log_std if samples.log_stds is None else samples.log_stds)
    inverse = np.exp(-log_std)
    z = (samples.actions.T - mean.T) * inverse
    shift = (samples.means.T - mean.T) * inverse
    constant = 0.5 * len(z) * math.log(2 * math.pi)
    log_prob = -0.5 * (z * z).sum(0) - (log_std.sum(0) + constant)
    gap = 2 * (old - log_std)
    widening = shift * shift + np.expm1(gap)
    kl = 0.5 * float((widening - gap).sum()) / len(samples)
    return _Gaussians(np.exp(log_prob - samples.log_probs), kl, inverse, z, shift, widening)


def _columns(log_std: np.ndarray) -> np.ndarray:
    """Return log std as columns, (k, 1) or (k, B)."""
    return log_std[:, None] if log_std.ndim == 1 else log_std.T


def verified(name: str, objective: Objective, at: Coefficients) -> Objective:
    """Return the objective, without its closed form where that is not the derivative of its value.

    The value is what is asked for; a closed form that differs from it on a random minibatch is
    reported and left out.
    """
    if objective.derivative is None:
        return objective
    samples, mean, log_std = _random_minibatch()
    loss = ActorLoss(objective, at, log_std - 0.1)
    by_value = replace(loss, objective=Objective(objective.value))
    found, wanted = (x.differentiate(mean, log_std, samples, 64) for x in (loss, by_value))
    pairs = zip(found[:2], wanted[:2], strict=True)
    if all(np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in pairs):
        return objective
    log.warning(
        "objective %r: its closed form is not the derivative of its value; autograd differentiates "
        "the value instead",
        name,
    )
    return Objective(objective.value)


def _random_minibatch() -> tuple[ActorSamples, np.ndarray, np.ndarray]:
    """Return samples, mean and log std in double precision, with ratios on both sides of 1."""
    rng = np.random.default_rng(0)
    means, actions, mean = (rng.normal(size=(64, 2)) for _ in range(3))
    mean = means + 0.3 * mean
    log_std = np.array([-0.2, 0.1])
    old = torch.from_numpy(log_std - 0.1)
    log_probs = gaussian.log_prob(torch.from_numpy(actions), torch.from_numpy(means), old)
    advantages = rng.normal(size=64)
    return ActorSamples(actions, actions, means, log_probs.numpy(), advantages), mean, log_std
