"""What PPO maximizes: pure functions of one minibatch.

`ratio` is pi_new(a|s) / pi_old(a|s), (B,); `advantages` (B,). `ppo.objective` names one:

| name | what is maximized |
|---|---|
| `clip` | `clip` |
| `kl_fixed`, `kl_adaptive`, `kl_dual` | `penalized`; the rules for beta are in penalty.py |
| `unclipped` | `unclipped`, with nothing that bounds the step |
| `trpo` | `unclipped`, by one natural step of bounded KL, in trpo.py |

These are the definitions. What learning computes is their gradient in closed form, gradients.py,
which the tests hold equal to autograd's of the functions here.
"""

import torch
from torch import Tensor


def clip(ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """Return the clipped surrogate, a scalar: a pessimistic bound on E[r A].

    E[min(r A, clip(r, 1 - e, 1 + e) A)]
    """
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon)
    return torch.minimum(ratio * advantages, clipped * advantages).mean()


def unclipped(ratio: Tensor, advantages: Tensor) -> Tensor:
    """Return the surrogate E[r A], a scalar: true near the old policy, and only there."""
    return (ratio * advantages).mean()


def penalized(ratio: Tensor, advantages: Tensor, kl: Tensor, beta: float) -> Tensor:
    """Return E[r A] - beta KL(old, new), a scalar.

    Args:
        ratio: (B,).
        advantages: (B,).
        kl: KL(old || new), exact, mean over the states or (B,).
        beta: price of KL; a constant or what a rule in penalty.py makes of it.
    """
    return unclipped(ratio, advantages) - beta * kl.mean()


def clip_fraction(ratio: Tensor, epsilon: float) -> Tensor:
    """Return the fraction of ratios outside [1 - e, 1 + e], a scalar."""
    return ((ratio - 1).abs() > epsilon).float().mean()


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


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """Return 1 - Var(R - V) / Var(R): 1 is a perfect critic, 0 one that knows the mean."""
    return 1 - (returns - values).var() / (returns.var() + 1e-8)
