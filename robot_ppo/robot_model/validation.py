"""robot.yaml against the MJCF, and the MJCF against what the variants assume.

The policy is trained on the MJCF and the node believes robot.yaml, so every figure that stands in
both is compared, on the MJCF as it is written and before a variant is made of it. What the file
holds beyond that is either something that the variants keep or replace (docs/robots.md lists it),
or a problem: one sentence that names the element and the remedy.

    validation.check(source.read(Path("go2.xml")), robot)           # or InputError
    validation.problems(source.read(Path("go2.xml")), robot)        # all of them
"""

from collections.abc import Callable, Iterator
from typing import Any

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, source
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

HEIGHT_TOLERANCE = 0.15
"""`base.height` may differ by so much of it from the height at which the robot stands: a sole that
is not level in the default pose has no one height. The variants stand on the ground in any case."""
_DEPTH = 0.005
"""[m] Another geom than a foot may be so far in the ground in the default pose."""
_RESIDUAL = 0.002
"""An equality constraint may be so far from satisfied in the default pose, [m] or [rad]."""
_MOUNTING = np.radians(0.5)
"""[rad] Angle between the IMU's mounting in robot.yaml and in the MJCF."""


def check(file: Source, robot: RobotSpec) -> None:
    """Raise `InputError` with the first problem, and how many more there are."""
    found = problems(file, robot)
    if not found:
        return
    more = len(found) - 1
    rest = f" ({more} more: robot-ppo check {robot.name})" if more else ""
    raise InputError(found[0] + rest)


def problems(file: Source, robot: RobotSpec) -> list[str]:
    """Return everything that is wrong with the MJCF as the model of `robot`."""
    found = [*_names(file, robot), *_features(file)]
    found = found or [*_base(file, robot)]
    found = found or [*_joint_kinds(file, robot)]
    if found:  # what follows looks these objects up
        return found
    for rule in _RULES:
        found.extend(rule(file, robot))
    return found


# -- objects that must exist ----------------------------------------------------------------------


def _names(file: Source, robot: RobotSpec) -> Iterator[str]:
    model = file.model
    wanted = [("joint", name) for name in robot.joint_names]
    wanted += [("body", robot.base.body), ("site", robot.imu.site)]
    for kind, name in wanted:
        if source.find(model, kind, name) < 0:
            has = ", ".join(source.names(model, kind, range(_count(model, kind))))
            yield (
                f"robot.yaml names the {kind} {name!r}, which {file.name} does not have; it has "
                f"{has or 'none'}"
            )
    try:
        geometry.foot_geoms(model, robot)
    except InputError as error:
        yield f"{error} ({file.name})"


def _count(model: mujoco.MjModel, kind: str) -> int:
    return {"joint": model.njnt, "body": model.nbody, "site": model.nsite}[kind]


def _features(file: Source) -> Iterator[str]:
    """Find what no variant can be made of, before anything is looked up."""
    model = file.model
    for count, what in ((model.nflex, "a flex"), (model.nplugin, "a plugin")):
        if count:
            yield f"{file.name} has {what}, which the variants cannot keep; delete it"
    if source.find(model, "geom", "floor") in np.flatnonzero(~source.static_geoms(model)):
        yield (f"{file.name} calls a geom of the robot 'floor', as the ground is called; rename it")


# -- base, IMU ------------------------------------------------------------------------------------


def _base(file: Source, robot: RobotSpec) -> Iterator[str]:
    model = file.model
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    floating = [model.body(model.jnt_bodyid[i]).name for i in free]
    if not floating:
        yield (
            f"{file.name} has no free joint, so that the robot is bolted to the world; add "
            f"<freejoint/> to the body {robot.base.body!r}"
        )
    elif robot.base.body not in floating:
        yield (
            f"base.body: robot.yaml says {robot.base.body}, {file.name} has the free joint at "
            f"{', '.join(floating)}; make them agree"
        )
    for name in floating:
        if name != robot.base.body and robot.base.body in floating:
            yield (
                f"{file.name} has a second free body {name!r}; the variants simulate the robot "
                "alone, so delete it"
            )


