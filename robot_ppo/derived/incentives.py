"""Rewards, and what ends an episode."""

from robot_ppo.derived import biped
from robot_ppo.derived.action_scales import place
from robot_ppo.derived.numbers import Number, Tree, number
from robot_ppo.derived.speeds import Speeds
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body


def rewards(body: Body, style: Style, fastest: Speeds) -> Tree:
    """Return the reward terms with their weights [1/s]."""
    speed = body.unit_speed
    time = body.unit_time
    linear, turning = style.sigma2
    terms = {
        "lin_vel_tracking": {
            "weight": 4.0,
            "sigma2": number(linear * fastest.forward**2, f"{linear} of the highest speed squared"),
        },
        "yaw_rate_tracking": {
            "weight": 2.0,
            "sigma2": number(
                turning * fastest.yaw**2, f"{turning} of the highest yaw rate squared"
            ),
        },
        "contact_schedule": {"weight": 5.0},
        "swing_height": {"weight": -10.0},
        "base_height": {
            "weight": number(style.height / body.leg**2, f"{style.height} / leg^2"),
            "target": number(body.height, "the base of the default pose"),
        },
        "lin_vel_z": {"weight": number(-5.77 / speed**2, "-5.77 / (g leg)")},
        "ang_vel_xy": {"weight": number(-1.67 * time**2, "-1.67 leg / g")},
        "orientation": {"weight": Number(style.orientation, "-3, or -6 on two feet")},
        "torque": {"weight": number(-0.45 / body.unit_torque**2, "-0.45 / (weight leg)^2")},
        "action_rate": {"weight": -1.2},
        "joint_acc": {"weight": number(-2.67e-4 * time**4, "-2.67e-4 (leg / g)^2")},
        "joint_limits": {"weight": -24.0},
        "joint_vel_limits": {"weight": -300.0, "fraction": 0.9},
        "joint_pose": {"weight": -1.2, "joints": 1.0},
        "slip": {"weight": number(-0.288 / speed**2, "-0.288 / (g leg)")},
        "stand_still": {"weight": -12.0},
        "termination": {"weight": -4.0},
    }
    if len(body.feet) != 2:
        return terms
    return terms | biped.rewards(body, {j.name: place(body, j.name) for j in body.robot.joints})


def terminations(body: Body, style: Style) -> Tree:
    """Return what counts as a fall."""
    tilt = style.tilt * body.robot.safety.max_tilt
    height = style.sunk * body.height
    return {
        "tilt": {"limit": number(tilt, f"{style.tilt:g} of the robot's own `max_tilt`")},
        "base_height": {"limit": number(height, f"{style.sunk} of the base's height")},
    }
