"""Solver and motors that differ between the simulations of an evaluation model.

Both are fields of MuJoCo's model, which may differ per simulation, so that conditions with and
without them run side by side.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.robot_engine import RobotEngine

SOLVERS = {
    "newton": mujoco.mjtSolver.mjSOL_NEWTON,
    "cg": mujoco.mjtSolver.mjSOL_CG,
    "pgs": mujoco.mjtSolver.mjSOL_PGS,
}


def set_solvers(engine: RobotEngine, names: Sequence[str]) -> None:
    """Give each of the n simulations the solver of constraints that `names` (n,) has for it."""
    field = engine.batch.expand("opt.solver")
    field[:] = [SOLVERS[name].value for name in names]


def integrate_motors(engine: RobotEngine, motors: PdMotors, rows: np.ndarray) -> None:
    """Let MuJoCo integrate the motors of simulations `rows` (n,) bool, as in training.

    Their actuators become position actuators, whose PD law is implicit in the velocity; strength
    and gains are those that `motors` have by now.
    """
    motors.implicit[:] = rows
    batch = engine.batch
    names = ("gainprm", "biasprm", "biastype", "forcelimited", "forcerange")
    gain, bias, kind, limited, force = (batch.expand(f"actuator_{name}") for name in names)
    strength = motors.strength[rows]
    kp = strength * motors.kp[rows]
    limit = strength * motors.limit
    gain[rows, :, 0] = kp
    bias[rows, :, 1] = -kp
    bias[rows, :, 2] = -strength * motors.kd[rows]
    kind[rows] = mujoco.mjtBias.mjBIAS_AFFINE.value
    limited[rows] = 1
    force[rows] = np.stack((-limit, limit), axis=-1)
