"""The measurement and the decision of one tick: the input of the guards.

measurement = inputs.measure(now, missed, told)          # frozen, whatever comes after
decision = machine.decide(now, measurement, command)
decision.motors                                          # what is sent, inside the envelope
"""

import math

import msgspec
import numpy as np

from robot_ppo_export.contract.state import RobotState
from robot_ppo_node.drivers.base import Health, MotorCommand
from robot_ppo_node.safety.reason import Reason

JOINTS = ("joint_pos", "joint_torque")
"""First and last signal of the joints, which may hang alone."""
IMU = ("base_quat", "base_lin_acc")
"""First and last signal of the IMU, which may hang alone."""
SCAN = "height_scan"
"""What a map of the ground says, which may hang alone, too."""


class Measurement(msgspec.Struct, frozen=True, gc=False):
    """The robot as the node knows it in one tick; its arrays are those of the newest sample."""

    state: RobotState
    """Signals, (joints,) and so on, in the contract's order; float32."""
    flat: np.ndarray
    """The same numbers as one vector."""
    health: Health
    fresh: bool = False
    """A new state arrived in this tick."""
    sequence: int = 0
    """Number of the newest sample."""
    sample_time: float = -math.inf
    """When the newest state arrived [s]."""
    age: float = math.inf
    """Age of the newest state [s]."""
    step: float = 0.0
    """Time since the tick before [s]."""
    imu_repeats: int = 0
    """New states in a row whose orientation, angular velocity and acceleration have the same bits
    as the one before."""
    joint_repeats: int = 0
    """The same of the joints, while they are told to move: encoders at rest may well repeat."""
    scan_repeats: int = 0
    """The same of the height scan, while the joints are told to move: a robot that stands sees the
    same ground."""
    voltage: float = math.nan
    """Highest of the battery over the last second [V]; NaN where the robot does not say."""
    missed: int = 0
    """Deadlines missed in a row."""
    others: int = 0
    """Programs beside this node that command the robot, or play it, where the driver can tell."""
    trouble: Reason | None = None
    """Reason why the driver could not be read in this tick; the arrays are then as they were."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The command of one tick, and the values that it was computed from."""

    motors: MotorCommand
    """To be sent; target guards change its vectors in place. Zeros where nothing is sent."""
    previous: np.ndarray
    """Target that was sent last (joints,) [rad]."""
    observation: np.ndarray
    """(size,) what the network saw, zeros while it does not run"""
    action: np.ndarray
    """The network's raw output (joints,), zeros while it does not run."""
    command: np.ndarray
    """Command that the policy gets, (k,) in the units of the contract's command."""
    sends: bool = True
    """Something is sent in this state."""
    ran: bool = False
    """The network ran."""
