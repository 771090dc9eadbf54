"""Which chains are legs, what their feet are, and where forward is.

A leg is a chain of links from the base to a leaf that reaches the ground in the pose that the file
gives; what ends higher is an arm, a head, a tail. Wheels turn without end and are round.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_ppo.robot_model.importing.tree import Joint, Link, Pose, Tree, move_base, turn_base
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

_NEAR_THE_GROUND = 0.3
"""A leaf is a foot if its lowest point is so near to the lowest of all, as a fraction of the height
of the base above that."""
_LOW = 0.25
"""A base that is lower than this fraction of the hips' height above the feet is near the ground."""
_MIRRORED = 0.08
"""Feet are mirror images if they are off by less than this fraction of their distance."""

_UPRIGHT = 0.7
"""An axis with so much of z is upright."""
_ACROSS = 0.9
"""An axis with so much of y is that of a joint which swings the leg fore and aft."""
_ONE_SIDED = 0.5
"""A range whose middle is off the reference by this fraction of its half is that of a knee."""
_DECISIVE = 0.1
"""Feet that reach further to one side by this fraction of their distance, or of their length, are
toes."""
_LEAST = 1e-6
"""What is smaller than this fraction of the feet's distance is nothing."""


@dataclass(frozen=True)
class Leg:
    """A chain from the base to a foot."""

    foot: str
    """Its last link, which touches the ground."""
    links: tuple[str, ...]
    """From the one below the base to the foot."""
    joints: tuple[str, ...]
    """From the base to the foot."""


def neutral(joint: Joint) -> float:
    """Return the angle nearest to the reference that is inside the range, away from the stops."""
    if joint.range is None:
        return joint.ref
    low, high = joint.range
    margin = 0.1 * (high - low)
    return (
        float(np.clip(joint.ref, low + margin, high - margin))
        if not (low <= joint.ref <= high and min(joint.ref - low, high - joint.ref) >= 0.05)
        else joint.ref
    )


def reference_pose(tree: Tree) -> dict[str, float]:
    """Return every joint's angle in the file's reference pose, or the nearest in its range [rad].

    Feet are looked at in it: a knee that is bent away from its stop would tilt the sole.
    """
    found = {}
    for _, joint in tree.joints():
        low, high = joint.range or (-np.inf, np.inf)
        found[joint.name] = float(np.clip(joint.ref, low, high))
    return found


def lowest(tree: Tree, link: str, frame: Pose, up: np.ndarray) -> float:
    """Return the height of a link's lowest point [m], or of its end where it has no shape."""
    shapes = tree.links[link].shapes
    touching = [s for s in shapes if s.collides] or shapes
    clouds = [shape.cloud() for shape in touching] or [tree.links[link].com[None]]
    return float((frame.points(np.concatenate(clouds)) @ up).min())


def raise_origin(tree: Tree) -> str:
    """Put the base's origin where the hips are, if the file has it near the ground.

    The base's height is what a robot is told to keep, so it must be that of its trunk. Return what
    was done, "" for nothing.
    """
    up = tree.upright.T @ (0, 0, 1)
    frames = tree.frames(reference_pose(tree))
    leaves = [name for name in tree.links if not tree.children(name) and name != tree.base.name]
    heights = {name: lowest(tree, name, frames[name], up) for name in leaves}
    if not heights:
        return ""
    foot = min(heights, key=lambda name: heights[name])
    first = tree.chain(foot)[0]
    hip = float(frames[first.name].points(first.joints[0].pos[None])[0] @ up)
    span = hip - heights[foot]
    ends = [frames[link.name].pos for link in tree.chain(foot)]
    reach = sum(float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(ends))
    stands = hip > 0 and span > reach / 2  # else the legs lie flat or folded in the file
    if not stands or abs(heights[foot]) > _LOW * span:
        return ""
    move_base(tree, hip * up)
    return f"the base's origin is raised by {hip:.3f} m, to the hips: the file has it on the ground"


