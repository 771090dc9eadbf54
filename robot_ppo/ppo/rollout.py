"""One iteration's experience, (T, n, ...), float32, allocated once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import torch
from torch import Tensor


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
    ) -> "Rollout":
        """Return a rollout of zeros."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(steps, n, *shape, dtype=dtype)

        return cls(
            zeros(size),
            zeros(critic_size),
            zeros(actions),
            zeros(actions),
            zeros(),
            zeros(dtype=torch.bool),
            zeros(dtype=torch.bool),
            torch.zeros(n, critic_size),
            [],
            zeros(actions) if state_std else None,
        )


class _Samples:
    """Rows over several tensors of one length."""

    def tensors(self) -> list[Tensor]:
        """Return the fields that there are, in order; what may be None comes last."""
        return [x for x in vars(self).values() if x is not None]

    def flattened(self) -> Self:
        """Return (T, n, ...) as (T n, ...)."""
        return type(self)(*(x.flatten(0, 1) for x in self.tensors()))

    def take(self, rows: Tensor) -> Self:
        """Return copies of the samples at the indices `rows`."""
        return type(self)(*(x.index_select(0, rows) for x in self.tensors()))

    def pieces(self, size: int) -> Iterator[Self]:
        """Yield views of `size` consecutive samples; the last may be shorter."""
        for parts in zip(*(x.split(size) for x in self.tensors()), strict=True):
            yield type(self)(*parts)

    def __len__(self) -> int:
        return len(self.tensors()[0])


@dataclass
class ActorSamples(_Samples):
    """What the actor learns from, (m, ...)."""

    observations: Tensor
    """normalized"""
    actions: Tensor
    means: Tensor
    """of the policy that acted"""
    log_probs: Tensor
    """of the actions under the policy that acted"""
    advantages: Tensor
    log_stds: Tensor | None = None
    """of the policy that acted, where it depends on the state"""


@dataclass
class CriticSamples(_Samples):
    """What the critic learns from, (m, ...)."""

    inputs: Tensor
    """normalized"""
    values: Tensor
    """before the update"""
    returns: Tensor


AnySamples = TypeVar("AnySamples", ActorSamples, CriticSamples)
