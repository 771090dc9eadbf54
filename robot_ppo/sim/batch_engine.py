"""n simulations of one model on `mujoco.batch.Batch`: step, rays, state, and what diverged.

    engine = BatchEngine(model, n=1024, threads=2)
    engine.ctrl[:] = controls
    diverged = engine.advance(substeps=5)       # ids of simulations that are no physics any more
    engine.restart(diverged)                    # all of them start anew

Everything in the project that steps physics stands on this class: training, Gymnasium's tasks, the
scorecard, the simulated robot. `qpos` and `qvel` are current after `advance`; what MuJoCo derives
(sensors, positions of geoms) describes the state before the last physics step.
"""

import time
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError

from robot_ppo.sim.engine import diverged


class BatchEngine:
    """n simulations on a pool of threads; their arrays are views of what MuJoCo works on."""

    def __init__(
        self, model: mujoco.MjModel, n: int, threads: int = 0, persistent: bool = False
    ) -> None:
        """Allocate the simulations in the model's default state.

        A simulation that diverges stays so until `restart`; MuJoCo by itself would put it back to
        its start in the middle of an episode.

        Args:
            model: is changed in that respect.
            n: number of simulations.
            threads: of the physics; 0: all CPUs.
            persistent: keep an MjData for each; see `mujoco.batch.Batch`.
        """
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self.model = model
        self.n = n
        self.batch = Batch(model, n, threads, persistent=persistent)
        self.qpos = self.batch.bind("qpos")
        """(n, nq)"""
        self.qvel = self.batch.bind("qvel")
        """(n, nv)"""
        self.ctrl = self.batch.bind("ctrl")
        """(n, nu)"""
        self.seconds = 0.0
        """Wall-clock time spent in physics steps [s]."""

    def advance(self, substeps: int = 1) -> np.ndarray:
        """Run physics steps; return the sorted ids of simulations that have diverged."""
        broken: list[int] = []
        begin = time.perf_counter()
        try:
            self.batch.step(nstep=substeps)
        except SimulationError as error:
            broken = list(error.ids)
        self.seconds += time.perf_counter() - begin
        ids = diverged(self.qpos, self.qvel)
        return np.union1d(ids, np.asarray(broken, np.int64)) if broken else ids

    def restart(self, ids: np.ndarray, keyframe: int = -1) -> None:
        """Put simulations `ids` back to a keyframe, or to the model's default state (-1)."""
        if ids.size:
            self.batch.reset(ids, keyframe=keyframe)

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that the next steps depend on, not copies.

        A row of `simulations` is MuJoCo's integration state: time, positions, velocities, controls,
        the solver's warm start, the buffers of delayed sensors and actuators.
        """
        return {"simulations": self.batch.state}

    def ray(
        self,
        points_w: np.ndarray,
        directions_w: np.ndarray,
        ids: np.ndarray | None = None,
        groups: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Return how far it is from points to the nearest geom along rays [m].

        Args:
            points_w: origins (m, k, 3), or what broadcasts to it.
            directions_w: unit vectors (m, k, 3), or what broadcasts to it.
            ids: the m simulations; None: all.
            groups: geom groups that are met; None: all. A robot's own geoms are in the way else.

        Returns:
            (m, k) float64; infinite where a ray meets nothing.
        """
        met = None
        if groups is not None:
            met = np.zeros(mujoco.mjNGROUP, np.uint8)
            met[list(groups)] = 1
        distance = self.batch.ray(points_w, directions_w, geomgroup=met, ids=ids)[0]
        return np.where(distance < 0, np.inf, distance)
