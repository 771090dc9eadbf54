"""Tilt of the feet and the distance between them, compared with the default pose.

soles = Soles(model, robot)
soles.level(data.xmat[None])                       # (1, feet): 1 flat, 0 on edge
soles.gap(data.geom_xpos[None], quat)              # (1, pairs) [m]
"""

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec


class Soles:
    """The feet of a robot in a compiled model; in the default pose its soles are flat."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Measure the feet in the default pose; `InputError` as in `geometry.foot_geoms`."""
        data = geometry.standing_pose(model, robot)
        self._geoms = geometry.foot_geoms(model, robot)
        self._bodies = [int(model.geom_bodyid[ids[0]]) for ids in self._geoms]
        self._up = data.xmat[self._bodies].reshape(-1, 3, 3)[:, 2]
        """(feet, 3) the world's z axis in the frame of each foot's body."""
        base = model.body(robot.base.body).id
        sideways = data.xmat[base].reshape(3, 3)[:, 1]
        places = [float(data.geom_xpos[ids].mean(axis=0) @ sideways) for ids in self._geoms]
        order = np.argsort(places)[::-1]
        half = len(order) // 2
        self.pairs = [(int(left), int(right)) for left in order[:half] for right in order[-half:]]
        """Feet of the left half of the robot, each with every one of the right half."""

    def level(self, xmat: Array) -> Array:
        """Return the cosine of each sole's tilt (n, feet), float32.

        Args:
            xmat: rotations of all bodies (n, nbody, 9) or (n, nbody, 3, 3), row by row.
        """
        xp = namespace(xmat)
        rows = xmat.reshape(len(xmat), -1, 3, 3)[:, self._bodies, 2]
        return xp.astype(xp.sum(rows * self._up, axis=2), xp.float32)

    def gap(self, geom_xpos: Array, quat: Array) -> Array:
        """Return how far left feet are to the left of right ones (n, pairs) [m], float32.

        Args:
            geom_xpos: positions of all geoms (n, ngeom, 3) [m].
            quat: orientation of the base (n, 4) wxyz.
        """
        xp = namespace(geom_xpos)
        centres = [xp.mean(geom_xpos[:, ids], axis=1) for ids in self._geoms]
        between = [frames.to_body(quat, centres[i] - centres[j])[:, 1] for i, j in self.pairs]
        return xp.astype(xp.stack(between, axis=1), xp.float32)
