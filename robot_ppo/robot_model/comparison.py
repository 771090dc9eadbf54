"""What `robot-ppo check` prints: every problem of a robot's files, or what its variants are.

page, right = comparison.page(robot, Path("robots/go2/go2.xml"))
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robot_ppo.config import Physics
from robot_ppo.robot_model import fingerprint, geometry, source, validation, variants
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import RobotSpec

TIMESTEP = 0.01
MAX_DELAY = 0.04
"""[s] Physics step and longest delay of the training variant shown; a task gives its own."""
_DEPTH = 1e-3
"""[m] by which the standing pose is lowered, so that what stands on the ground touches it."""
_ENUMS = {
    "integrator": mujoco.mjtIntegrator,
    "cone": mujoco.mjtCone,
    "solver": mujoco.mjtSolver,
}


def page(robot: RobotSpec, xml: Path) -> tuple[str, bool]:
    """Return the text of a check, and whether the robot can be trained."""
    file = source.read(xml)
    found = validation.problems(file, robot)
    if found:
        lines = [f"{i}. {text}" for i, text in enumerate(found, 1)]
        return f"{robot.name}: {len(found)} to mend\n" + "\n".join(lines), False
    columns = (
        file.model,
        variants.train_model(robot, xml, Physics(timestep=TIMESTEP), MAX_DELAY),
        variants.eval_model(robot, xml),
    )
    parts = [
        f"{robot.name}: {robot.description}\nfingerprint {fingerprint.of(robot, xml)}",
        _table((("", "file", "training", "evaluation"), *_physics(columns))),
        _table((("body [kg]", "file", "training", "evaluation"), *_masses(columns))),
        _table((("foot", "made of", "clearance [m]"), *_feet(columns[2], robot))),
        _table((("joint", "range [rad]", "N m", "kp", "kd", "armature"), *_joints(robot, columns))),
        "replaced or set by the variants: " + ("; ".join(_replaced(file, robot)) or "nothing"),
    ]
    return "\n\n".join(parts), True


def _physics(columns: tuple[mujoco.MjModel, ...]) -> Iterable[tuple[str, ...]]:
    yield "mass [kg]", *(f"{_mass(model):.4f}" for model in columns)
    yield "geoms that can touch", *(str(int(source.colliding_geoms(m).sum())) for m in columns)
    yield "standing on", "-", *(_contacts(model) for model in columns[1:])
    for name in ("timestep", "integrator", "cone", "solver", "iterations", "ls_iterations"):
        yield name, *(_option(model, name) for model in columns)
    yield "impratio", *(_option(model, "impratio") for model in columns)


def _mass(model: mujoco.MjModel) -> float:
    """Return the mass of everything that moves [kg]."""
    return float(model.body_mass[model.body_weldid > 0].sum())


def _contacts(model: mujoco.MjModel) -> str:
    """Return which bodies touch the ground in the standing pose, and at how many points."""
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    base = int(np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)[0])
    data.qpos[model.jnt_qposadr[base] + 2] -= _DEPTH
    mujoco.mj_forward(model, data)
    bodies = model.geom_bodyid[data.contact.geom].max(axis=1)
    ids, counts = np.unique(bodies, return_counts=True)
    named = zip(source.names(model, "body", ids.tolist()), counts, strict=True)
    return ", ".join(f"{name} x{count}" if count > 1 else name for name, count in named)


def _option(model: mujoco.MjModel, name: str) -> str:
    value = getattr(model.opt, name)
    if name in _ENUMS:
        return _ENUMS[name](value).name.partition("_")[2].lower()
    return f"{value:g}"


def _masses(columns: tuple[mujoco.MjModel, ...]) -> Iterable[tuple[str, ...]]:
    for body in range(1, columns[0].nbody):
        name = source.names(columns[0], "body", [body])[0]
        yield name, *(f"{model.body_mass[body]:.4f}" for model in columns)


def _feet(model: mujoco.MjModel, robot: RobotSpec) -> Iterable[tuple[str, ...]]:
    data = geometry.standing_pose(model, robot)
    heights = geometry.FootGeometry(model, robot).clearance(
        data.geom_xpos[None], data.geom_xmat[None]
    )[0]
    for foot, geoms, height in zip(
        robot.feet, geometry.foot_geoms(model, robot), heights, strict=True
    ):
        kinds = [mujoco.mjtGeom(int(model.geom_type[i])).name.rpartition("_")[2] for i in geoms]
        yield foot, ", ".join(kinds).lower(), f"{round(float(height), 4) + 0.0:.4f}"


def _joints(robot: RobotSpec, columns: tuple[mujoco.MjModel, ...]) -> Iterable[tuple[str, ...]]:
    for joint in robot.joints:
        low, high = joint.range
        armature = columns[1].dof_armature[columns[1].joint(joint.name).dofadr[0]]
        figures = (joint.torque_limit, joint.kp, joint.kd, armature)
        yield joint.name, f"{low:g} to {high:g}", *(f"{x:g}" for x in figures)


def _replaced(file: Source, robot: RobotSpec) -> Iterable[str]:
    """Name what the file says and the variants do not take over."""
    model = file.model
    if ground := np.flatnonzero(source.static_geoms(model)).tolist():
        yield f"what lies in the world ({', '.join(source.names(model, 'geom', ground))})"
    gains = model.actuator_biastype != mujoco.mjtBias.mjBIAS_NONE
    if own := np.flatnonzero(gains).tolist():
        yield f"gains of the actuators {', '.join(source.names(model, 'actuator', own))}"
    if geared := np.flatnonzero(model.actuator_gear[:, 0] != 1).tolist():
        yield f"gears of the actuators {', '.join(source.names(model, 'actuator', geared))}"
    if model.opt.disableflags or model.opt.enableflags:
        yield "the flags in <option>"
    if model.npair:
        yield "pairs with the ground, whose friction and softness the feet take over"
    off = geometry.standing_height(model, robot) - robot.base.height
    if abs(off) > geometry.LEVEL:
        yield f"the height of the base, {off:+.4f} m to robot.yaml's: the lowest foot touches there"


def _table(rows: Iterable[tuple[Any, ...]]) -> str:
    """Return rows as columns of equal width."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in padded)