def _imu(file: Source, robot: RobotSpec) -> Iterator[str]:
    model = file.model
    site, base = model.site(robot.imu.site).id, model.body(robot.base.body).id
    carrier = int(model.site_bodyid[site])
    if model.body_weldid[carrier] != model.body_weldid[base]:
        yield (
            f"base.body: robot.yaml says {robot.base.body}, and {file.name} has the site "
            f"{robot.imu.site!r} (imu.site) on {model.body(carrier).name}, which moves against it; "
            "add a site to a body that is fixed to the base"
        )
        return
    found = geometry.imu_mounting(model, robot)
    given = np.array(robot.imu.mounting)
    apart = 2 * np.arccos(min(1.0, abs(float(found @ given))))
    if apart > _MOUNTING:
        text = ", ".join(f"{x:.6g}" for x in found)
        yield (
            f"imu.mounting: {file.name} has the site {robot.imu.site!r} turned by "
            f"{np.degrees(apart):.1f} degrees against what robot.yaml says; if the file is right, "
            f"write `imu: {{site: {robot.imu.site}, mounting: [{text}]}}` (wxyz)"
        )


# -- joints and actuators -------------------------------------------------------------------------


def _joint_kinds(file: Source, robot: RobotSpec) -> Iterator[str]:
    model = file.model
    base = model.body(robot.base.body).id
    for name in robot.joint_names:
        id = model.joint(name).id
        kind = mujoco.mjtJoint(int(model.jnt_type[id]))
        if kind != mujoco.mjtJoint.mjJNT_HINGE:
            word = kind.name.removeprefix("mjJNT_").lower()
            yield (
                f"the joint {name!r} is a {word} joint in {file.name}; robot.yaml's joints are "
                "hinges, in [rad]"
            )
        elif model.body_rootid[model.jnt_bodyid[id]] != base:
            yield (
                f"the joint {name!r} in {file.name} is not below the base {robot.base.body!r}; "
                "move its body there"
            )


