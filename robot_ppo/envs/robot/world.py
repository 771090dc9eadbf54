"""`World`: the truth about n simulations after a control step; rewards and the critic read it.

All arrays are float32 with leading axis `n`; in memory they lie column by column (Fortran order),
because reductions over a few joints or feet are several times faster so.

Base and joint quantities are current; what MuJoCo derives (foot positions, velocities and forces,
torques) is one physics step old, as after `mj_step`.
"""

from dataclasses import dataclass

from robot_ppo_export.contract.frames import Array


@dataclass(slots=True)
class World:
    """What a simulator knows and a robot does not."""

    base_height: Array
    """(n,) [m] of the base frame above the floor"""
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
    """(n, feet) [m] of the foot's underside above the floor"""
    foot_vel_w: Array
    """(n, feet, 3) [m/s], world frame"""
    foot_contact: Array
    """(n, feet) bool"""
    command: Array
    """(n, 3) vx [m/s], vy [m/s], yaw rate [rad/s], body frame"""
    moving: Array
    """(n,) bool: the command asks for motion"""
    phase: Array
    """(n,) gait phase in [0, 1)"""
    swing: Array
    """(n, feet) progress through the swing in (0, 1), 0 where the gait wants the foot down"""
    action: Array
    """(n, joints) raw action of this step"""
    last_action: Array
    """(n, joints) raw action of the step before"""
    randomized: Array
    """(n, r) this episode's draws, each scaled to [-1, 1] over its range"""
