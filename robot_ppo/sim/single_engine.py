"""One simulation on one `MjData`, which a renderer, a window or a gantry can look at.

engine = SingleEngine(model)
engine.ctrl[0] = torques
if engine.advance().size: ...       # it has diverged
renderer.update_scene(engine.data)
"""

import time

import mujoco
import numpy as np

from robot_ppo.sim.engine import diverged


class SingleEngine:
    """An `Engine` with n = 1; its arrays are views of `data`."""

    n = 1

    def __init__(self, model: mujoco.MjModel) -> None:
        """Make the simulation in the model's default state; see `BatchEngine` for divergence."""
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.model = model
        self.data = mujoco.MjData(model)
        self.qpos = self.data.qpos[None]
        self.qvel = self.data.qvel[None]
        self.ctrl = self.data.ctrl[None]
        self.seconds = 0.0
        """Wall-clock time spent in physics steps [s]."""

    def advance(self, substeps: int = 1) -> np.ndarray:
        """Run physics steps; return [0] if the simulation has diverged, else []."""
        begin = time.perf_counter()
        for _ in range(substeps):
            mujoco.mj_step(self.model, self.data)
        self.seconds += time.perf_counter() - begin
        return diverged(self.qpos, self.qvel)

    def restart(self, ids: np.ndarray, keyframe: int = -1) -> None:
        """Go back to a keyframe, or to the model's default state (-1)."""
        if not len(ids):
            return
        if keyframe < 0:
            mujoco.mj_resetData(self.model, self.data)
        else:
            mujoco.mj_resetDataKeyframe(self.model, self.data, keyframe)
        mujoco.mj_forward(self.model, self.data)

    def ray(
        self,
        points_w: np.ndarray,
        directions_w: np.ndarray,
        ids: np.ndarray | None = None,
        groups: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Return the distance (1, k) [m] from points along rays to the nearest geom, else inf."""
        met = None
        if groups is not None:
            met = np.zeros(mujoco.mjNGROUP, np.uint8)
            met[list(groups)] = 1
        points, directions = np.broadcast_arrays(np.atleast_2d(points_w), directions_w)
        mujoco.mj_kinematics(self.model, self.data)
        hit = np.zeros(1, np.int32)
        distance = [
            mujoco.mj_ray(self.model, self.data, p, d, met, True, -1, hit)
            for p, d in zip(points.reshape(-1, 3), directions.reshape(-1, 3), strict=True)
        ]
        found = np.array(distance)[None]
        return np.where(found < 0, np.inf, found)