def _ranges(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Compare the range of each joint, where the file gives one, limited or not."""
    for joint in robot.joints:
        found = tuple(float(x) for x in file.model.jnt_range[file.model.joint(joint.name).id])
        if found != (0.0, 0.0):
            yield from _differ(f"{joint.name}.range [rad]", joint.range, file.name, found, 1e-9)


def _held(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find joints that robot.yaml does not have and that nothing holds."""
    model = file.model
    coupled = set(model.eq_obj1id[model.eq_type == mujoco.mjtEq.mjEQ_JOINT].tolist())
    coupled |= set(model.eq_obj2id[model.eq_type == mujoco.mjtEq.mjEQ_JOINT].tolist())
    base = model.body(robot.base.body).id
    for id in range(model.njnt):
        name = source.names(model, "joint", [id])[0]
        if name in robot.joint_names or model.jnt_type[id] == mujoco.mjtJoint.mjJNT_FREE:
            continue
        if model.body_rootid[model.jnt_bodyid[id]] != base:
            yield (
                f"{file.name} has the joint {name!r} outside the robot; the variants simulate the "
                "robot alone, so delete its body"
            )
        elif not (model.jnt_stiffness[id] > 0 or id in coupled):
            yield (
                f"{file.name} has the joint {name!r}, which robot.yaml does not list and no spring "
                "holds; delete the joint, so that its body is fixed, or list it in `joints`"
            )


def _actuators(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Compare torque limits; the variants make actuators of their own, one for each joint."""
    model = file.model
    for index in range(model.nu):
        name = source.names(model, "actuator", [index])[0]
        where = f"the actuator {name!r} in {file.name}"
        if model.actuator_trntype[index] not in _AT_JOINTS:
            yield f"{where} drives no joint; the variants drive joints only, so delete it"
            continue
        joint = model.joint(model.actuator_trnid[index, 0]).name
        if joint not in robot.joint_names:
            yield (
                f"{where} drives {joint!r}, which robot.yaml does not list; add it to `joints`, or "
                "delete the actuator and the joint"
            )
        if model.actuator_dyntype[index] != mujoco.mjtDyn.mjDYN_NONE:
            yield (
                f"{where} has dynamics of its own (dyntype), which the variants do not simulate; "
                "delete them, and give the lag as the task's `actuator_delay`"
            )
        if model.actuator_armature[index] or model.actuator_damping[index]:
            yield f"{where} has armature or damping; give them to the joint {joint!r}"
    for joint in robot.joints:
        yield from _torque(file, joint.name, joint.torque_limit)


_AT_JOINTS = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


def _torque(file: Source, joint: str, limit: float) -> Iterator[str]:
    """Compare a torque limit with the tightest that the file states, where it states one."""
    found = _torque_limit(file.model, file.model.joint(joint).id)
    if found is not None:
        low, high, kind = found
        name = f"{joint}.torque_limit [N m]"
        where = f"{file.name} ({kind})"
        yield from _differ(name, limit, where, high, 1e-9)
        if abs(high - limit) <= 1e-9:
            yield from _differ(f"{name} in the negative direction", -limit, where, low, 1e-9)


def _torque_limit(model: mujoco.MjModel, joint: int) -> tuple[float, float, str] | None:
    """Return the torque range [N m] of a joint and the attribute that states it, or None."""
    stated = []
    if model.jnt_actfrclimited[joint]:
        stated.append((*model.jnt_actfrcrange[joint].tolist(), "actuatorfrcrange"))
    for index in range(model.nu):
        drives = model.actuator_trntype[index] in _AT_JOINTS
        if not drives or model.actuator_trnid[index, 0] != joint:
            continue
        gear = float(model.actuator_gear[index, 0])
        if model.actuator_forcelimited[index]:
            stated.append((*_scaled(model.actuator_forcerange[index], gear), "forcerange"))
        if model.actuator_ctrllimited[index] and _is_motor(model, index):
            factor = gear * float(model.actuator_gainprm[index, 0])
            stated.append((*_scaled(model.actuator_ctrlrange[index], factor), "ctrlrange"))
    if not stated:
        return None
    kind = min(stated, key=lambda s: s[1] - s[0])[2]
    return max(s[0] for s in stated), min(s[1] for s in stated), kind


def _scaled(limits: np.ndarray, factor: float) -> tuple[float, float]:
    low, high = sorted((limits * factor).tolist())
    return low, high


def _is_motor(model: mujoco.MjModel, index: int) -> bool:
    """Return whether the control of an actuator is a force, and not an angle or a velocity."""
    return (
        model.actuator_biastype[index] == mujoco.mjtBias.mjBIAS_NONE
        and model.actuator_gaintype[index] == mujoco.mjtGain.mjGAIN_FIXED
    )


# -- the world ------------------------------------------------------------------------------------


def _world(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find what lies in the world: a flat floor is replaced, anything else would be missing."""
    model = file.model
    static = source.static_geoms(model) & source.colliding_geoms(model)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for geom in np.flatnonzero(static):
        name = source.names(model, "geom", [int(geom)])[0]
        kind = mujoco.mjtGeom(int(model.geom_type[geom]))
        if kind != mujoco.mjtGeom.mjGEOM_PLANE:
            word = kind.name.removeprefix("mjGEOM_").lower()
            yield (
                f"{file.name} has the {word} {name!r} in the world; the ground comes from the "
                "task, so delete it"
            )
        elif abs(data.geom_xpos[geom, 2]) > 1e-6 or data.geom_xmat[geom, 8] < 1 - 1e-9:
            yield (
                f"{file.name} has the ground {name!r} at a height of {data.geom_xpos[geom, 2]:g} m "
                "or inclined; the variants stand on a level floor at height 0, so delete it"
            )
    world = np.flatnonzero(model.body_weldid == 0)
    for equality in range(model.neq):
        if _touches_world(model, equality, world):
            name = source.names(model, "equality", [equality])[0]
            yield f"{file.name}: the equality {name!r} ties the robot to the world; delete it"


_BODY_TIES = (int(mujoco.mjtEq.mjEQ_CONNECT), int(mujoco.mjtEq.mjEQ_WELD))


def _touches_world(model: mujoco.MjModel, equality: int, world: np.ndarray) -> bool:
    if model.eq_type[equality] not in _BODY_TIES:
        return False
    ids = np.array([model.eq_obj1id[equality], model.eq_obj2id[equality]])
    if model.eq_objtype[equality] == mujoco.mjtObj.mjOBJ_SITE:
        ids = model.site_bodyid[ids]
    return bool(np.isin(ids, world).any())


def _options(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find physics that the variants do not have; numerical options they set themselves."""
    option = file.model.opt
    if not np.allclose(option.gravity, (0, 0, -9.81), atol=0.02):
        yield (
            f"{file.name} has the gravity {option.gravity.tolist()}; the variants have 9.81 m/s^2 "
            "downwards, so delete it"
        )
    for name in ("wind", "density", "viscosity"):
        if np.any(getattr(option, name)):
            yield f"{file.name} has {name} in its <option>; the variants have no air, so delete it"
    for body in np.flatnonzero(file.model.body_gravcomp):
        yield (
            f"{file.name}: the body {file.model.body(body).name!r} has gravcomp, which takes its "
            "weight away; delete it"
        )


# -- the standing pose ----------------------------------------------------------------------------


def _home(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Compare the keyframe `home`, where there is one, with the default pose and base.height."""
    model = file.model
    if source.find(model, "key", "home") < 0:
        return
    where = f"{file.name} keyframe home"
    home = model.key("home").qpos
    pose = tuple(float(home[model.joint(n).qposadr[0]]) for n in robot.joint_names)
    yield from _differ("default pose [rad]", tuple(robot.vector("default")), where, pose, 1e-9)
    base = int(model.jnt_qposadr[model.body_jntadr[model.body(robot.base.body).id]])
    yield from _differ("base.height [m]", robot.base.height, where, float(home[base + 2]), 1e-6)
    quat = home[base + 3 : base + 7] / np.linalg.norm(home[base + 3 : base + 7])
    if abs(quat[0]) < 1 - 1e-9:
        angle = np.degrees(2 * np.arccos(min(1.0, abs(float(quat[0])))))
        yield (
            f"{where} has the base turned by {angle:.1f} degrees; the variants start level and "
            "forward, so give it the quaternion 1 0 0 0"
        )


def _ground(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Check that the robot stands: the lowest foot on the ground, and nothing else below it."""
    model = file.model
    height = geometry.standing_height(model, robot)
    off = robot.base.height - height
    if abs(off) > HEIGHT_TOLERANCE * height:
        side = "above" if off > 0 else "below"
        yield (
            f"base.height [m]: robot.yaml says {robot.base.height:g}, and in the default pose the "
            f"lowest foot is then {abs(off):.4f} m {side} the ground; write {height:.6f}"
        )
        return
    lowest = geometry.lowest_points(model, geometry.standing_pose(model, robot))
    mine = source.colliding_geoms(model) & ~source.static_geoms(model)
    mine[geometry.FootGeometry(model, robot).geoms] = False
    for geom in np.flatnonzero(mine & (lowest < -_DEPTH)):
        name = source.names(model, "geom", [int(geom)])[0]
        yield (
            f"{file.name}: the geom {name!r} of the body "
            f"{model.body(model.geom_bodyid[geom]).name!r} is {-lowest[geom]:.4f} m in the ground "
            "in the default pose; add it to the feet, or change pose or geom"
        )


def _closed(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Check that the default pose satisfies the equality constraints."""
    model = file.model
    if not model.neq:
        return
    data = geometry.standing_pose(model, robot)
    mujoco.mj_forward(model, data)
    rows = data.efc_type == mujoco.mjtConstraint.mjCNSTR_EQUALITY
    for id in np.unique(data.efc_id[rows]):
        worst = float(np.abs(data.efc_pos[rows & (data.efc_id == id)]).max())
        if worst > _RESIDUAL:
            name = source.names(model, "equality", [id])[0]
            yield (
                f"{file.name}: the default pose misses the equality {name!r} by {worst:.4f}; give "
                "the keyframe `home` angles of all joints that satisfy it"
            )


_RULES: tuple[Callable[[Source, RobotSpec], Iterator[str]], ...] = (
    _imu,
    _ranges,
    _held,
    _actuators,
    _world,
    _options,
    _home,
    _ground,
    _closed,
)


def _differ(what: str, ours: Any, where: str, theirs: Any, atol: float) -> Iterator[str]:
    """Yield a sentence with both values unless they are equal within `atol`."""
    if np.any(np.abs(np.subtract(ours, theirs)) > atol):
        yield f"{what}: robot.yaml says {ours}, {where} says {theirs}; make them agree"
