"""A robot as links, joints and shapes, whatever file it was read from.

A link's frame is given in its parent's frame with every joint at its reference angle; anchors and
axes of joints, centres of mass and shapes are in the link's own frame, as in MuJoCo. What holds
arrays is equal to itself alone: two shapes of the same figures are two.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo.robot_model.geometry import half_extent

Vector = np.ndarray
"""(3,)"""


@dataclass(frozen=True, eq=False)
class Pose:
    """A frame in another one."""

    pos: Vector = field(default_factory=lambda: np.zeros(3))
    """[m]"""
    mat: np.ndarray = field(default_factory=lambda: np.eye(3))
    """(3, 3) rotation that turns vectors of this frame into the other one."""

    def __matmul__(self, inner: "Pose") -> "Pose":
        """Return the frame `inner`, which is given in this one, in the outer frame."""
        return Pose(self.pos + self.mat @ inner.pos, self.mat @ inner.mat)

    def inverse(self) -> "Pose":
        """Return the outer frame in this one."""
        return Pose(-self.mat.T @ self.pos, self.mat.T)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Return points (k, 3) of this frame in the outer one."""
        return points @ self.mat.T + self.pos

    @property
    def quat(self) -> np.ndarray:
        """The rotation as a quaternion wxyz with w >= 0."""
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, self.mat.flatten())
        return quat if quat[0] >= 0 else -quat


def pose(pos: np.ndarray, quat: np.ndarray) -> Pose:
    """Return the frame at `pos` with the quaternion `quat` (wxyz)."""
    return Pose(np.array(pos, np.float64), quat_mat(quat))


def quat_mat(quat: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of a quaternion wxyz of any length."""
    mat = np.empty(9)
    quat = np.array(quat, np.float64)
    mujoco.mju_quat2Mat(mat, quat / math.sqrt(quat @ quat))
    return mat.reshape(3, 3)


def axis_mat(axis: Vector, angle: float) -> np.ndarray:
    """Return the rotation (3, 3) by `angle` [rad] about `axis`."""
    quat = np.empty(4)
    mujoco.mju_axisAngle2Quat(quat, np.asarray(axis, np.float64), angle)
    return quat_mat(quat)


@dataclass(frozen=True, eq=False)
class Shape:
    """A geom: what collides, or what is seen."""

    kind: str
    """sphere, capsule, cylinder, box, ellipsoid or mesh."""
    size: Vector
    """As MuJoCo has it: half lengths, radii [m]; of a mesh without meaning."""
    pose: Pose
    collides: bool
    name: str = ""
    points: np.ndarray | None = None
    """Vertices (k, 3) of a mesh in the shape's frame [m]."""
    file: Path | None = None
    """Of a mesh that MuJoCo can read; `file_pose` and `scale` are those of its vertices."""
    file_pose: Pose | None = None
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    rgba: tuple[float, ...] = (0.6, 0.6, 0.62, 1.0)
    friction: float | None = None
    """Sliding friction, where the file has one."""

    def cloud(self) -> np.ndarray:
        """Return points of the surface (k, 3) in the link's frame, whose hull is the shape's."""
        return self.pose.points(self.points if self.points is not None else _surface(self))

    def seen_from(self, link: Pose) -> "Shape":
        """Return the shape in an outer frame, in which that of its link is `link`."""
        file_pose = None if self.file_pose is None else link @ self.file_pose
        return replace(self, pose=link @ self.pose, file_pose=file_pose)

    def reach(self, direction: Vector) -> float:
        """Return how far the shape reaches from the link's origin along a unit vector [m]."""
        if self.points is not None:
            return float((self.cloud() @ direction).max())
        type = getattr(mujoco.mjtGeom, f"mjGEOM_{self.kind.upper()}")
        local = self.pose.mat.T @ direction
        return float(self.pose.pos @ direction + half_extent(type, self.size, local[None])[0])


def _surface(shape: Shape) -> np.ndarray:
    """Return points (k, 3) of a primitive in its own frame."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    if shape.kind == "box":
        return corners * shape.size
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 17)[:-1], np.linspace(0, np.pi, 9))
    ball = np.stack([np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)], -1).reshape(-1, 3)
    if shape.kind == "ellipsoid":
        return ball * shape.size
    if shape.kind == "cylinder":
        ring = np.stack([np.cos(u[0]), np.sin(u[0])], 1) * shape.size[0]
        ends = [np.column_stack([ring, np.full(len(ring), s * shape.size[1])]) for s in (-1, 1)]
        return np.concatenate(ends)
    ball = ball * shape.size[0]
    if shape.kind == "sphere":
        return ball
    up = np.array([0, 0, shape.size[1]])
    down = np.array([0, 0, -shape.size[1]])
    return np.concatenate([ball[ball[:, 2] >= -1e-9] + up, ball[ball[:, 2] <= 1e-9] + down])


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint between a link and its parent."""

    name: str
    axis: Vector
    pos: Vector = field(default_factory=lambda: np.zeros(3))
    kind: str = "hinge"
    """hinge, slide or ball."""
    range: tuple[float, float] | None = None
    """[rad]; None: it turns without end, as far as the file says."""
    torque: float | None = None
    """[N m]; None: the file does not say."""
    torque_from: str = ""
    """The attribute that says it."""
    velocity: float | None = None
    """[rad/s]"""
    armature: float = 0.0
    damping: float = 0.0
    frictionloss: float = 0.0
    stiffness: float = 0.0
    springref: float = 0.0
    ref: float = 0.0
    """Angle in the reference pose [rad]."""
    actuator: int | None = None
    """Its place among the file's actuators; None: nothing drives it."""
    mimic: tuple[str, float, float] | None = None
    """It follows another joint: name, factor, offset."""


@dataclass(eq=False)
class Link:
    """A rigid body."""

    name: str
    parent: str | None
    pose: Pose
    mass: float
    com: Vector
    inertia: np.ndarray
    """(3, 3) [kg m^2] about the centre of mass, in the link's axes."""
    joints: list[Joint] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)


