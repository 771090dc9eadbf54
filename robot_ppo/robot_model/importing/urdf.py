"""URDF -> `Tree`. Read here and not by MuJoCo, which turns inertias of merged links wrongly."""

import functools
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robot_ppo.robot_model.importing import inertias, meshes
from robot_ppo.robot_model.importing.tree import Joint, Link, Pose, Shape, Tree, axis_mat, fuse
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

_HINGES = ("revolute", "continuous")
_RIGID = ("fixed", "floating")


def read(path: Path, base: str | None = None) -> Tree:
    """Return the robot in the URDF at `path`; `InputError` names the element that is wrong.

    Args:
        path: of the URDF.
        base: link at which the robot begins; by default the root.
    """
    robot = ET.parse(path).getroot()
    namespace = robot.tag.removesuffix("robot")  # of xmlns="...", which is every element's
    for element in robot.iter():
        element.tag = str(element.tag).removeprefix(namespace)
    reader = _Reader(path, robot)
    root = reader.root(base)
    tree = Tree(path, "URDF", {}, notes=reader.notes, missing=reader.missing)
    reader.add(tree, root, None, Pose())
    _add_imus(tree, robot, path)
    _lower_root(tree)
    for link in tree.links.values():
        inertias.mend(link, tree.notes)
    reader.tell()
    return tree


