"""What a guard looks at, the limits in arrays, and what a guard says."""

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import Limits, RobotSpec
from robot_ppo_node.drivers.base import Health, Measured

JOINTS, IMU = ("joint_pos", "joint_torque"), ("base_quat", "base_lin_acc")
"""First and last signal of what two parts of a robot measure: each may hang alone."""


class Outcome(enum.IntEnum):
    """What a guard says."""

    PASS = 0
    CLAMP = 1
    DAMP = 2


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one guard found. A Struct, because a dozen are made per tick."""

    outcome: Outcome
    value: float
    limit: float
    where: int = -1
    """The joint, or the number in the flat state; -1 for the robot as a whole."""


@dataclass(slots=True)
class TickState:
    """All that the guards look at; vectors are (joints,) float32 in the contract's order."""

    measured: Measured
    health: Health
    observation: np.ndarray
    """(size,) what the network saw, zeros while it does not run"""
    action: np.ndarray
    """The network's raw output, zeros while it does not run."""
    target: np.ndarray
    """[rad] what the state machine wants; target guards change it in place"""
    previous: np.ndarray
    """[rad] what was sent last"""
    kp: np.ndarray
    """[N m/rad] to be sent with the target"""
    kd: np.ndarray
    """[N m s/rad]"""
    fresh: bool = False
    """A new state arrived in this tick."""
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
    voltage: float = math.nan
    """Highest of the battery over the last second [V]; NaN where the robot does not say."""
    missed: int = 0
    """Deadlines missed in a row."""
    others: int = 0
    """Programs beside this node that command the robot, or play it, where the driver can tell."""


def blank(joints: int, signals: Mapping[str, int], observation: int) -> TickState:
    """Return a tick_state of zeros, with a state that is infinitely old.

    Args:
        joints: how many.
        signals: what is measured, and the width of each.
        observation: size of the observation.
    """

    def zeros() -> np.ndarray:
        return np.zeros(joints, np.float32)

    return TickState(
        measured=Measured(signals),
        health=Health(joints),
        observation=np.zeros(observation, np.float32),
        action=zeros(),
        target=zeros(),
        previous=zeros(),
        kp=zeros(),
        kd=zeros(),
    )


class Bounds:
    """One robot's limits, as the arrays that the guards compare with."""

    def __init__(self, robot: RobotSpec, limits: Limits, signals: Mapping[str, int]) -> None:
        self.limits = limits
        inward = np.array([[1.0], [-1.0]])
        margin, overrun = limits.joint_range_margin * inward, limits.max_joint_overrun * inward
        ranges = robot.vector("range").T
        torque, velocity = robot.vector("torque_limit"), robot.vector("velocity_limit")
        self.low, self.high = (ranges + margin).astype(np.float32)
        """[rad] of a target"""
        self.lowest, self.highest = (ranges - overrun).astype(np.float32)
        """[rad] of a measured angle"""
        self.torque = (limits.max_torque_fraction * torque).astype(np.float32)
        """[N m]"""
        self.velocity = (limits.max_velocity_fraction * velocity).astype(np.float32)
        """[rad/s] of a measured velocity"""
        self.first_of_imu: int = Measured(signals).span(*IMU).start
        """Place in the flat state."""
