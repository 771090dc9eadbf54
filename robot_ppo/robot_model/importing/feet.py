"""The contact geometry of a foot, and the other shapes that a link touches with."""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_ppo.robot_model.importing import fitting
from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo.robot_model.importing.tree import Pose, Shape, Tree
from robot_ppo_export.errors import InputError

FRICTION = 0.8
"""Of a foot where the file has none, and of everything else."""
_SOLE = 0.6
"""A foot whose underside is wider than this fraction of the height of its last joint is a sole."""
_PLACING = 3
"""So many joints place a foot; a leg of many that has no more cannot keep a sole level, and a shin
that lies flat in the file's reference pose is none."""
_LEVEL = 0.01
"""[m] Primitives that reach so near to the lowest point of a sole are its contact points."""
_BALL_NEAR = 0.015
"""[m] A ball that reaches so near to the end of a leg is its foot."""
_NEAR = 0.005
"""[m] The same of any other primitive."""
_FAR = 0.8
"""A primitive as low as the foot that reaches less of the leg's last link is at the knee."""
_SHIN = 1.5
"""A primitive that is so many times longer along the leg than wide is no foot, but ends in one."""
_NEARLY = 0.87
"""Cosine of 30 degrees."""
_SMALL = 0.005
"""[m] What is thinner in every direction is no foot and no obstacle."""


@dataclass(frozen=True, eq=False)
class Foot:
    """The contact geometry at the end of a leg, in the frame of its last link."""

    leg: Leg
    shapes: tuple[Shape, ...]
    flat: bool
    """Whether it is a sole, which has to be level, and not a point."""
    normal: np.ndarray
    """(3,) Up, in the link's frame, where the foot is a sole."""
    how: str
    """Where the shapes come from, for the report."""

    def centre(self) -> np.ndarray:
        """Return the middle of the contact (3,) in the link's frame [m]."""
        points = self.contact_points()
        return (points.min(axis=0) + points.max(axis=0)) / 2

    def contact_points(self) -> np.ndarray:
        """Return the points (k, 3) of a sole that touch the ground, or the middle of each shape."""
        if not self.flat:
            return np.array([shape.pose.pos for shape in self.shapes])
        points = np.concatenate([shape.cloud() for shape in self.shapes])
        height = points @ self.normal
        return points[height <= height.min() + 2e-3]

    def lowest(self, frame: Pose) -> float:
        """Return the height of the lowest point [m] where the link's frame is at `frame`."""
        down = frame.mat.T @ (0, 0, -1)
        return float(frame.pos[2]) - max(shape.reach(down) for shape in self.shapes)


def all_feet(tree: Tree, legs: Sequence[Leg], pose: Mapping[str, float]) -> list[Foot]:
    """Return the feet of the legs, which are down in a pose (joint -> angle [rad])."""
    frames = tree.frames(pose)
    count = collections.Counter(joint for leg in legs for joint in leg.joints)
    found = []
    for leg in legs:
        own = sum(count[joint] == 1 for joint in leg.joints)
        can_be_sole = len(legs) == 2 or own > _PLACING
        found.append(foot(tree, leg, frames[leg.foot], can_be_sole))
    return found


def foot(tree: Tree, leg: Leg, frame: Pose, can_be_sole: bool = True) -> Foot:
    """Return the contact geometry of a leg.

    Args:
        tree: the robot.
        leg: whose last link is looked at.
        frame: of that link in the base's, z up, with the foot down.
        can_be_sole: whether a sole is looked for; else the foot is a point.
    """
    link = tree.links[leg.foot]
    shapes = [s for s in link.shapes if s.collides]
    origin = "collision"
    if leg.foot in tree.missing:
        raise InputError(
            f"{tree.source}: the mesh {tree.missing[leg.foot]!r}, the collision of the foot "
            f"{leg.foot!r}, is not there; put the file where {tree.source.name} names it"
        )
    if not shapes:
        shapes = list(link.shapes)
        origin = "looks, since it has no collision"
    if not shapes:
        raise InputError(
            f"{tree.source}: the foot {leg.foot!r} has no geometry, so there is nothing to stand "
            "on; give the link a collision shape, or name other feet with --feet"
        )
    up = frame.mat.T @ (0, 0, 1)
    points = np.concatenate([shape.cloud() for shape in shapes])
    if can_be_sole and _is_sole(points, link.joints[-1].pos, up):
        return _sole(leg, shapes, points, up, origin)
    return _point(leg, shapes, link.joints[-1].pos, up, origin)


