"""A model file, of whichever kind -> `Tree`."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from robot_ppo.robot_model.importing import meshes, mjcf, units, urdf
from robot_ppo.robot_model.importing.tree import Shape, Tree
from robot_ppo_export.errors import InputError

_POINT = 1e-5
"""[m]"""


def read(path: Path, base: str | None = None) -> Tree:
    """Return the robot in the file at `path`; `InputError` where it cannot be read.

    Args:
        path: an MJCF or a URDF, known by its root element.
        base: body or link at which the robot begins; by default it is found.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the MJCF or the URDF of the robot")
    kind = _root(path)
    if kind == "mujoco":
        return _cleaned(mjcf.read(path, base))
    if kind != "robot":
        raise InputError(
            f"{path}: its root element is <{kind}>; an MJCF has <mujoco>, a URDF has <robot>"
        )
    if any("xacro" in str(element.tag) for element in ET.parse(path).iter()):
        raise InputError(
            f"{path}: holds xacro macros; expand them first: xacro {path.name} > robot.urdf"
        )
    return _cleaned(urdf.read(path, base))


def _cleaned(tree: Tree) -> Tree:
    """Take out shapes without extent, which files hold to mark a place; refuse absurd links."""
    if "world" in tree.links:
        raise InputError(
            f"{tree.source}: the link 'world' is part of the robot, and in MuJoCo that is the name "
            "of what stands still; rename the link"
        )
    for link in tree.links.values():
        link.shapes = [shape for shape in link.shapes if _has_extent(shape)]
        if not any(shape.collides for shape in link.shapes):
            link.shapes = [_with_points(shape) for shape in link.shapes]
    units.check(tree)
    return tree


def _with_points(shape: Shape) -> Shape:
    """Return a mesh that is only seen with its vertices, to which shapes are fitted."""
    if shape.kind != "mesh" or shape.points is not None or shape.file is None:
        return shape
    return replace(shape, points=meshes.vertices(shape.file) * shape.scale)


def _has_extent(shape: Shape) -> bool:
    count = {"sphere": 1, "capsule": 2, "cylinder": 2, "mesh": 0}.get(shape.kind, 3)
    return bool((shape.size[:count] > _POINT).all())


def _root(path: Path) -> str:
    try:
        return ET.parse(path).getroot().tag.rpartition("}")[2]
    except (ET.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no XML ({error}); give an MJCF or a URDF") from None