@dataclass
class Keyframe:
    """A pose that the file holds."""

    joints: dict[str, float]
    turned: np.ndarray | None = None
    """(3, 3) rotation of the base in the world; None: that of the reference pose."""


@dataclass(eq=False)
class Tree:
    """A robot."""

    source: Path
    kind: str
    """MJCF or URDF."""
    links: dict[str, Link]
    """Parents before children; the first is the base."""
    sites: dict[str, tuple[str, Pose]] = field(default_factory=dict)
    """Name -> link and frame in it: sites, and links that were merged into others."""
    imus: list[str] = field(default_factory=list)
    """Sites of the file's inertial sensors, the likeliest first."""
    keyframes: dict[str, Keyframe] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What the reader has to be told."""
    warnings: list[str] = field(default_factory=list)
    """What a person has to look at: the terminal says it too."""
    missing: dict[str, str] = field(default_factory=dict)
    """Link -> mesh file of its collision that is not there."""
    upright: np.ndarray = field(default_factory=lambda: np.eye(3))
    """(3, 3) rotation of the base in the world, in the file's reference pose."""

    def is_level(self, key: Keyframe) -> bool:
        """Return whether the base's up in a keyframe is the robot's, whichever way it looks."""
        return key.turned is None or bool(key.turned[2] @ self.upright[2] > 0.95)

    @property
    def base(self) -> Link:
        """The root."""
        return next(iter(self.links.values()))

    def joints(self) -> Iterator[tuple[Link, Joint]]:
        """Yield every joint with its link, in tree order."""
        for link in self.links.values():
            for joint in link.joints:
                yield link, joint

    def joint(self, name: str) -> Joint:
        """Return a joint by its name."""
        return next(joint for _, joint in self.joints() if joint.name == name)

    def children(self, name: str) -> list[Link]:
        """Return the links that hang on a link."""
        return [link for link in self.links.values() if link.parent == name]

    def chain(self, name: str) -> list[Link]:
        """Return the links from the one below the base to `name`."""
        found = []
        link = self.links[name]
        while link.parent is not None:
            found.append(link)
            link = self.links[link.parent]
        return found[::-1]

    @property
    def mass(self) -> float:
        """Mass of all links together [kg]."""
        return sum(link.mass for link in self.links.values())

    def frames(self, angles: Mapping[str, float]) -> dict[str, Pose]:
        """Return each link's frame in the base's frame, at angles [rad]; others at reference."""
        found: dict[str, Pose] = {}
        for link in self.links.values():
            if link.parent is None:
                found[link.name] = Pose()
            else:
                found[link.name] = placed(found[link.parent], link, angles)
        return found

    def centre_of_mass(self, angles: Mapping[str, float]) -> Vector:
        """Return the centre of mass (3,) in the base's frame [m]."""
        frames = self.frames(angles)
        sums = sum(
            link.mass * frames[link.name].points(link.com[None])[0] for link in self.links.values()
        )
        return np.asarray(sums) / self.mass

    def spatial_inertia(self) -> np.ndarray:
        """Return the inertia (3, 3) of everything about the base's origin, in reference pose."""
        frames = self.frames({})
        total = np.zeros((3, 3))
        for link in self.links.values():
            mat = frames[link.name].mat
            at = frames[link.name].points(link.com[None])[0]
            total += mat @ link.inertia @ mat.T + shifted(link.mass, at)
        return total


