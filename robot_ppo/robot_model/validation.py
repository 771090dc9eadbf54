"""robot.yaml against the MJCF, and the MJCF against what the variants assume.

The policy is trained on the MJCF and the node believes robot.yaml, so every figure that stands in
both is compared, on the MJCF as it is written and before a variant is made of it. What the file
holds beyond that is either something that the variants keep or replace (docs/robots.md lists it),
or a problem: one sentence that names the element and the remedy.

    validation.check(source.read(Path("go2.xml")), robot)           # or InputError
    validation.problems(source.read(Path("go2.xml")), robot)        # all of them
"""

import functools
import logging
from collections.abc import Callable, Iterator

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, motor_rules, source, world_rules
from robot_ppo.robot_model.motor_rules import differ
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)

HEIGHT_TOLERANCE = 0.15
"""`base.height` may differ by so much of it from the height at which the robot stands: a sole that
is not level in the default pose has no one height. The variants stand on the ground in any case."""
_DEPTH = 0.005
"""[m] Another geom than a foot may be so far in the ground in the default pose."""
_TOUCHES = 0.001
"""[m] A part that no foot belongs to touches the ground where it is no higher above it."""
_TURNED = 1.0
"""[rad] A spring that the weight on it turns by more holds nothing."""
_RESIDUAL = 0.002
"""An equality constraint may be so far from satisfied in the default pose, [m] or [rad]."""
_BITS = 2**31 - 1
"""Bits of contype that the ground's is chosen from."""
_MOUNTING = np.radians(0.5)
"""[rad] Angle between the IMU's mounting in robot.yaml and in the MJCF."""


def check(file: Source, robot: RobotSpec) -> None:
    """Raise `InputError` with the first problem, and how many more there are."""
    found = problems(file, robot)
    if not found:
        _tell_of_height(file, robot)
        return
    more = len(found) - 1
    rest = f" ({more} more: robot-ppo check {robot.name})" if more else ""
    raise InputError(found[0] + rest)


def _tell_of_height(file: Source, robot: RobotSpec) -> None:
    """Warn where the robot does not stand at `base.height`; once for each robot."""
    height = geometry.standing_height(file.model, robot)
    if abs(height - robot.base.height) > geometry.LEVEL:
        _warn_once(
            f"{robot.name}: robot.yaml's base.height is {robot.base.height:g} m, and in the "
            f"default pose the lowest foot touches the ground at {height:.6f} m: the variants "
            "start there; write it into robot.yaml"
        )


@functools.cache
def _warn_once(text: str) -> None:
    log.warning(text)


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
    mine = model.geom_contype[~source.static_geoms(model)]
    if np.bitwise_or.reduce(mine, initial=0) & _BITS == _BITS:
        yield (
            f"{file.name}: the robot's geoms have all {_BITS.bit_length()} bits of contype, so "
            "that none is left for the ground; give them contype 1"
        )
    for count, what in ((model.nflex, "a flex"), (model.nplugin, "a plugin")):
        if count:
            yield f"{file.name} has {what}, which the variants cannot keep; delete it"
    if source.find(model, "geom", "floor") in np.flatnonzero(~source.static_geoms(model)):
        yield (f"{file.name} calls a geom of the robot 'floor', as the ground is called; rename it")


# -- base, IMU ------------------------------------------------------------------------------------


_DRAGS = ("damping", "frictionloss", "armature")


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
    for joint in free:
        dofs = slice(int(model.jnt_dofadr[joint]), int(model.jnt_dofadr[joint]) + 6)
        drags = [getattr(model, f"dof_{what}")[dofs] for what in _DRAGS]
        if np.any(drags) or model.jnt_stiffness[joint]:
            yield (
                f"the free joint of {model.body(model.jnt_bodyid[joint]).name!r} in {file.name} "
                f"has {', '.join(_DRAGS)} or stiffness, perhaps from a <default>, which hold the "
                "robot in the air; make it a <freejoint/>"
            )
    for name in floating:
        if name != robot.base.body and robot.base.body in floating:
            yield (
                f"{file.name} has a second free body {name!r}; the variants simulate the robot "
                "alone, so delete it"
            )


def _imu(file: Source, robot: RobotSpec) -> Iterator[str]:
    model = file.model
    site = model.site(robot.imu.site).id
    base = model.body(robot.base.body).id
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


# -- joints ---------------------------------------------------------------------------------------


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
            yield from differ(f"{joint.name}.range [rad]", joint.range, file.name, found, 1e-9)


def _held(file: Source, robot: RobotSpec) -> Iterator[str]:
    """Find joints that robot.yaml does not have and that nothing holds."""
    model = file.model
    couples = (model.eq_type == mujoco.mjtEq.mjEQ_JOINT) & (model.eq_active0 != 0)
    coupled = {*model.eq_obj1id[couples].tolist(), *model.eq_obj2id[couples].tolist()}
    data = geometry.standing_pose(model, robot)
    mujoco.mj_forward(model, data)
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
        elif id not in coupled:
            yield from _loose(file, model, data, id, name)


def _loose(
    file: Source, model: mujoco.MjModel, data: mujoco.MjData, id: int, name: str
) -> Iterator[str]:
    """Tell of a passive joint that its spring does not hold against the weight on it."""
    weight = abs(float(data.qfrc_bias[model.jnt_dofadr[id]]))
    stiffness = float(np.atleast_1d(model.jnt_stiffness[id])[0])
    if stiffness > 0 and stiffness * _TURNED >= weight:
        return
    spring = "no spring holds"
    if stiffness:
        spring = f"a spring of {stiffness:.3g} N m/rad does not hold against {weight:.3g} N m"
    yield (
        f"{file.name} has the joint {name!r}, which robot.yaml does not list and {spring}; "
        "delete the joint, so that its body is fixed, or list it in `joints`"
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
    default = tuple(robot.vector("default").tolist())
    yield from differ("default pose [rad]", default, where, pose, 1e-9)
    base = int(model.jnt_qposadr[model.body_jntadr[model.body(robot.base.body).id]])
    yield from differ("base.height [m]", robot.base.height, where, float(home[base + 2]), 1e-6)
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
    feet = geometry.FootGeometry(model, robot).geoms
    mine[feet] = False
    parts = model.body_weldid[model.geom_bodyid]
    elsewhere = ~np.isin(parts, parts[feet])
    for geom in np.flatnonzero(mine & (lowest < np.where(elsewhere, _TOUCHES, -_DEPTH))):
        name = source.names(model, "geom", [int(geom)])[0]
        how = f"is {-lowest[geom]:.4f} m in" if lowest[geom] < -_TOUCHES else "stands on"
        yield (
            f"{file.name}: the geom {name!r} of the body "
            f"{model.body(model.geom_bodyid[geom]).name!r} {how} the ground in the default pose "
            "and is no foot; add it to the feet, or change pose or geom"
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
    motor_rules.actuators,
    world_rules.world,
    world_rules.options,
    _home,
    _ground,
    _closed,
)
