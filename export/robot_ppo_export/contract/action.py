"""Network output <-> joint target [rad].

target = clip(default_pose + scale * clip(action, -clip, clip), range inside its margin)
"""

import msgspec
import numpy as np

from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the network's output becomes joint targets."""

    scale: float = 0.5
    """[rad] per unit of action, the same for all joints."""
    clip: float = 4.0
    """Bound on the absolute value of the raw action."""


class ActionMap:
    """The arithmetic of one robot's actions, in float32."""

    def __init__(self, action: ActionSpec, robot: RobotSpec) -> None:
        """Precompute the float32 vectors."""
        for key in ("scale", "clip"):
            value = getattr(action, key)
            if not value > 0:
                raise InputError(f"action.{key}: {value} must be above 0")
        low_high = robot.vector("range")
        margin = robot.safety.joint_range_margin
        self.default_pose = robot.vector("default").astype(np.float32)
        self.low = (low_high[:, 0] + margin).astype(np.float32)
        self.high = (low_high[:, 1] - margin).astype(np.float32)
        self.scale = np.float32(action.scale)
        self.bound = np.full_like(self.default_pose, action.clip)

    def target(self, action: Array) -> Array:
        """Return joint targets (..., joints) [rad] of raw actions (..., joints)."""
        xp = action.__array_namespace__()
        # Not xp.clip, which takes four times as long for a dozen numbers.
        bounded = xp.minimum(xp.maximum(action, -self.bound), self.bound)
        target = self.default_pose + self.scale * bounded
        return xp.minimum(xp.maximum(target, self.low), self.high)

    def action(self, target: Array) -> Array:
        """Return the raw action whose target, before limits, is `target`."""
        return (target - self.default_pose) / self.scale
