"""`Tree` -> the text of an MJCF.

It has the form of the shipped robots': bodies that move, explicit inertias, primitives that
collide, meshes that are only seen, one site for the IMU, one motor for each joint.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from robot_ppo.robot_model.importing.feet import FRICTION, Foot
from robot_ppo.robot_model.importing.tree import Joint, Link, Pose, Shape, Tree

_SOFT = 'solref="0.02 1" solimp="0.9 0.95 0.023"'


@dataclass(frozen=True, eq=False)
class Body:
    """What the MJCF says of a robot beyond its links."""

    name: str
    tree: Tree
    feet: Sequence[Foot]
    others: Mapping[str, Sequence[Shape]]
    """Link -> collision beside the feet."""
    order: Sequence[str]
    """Joints in the order of robot.yaml."""
    imu: tuple[str, str, Pose]
    """Name, link, and frame in it."""
    height: float
    """Of the base in the MJCF [m]."""
    comments: Mapping[str, str] = field(default_factory=dict)
    """Joint -> what is assumed of it."""
    excluded: Sequence[tuple[str, str]] = ()
    """Pairs of links that do not collide."""
    legs_collide: bool = False
    """Whether legs touch one another: where there are two."""


def mjcf(body: Body, meshes: Mapping[Path, str] | None = None) -> str:
    """Return the MJCF; `meshes` are the files that are seen, with their names in the folder."""
    lines = [
        f'<mujoco model="{body.name}">',
        f"  <!-- Written by robot-ppo import from {_in_comment(body.tree.source.name)}:"
        " see report.md. x forward, y left, z up. -->",
        f'  <compiler angle="radian" autolimits="true"{_meshdir(meshes)}/>',
        "  <default>",
        '    <geom condim="3"/>',
        '    <default class="collision"><geom group="3" contype="0" conaffinity="1" mass="0" '
        f'friction="{number(FRICTION)} 0.02 0.01" rgba="0.9 0.3 0.3 0.4"/></default>',
        f'    <default class="foot"><geom group="3" contype="0" conaffinity="1" mass="0" '
        f'priority="1" {_SOFT} rgba="0.1 0.8 0.2 0.4"/></default>',
        '    <default class="visual"><geom group="2" contype="0" conaffinity="0" mass="0"/>'
        "</default>",
        "  </default>",
        *_assets(body, meshes or {}),
        "  <worldbody>",
        *_link(body, body.tree.base, meshes or {}, "    "),
        "  </worldbody>",
        *_excludes(body),
        "  <actuator>",
        *(_motor(body.tree.joint(name)) for name in body.order),
        "  </actuator>",
        "</mujoco>",
    ]
    return "\n".join(lines) + "\n"


def _in_comment(text: str) -> str:
    """Return a text as it may stand in a comment, which two dashes would end."""
    return re.sub("-+", "-", text)


def _meshdir(meshes: Mapping[Path, str] | None) -> str:
    return ' meshdir="meshes"' if meshes else ""


def number(value: float) -> str:
    """Return a number with nine digits, none more than it needs."""
    return f"{round(float(value), 12) + 0.0:.9g}"


def _v(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(number(value) for value in np.asarray(values).tolist())


def _assets(body: Body, meshes: Mapping[Path, str]) -> Iterator[str]:
    wanted = {}
    for link in body.tree.links.values():
        for shape in link.shapes:
            if shape.file in meshes and not _hidden(shape, link):
                wanted[_mesh_name(shape, meshes)] = shape
    if not wanted:
        return
    yield "  <asset>"
    for name, shape in wanted.items():
        assert shape.file is not None
        scale = "" if shape.scale == (1.0, 1.0, 1.0) else f' scale="{_v(shape.scale)}"'
        yield f'    <mesh name="{name}" file="{meshes[shape.file]}"{scale}/>'
    yield "  </asset>"


def _hidden(shape: Shape, link: Link) -> bool:
    """Return whether a shape is not to be seen: it collides, and others of its link are seen."""
    return shape.collides and any(not other.collides for other in link.shapes)


def _mesh_name(shape: Shape, meshes: Mapping[Path, str]) -> str:
    assert shape.file is not None
    stem = Path(meshes[shape.file]).stem
    if shape.scale == (1.0, 1.0, 1.0):
        return stem
    return f"{stem}_{'_'.join(number(x) for x in shape.scale)}"


def _link(body: Body, link: Link, meshes: Mapping[Path, str], indent: str) -> Iterator[str]:
    root = link.parent is None
    at = Pose(np.array([0, 0, body.height])) if root else link.pose
    yield f"{indent}<body name={quoteattr(link.name)} {_at(at)}>"
    inner = indent + "  "
    if root:
        yield f"{inner}<freejoint name={quoteattr(_free(body))}/>"
    yield inner + inertial(link)
    for joint in link.joints:
        comment = body.comments.get(joint.name, "")
        yield f"{inner}{_joint(joint)}" + (f"  <!-- {comment} -->" if comment else "")
    if link.name == body.imu[1]:
        yield f'{inner}<site name="{body.imu[0]}" {_at(body.imu[2])} size="0.01" group="4"/>'
    for line in [*_collision(body, link), *_looks(link, meshes)]:
        yield inner + line
    for child in body.tree.children(link.name):
        yield from _link(body, child, meshes, inner)
    yield f"{indent}</body>"


def _free(body: Body) -> str:
    """Return the name of the free joint, which no other joint has."""
    name = "root"
    while name in body.order:
        name += "_"
    return name


def _at(at: Pose) -> str:
    quat = at.quat
    turned = "" if abs(quat[0]) > 1 - 1e-12 else f' quat="{_v(quat)}"'
    return f'pos="{_v(at.pos)}"{turned}'


def inertial(link: Link) -> str:
    """Return the element that states mass, centre and inertia of a link."""
    inertia = link.inertia
    six = [inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2]]
    moments = _v(np.array(six))
    return f'<inertial mass="{number(link.mass)}" pos="{_v(link.com)}" fullinertia="{moments}"/>'


_FIGURES = ("armature", "damping", "frictionloss", "stiffness")


def _joint(joint: Joint) -> str:
    parts = [f"name={quoteattr(joint.name)}", f'axis="{_v(joint.axis)}"']
    if np.any(np.abs(joint.pos) > 1e-12):
        parts.append(f'pos="{_v(joint.pos)}"')
    if joint.ref:
        parts.append(f'ref="{number(joint.ref)}"')
    assert joint.range is not None and joint.torque is not None
    parts.append(
        f'range="{_v(joint.range)}" actuatorfrcrange="{_v((-joint.torque, joint.torque))}"'
    )
    figures = {key: getattr(joint, key) for key in _FIGURES}
    parts += [f'{key}="{number(value)}"' for key, value in figures.items() if value]
    if joint.stiffness:
        parts.append(f'springref="{number(joint.springref)}"')
    return f"<joint {' '.join(parts)}/>"


def _motor(joint: Joint) -> str:
    assert joint.torque is not None
    name = quoteattr(joint.name)
    return f'    <motor name={name} joint={name} ctrlrange="{_v((-joint.torque, joint.torque))}"/>'


def foot_names(foot: Foot) -> list[str]:
    """Return the names of a foot's geoms: its link's, numbered where there are several."""
    name = foot.leg.foot
    count = len(foot.shapes)
    return [name] if count == 1 else [f"{name}_{i + 1}" for i in range(count)]


def _collision(body: Body, link: Link) -> Iterator[str]:
    masks = _masks(body, link)
    for foot in body.feet:
        if foot.leg.foot == link.name:
            for name, shape in zip(foot_names(foot), foot.shapes, strict=True):
                friction = FRICTION if shape.friction is None else shape.friction
                rub = f' friction="{number(friction)} 0.02 0.01"'
                yield f'<geom name={quoteattr(name)} class="foot" {_shape(shape)}{rub}{masks}/>'
    for i, shape in enumerate(body.others.get(link.name, ()), 1):
        name = f"{link.name}_collision_{i}"
        yield f'<geom name={quoteattr(name)} class="collision" {_shape(shape)}{masks}/>'


def _masks(body: Body, link: Link) -> str:
    """Return the masks with which one leg touches the other, and nothing touches itself."""
    if not body.legs_collide:
        return ""
    for i, foot in enumerate(body.feet):
        if link.name in foot.leg.links and not _shared(body, link.name):
            others = sum(1 << (j + 1) for j in range(len(body.feet)) if j != i)
            return f' contype="{1 << (i + 1)}" conaffinity="{1 | others}"'
    return ""


def _shared(body: Body, link: str) -> bool:
    return sum(link in foot.leg.links for foot in body.feet) > 1


def _shape(shape: Shape) -> str:
    count = {"sphere": 1, "capsule": 2, "cylinder": 2}.get(shape.kind, 3)
    return f'type="{shape.kind}" size="{_v(shape.size[:count])}" {_at(shape.pose)}'


def _looks(link: Link, meshes: Mapping[Path, str]) -> Iterator[str]:
    for shape in link.shapes:
        if _hidden(shape, link):
            continue
        rgba = f'rgba="{_v([round(x, 4) for x in shape.rgba])}"'
        if shape.kind != "mesh":
            yield f'<geom class="visual" {_shape(replace(shape))} {rgba}/>'
        elif shape.file in meshes and shape.file_pose is not None:
            mesh = _mesh_name(shape, meshes)
            yield f'<geom class="visual" type="mesh" mesh="{mesh}" {_at(shape.file_pose)} {rgba}/>'


def _excludes(body: Body) -> Iterator[str]:
    if not body.excluded:
        return
    yield "  <contact>"
    for one, two in body.excluded:
        yield f"    <exclude body1={quoteattr(one)} body2={quoteattr(two)}/>"
    yield "  </contact>"
