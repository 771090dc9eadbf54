"""`World`: the truth about n simulations after a control step; terms of every kind read it.

All arrays are float32 with leading axis `n`; in memory they lie column by column (Fortran order),
because reductions over a few joints or feet are several times faster so.

Base and joint quantities are current; what MuJoCo derives (foot positions, velocities and forces,
torques) is one physics step old, as after `mj_step`.

Some fields cost time and are None unless a term of the task says that it reads them:

    @REWARDS.add(reads=("sole_level",))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from robot_ppo.envs.robot.gait import Schedule
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.terms import Inputs


@dataclass(slots=True)
class Constants:
    """Figures of robot and task that never change, float32."""

    default_pose: Array
    """(joints,) [rad]"""
    soft_range: Array
    """(joints, 2) [rad]: middle and half-width of the middle 95 % of each joint's range"""
    velocity_limit: Array
    """(joints,) [rad/s]"""
    home_height: float
    """[m] of the base in the default pose"""
    schedule: Schedule | None
    """The gait; None where the task has none."""

    @classmethod
    def of(cls, robot: RobotSpec, schedule: Schedule | None) -> "Constants":
        """Return the constants of a robot and its gait."""
        span = robot.vector("range")
        middle = span.mean(axis=1)
        half = 0.475 * np.diff(span, axis=1)[:, 0]
        soft = np.stack((middle, half), axis=1).astype(np.float32)
        default = robot.vector("default").astype(np.float32)
        fastest = robot.vector("velocity_limit").astype(np.float32)
        return cls(default, soft, fastest, robot.base.height, schedule)


@dataclass(slots=True)
class World:
    """True state of n simulations, most of which no robot can measure."""

    base_height: Array
    """(n,) [m] of the base frame above the ground below it"""
    base_quat: Array
    """(n, 4) wxyz, body to world"""
    base_lin_vel: Array
    """(n, 3) [m/s], body frame"""
    base_ang_vel: Array
    """(n, 3) [rad/s], body frame"""
    projected_gravity: Array
    """(n, 3) unit vector, body frame"""
    joint_pos: Array
    """(n, joints) [rad]"""
    joint_vel: Array
    """(n, joints) [rad/s]"""
    joint_acc: Array
    """(n, joints) [rad/s^2], mean over the control step"""
    torque: Array
    """(n, joints) [N m]"""
    foot_height: Array
    """(n, feet) [m] of the foot's underside above the ground below it"""
    foot_vel_w: Array
    """(n, feet, 3) [m/s], world frame"""
    foot_contact: Array
    """(n, feet) bool"""
    command: Array
    """(n, k) what the task commands; of a twist vx [m/s], vy [m/s], yaw rate [rad/s], body frame"""
    moving: Array
    """(n,) bool: the command asks for motion"""
    phase: Array
    """(n,) gait phase in [0, 1), 0 without a gait"""
    swing: Array
    """(n, feet) progress through the swing in (0, 1), 0 where the gait wants the foot down"""
    action: Array
    """(n, actions) raw action of this step"""
    last_action: Array
    """(n, actions) raw action of the step before"""
    randomized: Array
    """(n, r) this episode's draws, each scaled to [-1, 1] over its range"""
    failed: Array
    """(n,) bool: a termination fired, or the simulation diverged; False until they were asked"""
    constants: Constants
    """The same for every simulation."""
    scans: Mapping[ScanGrid, Array] = field(default_factory=dict)
    """Grid -> (n, points) [m] of the ground over the base, for the terms that read such a scan"""
    sole_level: Array | None = None
    """(n, feet) cosine of each sole's tilt; None where no term of the task says `reads`"""
    foot_gap: Array | None = None
    """(n, pairs) [m] how far a left foot is to the left of a right one, in the base's frame; for
    every pair of them, likewise"""
    air_time: Array | None = None
    """(n, feet) [s] since a foot left the ground; of one that lands, the length of that flight, and
    0 while it stays down; likewise"""
    base_clearance: Array | None = None
    """(n,) [m] of the base's lowest point above the ground below it; likewise"""
    inputs: Inputs | None = None
    """Measurements of the robot, for groups that mix both; set once they are drawn."""
