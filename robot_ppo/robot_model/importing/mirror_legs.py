"""Which legs are mirror images of each other, and how their joints' angles are."""

from collections.abc import Mapping, Sequence

import numpy as np

from robot_ppo.robot_model.importing.posed_leg import PosedLeg
from robot_ppo.robot_model.importing.tree import Joint, Pose

_SAME_RANGE = 0.1
"""Ranges of mirror images differ by less [rad]."""


def mirror_images(legs: Sequence[PosedLeg]) -> dict[str, str]:
    """Return the foot of each leg to the left -> that of its mirror image, where it has one."""
    found = {}
    for leg in legs:
        for other in legs:
            off = np.linalg.norm(leg.hip * (1, -1, 1) - other.hip)
            if leg.hip[1] > 1e-3 and off < 0.01 and mirror_signs(leg, other):
                found[leg.foot.leg.foot] = other.foot.leg.foot
    return found


def mirror(legs: Sequence[PosedLeg], images: Mapping[str, str], found: dict[str, float]) -> None:
    """Give each leg to the right the angles of its mirror image."""
    of = {leg.foot.leg.foot: leg for leg in legs}
    for left, right in images.items():
        signs = mirror_signs(of[left], of[right]) or []
        for mine, its, sign in zip(of[left].names, of[right].names, signs, strict=True):
            found[its] = sign * found[mine]


def mirror_signs(leg: PosedLeg, other: PosedLeg) -> list[int] | None:
    """Return the factor of each joint's angle in the mirror image of a leg; None: it is none."""
    if len(leg.joints) != len(other.joints):
        return None
    zero = [np.zeros(len(side.joints)) for side in (leg, other)]
    frames = [side.frames(angles) for side, angles in zip((leg, other), zero, strict=True)]
    signs = []
    for mine, its in zip(leg.joints, other.joints, strict=True):
        a, b = (
            _axis(side, joint, frame)
            for side, joint, frame in zip((leg, other), (mine, its), frames, strict=True)
        )
        turned = a * (-1, 1, -1)  # an axis is no arrow: its mirror image keeps the part across
        if abs(abs(turned @ b) - 1) > 0.01:
            return None
        signs.append(1 if turned @ b > 0 else -1)
        if not _alike(mine, its, signs[-1]):
            return None
    return signs


def _alike(joint: Joint, other: Joint, sign: int) -> bool:
    """Return whether the ranges of two joints are mirror images."""
    if joint.range is None or other.range is None:
        return joint.range == other.range
    mirrored = sorted(sign * angle for angle in joint.range)
    return bool(np.allclose(mirrored, other.range, atol=_SAME_RANGE))


def _axis(leg: PosedLeg, joint: Joint, frames: Mapping[str, Pose]) -> np.ndarray:
    link = next(link for link in leg.links if joint in link.joints)
    return frames[link.name].mat @ joint.axis
