"""From what an IMU measures to the same of the base, for an IMU that is mounted at an angle.

    mounting = Mounting.of(robot)              # None where the IMU's axes are the base's
    state = mounting.to_base(state)            # as the policy, the guards and the log see it

Training applies it to simulated sensors and the node to what a driver reads, so that both compute
with the base's orientation, angular velocity and specific force. The IMU's distance from the
base's origin changes none of the first two; the third is that of the IMU's place.
"""

import numpy as np

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.spec import LEVEL, RobotSpec
from robot_ppo_export.contract.state import RobotState


class Mounting:
    """The rotation of one robot's IMU against its base."""

    def __init__(self, quaternion: tuple[float, ...]) -> None:
        """Take the quaternion wxyz that turns vectors of the IMU's frame into the base's."""
        self.to_base_quat = np.array(quaternion, np.float32)
        self.to_imu_quat = frames.conjugate(self.to_base_quat)

    @classmethod
    def of(cls, robot: RobotSpec) -> "Mounting | None":
        """Return the mounting that robot.yaml states, or None where it turns nothing."""
        return None if robot.imu.mounting == LEVEL else cls(robot.imu.mounting)

    def to_base(self, state: RobotState) -> RobotState:
        """Return `state` with the signals of the IMU turned into the base's frame."""
        signals = dict(state)
        if "base_quat" in signals:
            signals["base_quat"] = frames.multiply(signals["base_quat"], self.to_imu_quat)
        for name in ("base_ang_vel", "base_lin_acc"):
            if name in signals:
                signals[name] = frames.to_world(self.to_base_quat, signals[name])
        return RobotState(**signals)