class _Reader:
    """The elements of one URDF."""

    def __init__(self, path: Path, robot: ET.Element) -> None:
        self.path = path
        self.notes = list[str]()
        self.missing: dict[str, str] = {}
        self.unseen: list[str] = []
        self.links = {_required(e, "name", path): e for e in robot.iterfind("link")}
        self.joints = list(robot.iterfind("joint"))
        self.colors = {
            m.get("name"): m.find("color") for m in robot.iterfind("material") if m.get("name")
        }
        for kind in ("link", "joint"):
            names = [_required(element, "name", path) for element in robot.iterfind(kind)]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(f"{path}: two {kind}s are called {twice[0]!r}; rename one")
        if not self.links:
            raise InputError(f"{path}: has no <link>, so there is no robot in it")
        named = [joint.get("name", "") for joint in self.joints]
        for joint in self.joints:
            mimic = joint.find("mimic")
            leader = mimic.get("joint", "") if mimic is not None else named[0]
            if leader not in named:
                raise InputError(
                    f"{path}: the joint {joint.get('name')!r} mimics {leader!r}, which is no "
                    f"joint{did_you_mean(leader, named)}"
                )
            for end in ("parent", "child"):
                element = joint.find(end)
                name = element.get("link") if element is not None else None
                if name not in self.links:
                    raise InputError(
                        f"{path}: the joint {joint.get('name')!r} names the {end} {name!r}, which "
                        f"is no link{did_you_mean(str(name), self.links)}"
                    )

    def ends(self, joint: ET.Element) -> tuple[str, str]:
        """Return parent and child of a joint."""
        parent = joint.find("parent")
        child = joint.find("child")
        assert parent is not None and child is not None
        return parent.get("link", ""), child.get("link", "")

    def root(self, base: str | None) -> str:
        """Return the link at which the robot begins."""
        if base is not None:
            if base not in self.links:
                hint = did_you_mean(base, self.links)
                raise InputError(f"--base {base}: {self.path.name} has no such link{hint}")
            return base
        children = [self.ends(joint)[1] for joint in self.joints]
        for child in set(children):
            if children.count(child) > 1:
                raise InputError(
                    f"{self.path}: the link {child!r} is the child of two joints, which closes a "
                    "chain; a chain must be open, so delete one of the joints"
                )
        roots = [name for name in self.links if name not in children]
        if not roots:
            raise InputError(f"{self.path}: every link hangs on another, so there is no base")
        if len(roots) > 1:
            raise InputError(
                f"{self.path}: has two bases or more, {', '.join(roots)}; choose one with "
                f"--base {roots[0]}"
            )
        return roots[0]

    def add(self, tree: Tree, name: str, parent: str | None, frame: Pose) -> None:
        """Add a link, the joint above it and everything below it."""
        mass, com, inertia = _inertial(self.links[name], self.path)
        link = Link(name, parent, frame, mass, com, inertia)
        tree.links[name] = link
        link.shapes = list(self._shapes(name))
        for joint in self.joints:
            above, child = self.ends(joint)
            if above == name:
                self.add(
                    tree,
                    child,
                    name,
                    _origin(joint.find("origin"), f"{self.path}: the joint {joint.get('name')!r}"),
                )
                tree.links[child].joints = self._joint(joint)

    def _joint(self, element: ET.Element) -> list[Joint]:
        name = _required(element, "name", self.path)
        kind = element.get("type", "")
        if kind in _RIGID:
            return []
        if kind not in (*_HINGES, "prismatic"):
            raise InputError(
                f"{self.path}: the joint {name!r} is of the type {kind!r}; a joint is one of "
                f"{', '.join((*_HINGES, 'prismatic', *_RIGID))}: change it"
            )
        where = f"{self.path}: the joint {name!r}"
        axis = _numbers(element.find("axis"), "xyz", "1 0 0", where)
        if not np.linalg.norm(axis) > 0:
            raise InputError(f"{self.path}: the axis of the joint {name!r} is 0 0 0; give one")
        limit = element.find("limit")
        dynamics = element.find("dynamics")
        low, high = (_number(limit, key, 0.0, where) for key in ("lower", "upper"))
        if kind != "continuous" and low > high:
            raise InputError(
                f"{where}: its lower limit {low:g} is above its upper one {high:g}; swap them"
            )
        bounded = kind != "continuous" and limit is not None and low < high
        torque = _number(limit, "effort", 0.0, where)
        velocity = _number(limit, "velocity", 0.0, where)
        mimic = element.find("mimic")
        follows = None
        if mimic is not None:
            factor = _number(mimic, "multiplier", 1.0, where)
            follows = (mimic.get("joint", ""), factor, _number(mimic, "offset", 0.0, where))
        return [
            Joint(
                name,
                axis / np.linalg.norm(axis),
                kind="slide" if kind == "prismatic" else "hinge",
                range=(low, high) if bounded else None,
                torque=torque if torque > 0 else None,
                torque_from="effort",
                velocity=velocity if velocity > 0 else None,
                damping=_number(dynamics, "damping", 0.0, where),
                frictionloss=_number(dynamics, "friction", 0.0, where),
                actuator=self.joints.index(element),
                mimic=follows,
            )
        ]

    def _shapes(self, link: str) -> Iterator[Shape]:
        for tag in ("collision", "visual"):
            for element in self.links[link].iterfind(tag):
                found = self._shape(element, link, tag == "collision")
                if found:
                    yield found

    def _shape(self, element: ET.Element, link: str, collides: bool) -> Shape | None:
        where = f"{self.path}: the link {link!r}"
        at = _origin(element.find("origin"), where)
        shape = element.find("geometry")
        inner = next(iter(shape), None) if shape is not None else None
        if inner is None:
            return None
        rgba = self._rgba(element)
        size = functools.partial(_number, inner, default=0.0, where=where)
        if inner.tag == "box":
            half = _numbers(inner, "size", "0 0 0", where) / 2
            return Shape("box", half, at, collides, rgba=rgba)
        if inner.tag in ("cylinder", "capsule"):
            half = np.array([size("radius"), size("length") / 2, 0])
            return Shape(inner.tag, half, at, collides, rgba=rgba)
        if inner.tag == "sphere":
            return Shape("sphere", np.array([size("radius"), 0, 0]), at, collides, rgba=rgba)
        if inner.tag == "mesh":
            return self._mesh(inner, link, at, collides, rgba)
        return None

    def _mesh(
        self, element: ET.Element, link: str, at: Pose, collides: bool, rgba: tuple[float, ...]
    ) -> Shape | None:
        name = _required(element, "filename", self.path)
        where = f"{self.path}: the link {link!r}"
        scale = _numbers(element, "scale", "1 1 1", where)
        file = _located(name, self.path)
        if file is None:
            if collides:
                self.missing[link] = name
            self.unseen.append(name)
            return None
        shown = file if file.suffix.lower() in meshes.SHOWN else None
        if not collides and shown is None:
            self.unseen.append(name)
            return None
        points = meshes.vertices(file) * scale if collides else None
        given = (float(scale[0]), float(scale[1]), float(scale[2]))
        size = np.zeros(3)
        return Shape("mesh", size, at, collides, "", points, shown, at, given, rgba)

    def _rgba(self, element: ET.Element) -> tuple[float, ...]:
        material = element.find("material")
        if material is None:
            return Shape.rgba
        color = material.find("color")
        color = color if color is not None else self.colors.get(material.get("name"))
        return tuple(_numbers(color, "rgba", "0.6 0.6 0.62 1", self.path).tolist())

    def tell(self) -> None:
        """Note the meshes that are left out."""
        lost = sorted(set(self.unseen))
        if lost:
            names = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
            self.notes.append(
                f"{len(lost)} mesh files are not there, or in a format that MuJoCo does not show, "
                f"and are left out ({names})"
            )


def _add_imus(tree: Tree, robot: ET.Element, path: Path) -> None:
    """Add the IMUs of Gazebo's elements, each at a link; a site where they have a pose in it."""
    for gazebo in robot.iterfind("gazebo"):
        link = gazebo.get("reference", "")
        for sensor in gazebo.iter("sensor"):
            kind = sensor.get("type", "").lower()
            is_imu = kind.startswith("imu") or sensor.find("imu") is not None
            if link not in tree.links or not is_imu:
                continue
            given = sensor.findtext("pose") or "0 0 0 0 0 0"
            text = ET.Element("pose", {"pose": given})
            x, y, z, roll, pitch, yaw = _numbers(text, "pose", "0 0 0 0 0 0", path)
            name = sensor.get("name") or link
            name = link if name in tree.links or name in tree.sites else name
            tree.sites[name] = (link, Pose(np.array([x, y, z]), _rpy_mat(roll, pitch, yaw)))
            tree.imus.append(name)


