"""A quadruped of twelve joints as a URDF, and `robot-ppo import` as a function."""

from pathlib import Path

from robot_ppo.commands.robots import proofs
from robot_ppo.robot_model import source
from robot_ppo.robot_model.importing import importer, options
from robot_ppo_export.contract import spec

LEGS = {"FL": (0.2, 0.08), "FR": (0.2, -0.08), "RL": (-0.2, 0.08), "RR": (-0.2, -0.08)}


def link(name: str, mass: float, geometry: str = "", at: str = "0 0 0") -> str:
    """Return a link with a plain inertia and, if given, a collision."""
    inertia = f'<inertia ixx="{mass * 4e-3}" iyy="{mass * 4e-3}" izz="{mass * 1e-3}"/>'
    collision = (
        f'<collision><origin xyz="{at}"/><geometry>{geometry}</geometry></collision>'
        if geometry
        else ""
    )
    return (
        f'<link name="{name}"><inertial><origin xyz="{at}"/><mass value="{mass}"/>{inertia}'
        f"</inertial>{collision}</link>"
    )


def joint(name: str, parent: str, child: str, xyz: str, axis: str, limits: str) -> str:
    """Return a revolute joint."""
    return (
        f'<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{xyz}"/><axis xyz="{axis}"/><limit {limits} effort="20" velocity="20"/>'
        "</joint>"
    )


def leg(name: str, x: float, y: float) -> str:
    """Return a leg: hip, thigh, calf, and a toe that is fixed to the calf."""
    side = 0.05 if y > 0 else -0.05
    wide = 'lower="-0.8" upper="0.8"'
    return "".join(
        [
            link(f"{name}_base", 0.5, '<sphere radius="0.03"/>'),
            joint(f"{name}_hip", "trunk", f"{name}_base", f"{x} {y} 0", "1 0 0", wide),
            link(f"{name}_thigh", 0.4, '<box size="0.03 0.03 0.16"/>', "0 0 -0.1"),
            joint(
                f"{name}_thigh",
                f"{name}_base",
                f"{name}_thigh",
                f"0 {side} 0",
                "0 1 0",
                'lower="-1" upper="2.5"',
            ),
            link(f"{name}_calf", 0.2, '<cylinder radius="0.015" length="0.1"/>', "0 0 -0.1"),
            joint(
                f"{name}_knee",
                f"{name}_thigh",
                f"{name}_calf",
                "0 0 -0.2",
                "0 1 0",
                'lower="-2.6" upper="-0.3"',
            ),
            link(f"{name}_toe", 0.05, '<sphere radius="0.02"/>'),
            f'<joint name="{name}_ankle" type="fixed"><parent link="{name}_calf"/>'
            f'<child link="{name}_toe"/><origin xyz="0 0 -0.2"/></joint>',
        ]
    )


def urdf(more: str = "") -> str:
    """Return the robot, with more elements."""
    legs = "".join(leg(name, x, y) for name, (x, y) in LEGS.items())
    trunk = link("trunk", 4.0, '<box size="0.4 0.15 0.1"/>')
    return f'<robot name="dog">{trunk}{legs}{more}</robot>'


URDF = urdf()


def imported(folder: Path, text: str | None, file: str, **flags) -> Path:
    """Write `text` into `folder` as a file, if given, import it there; return its folder."""
    if text is not None:
        (folder / file).write_text(text)
    return importer.run(options.Options(folder / file, out=folder / "robots", **flags), proofs())


def load(folder: Path):
    """Return the robot and the compiled MJCF of an imported folder."""
    robot = spec.load(folder / "robot.yaml")
    return robot, source.read(folder / robot.model).model
