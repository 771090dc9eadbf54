"""TRPO's step: the natural gradient, as long as the KL bound allows.

    maximize  L(theta)  subject to  KL(old, theta) <= bound

To second order KL is d F d / 2 with Fisher's matrix F, so the best direction is F^-1 g and its
length sqrt(2 bound / (d F d)). F is never built: conjugate gradients need products with it only,
and F v is the derivative of (gradient of KL) . v. What the second order misses, a backtracking
line search repairs, on the surrogate and on the KL themselves. Schulman et al. 2015, appendix C.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

CG_STEPS = 10
DAMPING = 0.1
"""Added to F's diagonal; without it a step that changes no action could be infinitely long."""
BACKTRACK = 0.5
TRIES = 10
"""Most halvings of a step that breaks the bound or gains nothing."""


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """Return tensors as one vector, (p,)."""
    return torch.cat([t.flatten() for t in tensors])


def fisher_product(kl: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the function v -> F v, (p,) -> (p,).

    F is the Hessian of `kl` in the parameters, which is Fisher's matrix where the two policies of
    the KL are one.

    Args:
        kl: KL(old || new), a scalar with a graph to `parameters`; old is a constant.
        parameters: of the policy; p numbers in all.
    """
    gradient = flat(torch.autograd.grad(kl, parameters, create_graph=True))

    def product(v: Tensor) -> Tensor:
        along = gradient @ v
        return flat(
            torch.autograd.grad(along, parameters, retain_graph=True, materialize_grads=True)
        )

    return product


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], b: Tensor, steps: int = CG_STEPS, tolerance: float = 1e-10
) -> Tensor:
    """Return x with A x = b, (p,), for a positive definite A that is known by v -> A v.

    Args:
        product: v -> A v.
        b: (p,).
        steps: at most; exact arithmetic needs as many as A has distinct eigenvalues.
        tolerance: of |A x - b|^2 / |b|^2.
    """
    x = torch.zeros_like(b)
    residual = b.clone()
    direction = b.clone()
    square = b @ b
    enough = tolerance * square
    for _ in range(steps):
        if square <= enough:
            break
        image = product(direction)
        length = square / (direction @ image)
        x += length * direction
        residual -= length * image
        last = square
        square = residual @ residual
        direction = residual + square / last * direction
    return x


def ascend(
    vector: Tensor,
    gradient: Tensor,
    product: Callable[[Tensor], Tensor],
    evaluate: Callable[[], tuple[float, float]],
    bound: float,
) -> dict[str, float]:
    """Move the parameters by one natural step within the bound; return its figures.

    Args:
        vector: all parameters, (p,), changed in place.
        gradient: of what is to rise, at `vector`, (p,).
        product: v -> F v, at `vector`.
        evaluate: what is to rise, and the KL to the policy that acted, at the present `vector`.
        bound: on that KL. It holds for the result; if no step of the search is better and within
            it, the parameters stay.
    """

    def damped(v: Tensor) -> Tensor:
        return product(v) + DAMPING * v

    start = vector.clone()
    before = evaluate()[0]
    direction = conjugate_gradients(damped, gradient)
    curvature = float(direction @ damped(direction))
    if curvature > 0:
        full = math.sqrt(2 * bound / curvature) * direction
        for tries in range(TRIES):
            vector.copy_(start + BACKTRACK**tries * full)
            after, kl = evaluate()
            if kl <= bound and after > before:
                return {"kl_after": kl, "backtracks": tries, "surrogate_gain": after - before}
    vector.copy_(start)
    return {"kl_after": 0.0, "backtracks": TRIES, "surrogate_gain": 0.0}
