"""A model file, of whichever kind -> `Tree`."""

import xml.etree.ElementTree as ET
from pathlib import Path

from robot_ppo.robot_model.importing import mjcf, urdf
from robot_ppo.robot_model.importing.tree import Tree
from robot_ppo_export.errors import InputError


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
    if "<xacro:" in path.read_text("utf-8", "replace"):
        raise InputError(
            f"{path}: holds xacro macros; expand them first: xacro {path.name} > robot.urdf"
        )
    return _cleaned(urdf.read(path, base))


def _cleaned(tree: Tree) -> Tree:
    """Take out shapes without extent, which files hold to mark a place."""
    for link in tree.links.values():
        link.shapes = [s for s in link.shapes if s.kind == "mesh" or s.size[0] > 1e-5]
    return tree


def _root(path: Path) -> str:
    try:
        for _, element in ET.iterparse(path, events=("start",)):
            return element.tag.rpartition("}")[2]
    except (ET.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no XML ({error}); give an MJCF or a URDF") from None
    raise InputError(f"{path}: is empty; give an MJCF or a URDF")
