"""Network output <-> joint target [rad].

target = clip(default_pose + scale * clip(action, -clip, clip), range inside its margin)

`scale` is one number, or one per joint: as the task says, or else as robot.yaml does.
"""

import msgspec
import numpy as np

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Scale and bound of the network's output on its way to joint targets."""

    scale: float | dict[str, float] = 0.5
    """[rad] per unit of action: for all joints that have no `action_scale` in robot.yaml, or for
    each joint by name, whatever robot.yaml says."""
    clip: float = 4.0
    """Bound on the absolute value of the raw action."""


class ActionMap:
    """The arithmetic of one robot's actions, in float32."""

    def __init__(self, action: ActionSpec, robot: RobotSpec) -> None:
        """Precompute the float32 vectors."""
        if not action.clip > 0:
            raise SettingError("action.clip", f"{action.clip} must be above 0")
        low_high = robot.vector("range")
        margin = robot.safety.joint_range_margin
        self.default_pose = robot.vector("default").astype(np.float32)
        self.low = (low_high[:, 0] + margin).astype(np.float32)
        self.high = (low_high[:, 1] - margin).astype(np.float32)
        self.scale = _scale(action.scale, robot)
        """[rad] per unit of action: one number, or (joints,)."""
        self.bound = np.full_like(self.default_pose, action.clip)

    def target(self, action: Array) -> Array:
        """Return joint targets (..., joints) [rad] of raw actions (..., joints)."""
        xp = frames.namespace(action)
        # Not xp.clip, which takes four times as long for a dozen numbers.
        bounded = xp.minimum(xp.maximum(action, -self.bound), self.bound)
        target = self.default_pose + self.scale * bounded
        return xp.minimum(xp.maximum(target, self.low), self.high)

    def action(self, target: Array) -> Array:
        """Return the raw action whose target, before limits, is `target`."""
        return (target - self.default_pose) / self.scale


def _scale(scale: float | dict[str, float], robot: RobotSpec) -> np.float32 | np.ndarray:
    """Return the checked scale, float32; an error names the joint that is missing or unknown."""
    if not isinstance(scale, dict):
        if not scale > 0:
            raise SettingError("action.scale", f"{scale} must be above 0")
        own = [joint.action_scale for joint in robot.joints]
        if not any(own):
            return np.float32(scale)
        return np.array([value or scale for value in own], np.float32)
    joints = robot.joint_names
    differing = sorted(set(scale) ^ set(joints))
    if differing:
        raise SettingError(
            "action.scale",
            f"must be one number, or name each joint once; differs by {', '.join(differing)}",
        )
    for name, value in scale.items():
        if not value > 0:
            raise SettingError(f"action.scale.{name}", f"{value} must be above 0")
    return np.array([scale[name] for name in joints], np.float32)
