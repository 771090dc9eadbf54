"""From a model file to the folder of a robot; every step is told in the report.

    importer.run(Options(Path("my_robot.urdf")), proofs)      # ./robots/my_robot/

The folder is written elsewhere first and put in its place at the end: a refusal leaves nothing.
"""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import quoteattr

from robot_ppo.robot_model import geometry, source, validation
from robot_ppo.robot_model.importing import (
    describe,
    discovery,
    feet,
    reading,
    report,
    standing,
    writing,
    yaml_text,
)
from robot_ppo.robot_model.importing.describe import Findings
from robot_ppo.robot_model.importing.options import Options
from robot_ppo.robot_model.importing.tree import Tree
from robot_ppo.robot_model.importing.writing import Body
from robot_ppo_export.contract import spec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

_DEEP = 0.01
"""[m] Legs that overlap by more in the standing pose collide; less is the fit of the primitives."""


@dataclass(frozen=True)
class Proofs:
    """Trials of a robot in simulation, which the caller supplies: no physics in this package."""

    touching: Callable[[RobotSpec, Path], list[tuple[str, str, float]]]
    """Pairs of bodies that touch in the default pose, and how deep [m]."""
    gets_up: Callable[[RobotSpec, Path], str]
    """Why the robot does not get up from its rest pose, "" where it does."""
    stands: Callable[[RobotSpec, Path], str]
    """How it stands by PD alone, as sentences."""
    task: Callable[[RobotSpec, Path], list[str]]
    """What the task `walk` makes of it, a sentence each."""


def run(options: Options, proofs: Proofs) -> Path:
    """Import a robot; return its folder."""
    began = time.perf_counter()
    name = _name(options)
    target = options.out / name
    if target.exists() and not options.overwrite:
        raise InputError(
            f"{target}: is there already; --overwrite replaces it, --name gives another name"
        )
    tree = reading.read(options.file, options.base)
    before = report.Weights.of(tree)
    found, others = discovery.found(tree, options, name)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out, prefix=".import-") as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        body = _body(found, others)
        body = _without_contacts(folder, found, body, proofs)
        _settle_start(folder, found, body, proofs)
        robot = _write(folder, found, body, {})
        xml = folder / robot.model
        if problems := validation.problems(source.read(xml), robot):
            raise InputError(f"{options.file}: {problems[0]}")
        proof = report.Proof(
            proofs.stands(robot, xml),
            report.check_weights(robot, xml, tree, before),
            proofs.task(robot, xml),
        )
        if meshes := _copied(tree, folder):  # what is only seen comes last: it takes the longest
            _show(found, replace(body, height=found.height), xml, meshes)
        digest = hashlib.sha256(options.file.read_bytes()).hexdigest()
        report.write(folder, found, robot, body, proof, digest)
        _note_time(folder, time.perf_counter() - began)
        if target.exists():
            shutil.rmtree(target)
        folder.replace(target)
    return target


def _note_time(folder: Path, seconds: float) -> None:
    path = folder / "report.md"
    path.write_text(path.read_text() + f"\nThe import took {seconds:.1f} s.\n")


def _name(options: Options) -> str:
    name = options.name or re.sub(r"[^A-Za-z0-9_]+", "_", options.file.stem).strip("_").lower()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InputError(f"--name {name}: is no name; use letters, digits, - and _")
    return name


def _body(found: Findings, others: Mapping) -> Body:
    comments = {
        name: f"assumed: {', '.join(w for w in words if w != 'velocity_limit')}"
        for name, words in found.assumed.items()
        if any(word != "velocity_limit" for word in words)
    }
    link, frame = found.tree.sites[discovery.IMU]
    return Body(
        found.name,
        found.tree,
        found.feet,
        others,
        found.order,
        (discovery.IMU, link, frame),
        found.height,
        comments,
        legs_collide=len(found.feet) == 2,
    )


def _write(folder: Path, found: Findings, body: Body, meshes: Mapping[Path, str]) -> RobotSpec:
    """Write MJCF and robot.yaml, the base at the height at which the robot stands; return it."""
    for _ in range(2):
        body = replace(body, height=found.height)
        (folder / f"{found.name}.xml").write_text(writing.mjcf(body, meshes))
        data = describe.data(found)
        robot = spec.from_data(data, "robot.yaml")
        model = source.read(folder / robot.model).model
        found.height = round(geometry.standing_height(model, robot), 6)
    text = yaml_text.robot_yaml(robot, describe.notes(found), describe.joint_notes(found))
    (folder / "robot.yaml").write_text(text)
    loaded = spec.load(folder / "robot.yaml")
    assert loaded.joint_names == robot.joint_names
    return loaded


