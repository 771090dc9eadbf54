"""V of every state of a rollout, before its critic learns from them.

    inputs, values, next_values = Values(critic, passes, side_by_side)(rollout)

A critic with a memory has it from rollout to rollout: `advance` takes the rollout's last state for
the first of the next.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo.autograd import Pass
from robot_ppo.ppo.networks import Value
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.ppo.sequences import records, starts_of

SideBySide = Callable[..., None]
"""(rows, *jobs): runs the jobs."""


class Values:
    """The values of one critic."""

    def __init__(self, critic: Value, passes: Sequence[Pass], side_by_side: SideBySide) -> None:
        """Evaluate `critic` by two passes, one for each thread."""
        self._critic = critic
        self._passes = passes
        self._side_by_side = side_by_side
        self.state: Tensor | None = None
        """(n, S) that the critic remembers before the next rollout; None: nothing yet."""
        self._after: Tensor | None = None

    @torch.no_grad()
    def __call__(self, rollout: Rollout) -> tuple[np.ndarray, Tensor, Tensor]:
        """Return the critic's samples, V(s_t) and V(s_t+1) of the true next state, (T, n)."""
        if self._critic.state_size:
            return self._over_sequences(rollout)
        inputs, values = self._over_rows(rollout)
        next_values = torch.cat((values[1:], self._critic(rollout.last_critic_inputs)[None]))
        for t, ids, final in rollout.finals:
            next_values[t, ids] = self._critic(final)
        return inputs, values, next_values

    def advance(self) -> None:
        """Go on from the end of the rollout that was evaluated last."""
        if self._after is not None:
            self.state = self._after

    def _over_rows(self, rollout: Rollout) -> tuple[np.ndarray, Tensor]:
        """Return inputs (T n, ...) and values (T, n) of a critic without memory."""
        steps, n = rollout.rewards.shape
        half = steps * n // 2
        pieces = rollout.critic_inputs.flatten(0, 1).split([half, steps * n - half])
        inputs: list[np.ndarray] = [np.empty(0)] * 2
        found: list[np.ndarray] = [np.empty(0)] * 2

        def evaluate(i: int) -> None:
            inputs[i] = self._passes[i].inputs(pieces[i])
            found[i] = _in_pieces(self._passes[i], inputs[i])

        self._side_by_side(half, lambda: evaluate(0), lambda: evaluate(1))
        values = self._critic.denormalize(torch.from_numpy(np.concatenate(found))).view(steps, n)
        return np.concatenate(inputs), values

    def _over_sequences(self, rollout: Rollout) -> tuple[np.ndarray, Tensor, Tensor]:
        """Return samples (n,), values and next values (T, n) of a critic with a memory."""
        critic = self._critic
        n = rollout.rewards.shape[1]
        state = torch.zeros(n, critic.state_size) if self.state is None else self.state
        starts = starts_of(rollout)
        values, states = critic.unroll(rollout.critic_inputs, starts, state)
        ended = rollout.terminated[-1] | rollout.truncated[-1]
        self._after = states[-1] * ~ended[:, None]
        last = critic.step(rollout.last_critic_inputs, self._after)
        next_values = torch.cat((values[1:], last[None]))
        for t, ids, final in rollout.finals:
            next_values[t, ids] = critic.step(final, states[t, ids])
        return records(rollout.critic_inputs, starts, state), values, next_values


def _in_pieces(one: Pass, inputs: np.ndarray) -> np.ndarray:
    """Return the normalized values (m,) of a critic's inputs (m, ...)."""
    size = one.most_rows or len(inputs)
    pieces = [inputs[i : i + size] for i in range(0, len(inputs), size)]
    return np.concatenate([one.forward(piece)[0] for piece in pieces])
