"""Network output <-> joint target [rad].

target = clip(default_pose + scale * clip(action, -clip, clip), range inside its margin)

`scale` is one number, or one per joint: as the task says, or else as robot.yaml does. The network
has no output for joints that are held: their target is the default pose, at their own gains. A task
may add a step in place to the default pose, which the gait clock drives.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from robot_ppo_export.contract import frames, strict
from robot_ppo_export.contract.command import is_moving
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError


class Lift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One joint's part in a step."""

    angle: float
    """[rad] beyond the default pose where its foot is highest."""
    offset: float
    """Phase of its foot, as a fraction of the cycle; `gait.offsets` of the task."""


class Stepping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A step in place, added to joint targets while a twist asks for motion."""

    stance: float
    """Fraction of the cycle in which a foot is down; half a sine over the rest lifts it."""
    joints: dict[str, Lift]


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Scale and bound of the network's output on its way to joint targets."""

    scale: float | dict[str, float] = 0.5
    """[rad] per unit of action: for all joints that have no `action_scale` in robot.yaml, or for
    each joint by name, whatever robot.yaml says."""
    clip: float = 4.0
    """Bound on the absolute value of the raw action."""
    held: tuple[str, ...] = ()
    """Joints that stay at their default angle; the network has no output for them."""
    stepping: Stepping | None = None
    """null: targets are the network's alone."""


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
        self.moved = np.array(moved(robot.joint_names, action.held), np.int64)
        """(actions,) the joints that the network moves, in the order of its outputs."""
        self._holds = bool(action.held)
        self._steps = _steps(action.stepping, robot) if action.stepping else None

    @property
    def size(self) -> int:
        """Number of the network's outputs."""
        return len(self.moved)

    def reference(self, phase: Array, command: Array) -> Array | None:
        """Return what a step in place adds to the targets, (..., joints) [rad]; None: nothing.

        Args:
            phase: of the gait, (...,).
            command: a twist (..., 3); where it says to stand, nothing is added.
        """
        if self._steps is None:
            return None
        xp = frames.namespace(command)
        angle, offset, stance = self._steps
        position = phase[..., None] + offset
        position = position - xp.floor(position)
        progress = (position - stance) / (1 - stance)
        progress = xp.minimum(xp.maximum(progress, xp.zeros_like(progress)), xp.ones_like(progress))
        lift = angle * xp.sin(math.pi * progress)
        moving = xp.asarray(is_moving(command))[..., None]
        return xp.where(moving, lift, xp.zeros_like(lift))

    def target(self, action: Array, reference: Array | None = None) -> Array:
        """Return joint targets (..., joints) [rad] of raw actions (..., actions).

        `reference` is that of the inputs from which the action was computed.
        """
        xp = frames.namespace(action)
        of_joints = self.of_joints(action)
        # Not xp.clip, which takes four times as long for a dozen numbers.
        bounded = xp.minimum(xp.maximum(of_joints, -self.bound), self.bound)
        target = self.default_pose + self.scale * bounded
        if reference is not None:
            target = target + reference
        return xp.minimum(xp.maximum(target, self.low), self.high)

    def of_joints(self, action: Array) -> Array:
        """Return raw actions (..., actions) as numbers of all joints (..., joints); held: 0."""
        if not self._holds:
            return action
        xp = frames.namespace(action)
        joints = self.default_pose.shape[0]
        shape = (*action.shape[:-1], joints)
        spread = xp.zeros(shape, dtype=action.dtype, device=action.device)
        spread[..., self.moved] = action
        return spread

    def action(self, target: Array) -> Array:
        """Return the raw action (..., actions) whose target, before limits, is `target`."""
        return ((target - self.default_pose) / self.scale)[..., self.moved]


def moved(joints: Sequence[str], held: Sequence[str]) -> list[int]:
    """Return the places of the joints that are not held, in order.

    Raises:
        SettingError: a held joint is unknown or named twice, or nothing is left to move.
    """
    for name in held:
        if name not in joints:
            hint = strict.did_you_mean(name, joints)
            raise SettingError("action.held", f"the robot has no joint {name!r}{hint}")
    if len(set(held)) < len(held):
        raise SettingError("action.held", f"names a joint twice: {', '.join(held)}")
    found = [i for i, name in enumerate(joints) if name not in held]
    if not found:
        raise SettingError("action.held", "holds every joint: leave out those that are to move")
    return found


def _steps(stepping: Stepping, robot: RobotSpec) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Return angle and offset of each joint (joints,), float32, and the stance; checked."""
    joints = robot.joint_names
    if not 0 < stepping.stance < 1:
        text = f"{stepping.stance} is not between 0 and 1"
        raise SettingError("action.stepping.stance", text)
    for name in stepping.joints:
        if name not in joints:
            hint = strict.did_you_mean(name, joints)
            text = f"the robot has no joint {name!r}{hint}"
            raise SettingError(f"action.stepping.joints.{name}", text)
    nothing = Lift(angle=0.0, offset=0.0)
    lifts = [stepping.joints.get(name, nothing) for name in joints]
    angle = np.array([lift.angle for lift in lifts], np.float32)
    offset = np.array([lift.offset for lift in lifts], np.float32)
    return angle, offset, np.float32(stepping.stance)


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
