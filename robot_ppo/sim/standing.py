"""Test that a robot stands by its motors alone, in the evaluation model: no policy, PD in place.

standing.tested(robot, xml)                         # with the gains of standing up
standing.tested(robot, xml, rest=True)              # lying down: limp, from its rest pose
"""

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo.robot_model import source, variants
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.contract.spec import RobotSpec

SECONDS = 5.0
LEVEL = 0.3
"""[rad] A base that is tilted by more has fallen over."""
SUNK = 0.6
"""A base below this fraction of its height has sunk down."""
_FLAT = 0.35
"""[rad] A robot that rests is tilted by no more."""


@dataclass(frozen=True)
class Standing:
    """Result of a trial of standing."""

    fell_after: float | None
    """[s]; None: it stood to the end."""
    why: str
    """Reason of the fall, "" without one."""
    tilt: float
    """Tilt at the end [rad]."""
    height: float
    """Height of the base at the end [m]."""
    torque: float
    """Largest torque at the end, as a fraction of its joint's limit."""
    torque_joint: str


def tested(
    robot: RobotSpec, xml: Path, seconds: float = SECONDS, policy_gains: bool = False
) -> Standing:
    """Return how a robot stands that begins in its default pose on the ground.

    Args:
        robot: gains and pose.
        xml: its MJCF.
        seconds: how long it has to stand.
        policy_gains: hold with kp and kd of the joints, not with those of `stand`.
    """
    model = variants.eval_model(robot, xml)
    engine = SingleEngine(model)
    engine.restart(np.zeros(1, np.int64), model.key("home").id)
    motors = PdMotors(robot, 1, variants.EVAL_TIMESTEP)
    if not policy_gains:
        motors.kp[:], motors.kd[:] = robot.stand_gains()
    joints = [model.joint(name) for name in robot.joint_names]
    qpos = np.array([j.qposadr[0] for j in joints])
    qvel = np.array([j.dofadr[0] for j in joints])
    base = model.body(robot.base.body).id
    target = robot.vector("default")[None]
    start = float(engine.data.xpos[base, 2])
    fell = None
    why = ""
    torque = np.zeros(len(joints))
    for step in range(round(seconds / variants.EVAL_TIMESTEP)):
        torque = motors.torque(target, engine.data.qpos[qpos], engine.data.qvel[qvel])[0]
        engine.data.ctrl[:] = torque
        why = "it diverges" if engine.advance().size else _fallen(engine.data, base, start)
        if why:
            fell = step * variants.EVAL_TIMESTEP
            break
    shares = np.abs(torque) / motors.limit
    worst = int(np.argmax(shares))
    tilt = _tilt(engine.data, base)
    height = float(engine.data.xpos[base, 2])
    return Standing(fell, why, tilt, height, float(shares[worst]), robot.joint_names[worst])


def told(robot: RobotSpec, xml: Path) -> str:
    """Return how a robot stands, in a sentence or two: what `import` and `check` say."""
    by_policy = tested(robot, xml, policy_gains=True)
    if by_policy.fell_after is None:
        return (
            f"It stands {SECONDS:g} s by the policy's gains alone: tilt {by_policy.tilt:.3f} rad, "
            f"at most {by_policy.torque:.0%} of a torque limit ({by_policy.torque_joint})."
        )
    by_stand = tested(robot, xml)
    first = f"By the policy's gains alone {by_policy.why} after {by_policy.fell_after:.1f} s"
    if by_stand.fell_after is None:
        return (
            f"It stands {SECONDS:g} s by the gains of standing up alone: tilt "
            f"{by_stand.tilt:.3f} rad, at most {by_stand.torque:.0%} of a torque limit "
            f"({by_stand.torque_joint}). {first}, so the policy has to balance it."
        )
    reason = "a biped is balanced by its policy, not by springs"
    if len(robot.feet) > 2 or by_stand.torque > 0.99:
        reason = (
            f"{by_stand.torque_joint} is at {by_stand.torque:.0%} of its torque limit: look at "
            "limits and pose"
        )
    then = f"by those of standing up {by_stand.why} after {by_stand.fell_after:.1f} s"
    return f"{first}; {then}: {reason}."


def _tilt(data: mujoco.MjData, base: int) -> float:
    return float(np.arccos(np.clip(data.xmat[base, 8], -1, 1)))


def _fallen(data: mujoco.MjData, base: int, start: float) -> str:
    if _tilt(data, base) > LEVEL:
        return "it tips over"
    return "it sinks down" if data.xpos[base, 2] < SUNK * start else ""


def rests(robot: RobotSpec, xml: Path, seconds: float = 2.0) -> bool:
    """Return whether a limp robot lies level on the ground, from its rest pose."""
    model = variants.eval_model(robot, xml)
    engine = SingleEngine(model)
    engine.restart(np.zeros(1, np.int64), model.key("home").id)
    data = engine.data
    base = model.body(robot.base.body).id
    for name, angle in zip(robot.joint_names, robot.rest(), strict=True):
        data.qpos[model.joint(name).qposadr[0]] = angle
    _put_down(model, data, base)
    for _ in range(round(seconds / variants.EVAL_TIMESTEP)):
        data.ctrl[:] = 0
        if engine.advance().size:
            return False
    return _tilt(data, base) < _FLAT


def _put_down(model: mujoco.MjModel, data: mujoco.MjData, base: int) -> None:
    """Let the lowest point of the robot touch the ground."""
    from robot_ppo.robot_model import geometry

    mujoco.mj_forward(model, data)
    mine = source.colliding_geoms(model) & ~source.static_geoms(model)
    height = model.jnt_qposadr[model.body_jntadr[base]] + 2
    data.qpos[height] -= geometry.lowest_points(model, data)[mine].min()
    mujoco.mj_forward(model, data)


def touching(robot: RobotSpec, xml: Path) -> list[tuple[str, str, float]]:
    """Return the pairs of bodies that touch each other in the default pose, and how deep [m]."""
    model = variants.eval_model(robot, xml)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    found = {}
    for contact in data.contact:
        one, two = (int(model.geom_bodyid[g]) for g in contact.geom)
        if one and two and contact.dist < 0:
            pair = tuple(sorted((model.body(one).name, model.body(two).name)))
            found[pair] = max(found.get(pair, 0.0), -float(contact.dist))
    return [(one, two, depth) for (one, two), depth in sorted(found.items())]
