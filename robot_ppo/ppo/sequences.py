"""Sequences: what a network with a memory learns from, where another one learns from single steps.

A sample is one simulation's steps of a rollout, with the memory before the first of them. Samples
are records, so that they are shuffled and cut into minibatches like rows of numbers:

    samples = records(observations, starts, state)     # (n,)
    values, = unrolled_values(critic)(samples)         # (n T,)

The memory is the one that the rollout began with. It is a constant: gradients reach back to the
start of the rollout and no further.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo.networks import Actor, Policy, Value
from robot_ppo.ppo.rollout import Rollout, rows


def starts_of(rollout: Rollout) -> Tensor:
    """Return the steps before which an episode starts, (T, n) bool.

    The memory that a rollout begins with is empty already where its first step starts one.
    """
    ended = rollout.terminated | rollout.truncated
    return torch.cat((torch.zeros_like(ended[:1]), ended[:-1]))


def records(observations: Tensor, starts: Tensor, state: Tensor) -> np.ndarray:
    """Return a sample of each simulation, (n,) records.

    Args:
        observations: (T, n, size).
        starts: (T, n) bool.
        state: before the first step, (n, S).
    """
    steps, n, size = observations.shape
    kinds = [
        ("state", np.float32, (state.shape[1],)),
        ("observations", np.float32, (steps, size)),
        ("starts", np.bool_, (steps,)),
    ]
    samples = np.empty(n, np.dtype(kinds, align=True))
    samples["state"] = state.numpy()
    samples["observations"] = observations.transpose(0, 1).numpy()
    samples["starts"] = starts.T.numpy()
    return samples


def by_sequence(x: Tensor) -> np.ndarray:
    """Return (T, n, ...) as (n, T, ...)."""
    return np.ascontiguousarray(x.detach().transpose(0, 1).numpy())


def arrangement(network: Policy | Value) -> Callable[[Tensor], np.ndarray]:
    """Return the function that brings (T, n, ...) into the order of a network's samples."""
    return by_sequence if network.state_size else rows


Outputs = Callable[[np.ndarray], tuple[Tensor, ...]]
"""Samples -> outputs of a network."""


def unrolled_distribution(actor: Policy) -> Outputs:
    """Return the function samples -> mean and log of the deviation, a row for each step."""

    def outputs(samples: np.ndarray) -> tuple[Tensor, ...]:
        mean, log_std, _ = actor.unroll(*_by_step(samples))
        return _rows(mean), log_std if log_std.ndim == 1 else _rows(log_std)

    return outputs


def unrolled_latents(actor: Actor) -> Outputs:
    """Return the function samples -> mean, log of the deviation and latent, a row for each step."""

    def outputs(samples: np.ndarray) -> tuple[Tensor, ...]:
        latent = actor.encode_sequences(*_by_step(samples))[0]
        mean, log_std = actor.decode(latent)
        return _rows(mean), log_std if log_std.ndim == 1 else _rows(log_std), _rows(latent)

    return outputs


def unrolled_values(critic: Value) -> Outputs:
    """Return the function samples -> normalized values, one for each step."""

    def outputs(samples: np.ndarray) -> tuple[Tensor, ...]:
        return (_rows(critic.normalize(critic.unroll(*_by_step(samples))[0])),)

    return outputs


def _by_step(samples: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Return observations (T, B, size), starts (T, B) and state (B, S) of samples."""
    observations = np.ascontiguousarray(samples["observations"].swapaxes(0, 1))
    starts = np.ascontiguousarray(samples["starts"].T)
    state = np.ascontiguousarray(samples["state"])
    return torch.from_numpy(observations), torch.from_numpy(starts), torch.from_numpy(state)


def _rows(x: Tensor) -> Tensor:
    """Return (T, B, ...) as (B T, ...)."""
    return x.transpose(0, 1).flatten(0, 1)
