"""One robot's limits, as the arrays that the guards compare with."""

from collections.abc import Mapping

import numpy as np

from robot_ppo_export.contract.spec import Limits, RobotSpec
from robot_ppo_node.safety.measured import Measured
from robot_ppo_node.safety.measurement import IMU, SCAN


class Bounds:
    """Limits per joint, (joints,) float32 in the contract's order."""

    def __init__(self, robot: RobotSpec, limits: Limits, signals: Mapping[str, int]) -> None:
        """Widen and narrow the ranges of `robot` by `limits`; `signals` are those of the state."""
        self.limits = limits
        inward = np.array([[1.0], [-1.0]])
        ranges = robot.vector("range").T
        target = ranges + limits.joint_range_margin * inward
        angle = ranges - limits.max_joint_overrun * inward
        torque = limits.max_torque_fraction * robot.vector("torque_limit")
        velocity = limits.max_velocity_fraction * robot.vector("velocity_limit")
        self.low, self.high = target.astype(np.float32)
        """[rad] of a target"""
        self.lowest, self.highest = angle.astype(np.float32)
        """[rad] of a measured angle"""
        self.torque = torque.astype(np.float32)
        """[N m]"""
        self.velocity = velocity.astype(np.float32)
        """[rad/s] of a measured velocity"""
        measured = Measured(signals)
        self.places = measured.places
        """Name of each number of the flat state."""
        self.first_of_imu: int = measured.span(*IMU).start
        """Place in the flat state."""
        self.first_of_scan = measured.span(SCAN, SCAN).start if SCAN in signals else -1
        """The same, -1 where the policy reads none."""
