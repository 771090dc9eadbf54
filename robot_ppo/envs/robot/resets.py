"""How an episode starts: the home pose at a random heading, disturbed."""

import mujoco
import numpy as np

from robot_ppo.config import Reset

CLEARANCE = 0.03
"""The base starts so much above the home pose [m], so that no foot starts in the ground: joints
that are 0.1 rad off reach 16 mm lower."""


class StartStates:
    """Draws start states; one draw for all that is uniform, because resets are few and often."""

    def __init__(self, how: Reset, model: mujoco.MjModel, joint_qpos: slice | np.ndarray) -> None:
        """Take the pose from the keyframe `home`; `joint_qpos` are the joints' columns of qpos."""
        self.qpos = model.key("home").qpos.copy()
        self.qpos[2] += CLEARANCE
        spread = np.zeros(model.nq)
        spread[joint_qpos] = how.joint_pos
        speed = np.full(model.nv, how.joint_vel)
        speed[:3], speed[3:6] = how.base_lin_vel, how.base_ang_vel
        self._width = np.concatenate((spread, speed, [np.pi]))

    def draw(self, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return qpos (m, nq) and qvel (m, nv) of `m` episodes' starts."""
        drawn = rng.uniform(-1.0, 1.0, (m, len(self._width))) * self._width
        nq = len(self.qpos)
        qpos, qvel, yaw = self.qpos + drawn[:, :nq], drawn[:, nq:-1], drawn[:, -1]
        qpos[:, 3:7] = 0.0
        qpos[:, 3], qpos[:, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
        return qpos, qvel