def _without_contacts(folder: Path, found: Findings, body: Body, proofs: Proofs) -> Body:
    """Return what the MJCF says, without contacts between legs that overlap as they stand."""
    robot = _write(folder, found, replace(body, legs_collide=True), {})
    touching = proofs.touching(robot, folder / robot.model)
    deep = {link for one, two, depth in touching if depth > _DEEP for link in (one, two)}
    if left_out := [link for link in deep if feet.is_made_up(found.tree, body.others, link)]:
        names = ", ".join(sorted(left_out))
        found.steps.append(
            f"what was put around the looks of {names}, without collision in the file, overlaps as "
            "the robot stands and is left out"
        )
        others = {**body.others, **dict.fromkeys(left_out, ())}
        return _without_contacts(folder, found, replace(body, others=others), proofs)
    hips = {body.tree.base.name, *(foot.leg.links[0] for foot in body.feet)}
    for one, two, depth in touching:
        if depth > _DEEP and {one, two} <= hips:
            found.tree.warnings.append(
                f"{one} is {depth:.3f} m inside of {two} as it stands: they do not collide "
                "in any pose"
            )
        elif depth > _DEEP and not feet.are_apart(found.tree, found.pose, one, two):
            raise InputError(
                f"{found.tree.source}: in the standing pose {one!r} is {depth:.3f} m inside of "
                f"{two!r}; give another pose with --pose FILE|KEYFRAME"
            )
    for one, two, _ in touching:
        found.steps.append(f"{one} and {two} touch as the robot stands; they do not collide")
    if not touching:
        found.steps.append("no leg touches another as the robot stands")
    if not body.legs_collide:
        return body
    return replace(body, excluded=[(one, two) for one, two, _ in touching])


def _settle_start(folder: Path, found: Findings, body: Body, proofs: Proofs) -> None:
    """Take the first rest pose from which the robot gets up; without one it starts standing."""
    if found.start != "lying":
        return
    reasons = []
    straight = standing.rest(found.tree, found.feet, found.pose, splayed=False)
    for how, pose in (("splayed", found.rest), ("straight below the hips", straight)):
        found.rest = pose
        robot = _write(folder, found, body, {})
        reason = proofs.gets_up(robot, folder / robot.model)
        if not reason:
            found.steps.append("it gets up from its belly by the gains of standing up")
            return
        reasons.append(f"{reason} (legs folded, {how})")
    found.start = "standing"
    found.steps.append(f"it does not start on its belly: {'; '.join(reasons)}")


def _show(found: Findings, body: Body, xml: Path, meshes: Mapping[Path, str]) -> None:
    """Write the MJCF with what is only seen, without the meshes that MuJoCo cannot read."""
    xml.write_text(writing.mjcf(body, meshes))
    try:
        source.read(xml)
        return
    except InputError:
        kept = {file: name for file, name in meshes.items() if _is_readable(file)}
        if len(kept) == len(meshes):
            raise
    lost = [name for file, name in meshes.items() if file not in kept]
    for name in lost:
        (xml.parent / "meshes" / name).unlink()
    found.steps.append(f"MuJoCo cannot show {', '.join(lost)}: left out, as they are only seen")
    xml.write_text(writing.mjcf(body, kept))
    source.read(xml)


def _is_readable(mesh: Path) -> bool:
    text = f"<mujoco><asset><mesh file={quoteattr(str(mesh))}/></asset></mujoco>"
    try:
        source.read(source.Text(str(mesh), text))
    except InputError:
        return False
    return True


def _copied(tree: Tree, folder: Path) -> dict[Path, str]:
    """Copy the meshes that are seen; return each with its name in the folder `meshes`."""
    names: dict[Path, str] = {}
    for link in tree.links.values():
        for shape in link.shapes:
            file = shape.file
            hidden = shape.collides and any(not other.collides for other in link.shapes)
            if file is None or file in names or hidden:
                continue
            name = re.sub(r"[^A-Za-z0-9_.-]", "_", file.name)
            while name in names.values():
                name = f"_{name}"
            names[file] = name
    for file, name in names.items():
        (folder / "meshes").mkdir(exist_ok=True)
        shutil.copyfile(file, folder / "meshes" / name)
    return names
