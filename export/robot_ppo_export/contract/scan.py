"""The grid of a height scan: where its points are around a robot, and in which order.

    grid = ScanGrid(length=1.6, width=1.0, resolution=0.1, offset=0.0)
    grid.points()               # (187, 2) x forward, y to the left [m]

A level frame stands in the base's origin and turns with its heading alone. The points go from the
rear to the front, and in each row from right to left.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScanGrid:
    """Points at equal distances in a rectangle."""

    length: float
    """From the rearmost to the foremost point [m]."""
    width: float
    """From the rightmost to the leftmost point [m]."""
    resolution: float
    """Distance of neighbours [m]."""
    offset: float = 0.0
    """So far in front of the base is the middle [m]."""

    @property
    def rows(self) -> int:
        """Number of rows from the rear to the front."""
        return round(self.length / self.resolution) + 1

    @property
    def columns(self) -> int:
        """Number of points in a row."""
        return round(self.width / self.resolution) + 1

    def points(self) -> np.ndarray:
        """Return x (forward) and y (to the left) of every point (k, 2) float32 [m]."""
        x = self.offset + self.resolution * (np.arange(self.rows) - (self.rows - 1) / 2)
        y = self.resolution * (np.arange(self.columns) - (self.columns - 1) / 2)
        forward, left = np.meshgrid(x, y, indexing="ij")
        return np.stack((forward.ravel(), left.ravel()), axis=1).astype(np.float32)

    def names(self) -> tuple[str, ...]:
        """Return what the points are called (k,), such as "x +0.30 y -0.10"."""
        return tuple(f"x {x:+.2f} y {y:+.2f}" for x, y in self.points().tolist())
