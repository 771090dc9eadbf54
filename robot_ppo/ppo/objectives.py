"""Objectives of the actor and the loss of the critic: what an update optimizes.

`OBJECTIVES` is the table that `ppo.objective` names:

| name | what the actor maximizes |
|---|---|
| `clip` | the clipped surrogate, `clip` |
| `kl_fixed`, `kl_adaptive`, `kl_dual` | `penalized`; the rules for beta are in penalty.py |
| `unclipped` | the surrogate, `unclipped`, with nothing that bounds the step |
| `trpo` | `unclipped`, by one natural step of bounded KL, see trpo.py |

An objective is its value, a pure function of what the policies say about a minibatch. Autograd
differentiates it at the outputs of the network. An entry may add the same derivative in closed
form, which is faster for small minibatches; a learner compares it with the value when it is made.
A program adds an objective of its own by name:

    OBJECTIVES["mine"] = Objective(lambda new, at: (new.ratio * new.advantages).mean())
    settings = config.load("go2_walk", overrides=["ppo.objective=mine"])
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo import gaussian
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError


class Comparison(NamedTuple):
    """The policy now and the policy that acted, on B samples with actions of k numbers."""

    log_probs: Tensor
    """(B,) of the actions that were taken, under the policy now"""
    old_log_probs: Tensor
    """(B,) of the same actions, under the policy that acted"""
    advantages: Tensor
    """(B,)"""
    mean: Tensor
    """(B, k) of the policy now"""
    log_std: Tensor
    """(k,) or (B, k)"""
    old_mean: Tensor
    """(B, k) of the policy that acted"""
    old_log_std: Tensor
    """(k,) or (B, k)"""

    @property
    def ratio(self) -> Tensor:
        """pi_now(a|s) / pi_old(a|s), (B,)."""
        return torch.exp(self.log_probs - self.old_log_probs)

    @property
    def kl(self) -> Tensor:
        """KL(old || now), exact, (B,)."""
        return gaussian.kl(self.old_mean, self.old_log_std, self.mean, self.log_std)


class Coefficients(NamedTuple):
    """Numbers of an objective."""

    clip: float
    """Bound on |ratio - 1|, `ppo.clip`."""
    beta: float
    """Price of KL: `ppo.beta`, or its value by a rule of penalty.py."""


class Slopes(NamedTuple):
    """Value and derivative of an objective that depends on ratio and mean KL alone."""

    value: float
    by_ratio: np.ndarray
    """(B,) d value / d ratio of each sample, times B"""
    by_kl: float = 0.0
    """d value / d mean KL"""


@dataclass(frozen=True)
class Objective:
    """Objective that the actor maximizes."""

    value: Callable[[Comparison, Coefficients], Tensor]
    """A scalar, differentiable in `log_probs`, `mean` and `log_std`."""
    derivative: Callable[[np.ndarray, np.ndarray, float, Coefficients], Slopes] | None = None
    """(ratio (B,), advantages (B,), mean KL, coefficients) -> the same in closed form; None: by
    autograd."""


# -- values and their derivatives -------------------------------------------------------------


def clip(ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Return the clipped surrogate, a scalar: a pessimistic bound on E[r A].

    E[min(r A, clip(r, 1 - e, 1 + e) A)]
    """
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return torch.minimum(ratio * advantages, clipped * advantages).mean()


def clip_derivative(
    ratio: np.ndarray, advantages: np.ndarray, kl: float, at: Coefficients
) -> Slopes:
    """Differentiate `clip`: A, but 0 where the clipped term is smaller, which is constant in r."""
    plain = ratio * advantages
    bounded = np.minimum(np.maximum(ratio, 1 - at.clip), 1 + at.clip) * advantages
    value = float(np.minimum(plain, bounded).sum()) / len(ratio)
    return Slopes(value, advantages * (plain <= bounded))


def unclipped(ratio: Tensor, advantages: Tensor) -> Tensor:
    """Return the surrogate E[r A], a scalar: true near the old policy, and only there."""
    return (ratio * advantages).mean()


