"""Where a picture is taken from: a camera that follows a robot, and what it shows of it."""

import itertools
from collections.abc import Callable

import mujoco
import numpy as np

DISTANCE = 1.7
NEAREST = 0.8
"""Distance of the camera in diagonals of the robot, and at least [m]."""
SIGNS = np.array(list(itertools.product((-1, 1), repeat=3)))
"""Corners of a box, (8, 3), in half sides."""


class FollowCamera:
    """A camera that follows the robot smoothly, from beside, in front and above."""

    def __init__(
        self,
        model: mujoco.MjModel,
        body: str,
        time_constant: float = 0.35,
        qpos: np.ndarray | None = None,
        ground: Callable[..., np.ndarray] | None = None,
    ) -> None:
        """Look at `body`, and follow it with a lag of `time_constant` [s].

        Args:
            model: the world.
            body: the robot's base.
            time_constant: [s]
            qpos: (nq,) in which the robot is as large as it becomes, by default the model's own.
            ground: x and y [m] -> height of the ground there; None: 0 everywhere.
        """
        size = extent(model, body, model.qpos0 if qpos is None else qpos)
        self.camera = mujoco.MjvCamera()
        self.camera.azimuth = 140
        self.camera.elevation = -16
        self.camera.distance = max(DISTANCE * float(np.linalg.norm(size)), NEAREST)
        self._height = float(size[2]) / 2
        self._ground = ground
        self._body = model.body(body).id
        self._constant = time_constant
        self._time: float | None = None

    def follow(self, data: mujoco.MjData) -> None:
        """Move on to the time of `data`; a first-order low-pass filter removes steps and sway."""
        wanted = self._wanted(data)
        if self._time is None:
            self.camera.lookat[:] = wanted
        else:
            share = -np.expm1(-(data.time - self._time) / self._constant)
            self.camera.lookat[:] += share * (wanted - self.camera.lookat)
        self._time = data.time

    def jump(self, data: mujoco.MjData) -> None:
        """Look at the body of `data` at once."""
        self.camera.lookat[:] = self._wanted(data)

    def _wanted(self, data: mujoco.MjData) -> np.ndarray:
        wanted = data.xpos[self._body].copy()
        below = 0.0 if self._ground is None else float(self._ground(wanted[0], wanted[1]))
        wanted[2] = below + self._height  # the trunk's bobbing must stay visible
        return wanted


def extent(model: mujoco.MjModel, body: str, qpos: np.ndarray) -> np.ndarray:
    """Return the sides (3,) [m] of the box around a body and all that hangs on it."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    root = model.body_rootid[model.body(body).id]
    geoms = np.flatnonzero(model.body_rootid[model.geom_bodyid] == root)
    return np.ptp(corners(model, data, geoms), axis=0) if len(geoms) else np.zeros(3)


def corners(model: mujoco.MjModel, data: mujoco.MjData, geoms: np.ndarray) -> np.ndarray:
    """Return the corners (8 m, 3) [m] in the world of the boxes around `geoms` (m,)."""
    boxes = model.geom_aabb.reshape(-1, 2, 3)[geoms]
    local = boxes[:, :1] + SIGNS * boxes[:, 1:]
    world = np.einsum("gij,gcj->gci", data.geom_xmat[geoms].reshape(-1, 3, 3), local)
    return (world + data.geom_xpos[geoms, None]).reshape(-1, 3)


def show_robot(model: mujoco.MjModel, option: mujoco.MjvOption) -> None:
    """Draw the collision geoms of a robot that has no others, and no sites, in place."""
    geoms = model.geom_group[model.geom_bodyid > 0]
    if not option.geomgroup[geoms].any():
        option.geomgroup[geoms] = 1
    option.sitegroup[:] = 0
