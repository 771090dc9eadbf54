"""report.md, README.md and the picture of an imported robot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo.config import Physics
from robot_ppo.robot_model import source, symmetry, variants
from robot_ppo.robot_model.importing import gains
from robot_ppo.robot_model.importing.describe import Findings
from robot_ppo.robot_model.importing.tree import Tree
from robot_ppo.robot_model.importing.writing import Body
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

_SAME = 1e-6
"""Masses may differ by this fraction: nine digits are written."""


@dataclass(frozen=True)
class Proof:
    """What was tried with the robot that is to be written, as sentences."""

    stands: str
    weights: Sequence[str]
    task: Sequence[str]
    """What the task `walk` makes of it."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Mass [kg], centre of mass (3,) [m] and inertia (3, 3) [kg m^2] in the base's frame.

    Of the file's reference pose, so that what is done to a robot can be compared.
    """

    mass: float
    centre: np.ndarray
    moments: np.ndarray
    """(3,) principal moments about the centre of mass, which no turn of the base changes."""

    @classmethod
    def of(cls, tree: Tree) -> "Weights":
        """Return those of a robot in its reference pose."""
        centre = tree.centre_of_mass({})
        about = tree.spatial_inertia() - tree.mass * (
            centre @ centre * np.eye(3) - np.outer(centre, centre)
        )
        return cls(tree.mass, centre, np.linalg.eigvalsh(about))


def check_weights(robot: RobotSpec, xml: Path, tree: Tree, before: Weights) -> list[str]:
    """Return a line for each model's mass; `InputError` where one is not what the file says."""
    after = Weights.of(tree)
    models = {
        "MJCF as written": source.read(xml).model,
        "training variant": variants.train_model(robot, xml, Physics(timestep=0.005), 0.0),
        "evaluation variant": variants.eval_model(robot, xml),
    }
    lines = [f"file: {before.mass:.6g} kg; after merging links: {after.mass:.6g} kg"]
    for name, model in models.items():
        mass = float(model.body_mass[model.body_weldid > 0].sum())
        if abs(mass - before.mass) > _SAME * before.mass:
            raise InputError(
                f"{tree.source}: the {name} weighs {mass:.6g} kg and the file {before.mass:.6g} kg;"
                " report this as a bug of robot-ppo, with the file"
            )
        lines.append(f"{name}: {mass:.6g} kg")
    same = np.allclose(before.moments, after.moments, rtol=1e-4, atol=1e-6)
    far = abs(np.linalg.norm(before.centre) - np.linalg.norm(after.centre))
    moments = ", ".join(f"{m:.4g}" for m in before.moments)
    now = ", ".join(f"{m:.4g}" for m in after.moments)
    lines.append(
        f"principal moments about the centre of mass, reference pose [kg m^2]: file {moments}; "
        f"merged {now}" + ("" if same else " (joints were made rigid at other angles)")
    )
    lines.append(f"distance of the centre of mass from the base's origin: differs by {far:.2g} m")
    lines.append(_mirrored(robot, models["MJCF as written"]))
    return lines


def _mirrored(robot: RobotSpec, model: mujoco.MjModel) -> str:
    """Return whether left and right are mirror images: then a policy learns both at once."""
    try:
        symmetry.find(robot, model)
    except InputError as error:
        return f"left and right are no mirror images: {error}"
    return "left and right are mirror images, in shape, mass, gains and pose"


def write(
    folder: Path,
    found: Findings,
    robot: RobotSpec,
    body: Body,
    proof: Proof,
    digest: str,
) -> None:
    """Write report.md, README.md and views.png into a folder."""
    from robot_ppo.robot_model.importing import drawing

    drawing.draw(folder / "views.png", found, body)
    (folder / "report.md").write_text("\n".join(_report(found, robot, proof)) + "\n")
    (folder / "README.md").write_text(_readme(found, robot, digest))


