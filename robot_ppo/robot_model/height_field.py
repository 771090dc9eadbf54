"""Heights of the ground on a regular grid, as a variant of a robot's model takes them.

    field = HeightField(heights, spacing=0.1, corner=(-4.0, -4.0))
    model = variants.train_model(robot, xml, physics, max_delay=0.0, ground=field)

MuJoCo joins four neighbours by two triangles along the diagonal that ascends in x and y; what lies
between grid points is on these triangles.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

THICKNESS = 1.0
"""Depth of the solid below the lowest point [m]."""
_LEVEL = 1e-3
"""[m] MuJoCo scales heights by their range, which must not be 0 where all are the same."""


@dataclass(frozen=True)
class HeightField:
    """Heights over a rectangle of the world."""

    heights: np.ndarray
    """(ny, nx) [m]; a row has one y."""
    spacing: float
    """Distance of grid points [m], along both axes."""
    corner: tuple[float, float]
    """x and y of `heights[0, 0]` [m]."""

    @property
    def low(self) -> float:
        """The lowest height [m]."""
        return float(self.heights.min())

    @property
    def range(self) -> float:
        """The distance from the lowest to the highest point [m]."""
        return max(float(np.ptp(self.heights)), _LEVEL)

    @property
    def sides(self) -> np.ndarray:
        """The lengths of the rectangle along x and y [m]."""
        return self.spacing * (np.array(self.heights.shape[::-1]) - 1)

    @property
    def centre(self) -> np.ndarray:
        """The middle of the rectangle, at the lowest height (3,) [m]."""
        return np.array([*(np.array(self.corner) + self.sides / 2), self.low])

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """Add the heights to `spec` under `name`; a geom of that field goes to `centre`."""
        rows, columns = self.heights.shape
        field = spec.add_hfield(name=name, nrow=rows, ncol=columns)
        field.size = (*(self.sides / 2), self.range, THICKNESS)
        # As MuJoCo stores them: one that is level would become its highest otherwise.
        field.userdata = ((self.heights - self.low) / self.range).astype(np.float32).ravel()
