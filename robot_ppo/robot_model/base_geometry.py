"""Clearance of the base above the ground, whatever the training model lets collide.

    base = BaseGeometry(source.read(xml).model, robot)
    base.clearance(pos, quat)                          # (n,) [m]

The shapes are the base's collision geoms in the robot's own MJCF, with those of bodies that are
fixed to it: as a rule only feet collide in a training model.
"""

from collections.abc import Callable

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, source
from robot_ppo.robot_model.geometry import SOLID, Shape
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError


class BaseGeometry:
    """The collision geoms of a robot's base, fixed in its frame."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Find the geoms; `InputError` where the base has none that can touch something.

        Args:
            model: of the robot's own MJCF, compiled.
            robot: names the base.
        """
        base = model.body(robot.base.body).id
        fixed = model.body_weldid[model.geom_bodyid] == model.body_weldid[base]
        found = np.flatnonzero(fixed & source.colliding_geoms(model))
        ids = [int(i) for i in found if mujoco.mjtGeom(int(model.geom_type[i])) in SOLID]
        if not ids:
            raise InputError(
                f"{robot.name}: the base {robot.base.body!r} has no geom that can touch something, "
                "so nothing can say when it touches the ground; leave out the terms that read that"
            )
        data = geometry.standing_pose(model, robot)
        turn = data.xmat[base].reshape(3, 3)
        self._centres = (data.geom_xpos[ids] - data.xpos[base]) @ turn
        """(g, 3) [m] in the base's frame."""
        self._turns = turn.T @ data.geom_xmat[ids].reshape(-1, 3, 3)
        """(g, 3, 3) from each geom's frame to the base's."""
        self._shapes = [Shape(model, i) for i in ids]

    def clearance(
        self,
        pos: Array,
        quat: Array,
        ground: Callable[[Array, Array], Array] | None = None,
    ) -> Array:
        """Return the height of the base's lowest point (n,) [m], float32; below 0 it is sunk in.

        It is that above the ground below the middle of the geom which has the point.

        Args:
            pos: positions of the base (n, 3) [m].
            quat: its orientations (n, 4) wxyz, body to world.
            ground: x and y (n, g) [m] -> height of the ground there; None: 0 everywhere.
        """
        xp = namespace(pos)
        turns = _matrices(xp.astype(quat, pos.dtype))
        places = pos[:, None] + xp.permute_dims(xp.matmul(turns, self._centres.T), (0, 2, 1))
        up = xp.matmul(turns[:, None, 2:], self._turns)[:, :, 0]
        below = [shape.below(up[:, i]) for i, shape in enumerate(self._shapes)]
        lowest = places[..., 2] - xp.stack(below, axis=1)
        if ground is not None:
            lowest = lowest - ground(places[..., 0], places[..., 1])
        return xp.astype(xp.min(lowest, axis=1), xp.float32)


def _matrices(quat: Array) -> Array:
    """Return the rotation matrices (n, 3, 3) of quaternions (n, 4) wxyz."""
    xp = namespace(quat)
    w, x, y, z = (quat[:, i] for i in range(4))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
