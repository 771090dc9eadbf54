"""Which legs are mirror images of each other, and how their joints' angles are."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from robot_ppo.robot_model.importing.posed_leg import PosedLeg
from robot_ppo.robot_model.importing.tree import Joint, Pose, Tree

_SAME_RANGE = 0.1
"""Ranges of mirror images differ by less [rad]."""
_SAME_AXIS = 0.99
"""Cosine of the angle between an axis and its mirror image's."""
_SAME_PLACE = 0.01
"""[m]"""


def mirror_images(legs: Sequence[PosedLeg]) -> dict[str, str]:
    """Return the foot of each leg to the left -> that of its mirror image, where it has one."""
    return {
        leg.foot.leg.foot: other.foot.leg.foot
        for leg, other in _facing(legs)
        if mirror_signs(leg, other)
    }


def contradictions(legs: Sequence[PosedLeg]) -> Iterator[str]:
    """Yield a sentence for each leg with joints that bend the other way than its mirror image's.

    Axes or ranges of one of the two are wrong in the file: one knee bends ahead, the other behind.
    """
    for leg, other in _facing(legs):
        signs = _signs(leg, other) or []
        pairs = [
            (mine, its, sign)
            for mine, its, sign in zip(leg.joints, other.joints, signs, strict=False)
            if not _alike(mine, its, sign) and _alike(mine, its, -sign)
        ]
        if pairs:
            left = ", ".join(mine.name for mine, _, _ in pairs)
            right = ", ".join(its.name for _, its, _ in pairs)
            of_left = " ".join(_mirrored(its, mine.name, sign) for mine, its, sign in pairs)
            of_right = " ".join(_mirrored(mine, its.name, sign) for mine, its, sign in pairs)
            yield (
                f"{left} and {right} are mirror images, but bend in opposite ways, so axes or "
                f"ranges of the file are wrong: if those of {right}, give {of_right}; if those of "
                f"{left}, {of_left}"
            )


def _mirrored(joint: Joint, name: str, sign: int) -> str:
    """Return the flag that gives the joint `name` the mirrored range of `joint`."""
    low, high = sorted(sign * angle for angle in joint.range or (-np.pi, np.pi))
    return f"--range {name}={low:.4g},{high:.4g}"


def _facing(legs: Sequence[PosedLeg]) -> Iterator[tuple[PosedLeg, PosedLeg]]:
    """Yield each leg to the left with the one whose hip is across."""
    for leg in legs:
        for other in legs:
            off = np.linalg.norm(leg.hip * (1, -1, 1) - other.hip)
            if leg.hip[1] > 1e-3 and off < _SAME_PLACE:
                yield leg, other


def mirror(legs: Sequence[PosedLeg], images: Mapping[str, str], found: dict[str, float]) -> None:
    """Give each leg to the right the angles of its mirror image."""
    of = {leg.foot.leg.foot: leg for leg in legs}
    for left, right in images.items():
        signs = mirror_signs(of[left], of[right]) or []
        for mine, its, sign in zip(of[left].names, of[right].names, signs, strict=True):
            found[its] = sign * found[mine]


def mirror_signs(leg: PosedLeg, other: PosedLeg) -> list[int] | None:
    """Return the factor of each joint's angle in the mirror image of a leg; None: it is none."""
    signs = _signs(leg, other)
    if signs is None or not all(map(_alike, leg.joints, other.joints, signs)):
        return None
    return signs


def _signs(leg: PosedLeg, other: PosedLeg) -> list[int] | None:
    """Return the same by the axes alone."""
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
        if abs(turned @ b) < _SAME_AXIS:
            return None
        signs.append(1 if turned @ b > 0 else -1)
    return signs


def _alike(joint: Joint, other: Joint, sign: int) -> bool:
    """Return whether the ranges of two joints are mirror images."""
    if joint.range is None or other.range is None:
        return joint.range == other.range
    mirrored = sorted(sign * angle for angle in joint.range)
    return bool(np.allclose(mirrored, other.range, atol=_SAME_RANGE))


def partners(tree: Tree, pose: Mapping[str, float]) -> dict[str, str]:
    """Return each joint to the left -> the joint to the right that is its mirror image.

    Args:
        tree: the robot, its base level and forward.
        pose: joint -> angle [rad].
    """
    frames = tree.frames(pose)
    anchors = {}
    axes = {}
    for link, joint in tree.joints():
        anchors[joint.name] = frames[link.name].points(joint.pos[None])[0]
        axes[joint.name] = frames[link.name].mat @ joint.axis
    found = {}
    for one, anchor in anchors.items():
        gaps = {other: anchor * (1, -1, 1) - anchors[other] for other in anchors}
        fitting = {
            other: float(np.linalg.norm(gap))
            for other, gap in gaps.items()
            if abs(axes[one] * (-1, 1, -1) @ axes[other]) > _SAME_AXIS
            and np.linalg.norm(np.cross(gap, axes[other])) < _SAME_PLACE
        }
        nearest = min(fitting, key=lambda other: fitting[other], default=one)
        if anchor[1] > 1e-3 and nearest != one:
            found[one] = nearest
    return found


def _axis(leg: PosedLeg, joint: Joint, frames: Mapping[str, Pose]) -> np.ndarray:
    link = next(link for link in leg.links if joint in link.joints)
    return frames[link.name].mat @ joint.axis
