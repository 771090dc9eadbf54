"""One iteration's experience, (T, n, ...), float32, allocated once; and samples to learn from."""

from collections.abc import Callable, Iterator
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
    state: Tensor
    """(n, S) what the actor remembered before the first step"""
    finals: list[tuple[int, Tensor, Tensor]]
    """(t, ids, critic inputs) of the true final state of episodes cut off by time"""
    log_stds: Tensor | None = None
    """(T, n, k) of the policy that acted, where it depends on the state; None: the actor's own"""
    labels: Tensor | None = None
    """(T, n, k) mean actions of a teacher, where there is one"""
    latents: Tensor | None = None
    """(T, n, width) latents of a teacher, where the student learns them"""

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
        state: int = 0,
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
            torch.zeros(n, state, device=device),
            [],
            zeros(actions) if state_std else None,
        )


class _Samples:
    """Arrays of one length, a row for each sample: a step, or a sequence of T steps."""

    def arrays(self) -> list[np.ndarray]:
        """Return the fields that there are, in order."""
        return [x for x in vars(self).values() if x is not None]

    def _each(self, change: Callable[[np.ndarray], np.ndarray]) -> Self:
        """Return samples whose arrays are changed by `change`; what is None stays None."""
        return type(self)(*(None if x is None else change(x) for x in vars(self).values()))

    def take(self, rows: np.ndarray) -> Self:
        """Return copies of the samples at the indices `rows`."""
        return self._each(lambda x: x.take(rows, 0))

    def pieces(self, size: int | None) -> Iterator[Self]:
        """Yield views of `size` consecutive samples; the last may be shorter. None: all at once."""
        if size is None or len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            yield self._part(start, start + size)

    def minibatches(self, count: int, epochs: int, generator: torch.Generator) -> Iterator[Self]:
        """Yield the `count` minibatches of every epoch, shuffled anew each time.

        Their sizes differ by one sample at most; of fewer samples than `count`, each is one.
        """
        count = max(1, min(count, len(self)))
        ends = [len(self) * (i + 1) // count for i in range(count)]
        for _ in range(epochs):
            shuffled = self.take(torch.randperm(len(self), generator=generator).numpy())
            for start, end in zip([0, *ends], ends, strict=False):
                yield shuffled._part(start, end)

    def _part(self, start: int, end: int) -> Self:
        """Return views of the samples from `start` to before `end`."""
        return self._each(lambda x: x[start:end])

    def steps(self) -> Self:
        """Return the steps of sequences, one sequence after the other; a step stays what it is."""
        if self.per_step.ndim == 1:
            return self
        inputs = self.arrays()[0]
        return self._each(lambda x: x if x is inputs else x.reshape(self.count, *x.shape[2:]))

    @property
    def count(self) -> int:
        """Number of steps."""
        return self.per_step.size

    @property
    def per_step(self) -> np.ndarray:
        """One of the arrays that hold one number for each step, (m,) or (m, T)."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


@dataclass
class ActorSamples(_Samples):
    """Samples that the actor learns from, (m, ...) or in sequences (m, T, ...), float32."""

    observations: np.ndarray
    """(m, ...) what a pass makes of observations, its `inputs`"""
    actions: np.ndarray
    means: np.ndarray
    """of the policy that acted"""
    log_probs: np.ndarray
    """of the actions under the policy that acted"""
    advantages: np.ndarray
    log_stds: np.ndarray | None = None
    """of the policy that acted, where it depends on the state"""
    latents: np.ndarray | None = None
    """of a teacher, where they are learned"""

    @classmethod
    def of(
        cls,
        rollout: Rollout,
        inputs: np.ndarray,
        arranged: Callable[[Tensor], np.ndarray],
        old_log_std: np.ndarray,
        advantages: Tensor,
    ) -> "ActorSamples":
        """Return all steps of a rollout as samples.

        Args:
            rollout: (T, n, ...).
            inputs: what a pass makes of its observations, a row for each sample.
            arranged: brings (T, n, ...) into the order of the inputs.
            old_log_std: (k,) of the policy that acted, where the rollout does not have its own.
            advantages: (T, n).
        """
        log_stds = rollout.log_stds
        old = torch.from_numpy(old_log_std) if log_stds is None else log_stds
        return cls(
            inputs,
            arranged(rollout.actions),
            arranged(rollout.means),
            arranged(gaussian.log_prob(rollout.actions, rollout.means, old)),
            arranged(advantages),
            None if log_stds is None else arranged(log_stds),
        )

    @property
    def per_step(self) -> np.ndarray:
        """The advantages."""
        return self.advantages

    def __len__(self) -> int:
        return len(self.actions)


@dataclass
class CriticSamples(_Samples):
    """Samples that the critic learns from, (m, ...) or in sequences (m, T), float32."""

    inputs: np.ndarray
    """(m, ...) what a pass makes of the critic's observations, its `inputs`"""
    values: np.ndarray
    """before the update"""
    returns: np.ndarray

    @property
    def per_step(self) -> np.ndarray:
        """The returns."""
        return self.returns

    def __len__(self) -> int:
        return len(self.returns)


def rows(x: Tensor) -> np.ndarray:
    """Return (T, n, ...) as rows (T n, ...)."""
    return x.detach().flatten(0, 1).numpy()
