"""`RobotState`: everything that a robot can measure, and nothing that it cannot.

There is no base linear velocity and no base height here, because no sensor of a legged robot
measures them; a policy that reads only this structure can run on hardware.
"""

from dataclasses import dataclass, fields

import numpy as np

from robot_ppo_export.contract.frames import Array


@dataclass(frozen=True)
class Signal:
    """The meaning of one measured signal."""

    size: str
    """Last axis: a number, or "joints" or "feet"."""
    unit: str
    frame: str
    source: str
    """What measures it."""


SIGNALS = {
    "joint_pos": Signal("joints", "rad", "joint", "joint encoders"),
    "joint_vel": Signal("joints", "rad/s", "joint", "joint encoders"),
    "joint_torque": Signal("joints", "N m", "joint", "motor current"),
    "base_quat": Signal("4", "1", "body to world, wxyz", "IMU orientation"),
    "base_ang_vel": Signal("3", "rad/s", "body", "IMU gyroscope"),
    "base_lin_acc": Signal("3", "m/s^2", "body", "IMU accelerometer (specific force, +g at rest)"),
    "foot_force": Signal("feet", "N", "foot", "foot force sensors"),
}
"""Every signal that a state may hold; a driver says which of them it offers."""


@dataclass(slots=True)
class RobotState:
    """One robot's measurements, or those of n simulations over a leading axis; float32.

    A signal that a driver does not offer is all zeros, and no policy that needs it will start.
    """

    joint_pos: Array
    """(..., joints) [rad]"""
    joint_vel: Array
    """(..., joints) [rad/s]"""
    joint_torque: Array
    """(..., joints) [N m]"""
    base_quat: Array
    """(..., 4) wxyz, body to world"""
    base_ang_vel: Array
    """(..., 3) [rad/s], body frame"""
    base_lin_acc: Array
    """(..., 3) [m/s^2], body frame"""
    foot_force: Array
    """(..., feet) [N]"""

    def __getitem__(self, index: Array) -> "RobotState":
        """Return the robots that `index` selects along the leading axis."""
        return RobotState(*(getattr(self, name)[index] for name in SIGNAL_NAMES))


SIGNAL_NAMES = tuple(f.name for f in fields(RobotState))


def zeros(batch: tuple[int, ...], joints: int, feet: int) -> RobotState:
    """Return a state of zeros with the identity orientation, for `batch` leading axes."""
    sizes = {"joints": joints, "feet": feet}
    state = RobotState(
        *(
            np.zeros((*batch, sizes.get(s.size) or int(s.size)), np.float32)
            for s in SIGNALS.values()
        )
    )
    state.base_quat[..., 0] = 1
    return state
