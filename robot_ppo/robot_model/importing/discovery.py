"""Discovery of a robot's legs, feet, pose, IMU and gains, without a simulation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from robot_ppo.robot_model import source
from robot_ppo.robot_model.importing import (
    feet,
    gains,
    joints,
    limbs,
    mirror_legs,
    posing,
    standing,
    units,
    writing,
)
from robot_ppo.robot_model.importing.describe import Findings
from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo.robot_model.importing.options import Options, given
from robot_ppo.robot_model.importing.posed_leg import PosedLeg, shared
from robot_ppo.robot_model.importing.tree import Pose, Tree, axis_mat, fuse_rigid
from robot_ppo.robot_model.importing.writing import Body
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

IMU = "imu"
"""Name of the site in the MJCF."""
_G = 9.81
_UPS = {
    "y": np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]]),  # and z is ahead
    "-y": axis_mat(np.array([1.0, 0, 0]), -np.pi / 2),
    "x": axis_mat(np.array([0, 1.0, 0]), -np.pi / 2),
    "-x": axis_mat(np.array([0, 1.0, 0]), np.pi / 2),
    "-z": axis_mat(np.array([1.0, 0, 0]), np.pi),
}
"""Axis of a file that may be up -> rotation (3, 3) of the file in the world."""
_SAME_UP = 0.7
"""Cosine of the angle between the base's up in two poses of which both may be upright."""


