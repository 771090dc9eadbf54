"""A made-up robot as the text of an MJCF or of a URDF."""

import math
from collections.abc import Iterator

from benchmarks.generated.parts import Part, Point, Robot, Solid, inertia

FORMATS = ("xml", "urdf")


def text(robot: Robot, format_: str) -> str:
    """Return the file's text; `format_` is one of FORMATS."""
    return mjcf(robot) if format_ == "xml" else urdf(robot)


def _n(value: float) -> str:
    return f"{value + 0.0:.6g}"


def _v(values: Point) -> str:
    return " ".join(_n(value) for value in values)


def _children(robot: Robot, name: str | None) -> list[Part]:
    return [part for part in robot.parts if part.parent == name]


# -- MJCF -----------------------------------------------------------------------------------------


def mjcf(robot: Robot) -> str:
    """Return the robot as an MJCF."""
    hinges = {part.hinge.name: part.hinge for part in robot.parts if part.hinge}
    motors = [f'<motor name="m_{name}" joint="{name}"/>' for name in robot.motors]
    assert set(robot.motors) == set(hinges)
    body = "\n".join(_body(robot, _children(robot, None)[0]))
    return (
        f'<mujoco model="{robot.name}"><compiler angle="radian"/>\n<worldbody>\n{body}\n'
        f"</worldbody>\n<actuator>{''.join(motors)}</actuator></mujoco>\n"
    )


def _body(robot: Robot, part: Part) -> Iterator[str]:
    yield f'<body name="{part.name}" pos="{_v(part.at)}">'
    if part.parent is None:
        yield "<freejoint/>"
    six = [inertia(part)[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    moments = " ".join(f"{value + 0.0:.9g}" for value in six)
    yield (f'<inertial mass="{part.mass:.9g}" pos="{_v(part.solid.at)}" fullinertia="{moments}"/>')
    if part.hinge:
        hinge = part.hinge
        motor = ""
        if robot.friction:
            figures = {"armature": 2e-4, "damping": 0.004, "frictionloss": 0.006}
            motor = "".join(f' {key}="{_n(f * hinge.torque)}"' for key, f in figures.items())
        yield (
            f'<joint name="{hinge.name}" axis="{_v(hinge.axis)}" range="{_n(hinge.low)} '
            f'{_n(hinge.high)}" actuatorfrcrange="{_n(-hinge.torque)} {_n(hinge.torque)}"{motor}/>'
        )
    yield _geom(part.solid)
    for child in _children(robot, part.name):
        yield from _body(robot, child)
    yield "</body>"


def _geom(solid: Solid) -> str:
    radius, half, _ = solid.size
    if solid.kind == "box":
        return f'<geom type="box" size="{_v(solid.size)}" pos="{_v(solid.at)}"/>'
    if solid.kind == "ball":
        return f'<geom type="sphere" size="{_n(radius)}" pos="{_v(solid.at)}"/>'
    ends = [
        " ".join(_n(c + sign * half * d) for c, d in zip(solid.at, solid.along, strict=True))
        for sign in (-1, 1)
    ]
    return f'<geom type="capsule" size="{_n(radius)}" fromto="{" ".join(ends)}"/>'


# -- URDF -----------------------------------------------------------------------------------------


def urdf(robot: Robot) -> str:
    """Return the robot as a URDF; the order of motors is that of the joints."""
    ordered = [part for name in robot.motors for part in robot.parts if _moves(part, name)]
    fixed = [part for part in robot.parts if part.parent and not part.hinge]
    links = "\n".join(_link(part) for part in robot.parts)
    joints = "\n".join(_joint(robot, part) for part in [*ordered, *fixed])
    return f'<robot name="{robot.name}">\n{links}\n{joints}\n</robot>\n'


def _moves(part: Part, joint: str) -> bool:
    return part.hinge is not None and part.hinge.name == joint


def _link(part: Part) -> str:
    moments = inertia(part)
    names = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    places = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    six = " ".join(
        f'{name}="{moments[i, j] + 0.0:.9g}"' for name, (i, j) in zip(names, places, strict=True)
    )
    return (
        f'<link name="{part.name}"><inertial><origin xyz="{_v(part.solid.at)}"/>'
        f'<mass value="{part.mass:.9g}"/><inertia {six}/></inertial>'
        f"<collision>{_origin(part.solid)}<geometry>{_geometry(part.solid)}</geometry></collision>"
        "</link>"
    )


def _origin(solid: Solid) -> str:
    x, y, z = solid.along
    tilt = math.acos(max(-1.0, min(1.0, z)))
    heading = math.atan2(y, x) if abs(z) < 1 - 1e-12 else 0.0
    return f'<origin xyz="{_v(solid.at)}" rpy="0 {_n(tilt)} {_n(heading)}"/>'


def _geometry(solid: Solid) -> str:
    radius, half, _ = solid.size
    if solid.kind == "box":
        return f'<box size="{" ".join(_n(2 * value) for value in solid.size)}"/>'
    if solid.kind == "ball":
        return f'<sphere radius="{_n(radius)}"/>'
    return f'<cylinder radius="{_n(radius)}" length="{_n(2 * half)}"/>'


def _joint(robot: Robot, part: Part) -> str:
    at = f'<parent link="{part.parent}"/><child link="{part.name}"/><origin xyz="{_v(part.at)}"/>'
    if part.hinge is None:
        return f'<joint name="{part.name}_fixed" type="fixed">{at}</joint>'
    hinge = part.hinge
    dynamics = ""
    if robot.friction:
        damping = _n(0.004 * hinge.torque)
        dynamics = f'<dynamics damping="{damping}" friction="{_n(0.006 * hinge.torque)}"/>'
    return (
        f'<joint name="{hinge.name}" type="revolute">{at}<axis xyz="{_v(hinge.axis)}"/>'
        f'<limit lower="{_n(hinge.low)}" upper="{_n(hinge.high)}" effort="{_n(hinge.torque)}" '
        f'velocity="{_n(hinge.velocity)}"/>{dynamics}</joint>'
    )
