"""From a model file to the folder of a robot; every step is told in the report.

    importer.run(Options(Path("my_robot.urdf")), proofs)      # ./robots/my_robot/

The folder is written elsewhere first and put in its place at the end: a refusal leaves nothing.
"""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robot_ppo.robot_model import geometry, source, validation
from robot_ppo.robot_model.importing import (
    describe,
    feet,
    gains,
    joints,
    limbs,
    reading,
    report,
    standing,
    writing,
)
from robot_ppo.robot_model.importing.describe import Findings
from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo.robot_model.importing.options import Options, given
from robot_ppo.robot_model.importing.tree import Pose, Tree, fuse_rigid
from robot_ppo.robot_model.importing.writing import Body
from robot_ppo_export.contract import spec, strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

IMU = "imu"
"""Name of the site in the MJCF."""
_LEVEL_FEET = 0.05
"""A keyframe is a standing pose if the feet's heights differ by less, in lengths of the legs."""
_DEEP = 0.01
"""[m] Legs that overlap by more in the standing pose collide; less is the fit of the primitives."""


@dataclass(frozen=True)
class Proofs:
    """What simulates a robot; the physics is not this package's."""

    touching: Callable[[RobotSpec, Path], list[tuple[str, str, float]]]
    """Pairs of bodies that touch in the default pose, and how deep [m]."""
    rests: Callable[[RobotSpec, Path], bool]
    """Whether the robot lies level in its rest pose."""
    stands: Callable[[RobotSpec, Path], str]
    """How it stands by PD alone, as sentences."""


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
    found, others = _found(tree, options, name)
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
        weights = report.check_weights(robot, xml, tree, before)
        proof = proofs.stands(robot, xml)
        if meshes := _copied(tree, folder):  # what is only seen comes last: it takes the longest
            xml.write_text(writing.mjcf(replace(body, height=found.height), meshes))
            source.read(xml)
        digest = hashlib.sha256(options.file.read_bytes()).hexdigest()
        report.write(folder, found, robot, body, weights, proof, digest)
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


def _found(tree: Tree, options: Options, name: str) -> tuple[Findings, Mapping]:
    """Return everything about a robot but what only a simulation shows, and its other shapes."""
    steps = list(tree.notes)
    hold = joints.apply(tree, options)
    joint_names = [joint.name for _, joint in tree.joints()]
    leave = list(given("--leave", dict.fromkeys(options.leave, True), joint_names))
    fused = fuse_rigid(tree)
    if fused:
        steps.append(f"{fused} links without a joint are merged into those that carry them")
    pose, legs = _legs(tree, options, hold)
    steps += joints.make_rigid(tree, legs, hold, leave)
    hold = {joint: angle for joint, angle in hold.items() if joint in _names(tree)}
    joints.require(tree)
    pose, legs = _legs(tree, options, hold)
    if turned := limbs.face_forward(tree, pose, legs):
        steps.append(turned)
    frames = tree.frames(pose)
    ground = [feet.foot(tree, leg, frames[leg.foot]) for leg in legs]
    stand, pose_from = _standing(tree, options, ground, pose, hold)
    ground = _level(tree, legs, ground, stand)
    length = _length(tree, ground, stand)
    assumed = _assume(tree, stand, ground, length)
    imu, imu_from = _imu(tree, options)
    found = Findings(
        name=name,
        tree=tree,
        feet=ground,
        order=joints.order(tree),
        pose=stand,
        pose_from=pose_from,
        length=length,
        gains={},
        assumed=assumed,
        held=joints.held(tree, legs, hold, leave),
        imu=IMU,
        imu_from=imu_from,
        mounting=tuple(imu[2].quat.tolist()),
        rest=standing.rest(tree, ground, stand) if len(ground) > 2 else {},
        start="lying" if len(ground) > 2 else "hanging",
        steps=steps,
    )
    tree.sites[IMU] = (imu[1], imu[2])
    found.gains = _gains(found)
    return found, feet.others(tree, ground)


def _names(tree: Tree) -> list[str]:
    return [joint.name for _, joint in tree.joints()]


