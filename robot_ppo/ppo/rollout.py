"""One iteration's experience, (T, n, ...), float32, allocated once."""

from dataclasses import dataclass

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

    @classmethod
    def empty(cls, steps: int, n: int, size: int, critic_size: int, actions: int) -> "Rollout":
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
        )


@dataclass
class Samples:
    """A rollout without its time axis, with what was computed from it, (m, ...)."""

    observations: Tensor
    critic_inputs: Tensor
    actions: Tensor
    means: Tensor
    log_probs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.actions)

    def rows(self, rows: Tensor) -> "Rows":
        """Return the samples `rows`, each field gathered when it is first asked for."""
        return Rows(self, rows)


class Rows:
    """Some samples of many."""

    def __init__(self, samples: Samples, rows: Tensor) -> None:
        """Remember which; nothing is copied yet."""
        self._samples, self._rows = samples, rows

    def __getattr__(self, name: str) -> Tensor:
        """Return the field `name` at these rows."""
        return getattr(self._samples, name).index_select(0, self._rows)