def unclipped_derivative(
    ratio: np.ndarray, advantages: np.ndarray, kl: float, at: Coefficients
) -> Slopes:
    """Differentiate `unclipped`."""
    return Slopes(float(ratio @ advantages) / len(ratio), advantages)


def penalized(ratio: Tensor, advantages: Tensor, kl: Tensor, beta: float) -> Tensor:
    """Return E[r A] - beta KL(old, new), a scalar.

    Args:
        ratio: (B,).
        advantages: (B,).
        kl: KL(old || new), exact, mean over the states or (B,).
        beta: price of KL.
    """
    return unclipped(ratio, advantages) - beta * kl.mean()


def penalized_derivative(
    ratio: np.ndarray, advantages: np.ndarray, kl: float, at: Coefficients
) -> Slopes:
    """Differentiate `penalized`."""
    value = float(ratio @ advantages) / len(ratio) - at.beta * kl
    return Slopes(value, advantages, -at.beta)


_CLIP = Objective(lambda new, at: clip(new.ratio, new.advantages, at.clip), clip_derivative)
_UNCLIPPED = Objective(lambda new, at: unclipped(new.ratio, new.advantages), unclipped_derivative)
_PENALIZED = Objective(
    lambda new, at: penalized(new.ratio, new.advantages, new.kl, at.beta), penalized_derivative
)

OBJECTIVES: dict[str, Objective] = {
    "clip": _CLIP,
    "kl_fixed": _PENALIZED,
    "kl_adaptive": _PENALIZED,
    "kl_dual": _PENALIZED,
    "unclipped": _UNCLIPPED,
    "trpo": _UNCLIPPED,
}
"""Name in `ppo.objective` -> objective. A program may add its own."""


def find(name: str) -> Objective:
    """Return the objective `name`, or raise `InputError` that lists those that exist."""
    if name not in OBJECTIVES:
        hint = did_you_mean(name, OBJECTIVES)
        raise InputError(f"`ppo.objective`: unknown objective {name!r}{hint}")
    return OBJECTIVES[name]


# -- the critic -------------------------------------------------------------------------------


def value_loss(
    values: Tensor, returns: Tensor, old_values: Tensor, epsilon: float | None
) -> Tensor:
    """Return E[(V - R)^2] / 2, with the change of V bounded by `epsilon` if it is given.

    The bounded form is E[max((V - R)^2, (V_old + clip(V - V_old, -e, e) - R)^2)] / 2.
    """
    error = (values - returns) ** 2
    if epsilon is None:
        return 0.5 * error.mean()
    bounded = old_values + (values - old_values).clamp(-epsilon, epsilon)
    return 0.5 * torch.maximum(error, (bounded - returns) ** 2).mean()


def value_loss_derivative(
    values: np.ndarray, returns: np.ndarray, old_values: np.ndarray, epsilon: float | None
) -> tuple[float, np.ndarray]:
    """Return `value_loss`, and its derivative by each value times B, (B,)."""
    error = values - returns
    squared = error * error
    if epsilon is None:
        return 0.5 * float(squared.sum()) / len(values), error
    change = values - old_values
    bounded = old_values + np.minimum(np.maximum(change, -epsilon), epsilon) - returns
    bounded *= bounded
    moves = (np.abs(change) <= epsilon) | (squared > bounded)  # else the larger term is constant
    return 0.5 * float(np.maximum(squared, bounded).sum()) / len(values), error * moves


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """Return 1 - Var(R - V) / Var(R): 1 is a perfect critic, 0 one that knows the mean."""
    return 1 - (returns - values).var() / (returns.var() + 1e-8)


def clip_fraction(ratio: Tensor, epsilon: float) -> Tensor:
    """Return the fraction of ratios outside [1 - e, 1 + e], a scalar."""
    return ((ratio - 1).abs() > epsilon).float().mean()
