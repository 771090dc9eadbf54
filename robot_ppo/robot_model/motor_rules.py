"""Rules of `validation.py` for actuators: their joints, their dynamics, their torque limits."""

from collections.abc import Iterator, Sequence
from typing import Any

import mujoco
import numpy as np

from robot_ppo.robot_model import source
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import RobotSpec


def actuators(file: Source, robot: RobotSpec) -> Iterator[str]:
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
    found = torque_limit(file.model, file.model.joint(joint).id)
    if found is not None:
        low, high, kind = found
        name = f"{joint}.torque_limit [N m]"
        where = f"{file.name} ({kind})"
        yield from differ(name, limit, where, high, 1e-9)
        if abs(high - limit) <= 1e-9:
            yield from differ(f"{name} in the negative direction", -limit, where, low, 1e-9)


def torque_limit(model: mujoco.MjModel, joint: int) -> tuple[float, float, str] | None:
    """Return the torque range [N m] of a joint and the attribute that states it, or None.

    What several actuators do at one joint adds up, so one without a limit leaves it without one.
    """
    stated = []
    if model.jnt_actfrclimited[joint]:
        stated.append((*model.jnt_actfrcrange[joint].tolist(), "actuatorfrcrange"))
    driving = [
        _actuator_limit(model, index)
        for index in range(model.nu)
        if model.actuator_trntype[index] in _AT_JOINTS and model.actuator_trnid[index, 0] == joint
    ]
    limits = [limit for limit in driving if limit is not None]
    if limits and len(limits) == len(driving):
        stated.append((sum(s[0] for s in limits), sum(s[1] for s in limits), limits[0][2]))
    return _tightest(stated) if stated else None


def _actuator_limit(model: mujoco.MjModel, index: int) -> tuple[float, float, str] | None:
    """Return the torque range [N m] of one actuator and the attribute that states it, or None."""
    stated = []
    gear = float(model.actuator_gear[index, 0])
    if model.actuator_forcelimited[index]:
        stated.append((*_scaled(model.actuator_forcerange[index], gear), "forcerange"))
    if model.actuator_ctrllimited[index] and _is_motor(model, index):
        factor = gear * float(model.actuator_gainprm[index, 0])
        stated.append((*_scaled(model.actuator_ctrlrange[index], factor), "ctrlrange"))
    return _tightest(stated) if stated else None


def _tightest(stated: Sequence[tuple[float, float, str]]) -> tuple[float, float, str]:
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


def differ(what: str, ours: Any, where: str, theirs: Any, atol: float) -> Iterator[str]:
    """Yield a sentence with both values unless they are equal within `atol`."""
    if np.any(np.abs(np.subtract(ours, theirs)) > atol):
        yield f"{what}: robot.yaml says {ours}, {where} says {theirs}; make them agree"
