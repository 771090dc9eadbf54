"""A robot that stands still in its default pose, to be changed: the base of every proof and test.

draft = Draft(robot, signals, observation=71, period=0.02)
draft.state.joint_vel[0] = 40.0
draft.measure(age=0.3)
envelope.check_state(draft.measurement)
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_node.drivers.base import Health, MotorCommand
from robot_ppo_node.safety.measured import Measured
from robot_ppo_node.safety.measurement import Decision, Measurement


class Draft:
    """A measurement and a decision that no guard objects to, until they are changed."""

    def __init__(
        self, robot: RobotSpec, signals: Mapping[str, int], observation: int, period: float
    ) -> None:
        """Stand still.

        Args:
            robot: whose default pose and gains they are.
            signals: what is measured, and the width of each.
            observation: size of the observation.
            period: since the tick before [s].
        """
        pose = robot.vector("default").astype(np.float32)
        kp = robot.vector("kp").astype(np.float32)
        kd = robot.vector("kd").astype(np.float32)
        self.measured = Measured(signals)
        self.state = self.measured.state
        self.state.joint_pos[:] = pose
        self.health = Health(len(robot.joints))
        self.motors = MotorCommand(pose.copy(), kp, kd)
        self.measurement = Measurement(
            self.state, self.measured.flat, self.health, age=0.0, step=period
        )
        self.decision = Decision(
            motors=self.motors,
            previous=pose.copy(),
            observation=np.zeros(observation, np.float32),
            action=np.zeros(len(robot.joints), np.float32),
            command=np.zeros(0, np.float32),
            ran=True,
        )

    def measure(self, **changes: Any) -> None:
        """Replace fields of the measurement that are no arrays."""
        self.measurement = msgspec.structs.replace(self.measurement, **changes)