def legs(tree: Tree, pose: Mapping[str, float], feet: Sequence[str] = ()) -> list[Leg]:
    """Return the legs, in tree order.

    Args:
        tree: the robot; links without joints are merged.
        pose: angles [rad] in which the feet are down.
        feet: links that are feet, where a person says so.
    """
    frames = tree.frames(pose)
    up = tree.upright.T @ (0, 0, 1)
    leaves = [name for name in tree.links if not tree.children(name) and name != tree.base.name]
    if feet:
        for foot in feet:
            if foot not in tree.links or foot == tree.base.name:
                hint = did_you_mean(foot, leaves)
                raise InputError(f"--feet {foot}: the robot has no such link{hint}")
        chosen = [name for name in tree.links if name in feet]
    else:
        heights = {name: lowest(tree, name, frames[name], up) for name in leaves}
        if not heights:
            raise InputError(f"{tree.source}: the robot has no moving links, so no foot")
        ground = min(heights.values())
        limit = ground + _NEAR_THE_GROUND * max(-ground, 1e-3)
        chosen = [name for name in leaves if heights[name] <= limit and ground < 0]
    found = [_leg(tree, name) for name in chosen]
    _refuse_wheels(tree, found)
    if len(found) < 2:
        ends = ", ".join(leaves)
        raise InputError(
            f"{tree.source}: {'no foot reaches' if not found else 'one foot alone reaches'} the "
            f"ground; name the links that are feet with --feet, of {ends or 'none'}"
        )
    return found


def _leg(tree: Tree, foot: str) -> Leg:
    chain = tree.chain(foot)
    joints = [joint.name for link in chain for joint in link.joints]
    return Leg(foot, tuple(link.name for link in chain), tuple(joints))


def _refuse_wheels(tree: Tree, found: Sequence[Leg]) -> None:
    wheels = {
        joint.name: leg.foot
        for leg in found
        for joint in tree.links[leg.foot].joints
        if joint.range is None and joint.kind == "hinge" and _is_round(tree.links[leg.foot], joint)
    }
    if wheels:
        name = next(iter(wheels))
        flags = " ".join(f"--hold {joint}=0" for joint in wheels)
        raise InputError(
            f"{tree.source}: the link {wheels[name]!r} is a wheel: its joint {name!r} turns "
            f"without end; legs can be trained, so lock what turns with {flags}, or name other "
            "feet with --feet"
        )


def _is_round(link: Link, joint: Joint) -> bool:
    """Return whether a link looks the same at any angle of its joint."""
    shapes = [s for s in link.shapes if s.collides] or link.shapes
    if not shapes:
        return False
    points = np.concatenate([shape.cloud() for shape in shapes]) - joint.pos
    across = points - np.outer(points @ joint.axis, joint.axis)
    radii = np.linalg.norm(across, axis=1)
    basis = np.linalg.svd(joint.axis[None])[2][1:]
    angles = np.arctan2(across @ basis[1], across @ basis[0])
    bins = ((angles + np.pi) / (2 * np.pi) * 8).astype(int).clip(0, 7)
    reach = np.array([radii[bins == i].max(initial=0.0) for i in range(8)])
    return bool(reach.min() > 0.85 * reach.max())


def face_forward(tree: Tree, pose: Mapping[str, float], found: Sequence[Leg]) -> str:
    """Turn the base's frame until z is up and x forward; return what was done, "" for nothing.

    Left and right are mirror images. Where front and rear are too, legs say where forward is:
    knees and most of a hip's joints turn about the axis across the body. Where the robot stands
    in the file's world, and which way it looks there, says nothing.
    """
    done = []
    level = _level(tree.upright)
    if not np.allclose(level, np.eye(3), atol=1e-6):
        turn_base(tree, level)
        done.append("the base's frame is made level: its z is not up in the file")
    frames = tree.frames(pose)
    centres = np.array([_centre(tree, leg.foot, frames[leg.foot]) for leg in found])
    axis = _lateral(centres[:, :2])
    if axis is None:
        axis = _across(tree, found, frames)
    if axis == 0:
        reach = _overhang(tree, found, frames) / max(float(np.ptp(centres)), _LEAST)
        world = float(tree.upright[0, 1])  # how far the file's world has x along the base's y
        has_toes = len(found) == 2 and abs(reach) >= _DECISIVE
        sign = world if abs(world) > _UPRIGHT and not has_toes else reach
        forward = -1.0 if sign < -_LEAST else 1.0
        turn_base(tree, np.array([[0, forward, 0], [-forward, 0, 0], [0, 0, 1.0]]))
        done.append("the base's frame is turned by 90 degrees, so that x is forward")
    elif len(found) == 2 and all(_points_back(tree, leg, frames) for leg in found):
        turn_base(tree, np.diag([-1.0, -1.0, 1.0]))
        done.append("the base's frame is turned by 180 degrees: toes and knees point to its -x")
    return "; ".join(done)


