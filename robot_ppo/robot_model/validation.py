"""robot.yaml against the MJCF: where the two disagree, one of them is wrong.

The policy is trained on the MJCF and the node believes robot.yaml, so every figure that stands in
both is compared, on the MJCF as it is written and before a variant is made of it.

    agreement.check(mujoco.MjModel.from_xml_path("go2.xml"), robot, "go2.xml")    # or InputError
"""

from typing import Any

import mujoco
import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError


def check(model: mujoco.MjModel, robot: RobotSpec, xml: str) -> None:
    """Raise `InputError`, naming both sides, where `robot` and the MJCF called `xml` disagree."""
    actuators = tuple(model.actuator(i).name for i in range(model.nu))
    _agree("joint names in order", robot.joint_names, f"{xml} actuators", actuators)
    _check_names(model, robot, xml)
    _check_base(model, robot, xml)
    for index, joint in enumerate(robot.joints):
        _check_joint(model, robot, xml, index)
        _check_motor(model, xml, joint.name, index, joint.torque_limit)
    _check_sensors(model, robot, xml)
    _check_home(model, robot, xml)


def _check_names(model: mujoco.MjModel, robot: RobotSpec, xml: str) -> None:
    for kind, names in (
        ("joint", robot.joint_names),
        ("geom", robot.feet),
        ("body", (robot.base.body,)),
        ("site", (robot.imu.site,)),
    ):
        for name in names:
            if _id(model, kind, name) < 0:
                raise InputError(f"robot.yaml names the {kind} {name!r}, which {xml} does not have")


def _check_base(model: mujoco.MjModel, robot: RobotSpec, xml: str) -> None:
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    floating = tuple(model.body(model.jnt_bodyid[i]).name for i in free)
    _agree("base.body", (robot.base.body,), f"{xml} bodies with a free joint", floating)
    carrier = model.body(model.site_bodyid[_id(model, "site", robot.imu.site)]).name
    where = f"of the body that carries the site {robot.imu.site!r} (imu.site) {xml}"
    _agree("base.body", robot.base.body, where, carrier)


def _check_joint(model: mujoco.MjModel, robot: RobotSpec, xml: str, index: int) -> None:
    joint = robot.joints[index]
    id = _id(model, "joint", joint.name)
    found = tuple(float(x) for x in model.jnt_range[id])
    _agree(f"{joint.name}.range [rad]", joint.range, xml, found, atol=1e-9)
    low, high = (float(x) for x in model.jnt_actfrcrange[id])
    _agree(f"{joint.name}.torque_limit [N m]", joint.torque_limit, xml, high, atol=1e-9)
    what = f"{joint.name}.torque_limit in the negative direction [N m]"
    _agree(what, -joint.torque_limit, xml, low, atol=1e-9)


def _check_motor(
    model: mujoco.MjModel, xml: str, name: str, index: int, torque_limit: float
) -> None:
    """Check that actuator `index` is a plain motor of joint `name`: control = torque [N m]."""
    joint = mujoco.mjtTrn.mjTRN_JOINT
    driven = model.actuator_trnid[index, 0]
    driven = model.joint(driven).name if model.actuator_trntype[index] == joint else None
    _agree(f"joint of the actuator {name!r}", name, xml, driven)
    gear = float(model.actuator_gear[index, 0])
    if gear != 1:
        raise InputError(
            f"robot.yaml's torques are at the joint, and the actuator {name!r} in {xml} has gear "
            f"{gear}; give it gear 1, and put the transmission into torque_limit and armature"
        )
    if (
        model.actuator_biastype[index] != mujoco.mjtBias.mjBIAS_NONE
        or model.actuator_gaintype[index] != mujoco.mjtGain.mjGAIN_FIXED
        or model.actuator_gainprm[index, 0] != 1
    ):
        raise InputError(
            f"robot.yaml gives the gains, and the actuator {name!r} in {xml} has some of its own; "
            "make it a <motor>, whose control is a torque"
        )
    for kind in ("ctrl", "force"):
        low, high = (float(x) for x in getattr(model, f"actuator_{kind}range")[index])
        limited = getattr(model, f"actuator_{kind}limited")[index]
        if limited and not (low <= -torque_limit and torque_limit <= high):
            raise InputError(
                f"{name}.torque_limit [N m]: robot.yaml says {torque_limit}, the {kind}range of "
                f"its motor in {xml} is [{low}, {high}], which cuts it off; make them agree"
            )


def _check_sensors(model: mujoco.MjModel, robot: RobotSpec, xml: str) -> None:
    """Check that each signal has its sensor, by name, and that it measures what the name says."""
    kinds = mujoco.mjtSensor
    site = robot.imu.site
    wanted = [
        *((f"{j}_pos", kinds.mjSENS_JOINTPOS, "joint", j) for j in robot.joint_names),
        *((f"{j}_vel", kinds.mjSENS_JOINTVEL, "joint", j) for j in robot.joint_names),
        *((f"{j}_torque", kinds.mjSENS_JOINTACTFRC, "joint", j) for j in robot.joint_names),
        (f"{site}_quat", kinds.mjSENS_FRAMEQUAT, "site", site),
        (f"{site}_gyro", kinds.mjSENS_GYRO, "site", site),
        (f"{site}_accel", kinds.mjSENS_ACCELEROMETER, "site", site),
        *((f"{foot}_contact", kinds.mjSENS_TOUCH, "geom", foot) for foot in robot.feet),
    ]
    for name, kind, owner, of in wanted:
        measures = f"{kind.name.removeprefix('mjSENS_').lower()} of the {owner} {of!r}"
        id = _id(model, "sensor", name)
        if id < 0:
            raise InputError(
                f"robot.yaml's {owner} {of!r} needs the sensor {name!r} ({measures}), which {xml} "
                "does not have; add it"
            )
        if model.sensor_type[id] != kind or not _measures(model, id, owner, of):
            raise InputError(
                f"robot.yaml needs the sensor {name!r} to be the {measures}; in {xml} it measures "
                "something else"
            )


def _measures(model: mujoco.MjModel, sensor: int, owner: str, name: str) -> bool:
    """Return whether a sensor is attached to `name`; a foot is felt by a site on its body."""
    attached, id = model.sensor_objid[sensor], _id(model, owner, name)
    if owner == "geom":
        return bool(model.site_bodyid[attached] == model.geom_bodyid[id])
    return bool(attached == id)


def _check_home(model: mujoco.MjModel, robot: RobotSpec, xml: str) -> None:
    if _id(model, "key", "home") < 0:
        raise InputError(
            f"robot.yaml gives a default pose and base.height, and {xml} has no keyframe 'home' "
            "with the same; add it"
        )
    home = model.key("home").qpos
    pose = tuple(float(home[model.joint(n).qposadr[0]]) for n in robot.joint_names)
    _agree("default pose [rad]", tuple(robot.vector("default")), f"{xml} keyframe home", pose, 1e-9)
    _agree("base.height [m]", robot.base.height, f"{xml} keyframe home", float(home[2]), 1e-6)


def _id(model: mujoco.MjModel, kind: str, name: str) -> int:
    """Return the number of the object `name`, or -1."""
    return mujoco.mj_name2id(model, getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), name)


def _agree(what: str, ours: Any, where: str, theirs: Any, atol: float | None = None) -> None:
    """Raise `InputError` with both values unless they are equal, or numbers within `atol`."""
    same = ours == theirs if atol is None else np.all(np.abs(np.subtract(ours, theirs)) <= atol)
    if not same:
        raise InputError(f"{what}: robot.yaml says {ours}, {where} says {theirs}; make them agree")