def found(tree: Tree, options: Options, name: str) -> tuple[Findings, Mapping]:
    """Return everything about a robot but what only a simulation shows, and its other shapes."""
    steps = list(tree.notes)
    hold = joints.apply(tree, options)
    steps += joints.lock_endless(tree, hold)
    leave = list(given("--leave", dict.fromkeys(options.leave, True), posing.joint_names(tree)))
    fused = fuse_rigid(tree)
    if fused:
        steps.append(f"{fused} links without a joint are merged into those that carry them")
    steps += [_find_up(tree, options, hold), limbs.raise_origin(tree)]
    steps += [_other_up(tree, options, hold)]
    steps = [step for step in steps if step]
    pose, legs = _legs(tree, options, hold)
    steps += joints.make_rigid(tree, legs, hold, leave)
    hold = {joint: angle for joint, angle in hold.items() if joint in posing.joint_names(tree)}
    joints.require(tree)
    pose, legs = _legs(tree, options, hold)
    units.check_legs(tree, legs)
    if turned := limbs.face_forward(tree, pose, legs):
        steps.append(turned)
    ground = feet.all_feet(tree, legs, pose)
    tree.warnings += mirror_legs.contradictions(
        [PosedLeg(tree, foot, pose, shared(ground)) for foot in ground]
    )
    stand, pose_from = posing.standing_pose(tree, options, ground, pose, hold)
    ground = posing.level_soles(tree, legs, ground, stand)
    _require_strength(tree, ground, stand)
    length = posing.leg_length(tree, ground, stand)
    assumed = _assume(tree, stand, ground, length)
    imu, imu_from = _imu(tree, options)
    findings = Findings(
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
    findings.gains = _gains(findings)
    return findings, feet.others(tree, ground)


def _find_up(tree: Tree, options: Options, hold: Mapping[str, float]) -> str:
    """Take up from a keyframe in which more feet are down than in the file's reference pose.

    A keyframe that is called a standing pose needs no more. Return what was done, "" for nothing.
    """
    reference = tree.upright
    best = _feet_down(tree, options, hold)
    found = ""
    for name, key in tree.keyframes.items():
        if key.turned is None or key.turned[2] @ reference[2] > _SAME_UP:
            continue
        before = tree.upright
        tree.upright = key.turned
        count = _feet_down(tree, options, hold)
        if count > best or (count == best > 0 and not found and posing.is_standing(name)):
            best = count
            found = f"up is that of the keyframe {name}, not of the file's reference pose"
        else:
            tree.upright = before
    return found


def _other_up(tree: Tree, options: Options, hold: Mapping[str, float]) -> str:
    """Take another axis of a URDF than z for up, if four legs alike or more stand on it.

    They must be longer along it than what is down along z: a humanoid that lies has feet and hands
    on the ground, too. Return what was done, "" for nothing.
    """
    if tree.kind != "URDF":
        return ""
    reference = tree.upright
    best = _stance(tree, options, hold)[:2]
    found = ""
    for name, turn in _UPS.items():
        before = tree.upright
        tree.upright = turn @ reference
        count, depth, alike = _stance(tree, options, hold)
        if count >= 4 and alike and count > best[0] and depth > best[1]:
            best = (count, depth)
            found = f"up is {name} of the file and not z: {count} legs alike reach down along it"
        else:
            tree.upright = before
    return found


def _stance(tree: Tree, options: Options, hold: Mapping[str, float]) -> tuple[int, float, bool]:
    """Return how many feet are down, how far below the base [m], and if legs have equal joints."""
    try:
        pose, legs = _legs(tree, options, hold)
    except InputError:
        return 0, 0.0, False
    frames = tree.frames(pose)
    up = tree.upright.T @ (0, 0, 1)
    depth = -min(limbs.lowest(tree, leg.foot, frames[leg.foot], up) for leg in legs)
    return len(legs), depth, len({len(leg.joints) for leg in legs}) == 1


def _feet_down(tree: Tree, options: Options, hold: Mapping[str, float]) -> int:
    return _stance(tree, options, hold)[0]


def _legs(tree: Tree, options: Options, hold: Mapping[str, float]) -> tuple[dict, list[Leg]]:
    """Return the pose in which most feet are down, and the legs: a keyframe's or the reference."""
    neutral = limbs.reference_pose(tree)
    here = {name: angle for name, angle in hold.items() if name in neutral}
    poses = [
        neutral | posing.known(key.joints, neutral) | here
        for key in tree.keyframes.values()
        if tree.is_level(key)
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


def _require_strength(tree: Tree, ground: Sequence[Foot], pose: Mapping[str, float]) -> None:
    """Raise `InputError` where a leg cannot carry its share of the weight with all feet down."""
    force = tree.mass * _G / len(ground)
    for foot in ground:
        leg = PosedLeg(tree, foot, pose, set())
        shares = np.abs(leg.torques(leg.frames(leg.reference), force))
        worst = int(np.argmax(shares))
        if shares[worst] > 1:
            joint = leg.joints[worst]
            limit = joint.torque or 0.0
            raise InputError(
                f"{tree.source}: the joint {joint.name!r} needs {shares[worst] * limit:.3g} N m to "
                f"carry its share of {tree.mass:.3g} kg and has {limit:.3g}; correct the file's "
                f"masses or --torque {joint.name}=NM, or give another pose with --pose"
            )


def _assume(
    tree: Tree, pose: Mapping[str, float], ground: Sequence[Foot], length: float
) -> dict[str, list[str]]:
    """Give every joint what the file leaves out; return the names of that, joint by joint."""
    speed = float(f"{gains.SPEED * np.sqrt(9.81 / length):.3g}")
    inertias = _inertias(tree, pose, ground)
    strongest = tree.mass * _G * length
    _warn_of_placeholders(tree, strongest, strongest / len(ground))
    names = {}
    for link in tree.links.values():
        for i, joint in enumerate(link.joints):
            rounded = replace(
                joint, range=_rounded(joint.range), torque=round(joint.torque or 0, 6)
            )
            link.joints[i], names[joint.name] = gains.assumed(
                rounded, inertias[joint.name].swing, speed, strongest
            )
    return names


def _warn_of_placeholders(tree: Tree, strongest: float, load: float) -> None:
    """Tell of torque limits that are no motor's: times `load` [N m], what a foot asks of a leg."""
    limits = {joint.name: joint.torque or 0.0 for _, joint in tree.joints()}
    found = [name for name, limit in limits.items() if limit > gains.PLACEHOLDER * load]
    if found:
        name = max(found, key=lambda joint: limits[joint])
        more = f" and of {len(found) - 1} more" if len(found) > 1 else ""
        tree.warnings.append(
            f"the torque limit of {name}{more}, {limits[name]:g} N m, is {limits[name] / load:.0f} "
            "times what its share of the weight asks of a leg, so it looks like a placeholder: "
            f"give the motor's with --torque {name}=NM; armature, damping and friction are "
            f"assumed as of {strongest:.3g} N m"
        )


def _rounded(span: tuple[float, float] | None) -> tuple[float, float]:
    assert span is not None
    return round(span[0], 6), round(span[1], 6)


def _inertias(
    tree: Tree, pose: Mapping[str, float], ground: Sequence[Foot]
) -> dict[str, gains.Inertias]:
    imu = (IMU, tree.base.name, Pose())
    body = Body("robot", tree, ground, {}, joints.order(tree), imu, 1.0)
    model = source.read(source.Text(str(tree.source), writing.mjcf(body))).model
    qpos = model.qpos0.copy()
    for name, angle in pose.items():
        qpos[model.joint(name).qposadr[0]] = angle
    return gains.inertias(model, qpos)


def _gains(found: Findings) -> dict[str, gains.Gains]:
    tree = found.tree
    inertias = _inertias(tree, found.pose, found.feet)
    distances = gains.distances(tree, found.feet, found.pose)
    each = {
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
    for one, other in mirror_legs.partners(tree, found.pose).items():
        each[one], each[other] = gains.alike(each[one], each[other])
    return each


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
    for site in tree.imus:
        link, frame = tree.sites.get(site, ("", Pose()))
        if link == base:
            return (IMU, base, frame), f"site {site} of the file's sensors"
    why = "the file names none"
    if tree.imus:
        site = tree.imus[0]
        why = f"the file's {site} is on {tree.sites.get(site, (site,))[0]}, which moves"
    assumed = f"assumed at the base's origin, level: {why}"
    named = [name for name, (link, _) in tree.sites.items() if link == base and IMU in name.lower()]
    if named:
        choice = " or ".join(f"--imu {name}" for name in named)
        tree.warnings.append(f"the IMU is {assumed}; by their names it may be {choice}")
    return (IMU, base, Pose()), assumed
