"""`RobotSpec` -> the text of a robot.yaml, with a comment on every number that was derived."""

from collections.abc import Mapping

import numpy as np
import yaml

from robot_ppo.robot_model.importing.writing import number
from robot_ppo_export.contract.spec import RobotSpec


def robot_yaml(robot: RobotSpec, notes: Mapping[str, str], joint_notes: Mapping[str, str]) -> str:
    """Return the text of a robot.yaml, with a comment on every number that was derived.

    Args:
        robot: the figures.
        notes: key -> comment on it; "" stands at the top.
        joint_notes: joint -> comment.
    """
    lines = [*(f"# {line}" for line in notes[""].splitlines())]
    lines += [
        f"name: {robot.name}",
        f"description: {_text(robot.description)}",
        f"model: {robot.model}",
        _commented(
            f"base: {{body: {_text(robot.base.body)}, height: {number(robot.base.height)}}}",
            notes.get("base"),
        ),
        _commented(_imu(robot), notes.get("imu")),
        _commented("feet:", notes.get("feet")),
        *(_foot(robot, foot) for foot in robot.feet),
        _commented("joints:", notes.get("joints")),
    ]
    for joint in robot.joints:
        low, high = joint.range
        figures = f"default: {number(joint.default)}, range: [{number(low)}, {number(high)}], "
        figures += f"velocity_limit: {number(joint.velocity_limit)}, "
        figures += f"torque_limit: {number(joint.torque_limit)}, "
        figures += f"kp: {number(joint.kp)}, kd: {number(joint.kd)}"
        figures += ", held: true" if joint.held else ""
        entry = f"- {{name: {_text(joint.name)}, {figures}}}"
        lines.append(_commented(entry, joint_notes.get(joint.name)))
    stand = robot.stand
    lines += [_commented("stand:", notes.get("stand"))]
    lines += [f"  kp: {_gains(stand.kp)}", f"  kd: {_gains(stand.kd)}"]
    lines += [f"  duration: {number(stand.duration)}"]
    lines += [_commented(f"damping: {{kd: {_gains(robot.damping.kd)}}}", notes.get("damping"))]
    if robot.rest_pose:
        lines.append(_commented("rest_pose:", notes.get("rest_pose")))
        lines += [f"  {_text(name)}: {number(angle)}" for name, angle in robot.rest_pose.items()]
    lines.append(_commented("safety:", notes.get("safety")))
    for key in _SAFETY:
        value = getattr(robot.safety, key)
        lines.append(_commented(f"  {key}: {number(value)}", notes.get(f"safety.{key}")))
    start = robot.life_cycle.start
    lines.append(_commented(f"life_cycle: {{start: {start}}}", notes.get("life_cycle")))
    return "\n".join(lines) + "\n"


_SAFETY = (
    "max_tilt",
    "max_angular_rate",
    "max_target_step",
    "joint_range_margin",
    "stale_after",
    "frozen_ticks",
    "max_missed_deadlines",
)


def _imu(robot: RobotSpec) -> str:
    mounting = ""
    if not np.allclose(robot.imu.mounting, (1, 0, 0, 0), atol=1e-9):
        mounting = f", mounting: [{', '.join(number(x) for x in robot.imu.mounting)}]"
    return f"imu: {{site: {_text(robot.imu.site)}{mounting}}}"


def _foot(robot: RobotSpec, foot: str) -> str:
    geoms = robot.foot_geoms.get(foot)
    if not geoms:
        return f"- {_text(foot)}"
    return f"- {{name: {_text(foot)}, geoms: [{', '.join(map(_text, geoms))}]}}"


def _gains(gain: object) -> str:
    if isinstance(gain, dict):
        return (
            "{" + ", ".join(f"{_text(name)}: {number(value)}" for name, value in gain.items()) + "}"
        )
    return number(float(gain))  # type: ignore[arg-type]  # RobotSpec holds a number or a dict


def _text(text: str) -> str:
    """Return a text as YAML writes it: in quotes where it would read otherwise."""
    return yaml.safe_dump(text, default_flow_style=True, width=10**6).splitlines()[0]


def _commented(line: str, comment: str | None) -> str:
    return f"{line}  # {comment}" if comment else line
