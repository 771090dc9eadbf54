"""How the joints of a leg lift its foot straight up, found in the model.

lifted(model, robot, foot=0, joints=["hip", "knee", "ankle"], height=0.08)
# {"hip": -0.35, "knee": 0.71, "ankle": -0.36}: added to the default pose
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry
from robot_ppo_export.contract.spec import RobotSpec

STEPS = 50
"""Of Gauss and Newton; some five are enough."""
DAMPING = 1e-6


def lifted(
    model: mujoco.MjModel, robot: RobotSpec, foot: int, joints: Sequence[str], height: float
) -> dict[str, float]:
    """Return the change of each joint [rad] that lifts a foot, its sole level, as far as they can.

    Args:
        model: the robot's, in any variant.
        robot: its default pose is where the foot starts.
        foot: index in `robot.feet`.
        joints: those that swing the leg fore and aft.
        height: [m], straight up.
    """
    data = geometry.standing_pose(model, robot)
    geoms = geometry.foot_geoms(model, robot)[foot]
    body = int(model.geom_bodyid[geoms[0]])
    ids = [model.joint(name).id for name in joints]
    qpos = model.jnt_qposadr[ids]
    columns = model.jnt_dofadr[ids]
    start = data.qpos[qpos].copy()
    size = float(data.xanchor[ids[0], 2])
    wanted = np.array([data.xpos[body, 0], data.xpos[body, 2] + height, 0.0])
    forward = data.xmat[body].reshape(3, 3).T @ (1.0, 0.0, 0.0)
    move = np.zeros((3, model.nv))
    turn = np.zeros((3, model.nv))
    for _ in range(STEPS):
        mujoco.mj_jacBody(model, data, move, turn, body)
        # The sole's tilt as a height over the leg's length, so that all rows are lengths.
        tilt = -size * float((data.xmat[body].reshape(3, 3) @ forward)[2])
        error = wanted - (data.xpos[body, 0], data.xpos[body, 2], tilt)
        rows = np.stack((move[0], move[2], size * turn[1]))[:, columns]
        step = rows.T @ np.linalg.solve(rows @ rows.T + DAMPING * np.eye(3), error)
        data.qpos[qpos] += np.clip(step, -0.2, 0.2)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
    return dict(zip(joints, (data.qpos[qpos] - start).tolist(), strict=True))