def _is_sole(points: np.ndarray, joint: np.ndarray, up: np.ndarray) -> bool:
    low = float(((points - joint) @ up).min())
    width = _width(_underside(points, up), up)
    return width > _SOLE * abs(low) and width > 0.02


def _underside(points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the points (k, 3) within a tenth of the height above the lowest."""
    height = points @ up
    return points[height <= height.min() + max(0.1 * np.ptp(height), 0.01)]


def _sole(
    leg: Leg, shapes: Sequence[Shape], points: np.ndarray, up: np.ndarray, origin: str
) -> Foot:
    floor = (points @ up).min()
    kept = [
        shape
        for shape in shapes
        if shape.kind != "mesh" and (shape.cloud() @ up).min() <= floor + _LEVEL
    ]
    width = _width(_underside(points, up), up)
    if kept and origin == "collision" and _spread(kept, up) > 0.6 * width:
        up = _own_normal(kept, up)
        how = f"{len(kept)} {kept[0].kind if len(kept) == 1 else 'primitives'} of the file"
        return Foot(leg, tuple(kept), True, up, how)
    found = fitting.sole(points, up)
    found = replace(found, friction=max(shapes, key=lambda shape: shape.reach(-up)).friction)
    return Foot(leg, (found,), True, up, f"a box fitted to the underside of its {origin}")


def _own_normal(shapes: Sequence[Shape], up: np.ndarray) -> np.ndarray:
    """Return the normal of a sole of boxes: their axis that points up, if it nearly does."""
    boxes = [shape for shape in shapes if shape.kind == "box"]
    if not boxes:
        return up
    mat = max(boxes, key=lambda shape: float(np.prod(shape.size))).pose.mat
    axis = mat[:, int(np.argmax(np.abs(up @ mat)))]
    axis = axis if axis @ up > 0 else -axis
    return axis if axis @ up > _NEARLY else up


def _spread(shapes: Sequence[Shape], up: np.ndarray) -> float:
    return _width(np.concatenate([shape.cloud() for shape in shapes]), up)


def _width(points: np.ndarray, up: np.ndarray) -> float:
    """Return the diagonal [m] of points (k, 3) as seen from above."""
    flat = points - np.outer(points @ up, up)
    return float(np.linalg.norm(np.ptp(flat, axis=0)))


def _point(
    leg: Leg, shapes: Sequence[Shape], joint: np.ndarray, up: np.ndarray, origin: str
) -> Foot:
    """Return a foot that is no sole: the file's primitives at the leg's end, or a ball there."""
    points = np.concatenate([shape.cloud() for shape in shapes])
    down = _towards_end(points - joint, up)
    reaching = _reaching(shapes, joint, up)
    kept = tuple(shape for shape in reaching if not _is_shin(shape, down))
    if kept:
        kind = "ball" if kept[0].kind == "sphere" else kept[0].kind
        what = f"the {kind}" if len(kept) == 1 else f"{len(kept)} primitives"
        return Foot(leg, kept, False, -down, f"{what} of the file")
    capsule = next((shape for shape in reaching if shape.kind == "capsule"), None)
    if capsule is not None:
        axis = capsule.pose.mat[:, 2]
        axis = axis if axis @ down > 0 else -axis
        centre = capsule.pose.pos + axis * capsule.size[1]
        cap = Shape("sphere", np.array([capsule.size[0], 0, 0]), Pose(centre), True)
        cap = replace(cap, friction=capsule.friction)
        return Foot(leg, (cap,), False, -down, "the end of the file's capsule")
    last = max(shapes, key=lambda shape: _distance(shape, joint))
    found = replace(fitting.ball(points, down), friction=last.friction)
    return Foot(leg, (found,), False, -down, f"a ball fitted to the end of its {origin}")


def _distance(shape: Shape, joint: np.ndarray) -> float:
    """Return how far a shape reaches from the last joint [m], whatever the joint's angle."""
    return float(np.linalg.norm(shape.cloud() - joint, axis=1).max())


def _towards_end(away: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Return the unit vector (3,) to a leg's end: to the middle of its farthest points.

    Args:
        away: points (k, 3) from the last joint [m].
        up: taken where the farthest points are all around the joint.
    """
    distance = np.linalg.norm(away, axis=1)
    end = away[distance >= distance.max() - 1e-4].mean(axis=0)
    length = np.linalg.norm(end)
    return end / length if length > 0.5 * distance.max() else -up


def _reaching(shapes: Sequence[Shape], joint: np.ndarray, up: np.ndarray) -> list[Shape]:
    """Return the primitives that reach as far from the last joint, or as low, as any shape."""
    farthest = max(_distance(shape, joint) for shape in shapes)
    lowest = max(shape.reach(-up) for shape in shapes)
    found = []
    for shape in shapes:
        if shape.kind == "mesh":
            continue
        near = _BALL_NEAR if shape.kind == "sphere" else _NEAR
        distance = _distance(shape, joint)
        as_low = shape.reach(-up) >= lowest - near and distance >= _FAR * farthest
        if as_low or distance >= farthest - near:
            found.append(shape)
    return found


def _is_shin(shape: Shape, down: np.ndarray) -> bool:
    return bool(np.ptp(shape.cloud() @ down) > _SHIN * _spread([shape], down))


def others(tree: Tree, feet: Sequence[Foot]) -> dict[str, list[Shape]]:
    """Return, link by link, the primitives beside the feet: the file's, or fitted to its meshes."""
    of_feet = {foot.leg.foot: foot for foot in feet}
    found: dict[str, list[Shape]] = {}
    for link in tree.links.values():
        shapes = [s for s in link.shapes if s.collides] or _seen(link.shapes)
        foot = of_feet.get(link.name)
        kept = []
        for shape in shapes:
            if foot is None:
                kept.append(_primitive(shape))
            elif not foot.flat and shape not in foot.shapes:
                kept += _shortened(shape, foot)
        found[link.name] = [s for s in kept if s.kind != "box" or s.size.max() > _SMALL]
    return found


def is_made_up(tree: Tree, found: Mapping[str, Sequence[Shape]], link: str) -> bool:
    """Return whether a link touches with what was put around its looks: it has no collision."""
    return bool(found.get(link)) and not any(s.collides for s in tree.links[link].shapes)


def are_apart(tree: Tree, pose: Mapping[str, float], one: str, two: str) -> bool:
    """Return whether a plane is between what two links collide with in the file.

    Primitives that are put around their meshes may overlap where the meshes do not.

    Args:
        tree: the robot.
        pose: joint -> angle [rad].
        one: name of a link.
        two: name of another.
    """
    frames = tree.frames(pose)
    clouds = []
    for name in (one, two):
        shapes = tree.links[name].shapes
        touching = [s for s in shapes if s.collides] or shapes
        clouds.append(frames[name].points(np.concatenate([s.cloud() for s in touching])))
    first, second = clouds
    between = (second.mean(axis=0) - first.mean(axis=0))[None]
    normals = np.concatenate([between, np.eye(3), frames[one].mat.T, frames[two].mat.T])
    normals = normals * np.sign(normals @ between.T)
    gaps = (second @ normals.T).min(axis=0) - (first @ normals.T).max(axis=0)
    return bool(gaps.max() > 0)


def _seen(shapes: Sequence[Shape]) -> list[Shape]:
    """Return one shape around everything that is seen of a link without collision, or none."""
    clouds = [shape.cloud() for shape in shapes if shape.points is not None or shape.kind != "mesh"]
    return [fitting.around(np.concatenate(clouds))] if clouds else []


def _primitive(shape: Shape) -> Shape:
    if shape.kind != "mesh":
        return shape
    return replace(fitting.around(shape.cloud()), friction=shape.friction, name=shape.name)


def _shortened(shape: Shape, foot: Foot) -> list[Shape]:
    """Return a shape of a leg's last link, cut off where its foot begins."""
    down = -foot.normal
    end = min(-own.reach(-down) for own in foot.shapes)
    if shape.kind != "mesh" and not _is_shin(shape, down):
        return [shape]
    points = shape.cloud()
    along = points @ down
    if along.max() <= end + 1e-3 and shape.kind != "mesh":
        return [shape]
    if along.min() >= end:
        return []
    low = points[along <= end]
    cut = []
    for point, height in zip(points[along > end], along[along > end], strict=True):
        nearest = low[np.argmin(np.linalg.norm(low - point, axis=1))]
        share = (end - nearest @ down) / max(height - nearest @ down, 1e-9)
        cut.append(nearest + share * (point - nearest))
    kept = np.concatenate([low, np.reshape(cut, (-1, 3))])
    if len(kept) < 4 or np.ptp(kept @ down) < 0.02:
        return []
    return [replace(fitting.around(kept), friction=shape.friction, name=shape.name)]
