"""From samples to gradients: shuffled minibatches, and each of them in pieces."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from robot_ppo.ppo.rollout import AnySamples

CHUNK = 512
"""Rows that go through a network at once."""

Figures = dict[str, float]


def pieces(samples: AnySamples) -> Iterator[tuple[AnySamples, float]]:
    """Yield views of at most `CHUNK` samples, each with its share of the whole.

    The activations of a piece stay in the cache, which is faster than all at once.
    """
    if len(samples) <= CHUNK:
        yield samples, 1.0
        return
    for piece in samples.pieces(CHUNK):
        yield piece, len(piece) / len(samples)


def shuffled(
    samples: AnySamples, count: int, epochs: int, generator: torch.Generator
) -> Iterator[AnySamples]:
    """Yield every epoch's minibatches, shuffled anew each time."""
    for _ in range(epochs):
        mixed = samples.take(torch.randperm(len(samples), generator=generator).numpy())
        yield from mixed.pieces(math.ceil(len(samples) / count))


def accumulate(
    descend: Callable[[AnySamples, float], Figures], minibatch: AnySamples, gradient: np.ndarray
) -> Figures:
    """Leave the sum over a minibatch's pieces in `gradient`; return the figures of the whole.

    Args:
        descend: (piece, its share of the whole) -> its figures; overwrites `gradient`.
        minibatch: (m, ...).
        gradient: (p,).
    """
    if len(minibatch) <= CHUNK:
        return descend(minibatch, 1.0)
    total = np.zeros_like(gradient)

    def add(piece: AnySamples, share: float) -> Figures:
        figures = descend(piece, share)
        np.add(total, gradient, out=total)
        return figures

    figures = in_pieces(minibatch, add)
    gradient[:] = total
    return figures


def in_pieces(samples: AnySamples, use: Callable[[AnySamples, float], Figures]) -> Figures:
    """Use samples piece by piece; return the means of the figures, of `_max` ones the largest.

    Args:
        samples: (m, ...).
        use: (piece, its share of the whole) -> its figures.
    """
    whole: Figures = {}
    for piece, share in pieces(samples):
        for name, figure in use(piece, share).items():
            if name.endswith("_max"):
                whole[name] = max(whole.get(name, -math.inf), figure)
            else:
                whole[name] = whole.get(name, 0.0) + share * figure
    return whole
