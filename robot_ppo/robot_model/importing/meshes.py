"""The vertices of mesh files: STL, OBJ, COLLADA.

Only vertices are read: shapes are fitted to their hull. MuJoCo itself reads STL and OBJ, for looks.
"""

import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from robot_ppo_export.errors import InputError

SHOWN = (".stl", ".obj", ".msh")
"""Formats that MuJoCo reads."""


def vertices(path: Path) -> np.ndarray:
    """Return the vertices (k, 3) of a mesh file; `InputError` where it cannot be read."""
    readers = {".stl": _stl, ".obj": _obj, ".dae": _collada}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a mesh must be one of {', '.join(readers)}; convert it")
    try:
        points = reader(path.read_bytes())
    except (ValueError, struct.error, ET.ParseError, UnicodeDecodeError, KeyError) as error:
        raise InputError(f"{path}: is no {path.suffix} mesh ({error}); convert it anew") from None
    if len(points) < 4 or not np.isfinite(points).all():
        raise InputError(f"{path}: holds no solid (its {len(points)} vertices); convert it anew")
    return np.unique(points.round(6), axis=0)


def _stl(data: bytes) -> np.ndarray:
    count = struct.unpack("<I", data[80:84])[0] if len(data) >= 84 else 0
    if len(data) == 84 + 50 * count and count:
        kind = np.dtype([("n", "<3f4"), ("v", "<9f4"), ("a", "<u2")])
        return np.frombuffer(data, kind, offset=84)["v"].reshape(-1, 3).astype(np.float64)
    found = re.findall(r"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data.decode("ascii"))
    return np.array(found, np.float64).reshape(-1, 3)


def _obj(data: bytes) -> np.ndarray:
    lines = (line.split() for line in data.decode("utf-8", "replace").splitlines())
    found = [line[1:4] for line in lines if line and line[0] == "v"]
    return np.array(found, np.float64).reshape(-1, 3)


def _collada(data: bytes) -> np.ndarray:
    """Return the vertices of every geometry, in metres, where its node puts it, z up."""
    root = ET.fromstring(re.sub(rb'\sxmlns="[^"]+"', b"", data, count=1))
    unit = root.find("asset/unit")
    scale = float(unit.get("meter", "1")) if unit is not None else 1.0
    shapes = {g.get("id"): _positions(g) for g in root.iterfind("library_geometries/geometry")}
    found = []
    for scene in root.iterfind("library_visual_scenes/visual_scene"):
        for node in scene.iterfind("node"):
            found += _of_node(node, np.eye(4), shapes)
    found = found or list(shapes.values())
    points = np.concatenate([*found, np.zeros((0, 3))]) * scale
    up = root.findtext("asset/up_axis", "Z_UP").strip()
    return points[:, [0, 2, 1]] * (1, -1, 1) if up == "Y_UP" else points


def _positions(geometry: ET.Element) -> np.ndarray:
    """Return the vertices of a COLLADA geometry: what its `vertices` name as POSITION."""
    named = [
        (i.get("source") or "").lstrip("#")
        for i in geometry.iterfind("mesh/vertices/input")
        if i.get("semantic") == "POSITION"
    ]
    rows = [
        np.array((s.findtext("float_array") or "").split(), np.float64).reshape(-1, 3)
        for s in geometry.iterfind("mesh/source")
        if s.get("id") in named
    ]
    return np.concatenate([*rows, np.zeros((0, 3))])


def _of_node(node: ET.Element, outer: np.ndarray, shapes: dict) -> list[np.ndarray]:
    """Return the vertices below a node of the scene, in the scene's frame."""
    frame = outer
    for child in node:
        values = np.array((child.text or "").split() or [0], np.float64) if not len(child) else None
        if child.tag == "matrix" and values is not None:
            frame = frame @ values.reshape(4, 4)
        elif child.tag == "translate" and values is not None:
            move = np.eye(4)
            move[:3, 3] = values
            frame = frame @ move
        elif child.tag == "scale" and values is not None:
            frame = frame @ np.diag([*values, 1.0])
        elif child.tag == "rotate" and values is not None:
            frame = frame @ _rotation(values)
    found = []
    for used in node.iterfind("instance_geometry"):
        points = shapes[(used.get("url") or "").lstrip("#")]
        found.append(points @ frame[:3, :3].T + frame[:3, 3])
    for inner in node.iterfind("node"):
        found += _of_node(inner, frame, shapes)
    return found


def _rotation(values: np.ndarray) -> np.ndarray:
    """Return the matrix (4, 4) of COLLADA's axis and angle [deg]."""
    x, y, z = values[:3] / (np.linalg.norm(values[:3]) or 1.0)
    angle = np.radians(values[3])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    mat = np.eye(4)
    mat[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return mat