def _report(found: Findings, robot: RobotSpec, proof: Proof) -> Iterator[str]:
    tree = found.tree
    yield f"# {robot.name}: what was found in {tree.source.name}, and what was derived\n"
    yield "![From the side, from the front, from above](views.png)\n"
    yield (
        "Grey: collision. Green: feet. Black dots: contact points. Red, green, blue arrows: x, y, "
        "z of the base. Short lines: joint axes.\n"
    )
    yield "## Proof\n"
    yield f"{proof.stands}\n"
    yield from (f"- {line}" for line in proof.weights)
    yield from (f"- look at this: {line}" for line in tree.warnings)
    yield "\n## Found\n"
    yield f"- {tree.kind}, {len(tree.links)} moving links, {len(robot.joints)} driven joints"
    yield f"- base: {tree.base.name}; IMU: {found.imu_from}"
    for foot in found.feet:
        kind = "sole" if foot.flat else "point"
        yield f"- foot {foot.leg.foot} ({kind}): {foot.how}; joints {', '.join(foot.leg.joints)}"
    if found.held:
        yield (
            f"- held, because they do not serve locomotion: {', '.join(found.held)} (`--leave` "
            "gives one to the policy, `--hold JOINT=ANGLE` another angle)"
        )
    yield from (f"- {step}" for step in found.steps)
    yield "\n## Derived\n"
    yield (
        f"The standing pose: {found.pose_from}. Legs of {found.length:.3f} m, base at "
        f"{robot.base.height:.4f} m.\n"
    )
    yield from _joints(found, robot)
    yield "\n## The task `walk`\n"
    yield f"Every number: `robot-ppo train walk --robot {robot.name} --show`.\n"
    yield from (f"- {line}" for line in proof.task)
    yield "\n## Assumed\n"
    yield from _assumed(found)


def _joints(found: Findings, robot: RobotSpec) -> Iterator[str]:
    yield "| joint | default [rad] | range [rad] | N m | kp | kd | moves [kg m^2] | Hz | kp by |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for joint in robot.joints:
        gain = found.gains[joint.name]
        low, high = joint.range
        yield (
            f"| {joint.name} | {joint.default:.3f} | {low:.3f} to {high:.3f} | "
            f"{joint.torque_limit:g} | {joint.kp:g} | {joint.kd:g} | {gain.inertia:.4f} | "
            f"{gain.frequency:.1f} | {gain.how} |"
        )


_RULES = {
    "armature": f"{gains.ARMATURE:g} kg m^2 for each N m of the torque limit, at most "
    f"{gains.MOST_ARMATURE:g} of the link's inertia",
    "damping": f"{gains.DAMPING:g} N m s for each N m of the torque limit",
    "frictionloss": f"{gains.FRICTION:g} N m for each N m of the torque limit",
    "velocity_limit": f"{gains.SPEED:g} sqrt(g / leg length)",
}


def _assumed(found: Findings) -> Iterator[str]:
    """Yield a line for everything that the file leaves out."""
    for word, rule in _RULES.items():
        names = [name for name, words in found.assumed.items() if word in words]
        if names:
            which = "all joints" if len(names) == len(found.order) else ", ".join(names)
            yield f"- {word} of {which}: {rule}; measure it on your robot"
    if all(shape.friction is None for foot in found.feet for shape in foot.shapes):
        yield "- friction of the feet: 0.8"
    yield "- the safety envelope of robot.yaml"


def _readme(found: Findings, robot: RobotSpec, digest: str) -> str:
    source_ = found.tree.source
    return (
        f"# {robot.name}\n\n{robot.description}. Written by `robot-ppo import` from "
        f"`{source_.name}` (SHA-256 {digest}); `report.md` says what was found and how each figure "
        "was derived. The file's licence holds for what comes from it: masses, lengths, ranges, "
        "and the meshes in `meshes/`.\n\n"
        f"```\nrobot-ppo check {robot.name}\nrobot-ppo train walk --robot {robot.name}\n```\n"
    )
