"""The figures of robot.yaml, and a comment on each that was derived."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_ppo.robot_model.importing import gains as gain_rules
from robot_ppo.robot_model.importing import writing
from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.gains import Gains
from robot_ppo.robot_model.importing.tree import Tree

_G = 9.81


@dataclass(eq=False)
class Findings:
    """Everything that was found or derived."""

    name: str
    tree: Tree
    feet: Sequence[Foot]
    order: Sequence[str]
    pose: Mapping[str, float]
    """Standing: joint -> angle [rad]."""
    pose_from: str
    length: float
    """Of a leg: the hips' height above the feet when standing [m]."""
    gains: Mapping[str, Gains]
    assumed: Mapping[str, Sequence[str]]
    """Joint -> names of what its file leaves out."""
    held: Sequence[str]
    imu: str
    imu_from: str
    mounting: tuple[float, float, float, float]
    rest: Mapping[str, float]
    """Lying, as `pose`; empty where it does not lie down."""
    start: str
    height: float = 1.0
    steps: list[str] = field(default_factory=list)
    """What was done to the file's robot, a sentence each."""


def data(found: Findings) -> dict[str, Any]:
    """Return the plain data of the robot.yaml."""
    order = list(found.order)
    tree = found.tree
    stand = {name: found.gains[name] for name in order}
    flats = [f"{'s' if foot.flat else 'p'}" for foot in found.feet]
    kind = f"{len(flats)} feet" if len(flats) != 2 else "biped"
    mounting = {} if np.allclose(found.mounting, (1, 0, 0, 0)) else {"mounting": found.mounting}
    described = {
        "name": found.name,
        "description": f"{found.name}, {kind}, {len(order)} joints, {tree.mass:.1f} kg",
        "model": f"{found.name}.xml",
        "base": {"body": tree.base.name, "height": found.height},
        "imu": {"site": found.imu, **mounting},
        "feet": [_foot(foot) for foot in found.feet],
        "joints": [_joint(found, name) for name in order],
        "stand": {
            "kp": {name: stand[name].stand_kp for name in order},
            "kd": {name: stand[name].stand_kd for name in order},
            "duration": 2.0,
        },
        "damping": {"kd": {name: stand[name].stand_kd for name in order}},
        "safety": _safety(found),
        "life_cycle": {"start": found.start},
    }
    if found.start == "lying":
        described["rest_pose"] = {name: found.rest[name] for name in order}
    return described


def _foot(foot: Foot) -> str | dict[str, Any]:
    names = writing.foot_names(foot)
    return names[0] if len(names) == 1 else {"name": foot.leg.foot, "geoms": names}


def _joint(found: Findings, name: str) -> dict[str, Any]:
    joint = found.tree.joint(name)
    gains = found.gains[name]
    assert joint.range is not None
    described = {
        "name": name,
        "default": found.pose[name],
        "range": list(joint.range),
        "velocity_limit": joint.velocity,
        "torque_limit": joint.torque,
        "kp": gains.kp,
        "kd": gains.kd,
    }
    return described | ({"held": True} if name in found.held else {})


def _safety(found: Findings) -> dict[str, Any]:
    margins = [0.05]
    for name in found.order:
        low, high = found.tree.joint(name).range or (-math.pi, math.pi)
        angle = found.pose[name]
        margins.append(margin(low, high, angle))
    return {
        "max_tilt": 1.0,
        "max_angular_rate": float(f"{max(6.0, 2 * math.sqrt(_G / found.length)):.3g}"),
        "max_target_step": 1.0,
        "joint_range_margin": min(margins),
        "stale_after": 0.1,
        "frozen_ticks": 5,
        "max_missed_deadlines": 5,
    }


def margin(low: float, high: float, angle: float) -> float:
    """Return how far an angle is inside a range [rad], in four digits, as floats are compared."""
    found = math.floor(1e4 * min(angle - low, high - angle)) / 1e4
    kept = low + found <= angle <= high - found
    return max(0.0, found if kept else found - 1e-4)


def notes(found: Findings) -> dict[str, str]:
    """Return the comments of robot.yaml, by key."""
    feet = "; ".join(sorted({foot.how for foot in found.feet}))
    stance = gain_rules.STANCE * math.sqrt(_G / found.length) / (2 * math.pi)
    carried = found.tree.mass * _G * 2 / len(found.feet)
    return {
        "": f"Written by robot-ppo import from {found.tree.source.name}; report.md says how each "
        "figure was found.\nAngles [rad], lengths [m], torques [N m], velocities [rad/s], kp "
        "[N m/rad], kd [N m s/rad], times [s].",
        "base": f"height in the default pose, feet on the ground; legs {found.length:.3f} m",
        "imu": found.imu_from,
        "feet": feet,
        "joints": f"default: {found.pose_from}. kp: {stance:.2f} Hz in stance with {carried:.0f} N "
        f"on a foot, or {gain_rules.SWING:g} Hz in the swing, whichever is stiffer, and at most "
        f"the torque limit at {gain_rules.SATURATION} rad. kd: damping ratio "
        f"{gain_rules.DAMPING_RATIO} in the swing",
        "stand": f"kp: {gain_rules.STANDING:g} times the policy's"
        + (f", and {gain_rules.UPRIGHT} times the moment of the weight" if _two(found) else "")
        + "; kd: damping ratio 2 in the swing. Interpolation to the default pose",
        "damping": "that of standing up",
        "rest_pose": "legs folded, on the belly",
        "safety": "choices of robot-ppo, to be tightened for your robot",
        "safety.max_angular_rate": "twice sqrt(g / leg), and 6 at least",
        "safety.joint_range_margin": "less where the default pose is nearer to a stop",
        "life_cycle": _why_start(found),
    }


def _two(found: Findings) -> bool:
    return len(found.feet) == 2


def _why_start(found: Findings) -> str:
    if found.start == "hanging":
        return "two feet cannot lie down: a gantry holds it"
    return "it rests on its belly" if found.start == "lying" else "see report.md"


def joint_notes(found: Findings) -> dict[str, str]:
    """Return the comment on each joint of robot.yaml."""
    texts = {}
    for name in found.order:
        joint = found.tree.joint(name)
        gains = found.gains[name]
        parts = [f"torque: {joint.torque_from}", f"kp: {gains.how}, {gains.frequency:.1f} Hz"]
        if "velocity_limit" in found.assumed[name]:
            parts.append("velocity: assumed")
        if name in found.held:
            parts.append("held: does not serve locomotion")
        texts[name] = "; ".join(parts)
    return texts