def _legs(tree: Tree, options: Options, hold: Mapping[str, float]) -> tuple[dict, list[Leg]]:
    """Return the pose in which most feet are down, and the legs: a keyframe's or the reference."""
    neutral = limbs.reference_pose(tree)
    here = {name: angle for name, angle in hold.items() if name in neutral}
    poses = [
        neutral | _kept(key.joints, neutral) | here
        for key in tree.keyframes.values()
        if key.upright
    ]
    tried = []
    problem = None
    for pose in [*poses, neutral | here]:
        try:
            tried.append((pose, limbs.legs(tree, pose, options.feet)))
        except InputError as error:
            problem = error
    if problem and not tried:
        raise problem
    return max(tried, key=lambda pair: len(pair[1]))


def _kept(pose: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    return {name: angle for name, angle in pose.items() if name in known}


def _standing(
    tree: Tree,
    options: Options,
    ground: Sequence[Foot],
    pose: Mapping[str, float],
    hold: Mapping[str, float],
) -> tuple[dict[str, float], str]:
    """Return the standing pose, and where it is from."""
    if options.pose is not None:
        given_pose, where = _given_pose(tree, options.pose)
        return _inside(tree, standing.complete(tree, given_pose) | dict(hold)), where
    for name, key in tree.keyframes.items():
        stand = standing.complete(tree, _kept(key.joints, pose)) | dict(hold)
        if key.upright and _stands_level(tree, ground, stand):
            return _inside(tree, stand), f"keyframe {name} of the file"
    return standing.stand(tree, ground, standing.inside(tree, pose)), "optimized (report.md)"


def _given_pose(tree: Tree, text: str) -> tuple[dict[str, float], str]:
    """Return the angles of --pose: a keyframe of the file, or a YAML of joints and angles."""
    if text in tree.keyframes:
        return _kept(
            tree.keyframes[text].joints, dict.fromkeys(_names(tree), 0.0)
        ), f"keyframe {text}"
    path = Path(text)
    if not path.is_file():
        hint = strict.did_you_mean(text, tree.keyframes) if tree.keyframes else ""
        raise InputError(f"--pose {text}: is neither a keyframe of the file nor a YAML{hint}")
    angles = strict.convert(dict[str, float], strict.read_yaml(path), text)
    for name in angles:
        if name not in _names(tree):
            raise InputError(f"{text}: no joint {name!r}{strict.did_you_mean(name, _names(tree))}")
    return angles, f"--pose {path.name}"


def _inside(tree: Tree, pose: dict[str, float]) -> dict[str, float]:
    """Return a pose that keeps to the ranges; what is beyond is an `InputError`."""
    kept = {}
    for _, joint in tree.joints():
        low, high = joint.range or (-np.inf, np.inf)
        angle = pose[joint.name]
        if not low - 1e-3 <= angle <= high + 1e-3:
            raise InputError(
                f"{tree.source}: the standing pose has {joint.name!r} at {angle:g}, outside of its "
                f"range [{low:g}, {high:g}]; give another with --pose FILE|KEYFRAME"
            )
        kept[joint.name] = round(float(np.clip(angle, low, high)), 6)
    return kept


def _stands_level(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> bool:
    frames = tree.frames(pose)
    lows = [
        limbs.lowest(tree, foot.leg.foot, frames[foot.leg.foot], np.array([0, 0, 1.0]))
        for foot in ground
    ]
    return max(lows) - min(lows) < _LEVEL_FEET * -min(lows)


def _level(
    tree: Tree, legs: Sequence[Leg], ground: Sequence[Foot], stand: Mapping[str, float]
) -> list[Foot]:
    """Return the feet, soles with the normal that they have in the standing pose."""
    frames = tree.frames(stand)
    return [
        replace(foot, normal=frames[leg.foot].mat.T @ (0, 0, 1)) if foot.flat else foot
        for leg, foot in zip(legs, ground, strict=True)
    ]


def _length(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> float:
    """Return the mean height of the hips above the feet [m]."""
    legs = [standing.Leg(tree, foot, pose, set()) for foot in ground]
    return float(np.mean([leg.hip[2] - leg.foot_at(leg.frames(leg.reference))[2] for leg in legs]))


def _assume(
    tree: Tree, pose: Mapping[str, float], ground: Sequence[Foot], length: float
) -> dict[str, list[str]]:
    """Give every joint what the file leaves out; return the names of that, joint by joint."""
    speed = float(f"{gains.SPEED * np.sqrt(9.81 / length):.3g}")
    inertias = _inertias(tree, pose, ground)
    names = {}
    for link in tree.links.values():
        for i, joint in enumerate(link.joints):
            rounded = replace(
                joint, range=_rounded(joint.range), torque=round(joint.torque or 0, 6)
            )
            link.joints[i], names[joint.name] = gains.assumed(rounded, inertias[joint.name], speed)
    return names


def _rounded(span: tuple[float, float] | None) -> tuple[float, float]:
    assert span is not None
    return round(span[0], 6), round(span[1], 6)


def _inertias(tree: Tree, pose: Mapping[str, float], ground: Sequence[Foot]) -> dict[str, float]:
    imu = (IMU, tree.base.name, Pose())
    body = Body("robot", tree, ground, {}, joints.order(tree), imu, 1.0)
    model = source.read(source.Text(str(tree.source), writing.mjcf(body))).model
    qpos = model.qpos0.copy()
    for name, angle in pose.items():
        qpos[model.joint(name).qposadr[0]] = angle
    return gains.swing_inertias(model, qpos)


def _gains(found: Findings) -> dict[str, gains.Gains]:
    tree = found.tree
    inertias = _inertias(tree, found.pose, found.feet)
    distances = gains.distances(tree, found.feet, found.pose)
    return {
        joint.name: gains.gains(
            joint,
            inertias[joint.name],
            distances[joint.name][0] if joint.name in distances else None,
            tree.mass,
            found.length,
            len(found.feet),
        )
        for _, joint in tree.joints()
    }


def _imu(tree: Tree, options: Options) -> tuple[tuple[str, str, Pose], str]:
    """Return name, link and frame of the IMU, and where it is from."""
    base = tree.base.name
    if options.imu is not None:
        if options.imu not in tree.sites:
            hint = strict.did_you_mean(options.imu, tree.sites)
            raise InputError(f"--imu {options.imu}: the file has no such site or link{hint}")
        link, frame = tree.sites[options.imu]
        if link != base:
            raise InputError(
                f"--imu {options.imu}: is on {link!r}, which moves against the base {base!r}; name "
                "one that is fixed to the base"
            )
        return (IMU, base, frame), f"--imu {options.imu}"
    if tree.imu in tree.sites:
        link, frame = tree.sites[tree.imu]
        if link == base:
            return (IMU, base, frame), f"site {tree.imu} of the file's sensors"
        return (IMU, base, Pose()), (
            f"assumed at the base's origin: the file's {tree.imu} is on {link}, which moves"
        )
    return (IMU, base, Pose()), "assumed at the base's origin, level: the file names none"


def _body(found: Findings, others: Mapping) -> Body:
    comments = {
        name: f"assumed: {', '.join(w for w in words if w != 'velocity_limit')}"
        for name, words in found.assumed.items()
        if any(word != "velocity_limit" for word in words)
    }
    link, frame = found.tree.sites[IMU]
    return Body(
        found.name,
        found.tree,
        found.feet,
        others,
        found.order,
        (IMU, link, frame),
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
    text = writing.robot_yaml(robot, describe.notes(found), describe.joint_notes(found))
    (folder / "robot.yaml").write_text(text)
    loaded = spec.load(folder / "robot.yaml")
    assert loaded.joint_names == robot.joint_names
    return loaded


def _without_contacts(folder: Path, found: Findings, body: Body, proofs: Proofs) -> Body:
    """Return what the MJCF says, without contacts between legs that overlap as they stand."""
    if not body.legs_collide:
        return body
    robot = _write(folder, found, body, {})
    touching = proofs.touching(robot, folder / robot.model)
    for one, two, depth in touching:
        if depth > _DEEP:
            raise InputError(
                f"{found.tree.source}: in the standing pose {one!r} is {depth:.3f} m inside of "
                f"{two!r}; give another pose with --pose FILE|KEYFRAME"
            )
        found.steps.append(f"{one} and {two} touch as the robot stands; they do not collide")
    return replace(body, excluded=[(one, two) for one, two, _ in touching])


def _settle_start(folder: Path, found: Findings, body: Body, proofs: Proofs) -> None:
    """Let a robot that does not rest on its belly start on its feet."""
    if found.start == "lying":
        robot = _write(folder, found, body, {})
        if not proofs.rests(robot, folder / robot.model):
            found.start = "standing"


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
