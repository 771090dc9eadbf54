"""Signed permutations: how a vector of numbers looks in the mirror.

    mirror = Mirror.of([1, 0, 2], [1, 1, -1])
    mirror(x)                 # x[..., [1, 0, 2]] * [1, 1, -1]

Every mirror is its own inverse. Which numbers change places is found by
robot_model/symmetry.py and envs/robot/mirrored.py; what learns with it is ppo/symmetric.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mirror:
    """A signed permutation of k numbers that is its own inverse."""

    index: np.ndarray
    """(k,) int: where each mirrored number comes from"""
    sign: np.ndarray
    """(k,) float32: 1 or -1"""

    def __post_init__(self) -> None:
        """Raise `ValueError` for what is not its own inverse."""
        twice = self.index[self.index]
        if not np.array_equal(twice, np.arange(len(self.index))):
            raise ValueError("mirrored twice, an entry does not come back to its place")
        if not np.array_equal(self.sign[self.index], self.sign):
            raise ValueError("mirrored twice, an entry comes back with the other sign")

    @classmethod
    def of(cls, index: Sequence[int], sign: Sequence[float]) -> "Mirror":
        """Return the mirror of lists."""
        return cls(np.array(index, int), np.array(sign, np.float32))

    @classmethod
    def halves(cls, size: int) -> "Mirror":
        """Return the exchange of the first and the second half of an even number of entries."""
        return cls(np.roll(np.arange(size), size // 2), np.ones(size, np.float32))

    @classmethod
    def identity(cls, size: int) -> "Mirror":
        """Return the mirror that changes nothing."""
        return cls(np.arange(size), np.ones(size, np.float32))

    @classmethod
    def joined(cls, mirrors: Sequence["Mirror"]) -> "Mirror":
        """Return the mirror of vectors side by side."""
        if not mirrors:
            return cls.identity(0)
        starts = np.cumsum([0, *(len(m.index) for m in mirrors)])[:-1]
        index = [m.index + start for m, start in zip(mirrors, starts, strict=True)]
        return cls(np.concatenate(index), np.concatenate([m.sign for m in mirrors]))

    def of_part(self, places: Sequence[int]) -> "Mirror":
        """Return the mirror of the entries at `places` alone, in that order.

        A `ValueError` where an entry's partner is not among them.
        """
        order = {place: i for i, place in enumerate(places)}
        try:
            index = [order[int(self.index[place])] for place in places]
        except KeyError as error:
            raise ValueError(f"entry {error} is left out, and its partner is not") from None
        return Mirror(np.array(index, int), self.sign[list(places)])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return values (..., k) as they look in the mirror."""
        return values[..., self.index] * self.sign


@dataclass(frozen=True)
class Symmetry:
    """Mirrors of an environment's observation groups and of its actions."""

    groups: dict[str, Mirror]
    """Observation group -> mirror of its observation."""
    actions: Mirror


VECTOR = Mirror.of([0, 1, 2], [1, -1, 1])
"""Mirror of positions, velocities, forces: left is -y."""
TURN = Mirror.of([0, 1, 2], [-1, 1, -1])
"""Mirror of angular velocities and rotation vectors."""
QUATERNION = Mirror.of([0, 1, 2, 3], [1, -1, 1, -1])
"""Mirror of orientations, wxyz."""