def _lower_root(tree: Tree) -> None:
    """Take away roots that weigh nothing: a world, a footprint; the base is what they carry."""
    while len(tree.links) > 1:
        root = tree.base
        children = tree.children(tree.base.name)
        rigid = [child for child in children if not child.joints]
        if root.mass > 0:
            break
        if len(children) == 1 and rigid:
            child = children[0]
            frame = child.pose
            tree.upright = tree.upright @ child.pose.mat
            child.parent = None
            child.pose = Pose()
            del tree.links[root.name]
            tree.sites.setdefault(root.name, (root.name, Pose()))
            for name, (link, at) in list(tree.sites.items()):
                if link == root.name:
                    tree.sites[name] = (child.name, frame.inverse() @ at)
        elif rigid:
            heavy = max(rigid, key=lambda link: link.mass)
            name = heavy.name
            for link in rigid:
                fuse(tree, link)
            _rename(tree, root.name, name)
            break
        else:
            break


def _rename(tree: Tree, old: str, new: str) -> None:
    """Call a link otherwise."""
    tree.sites.pop(new, None)
    tree.links = {(new if name == old else name): link for name, link in tree.links.items()}
    tree.links[new].name = new
    for link in tree.links.values():
        link.parent = new if link.parent == old else link.parent
    tree.sites = {n: (new if at == old else at, frame) for n, (at, frame) in tree.sites.items()}


def _inertial(link: ET.Element, path: Path) -> tuple[float, np.ndarray, np.ndarray]:
    """Return mass, centre and inertia about it in the link's axes; zeros where there is none."""
    element = link.find("inertial")
    if element is None:
        return 0.0, np.zeros(3), np.zeros((3, 3))
    where = f"{path}: the link {link.get('name')!r}"
    at = _origin(element.find("origin"), where)
    mass = _number(element.find("mass"), "value", 0.0, where)
    if mass < 0:
        raise InputError(f"{where}: its mass is {mass:g} kg; give it one of 0 or more")
    given = element.find("inertia")
    xx, yy, zz, xy, xz, yz = (
        _number(given, key, 0.0, where) for key in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    )
    own = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return mass, at.pos, at.mat @ own @ at.mat.T


def _origin(element: ET.Element | None, where: Path | str) -> Pose:
    """Return the frame of an `origin`: xyz [m], rpy [rad] about fixed axes x, y, z."""
    pos = _numbers(element, "xyz", "0 0 0", where)
    roll, pitch, yaw = _numbers(element, "rpy", "0 0 0", where)
    return Pose(pos, _rpy_mat(roll, pitch, yaw))


def _rpy_mat(roll: float, pitch: float, yaw: float) -> np.ndarray:
    x, y, z = np.eye(3)
    return axis_mat(z, yaw) @ axis_mat(y, pitch) @ axis_mat(x, roll)


def _numbers(element: ET.Element | None, key: str, default: str, where: Path | str) -> np.ndarray:
    text = element.get(key, default) if element is not None else default
    try:
        values = np.array(text.split(), np.float64)
    except ValueError:
        values = np.zeros(0)
    if len(values) != len(default.split()) or not np.isfinite(values).all():
        assert element is not None
        count = len(default.split())
        what = f"{where}: <{element.tag} {key}={text!r}>"
        if "${" in text or "$(" in text:
            raise InputError(f"{what} is xacro; expand it first: xacro FILE > robot.urdf")
        numbers = "no finite number" if count == 1 else f"not {count} finite numbers"
        raise InputError(f"{what} is {numbers}; correct it")
    return values


def _number(element: ET.Element | None, key: str, default: float, where: Path | str) -> float:
    return float(_numbers(element, key, str(default), where)[0])


def _required(element: ET.Element, key: str, path: Path) -> str:
    value = element.get(key)
    if not value:
        raise InputError(f"{path}: a <{element.tag}> has no {key}; give it one")
    return value


def _located(name: str, path: Path) -> Path | None:
    """Return the file that a URDF names: relative, absolute, file:// or package://; or None."""
    folder = path.resolve().parent
    scheme, separator, rest = name.partition("://")
    if not separator or scheme == "file":
        file = Path(rest if separator else name)
        return next((f for f in (folder / file,) if f.is_file()), None)
    inside = Path(*Path(rest).parts[1:])
    for above in (folder, *folder.parents):
        for candidate in (above / rest, above / inside):
            if candidate.is_file():
                return candidate
    return None
