"""Which motor of Unitree's messages moves which joint, by name, for each robot.

Sources: the vendor's public examples and models (unitree_sdk2_python, unitree_mujoco). Joint names
are those of the vendor's models.
"""

from dataclasses import dataclass

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import RefusedError


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

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The joints that there are, in motor order."""
        return tuple(name for name in self.slots if name is not None)

    @property
    def motors(self) -> tuple[int, ...]:
        """Index of the motor of each of `joint_names`."""
        return tuple(i for i, name in enumerate(self.slots) if name is not None)


def _joints(prefixes: tuple[str, ...], parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}_{part}_joint" for prefix in prefixes for part in parts)


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
H1 = Body(
    "H1",
    "unitree_go",
    (
        *_joints(("right", "left"), ("hip_roll", "hip_pitch", "knee")),
        *("torso_joint", "left_hip_yaw_joint", "right_hip_yaw_joint", None),
        *_joints(_SIDES, ("ankle",)),
        *_joints(("right", "left"), _ARM),
    ),
    (SERVO_H1,) * 10 + (SERVO,) * 10,
)
G1 = Body(
    "G1 with 29 joints",
    "unitree_hg",
    (
        *_joints(_SIDES, ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")),
        *("waist_yaw_joint", "waist_roll_joint", "waist_pitch_joint"),
        *_joints(_SIDES, (*_ARM, "wrist_roll", "wrist_pitch", "wrist_yaw")),
    ),
    (SERVO,) * 29 + (0,) * 6,
)
BODIES = (QUADRUPED, H1, G1)


def body_of(robot: RobotSpec | None) -> Body:
    """Return the body of a robot of robot.yaml, by its family and the names of its joints.

    Where no body has just these joints, the one that shares most is returned: the check of the
    joints then names the difference. `RefusedError` where the robot is none of this vendor's.
    """
    if robot is None or robot.unitree is None:
        raise RefusedError(
            f"driver unitree: {robot.name if robot else 'the policy'} is not a Unitree robot: its "
            "robot.yaml has no `unitree:` with message_family (unitree_go or unitree_hg)"
        )
    family = robot.unitree.message_family
    known = [body for body in BODIES if body.family == family]
    if not known:
        raise RefusedError(
            f"driver unitree: robot.yaml of {robot.name} says message_family {family!r}; there are "
            "unitree_go (Go2, B2, H1) and unitree_hg (G1)"
        )
    return max(known, key=lambda body: len(set(body.joint_names) & set(robot.joint_names)))
