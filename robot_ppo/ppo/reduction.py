"""The mean of a network's gradient over all ranks, in as few bytes as the settings allow.

    reduction = Reduction(parameters, ranks, ACTOR, "int8")
    reduction.begin()            # at the start of an update
    kl = reduction(kl)           # the gradient and this number are now means over all ranks

Of a network that is its own mirror image only one entry of each mirrored pair travels. With `int8`
an entry travels as one byte: blocks of `BLOCK` entries share a scale, and what rounding leaves is
added to the next gradient of the same update (error feedback), so that nothing is lost for good.
Each rank adds up one part of the vector, in the order of the ranks, and sends the sum to all: every
rank holds the same mean, bit for bit, and the bytes do not grow with the number of ranks.
"""

import numpy as np

from robot_ppo.mirror import Mirror
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.ranks import Ranks

BLOCK = 256
"""Entries that share a scale: 1.6 % more bytes than the entries alone."""
_LARGEST = 127


class Reduction:
    """Means of one network's gradient over all ranks."""

    def __init__(
        self, parameters: FlatParameters, ranks: Ranks, channel: int, form: str = "float32"
    ) -> None:
        """Choose what is sent; `form` is that of `ppo.reduction`."""
        self._parameters = parameters
        self._ranks = ranks
        self._channel = channel
        mirror = parameters.mirror
        self._half = None if mirror is None else _Half(mirror)
        size = len(parameters.gradient) if self._half is None else len(self._half.free)
        self._bytes = _Bytes(size, ranks, channel) if form == "int8" else None

    def begin(self) -> None:
        """Clear the rounding errors: an update may depend only on what a checkpoint holds."""
        if self._bytes is not None:
            self._bytes.begin()

    def __call__(self, kl: float) -> float:
        """Replace the gradient by its mean over all ranks, and return that of a KL.

        The gradient must be symmetric where the network is.
        """
        if self._ranks.size == 1:
            return kl
        gradient = self._parameters.gradient.numpy()
        own = gradient if self._half is None else gradient[self._half.free]
        mean, kl = self._mean(own, kl)
        gradient[:] = mean if self._half is None else self._half.whole(mean)
        return kl

    def _mean(self, own: np.ndarray, kl: float) -> tuple[np.ndarray, float]:
        if self._bytes is not None:
            return self._bytes.mean(own, kl)
        both = self._ranks.sum(np.append(own, np.float32(kl)), self._channel)
        both /= self._ranks.size
        return both[:-1], float(both[-1])


class _Half:
    """The entries of a symmetric vector that determine the others."""

    def __init__(self, mirror: Mirror) -> None:
        here = np.arange(len(mirror.index))
        first = np.minimum(here, mirror.index)
        self.free = np.flatnonzero(first == here)
        """One entry of each mirrored pair, and those that mirror onto themselves."""
        self._place = np.searchsorted(self.free, first)
        self._sign = np.where(first == here, 1, mirror.sign).astype(np.float32)

    def whole(self, free: np.ndarray) -> np.ndarray:
        """Return the vector whose entries at `self.free` these are."""
        return free[self._place] * self._sign


class _Bytes:
    """Means of vectors that are sent with one byte for each entry."""

    def __init__(self, size: int, ranks: Ranks, channel: int) -> None:
        self._size = size
        self._ranks = ranks
        self._channel = channel
        blocks = -(-size // (BLOCK * ranks.size))
        self._own = np.zeros((ranks.size, blocks, BLOCK), np.float32)
        self._sum = np.zeros((blocks, BLOCK), np.float32)
        self.begin()

    def begin(self) -> None:
        """Clear the rounding errors."""
        self._own[:] = 0
        self._sum[:] = 0

    def mean(self, own: np.ndarray, kl: float) -> tuple[np.ndarray, float]:
        """Return the mean of a vector and of a number over all ranks."""
        ranks = self._ranks
        self._own.reshape(-1)[: self._size] += own
        rows = np.stack([_encode(part, kl) for part in self._own])
        self._sum += self._add_up(rows := ranks.exchange(rows, self._channel))
        code = _encode(self._sum, float(np.mean([_kl(row) for row in rows])))
        parts = ranks.gather_rows(code, self._channel)
        return np.concatenate([_decode(row) for row in parts])[: self._size], _kl(parts[0])

    def _add_up(self, rows: np.ndarray) -> np.ndarray:
        """Return the mean of what all ranks sent, one after the other in their order."""
        total = _decode(rows[0])
        for row in rows[1:]:
            total += _decode(row)
        return (total / len(rows)).reshape(self._sum.shape)


def _encode(values: np.ndarray, kl: float) -> np.ndarray:
    """Return blocks (b, BLOCK) and a number as bytes; leave in `values` what rounding lost.

    A block with a number that is not finite is NaN on the other side.
    """
    scale = np.abs(values).max(axis=1, keepdims=True) / _LARGEST
    finite = np.isfinite(scale)
    step = np.where(finite & (scale > 0), scale, 1)
    codes = np.rint(np.where(finite, values, 0) / step).astype(np.int8)
    values -= codes * step
    header = np.append(np.float32(kl), np.where(finite, scale, np.nan)).astype(np.float32)
    return np.concatenate([header.view(np.uint8), codes.reshape(-1).view(np.uint8)])


def _decode(row: np.ndarray) -> np.ndarray:
    """Return the entries (b BLOCK,) of `_encode`."""
    blocks = (len(row) - 4) // (4 + BLOCK)
    scale = row[4 : 4 + 4 * blocks].view(np.float32)
    codes = row[4 + 4 * blocks :].view(np.int8).reshape(blocks, BLOCK)
    return (codes * scale[:, None]).reshape(-1)


def _kl(row: np.ndarray) -> float:
    return float(row[:4].view(np.float32)[0])
