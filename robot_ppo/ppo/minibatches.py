"""From samples to gradients: shuffled minibatches, and each of them in pieces."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from robot_ppo.ppo.flat_adam import FlatAdam
from robot_ppo.ppo.rollout import AnySamples

CHUNK = 1536
"""Rows that go through a network at once while learning."""


def pieces(samples: AnySamples) -> Iterator[tuple[AnySamples, float]]:
    """Yield views of at most `CHUNK` samples, each with its share of the whole.

    The activations of a piece stay in the cache, which is a quarter faster than all at once and
    the same sum.
    """
    for piece in samples.pieces(CHUNK):
        yield piece, len(piece) / len(samples)


def shuffled(
    samples: AnySamples, count: int, epochs: int, generator: torch.Generator
) -> Iterator[AnySamples]:
    """Yield every epoch's minibatches, shuffled anew each time."""
    for _ in range(epochs):
        mixed = samples.take(torch.randperm(len(samples), generator=generator))
        yield from mixed.pieces(math.ceil(len(samples) / count))


def gradient(
    loss: Callable[[AnySamples], tuple[Tensor, dict[str, Tensor]]],
    minibatch: AnySamples,
    optimizer: FlatAdam,
) -> dict[str, float]:
    """Set the model's gradient to that of a minibatch; return its figures."""

    def descend(piece: AnySamples, weight: float) -> dict[str, Tensor]:
        value, figures = loss(piece)
        (weight * value).backward()
        return figures

    optimizer.zero()
    return in_pieces(minibatch, descend)


def in_pieces(
    samples: AnySamples, use: Callable[[AnySamples, float], dict[str, Tensor]]
) -> dict[str, float]:
    """Use samples piece by piece; return the means of the figures, of `_max` ones the largest.

    Args:
        samples: (m, ...).
        use: a piece and its share of the whole -> its figures.
    """
    sums: dict[str, float] = {}
    for piece, weight in pieces(samples):
        for name, figure in use(piece, weight).items():
            if name.endswith("_max"):
                sums[name] = max(sums.get(name, -math.inf), figure.item())
            else:
                sums[name] = sums.get(name, 0.0) + weight * figure.item()
    return sums
