"""One iteration's experience, (T, n, ...), float32, allocated once; and samples to learn from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo import gaussian


@dataclass
class Rollout:
    """T steps of n simulations."""

    observations: Tensor
    """(T, n, size) what the actor saw"""
    critic_inputs: Tensor
    """(T, n, critic size)"""
    actions: Tensor
    """(T, n, k)"""
    means: Tensor
    """(T, n, k) of the policy that acted"""
    rewards: Tensor
    """(T, n)"""
    terminated: Tensor
    """(T, n) bool"""
    truncated: Tensor
    """(T, n) bool"""
    last_critic_inputs: Tensor
    """(n, critic size) after the last step"""
    finals: list[tuple[int, Tensor, Tensor]]
    """(t, ids, critic inputs) of the true final state of episodes cut off by time"""
    log_stds: Tensor | None = None
    """(T, n, k) of the policy that acted, where it depends on the state; None: the actor's own"""

    @classmethod
    def empty(
        cls,
        steps: int,
        n: int,
        size: int,
        critic_size: int,
        actions: int,
        state_std: bool = False,
        device: str = "cpu",
    ) -> "Rollout":
        """Return a rollout of zeros."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(steps, n, *shape, dtype=dtype, device=device)

        return cls(
            zeros(size),
            zeros(critic_size),
            zeros(actions),
            zeros(actions),
            zeros(),
            zeros(dtype=torch.bool),
            zeros(dtype=torch.bool),
            torch.zeros(n, critic_size, device=device),
            [],
            zeros(actions) if state_std else None,
        )


class _Samples:
    """Rows over several arrays of one length."""

    def arrays(self) -> list[np.ndarray]:
        """Return the fields that there are, in order; what may be None comes last."""
        return [x for x in vars(self).values() if x is not None]

    def take(self, rows: np.ndarray) -> Self:
        """Return copies of the samples at the indices `rows`."""
        return type(self)(*(x.take(rows, 0) for x in self.arrays()))

    def pieces(self, size: int | None) -> Iterator[Self]:
        """Yield views of `size` consecutive samples; the last may be shorter. None: all at once."""
        if size is None or len(self) <= size:
            yield self
            return
        arrays = self.arrays()
        for start in range(0, len(self), size):
            yield type(self)(*(x[start : start + size] for x in arrays))

    def minibatches(self, count: int, epochs: int, generator: torch.Generator) -> Iterator[Self]:
        """Yield the `count` minibatches of every epoch, shuffled anew each time."""
        for _ in range(epochs):
            mixed = self.take(torch.randperm(len(self), generator=generator).numpy())
            yield from mixed.pieces(math.ceil(len(self) / count))

    def __len__(self) -> int:
        raise NotImplementedError


@dataclass
class ActorSamples(_Samples):
    """What the actor learns from, (m, ...), float32."""

    observations: np.ndarray
    """what a pass makes of observations, its `inputs`"""
    actions: np.ndarray
    means: np.ndarray
    """of the policy that acted"""
    log_probs: np.ndarray
    """of the actions under the policy that acted"""
    advantages: np.ndarray
    log_stds: np.ndarray | None = None
    """of the policy that acted, where it depends on the state"""

    @classmethod
    def of(
        cls, rollout: Rollout, inputs: np.ndarray, old_log_std: np.ndarray, advantages: Tensor
    ) -> "ActorSamples":
        """Return all steps of a rollout as samples.

        Args:
            rollout: (T, n, ...).
            inputs: what a pass makes of its observations, (T n, ...).
            old_log_std: (k,) of the policy that acted, where the rollout does not have its own.
            advantages: (T, n).
        """
        log_stds = rollout.log_stds
        old = torch.from_numpy(old_log_std) if log_stds is None else log_stds
        return cls(
            inputs,
            rows(rollout.actions),
            rows(rollout.means),
            rows(gaussian.log_prob(rollout.actions, rollout.means, old)),
            rows(advantages),
            None if log_stds is None else rows(log_stds),
        )

    def __len__(self) -> int:
        return len(self.actions)


@dataclass
class CriticSamples(_Samples):
    """What the critic learns from, (m, ...), float32."""

    inputs: np.ndarray
    """what a pass makes of the critic's observations, its `inputs`"""
    values: np.ndarray
    """before the update"""
    returns: np.ndarray

    def __len__(self) -> int:
        return len(self.returns)


def rows(x: Tensor) -> np.ndarray:
    """Return (T, n, ...) as rows (T n, ...)."""
    return x.detach().flatten(0, 1).numpy()
