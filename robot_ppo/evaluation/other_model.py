"""The policy of one robot on another model of it: another maker's masses, collision and joints.

    contract, xml = other_model.of(contract, "robots/vendor_go2")
    evaluate.evaluate(contract, act, conditions, xml=xml)

Joints are found by name. The default pose and the gains are the policy's, because a motor is told
them; everything else (ranges, torque limits, base, IMU, feet) is what that model says.
"""

import msgspec

from robot_ppo import project
from robot_ppo.robot_model import geometry, source
from robot_ppo.robot_model.source import Mjcf
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.spec import Joint, RobotSpec
from robot_ppo_export.errors import InputError


def of(contract: Contract, robot: str) -> tuple[Contract, Mjcf]:
    """Return the contract on another model, and that model.

    Args:
        contract: of the policy.
        robot: name or folder of a robot with joints of the same names, in any order.
    """
    folder = project.robot_folder(robot)
    other = project.load_robot_in(folder)
    xml = folder / other.model
    joints = _joints(contract.robot, other, robot)
    spec = msgspec.structs.replace(
        other,
        joints=joints,
        stand=contract.robot.stand,
        damping=contract.robot.damping,
        rest_pose=contract.robot.rest_pose,
        life_cycle=contract.robot.life_cycle,
        safety=contract.robot.safety,
    )
    height = geometry.standing_height(source.read(xml).model, spec)
    base = msgspec.structs.replace(other.base, height=height)
    spec = msgspec.structs.replace(spec, base=base)
    return msgspec.structs.replace(contract, robot=spec), xml


def _joints(own: RobotSpec, other: RobotSpec, name: str) -> tuple[Joint, ...]:
    """Return the other model's joints in the policy's order, at its pose and gains."""
    there = {joint.name: joint for joint in other.joints}
    missing = [joint.name for joint in own.joints if joint.name not in there]
    more = [joint for joint in there if joint not in own.joint_names]
    if missing or more:
        which = f"lacks {_some(missing)}" if missing else f"has {_some(more)} besides"
        raise InputError(
            f"--robot {name}: is no other model of {own.name}: it {which}; "
            "joints are found by name, so give them the same ones"
        )
    return tuple(
        msgspec.structs.replace(there[j.name], default=j.default, kp=j.kp, kd=j.kd, held=j.held)
        for j in own.joints
    )


def _some(names: list[str]) -> str:
    """Return the first of many names."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
