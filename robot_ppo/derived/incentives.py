"""Rewards, and what ends an episode."""

from robot_ppo.derived.action_scales import place
from robot_ppo.derived.numbers import Number, Tree, number
from robot_ppo.derived.speeds import Speeds
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body


def rewards(body: Body, style: Style, fastest: Speeds) -> Tree:
    """Return the reward terms with their weights [1/s]."""
    speed = body.unit_speed
    time = body.unit_time
    return {
        "lin_vel_tracking": {
            "weight": 4.0,
            "sigma2": number(0.2 * fastest.forward**2, "0.2 of the highest speed squared"),
        },
        "yaw_rate_tracking": {
            "weight": 2.0,
            "sigma2": number(0.25 * fastest.yaw**2, "0.25 of the highest yaw rate squared"),
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
        "joint_pose": _pose(body),
        "slip": {"weight": number(-0.288 / speed**2, "-0.288 / (g leg)")},
        "stand_still": {"weight": -12.0},
        "termination": {"weight": -4.0},
    }


def _pose(body: Body) -> Tree:
    """Return the weight of the pose: legs that walk on two feet, and nothing else, swing freely."""
    if len(body.feet) > 2:
        return {"weight": -1.2, "joints": 1.0}
    weights = {joint.name: _pose_weight(body, joint.name) for joint in body.robot.joints}
    what = "pitch of legs 0.1, other axes of the hip 1, of the foot 0.5, waist 1, arms 0.3"
    return {"weight": -48.0, "joints": number(weights, what)}


def _pose_weight(body: Body, name: str) -> float:
    joint = body.leg_joint(name)
    if joint is None:
        return 1.0 if place(body, name) == "trunk" else 0.3
    if joint.pitch:
        return 0.1
    return 1.0 if joint.depth < 3 else 0.5


def terminations(body: Body) -> Tree:
    """Return what counts as a fall."""
    tilt = number(body.robot.safety.max_tilt, "the robot's own `max_tilt`")
    return {
        "tilt": {"limit": tilt},
        "base_height": {"limit": number(0.511 * body.height, "0.511 of the base's height")},
    }
