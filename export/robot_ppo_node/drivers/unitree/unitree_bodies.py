"""Which motor of Unitree's messages moves which joint, by name, for each robot.

Sources: the vendor's public examples and models (unitree_sdk2_python, unitree_mujoco, and
unitree_ros at d6f13aa for ranges and limits, BSD-3-Clause). Joint names are those of the vendor's
models. Go2 and B2 have the same joints and messages and different limits, so nothing is said of
either's; of G1 the vendor gives two figures for the torque and velocity of its ankles and waist.
"""

from dataclasses import dataclass

import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities, Span


@dataclass(frozen=True)
class Body:
    """One kind of robot."""

    name: str
    family: str
    """Message family: "unitree_go" or "unitree_hg"."""
    slots: tuple[str | None, ...]
    """Joint of each motor of the message, in its order; None where there is no motor."""
    modes: tuple[int, ...]
    """`mode` that each motor of the message is sent; the message has as many motors."""
    stands_down: bool = False
    """Its vendor controller can lie down by itself (`sport` service)."""
    capabilities: Capabilities = NOTHING
    """What the vendor publishes of it, without contradiction; the messages say none of it."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The joints that there are, in motor order."""
        return tuple(name for name in self.slots if name is not None)

    @property
    def motors(self) -> tuple[int, ...]:
        """Index of the motor of each of `joint_names`."""
        return tuple(i for i, name in enumerate(self.slots) if name is not None)

    def places(self, joints: tuple[str, ...]) -> slice | np.ndarray:
        """Return what picks the motors of `joints` from all; a slice, the quicker, if it can."""
        motors = np.array([self.slots.index(name) for name in joints], np.intp)
        in_a_row = (np.diff(motors) == 1).all()
        return slice(int(motors[0]), int(motors[-1]) + 1) if in_a_row else motors


def _joints(prefixes: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}_{part}_joint" for prefix in prefixes for part in parts)


def _ranges(slots: tuple[str | None, ...], left: dict[str, Span]) -> tuple[Span, ...]:
    """Return the range of each joint [rad], of those of the left side and the middle.

    Across the body a joint that rolls or yaws has the range turned around.
    """
    ranges = []
    for name in filter(None, slots):
        low, high = left[_part(name)]
        turned = name.startswith("right_") and _part(name).endswith(("roll", "yaw"))
        ranges.append((-high, -low) if turned else (low, high))
    return tuple(ranges)


def _figures(slots: tuple[str | None, ...], figures: dict[str, float]) -> tuple[float, ...]:
    """Return the figure of each joint, by its part of the body."""
    return tuple(figures[_part(name)] for name in filter(None, slots))


def _part(joint: str) -> str:
    return joint.removesuffix("_joint").removeprefix("left_").removeprefix("right_")


SERVO = 0x01
"""`mode` of a motor that follows position, velocity and torque; 0 stops it."""
SERVO_H1 = 0x0A
"""The same for the strong motors of H1, numbers 0 to 9."""

_SIDES = ("left", "right")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow")

QUADRUPED = Body(
    "Go2 or B2",
    "unitree_go",
    _joints(("FR", "FL", "RR", "RL"), ("hip", "thigh", "calf")),
    (SERVO,) * 20,
    stands_down=True,
)
_H1 = (
    *_joints(("right", "left"), ("hip_roll", "hip_pitch", "knee")),
    *("torso_joint", "left_hip_yaw_joint", "right_hip_yaw_joint", None),
    *_joints(_SIDES, ("ankle",)),
    *_joints(("right", "left"), _ARM),
)
_H1_RANGES: dict[str, Span] = {
    **{"hip_roll": (-0.43, 0.43), "hip_pitch": (-3.14, 2.53), "hip_yaw": (-0.43, 0.43)},
    **{"knee": (-0.26, 2.05), "ankle": (-0.87, 0.52), "torso": (-2.35, 2.35)},
    **{"shoulder_pitch": (-2.87, 2.87), "shoulder_roll": (-0.34, 3.11)},
    **{"shoulder_yaw": (-1.3, 4.45), "elbow": (-1.25, 2.61)},
}
_H1_TORQUE = {"knee": 300.0, "ankle": 40.0, "shoulder_yaw": 18.0, "elbow": 18.0}
_H1_TORQUE |= dict.fromkeys(("hip_roll", "hip_pitch", "hip_yaw", "torso"), 200.0)
_H1_TORQUE |= dict.fromkeys(("shoulder_pitch", "shoulder_roll"), 40.0)
_H1_VELOCITY = {"knee": 14.0, "ankle": 9.0, "shoulder_yaw": 20.0, "elbow": 20.0}
_H1_VELOCITY |= dict.fromkeys(("hip_roll", "hip_pitch", "hip_yaw", "torso"), 23.0)
_H1_VELOCITY |= dict.fromkeys(("shoulder_pitch", "shoulder_roll"), 9.0)
H1 = Body(
    "H1",
    "unitree_go",
    _H1,
    (SERVO_H1,) * 10 + (SERVO,) * 10,
    capabilities=Capabilities(
        position_range=_ranges(_H1, _H1_RANGES),
        velocity_limit=_figures(_H1, _H1_VELOCITY),
        torque_limit=_figures(_H1, _H1_TORQUE),
    ),
)
_G1 = (
    *_joints(_SIDES, ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")),
    *("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint"),
    *_joints(_SIDES, (*_ARM, "wrist_roll", "wrist_pitch", "wrist_yaw")),
)
_G1_RANGES: dict[str, Span] = {
    **{"hip_pitch": (-2.5307, 2.8798), "hip_roll": (-0.5236, 2.9671), "hip_yaw": (-2.7576, 2.7576)},
    **{"knee": (-0.087267, 2.8798), "ankle_pitch": (-0.87267, 0.5236)},
    **{"ankle_roll": (-0.2618, 0.2618), "waist_yaw": (-2.618, 2.618)},
    **{"waist_roll": (-0.52, 0.52), "waist_pitch": (-0.52, 0.52)},
    **{"shoulder_pitch": (-3.0892, 2.6704), "shoulder_roll": (-1.5882, 2.2515)},
    **{"shoulder_yaw": (-2.618, 2.618), "elbow": (-1.0472, 2.0944)},
    **{"wrist_roll": (-1.97222, 1.97222), "wrist_pitch": (-1.61443, 1.61443)},
    "wrist_yaw": (-1.61443, 1.61443),
}
G1 = Body(
    "G1 with 29 joints",
    "unitree_hg",
    _G1,
    (SERVO,) * 29 + (0,) * 6,
    capabilities=Capabilities(position_range=_ranges(_G1, _G1_RANGES)),
)
BODIES = (QUADRUPED, H1, G1)


def body_of(robot: RobotSpec | None) -> Body:
    """Return the body of a robot of robot.yaml, by its family and the names of its joints.

    Where no body has just these joints, the one that shares most is returned: the check of the
    joints then names the difference. `RefusedError` where the robot is none of this vendor's.
    """
    if robot is None or robot.unitree is None:
        raise RefusedError(
            f"driver unitree: {robot.name if robot else 'the policy'} is not a Unitree robot: "
            "robot.yaml lacks `unitree: {message_family: unitree_go}`, or unitree_hg"
        )
    family = robot.unitree.message_family
    known = [body for body in BODIES if body.family == family]
    if not known:
        raise RefusedError(
            f"driver unitree: {robot.name} has message_family {family!r}, and not unitree_go (Go2, "
            "B2, H1) or unitree_hg (G1)"
        )
    return max(known, key=lambda body: len(set(body.joint_names) & set(robot.joint_names)))