def _level(upright: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of the base's axes that takes up onto z and leaves x ahead.

    The yaw of the base in the file's world is left out, unless the base's x is upright: then x
    is no heading, and the world's has to do.

    Args:
        upright: rotation (3, 3) of the base in the world.
    """
    up = upright[2]
    if abs(up[0]) > _UPRIGHT:
        return upright
    ahead = np.array([1.0, 0, 0]) - up[0] * up
    ahead /= np.linalg.norm(ahead)
    return np.array([ahead, np.cross(up, ahead), up])


def _centre(tree: Tree, link: str, frame: Pose) -> np.ndarray:
    shapes = [s for s in tree.links[link].shapes if s.collides] or tree.links[link].shapes
    if not shapes:
        return frame.pos
    points = frame.points(np.concatenate([s.cloud() for s in shapes]))
    return (points.min(axis=0) + points.max(axis=0)) / 2


def _lateral(feet: np.ndarray) -> int | None:
    """Return the axis, 0 or 1, across which the feet (n, 2) are mirror images; None: either."""
    size = np.ptp(feet, axis=0).max()
    off = []
    for axis in (0, 1):
        mirrored = feet * np.where(np.arange(2) == axis, -1, 1)
        gaps = np.linalg.norm(feet[:, None] - mirrored[None], axis=2).min(axis=1)
        separate = np.abs(feet[:, axis]).max() > _MIRRORED * size
        off.append(gaps.max() / max(size, 1e-6) if separate else np.inf)
    if max(off) < _MIRRORED:
        return None
    return 0 if off[0] < _MIRRORED < off[1] else 1


def _across(tree: Tree, found: Sequence[Leg], frames: Mapping[str, Pose]) -> int:
    """Return the axis, 0 or 1, about which legs swing.

    A leg with an upright axis swings about that, and its other joints say nothing of forward: then
    across is where the hips are closer together.
    """
    joints = [
        (frames[link], joint)
        for leg in found
        for link in leg.links
        for joint in tree.links[link].joints
    ]
    axes = np.array([frame.mat @ joint.axis for frame, joint in joints])
    if np.any(np.abs(axes[:, 2]) > _UPRIGHT):
        hips = np.array([frames[leg.links[0]].pos[:2] for leg in found])
        return int(np.argmin(np.ptp(hips, axis=0)))
    return int(np.argmax((axes[:, :2] ** 2).sum(axis=0)))


def _overhang(tree: Tree, found: Sequence[Leg], frames: Mapping[str, Pose]) -> float:
    """Return how much further the feet reach to +y than to -y from their last joint [m]."""
    total = 0.0
    for leg in found:
        shapes = tree.links[leg.foot].shapes
        if shapes:
            at = frames[leg.foot]
            points = at.points(np.concatenate([s.cloud() for s in shapes]))[:, 1] - at.pos[1]
            total += float(points.max() + points.min())
    return total


def _points_back(tree: Tree, leg: Leg, frames: Mapping[str, Pose]) -> bool:
    """Return whether toes and knee of a leg point to -x: either alone may be the robot's way.

    The knee is the second joint that turns about y; it takes the foot to +x alone. A leg without a
    third, an ankle, has no toes: its last link is a shin.
    """
    shapes = tree.links[leg.foot].shapes
    joints = [(name, joint) for name in leg.links for joint in tree.links[name].joints]
    axes = [(frames[name].mat @ joint.axis, joint) for name, joint in joints]
    level = [(axis[1], joint) for axis, joint in axes if abs(axis[1]) > _ACROSS]
    if not shapes or len(level) < 3:
        return False
    at = frames[leg.foot]
    points = at.points(np.concatenate([s.cloud() for s in shapes]))[:, 0] - at.pos[0]
    toes = (points.max() + points.min()) / max(np.ptp(points), _LEAST)
    sign, knee = level[1]
    low, high = knee.range or (-np.pi, np.pi)
    bends = sign * (low + high - 2 * knee.ref) / (high - low)
    return bool(toes < -_DECISIVE and bends < -_ONE_SIDED)
