"""Protocol of a physics engine, whichever library it stands on.

Training environment, Gymnasium's tasks, scorecard, simulated robot and playback stand on this
protocol. `batch_engine.BatchEngine` implements it on `mujoco.batch` (CPU), and
`robot_engine.RobotEngine` adds what a robot has: joints, motors, sensors, feet.
`single_engine.SingleEngine` implements it on one `MjData`, which a renderer can look at. On
mujoco_warp `warp_engine.WarpEngine` and `warp_robot.WarpRobot` do, and their arrays are tensors.
"""

from typing import Protocol

import mujoco
import numpy as np

FASTEST = 1e3
"""Highest speed [m/s] or [rad/s] of anything that moves: a simulation beyond it has diverged, and
one such number in a running mean would stay there."""


def diverged(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Return the sorted ids of simulations whose state is not finite, or faster than `FASTEST`.

    Args:
        qpos: (n, nq).
        qvel: (n, nv).
    """
    # Compared so that NaN, too, is not within; and all at once first, as nearly always none is.
    if np.abs(qvel).max() <= FASTEST and np.isfinite(qpos.sum()):
        return np.zeros(0, np.int64)
    sane = np.abs(qvel).max(axis=1) <= FASTEST
    sane &= np.isfinite(qpos).all(axis=1)
    return np.flatnonzero(~sane)


class Engine(Protocol):
    """n simulations of one model. Arrays are views; rows are simulations."""

    model: mujoco.MjModel
    n: int
    qpos: np.ndarray
    """(n, nq)"""
    qvel: np.ndarray
    """(n, nv)"""
    ctrl: np.ndarray
    """(n, nu)"""
    seconds: float
    """Wall-clock time spent in physics steps [s]."""

    def advance(self, substeps: int = 1) -> np.ndarray:
        """Run physics steps; return the sorted ids of simulations that have diverged.

        What has diverged (`diverged`, or an error of MuJoCo) stays so until `restart` or a write
        to its rows.
        """
        ...

    def restart(self, ids: np.ndarray, keyframe: int = -1) -> None:
        """Put simulations `ids` back to a keyframe, or to the model's default state (-1)."""
        ...

    def ray(
        self,
        points_w: np.ndarray,
        directions_w: np.ndarray,
        ids: np.ndarray | None = None,
        groups: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Return the distance (m, k) [m] from points along rays to the nearest geom, else inf."""
        ...