def placed(parent: Pose, link: Link, angles: Mapping[str, float]) -> Pose:
    """Return a link's frame at the angles of its joints, from its parent's frame."""
    frame = parent @ link.pose
    for joint in link.joints:
        by = angles.get(joint.name, joint.ref) - joint.ref
        if joint.kind == "slide":
            frame = frame @ Pose(joint.axis * by)
        elif by:
            turn = axis_mat(joint.axis, by)
            frame = frame @ Pose(joint.pos - turn @ joint.pos, turn)
    return frame


def shifted(mass: float, offset: Vector) -> np.ndarray:
    """Return the inertia (3, 3) of a point mass at `offset`: the parallel axis theorem."""
    return mass * (offset @ offset * np.eye(3) - np.outer(offset, offset))


def merged(first: Link, second: Link, at: Pose) -> tuple[float, Vector, np.ndarray]:
    """Return mass, centre and inertia of two links as one; `at` is the second in the first."""
    com = at.points(second.com[None])[0]
    inertia = at.mat @ second.inertia @ at.mat.T
    mass = first.mass + second.mass
    if mass == 0:
        return 0.0, np.zeros(3), np.zeros((3, 3))
    centre = (first.mass * first.com + second.mass * com) / mass
    total = first.inertia + shifted(first.mass, first.com - centre)
    return mass, centre, total + inertia + shifted(second.mass, com - centre)


def fuse(tree: Tree, link: Link) -> None:
    """Merge a link that has no joint into its parent: mass, inertia, shapes, children, sites."""
    assert link.parent is not None
    parent = tree.links[link.parent]
    at = link.pose
    parent.mass, parent.com, parent.inertia = merged(parent, link, at)
    parent.shapes += [shape.seen_from(at) for shape in link.shapes]
    for child in tree.children(link.name):
        child.parent = parent.name
        child.pose = at @ child.pose
    for name, (where, frame) in list(tree.sites.items()):
        if where == link.name:
            tree.sites[name] = (parent.name, at @ frame)
    tree.sites.setdefault(link.name, (parent.name, at))
    if link.name in tree.missing:
        tree.missing.setdefault(parent.name, tree.missing.pop(link.name))
    del tree.links[link.name]


def fuse_rigid(tree: Tree) -> int:
    """Merge every link without a joint into its parent; return how many there were."""
    rigid = [link for link in tree.links.values() if link.parent and not link.joints]
    for link in reversed(rigid):
        fuse(tree, link)
    return len(rigid)


def lock(tree: Tree, name: str, angle: float) -> None:
    """Make a joint rigid at an angle."""
    link = next(link for link, joint in tree.joints() if joint.name == name)
    joint = tree.joint(name)
    by = angle - joint.ref
    if joint.kind == "slide":
        link.pose = link.pose @ Pose(joint.axis * by)
    elif joint.kind == "hinge":
        turn = axis_mat(joint.axis, by)
        link.pose = link.pose @ Pose(joint.pos - turn @ joint.pos, turn)
    link.joints.remove(joint)


def move_base(tree: Tree, by: Vector) -> None:
    """Let the base's origin be elsewhere: at `by` (3,) [m] of its old axes."""
    tree.base.com = tree.base.com - by
    _see_from(tree, Pose(-by))


def _see_from(tree: Tree, pose: Pose) -> None:
    """Put what is fixed to the base, or hangs on it, where `pose` takes it."""
    base = tree.base
    base.shapes = [shape.seen_from(pose) for shape in base.shapes]
    for child in tree.children(base.name):
        child.pose = pose @ child.pose
    for name, (where, frame) in list(tree.sites.items()):
        if where == base.name:
            tree.sites[name] = (where, pose @ frame)


def turn_base(tree: Tree, mat: np.ndarray) -> None:
    """Let the base's axes be others: `mat` (3, 3) turns vectors of the old axes into the new."""
    base = tree.base
    base.com = mat @ base.com
    base.inertia = mat @ base.inertia @ mat.T
    _see_from(tree, Pose(mat=mat))
    tree.upright = tree.upright @ mat.T
    for key in tree.keyframes.values():
        key.turned = None if key.turned is None else key.turned @ mat.T
