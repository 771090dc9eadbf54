"""The mirror map of a robot, left and right exchanged, found in its model.

Names are not enough: a joint called left may turn about another axis than its partner. So the
kinematic tree is compared with its own reflection in the base's x-z plane, in the default pose:
every body must find a partner with the same mass, the mirrored centre of mass and the mirrored
inertia, and every joint of it a joint of the partner with the mirrored anchor and axis.

    mirror = symmetry.find(robot, model)
    mirror.joints(q - default)        # the joint angles of the mirrored pose, less the default
    mirror.joints.index, mirror.feet.index

A reflection turns a rotation by q about axis a into one by q about -M a, M = diag(1, -1, 1). The
partner turns about that axis (sign 1) or about the opposite one (sign -1).
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from robot_ppo.mirror import Mirror
from robot_ppo.robot_model import geometry, source
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

REFLECTION = np.array([1.0, -1.0, 1.0])
LENGTH = 0.01
"""Tolerated distance between a point and its partner's mirror image, of the robot's size."""
LIGHT = 0.1
"""A body may be farther off, up to `FARTHEST`, if that moves the robot's centre of mass by no more
than this part of `LENGTH`: a head, a motor of the waist."""
FARTHEST = 5.0
"""In units of `LENGTH`."""
MASS = 0.05
"""Tolerated difference of masses and inertias, of the robot's mass and of the inertia."""
ANGLE = 0.02
"""Tolerated angle between axes, and difference of angles [rad]."""


@dataclass(frozen=True)
class RobotMirror:
    """Partners of joints, feet and bodies."""

    joints: Mirror
    """Mirror of joint angles less the default pose, of joint velocities and torques."""
    feet: Mirror
    bodies: np.ndarray
    """(nbody,) id of each body's partner, in the ids of the model"""


class _Frames:
    """Bodies and joints of a robot in its default pose, in the frame of its base."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        data = mujoco.MjData(model)
        for joint in robot.joints:
            id = source.find(model, "joint", joint.name)
            data.qpos[model.jnt_qposadr[id]] = joint.default
        mujoco.mj_forward(model, data)
        self.base = source.find(model, "body", robot.base.body)
        rotation = data.xmat[self.base].reshape(3, 3)
        origin = data.xpos[self.base]
        self.com = (data.xipos - origin) @ rotation
        self.anchors = (data.xanchor - origin) @ rotation
        self.axes = data.xaxis @ rotation
        turn = rotation.T @ data.ximat.reshape(-1, 3, 3)
        self.inertia = turn @ (model.body_inertia[:, :, None] * turn.transpose(0, 2, 1))
        self.mass = model.body_mass
        own = (model.body_rootid == model.body_rootid[self.base]) & (self.mass > 0)
        self.size = max(float(np.ptp(self.com[own], axis=0).max()), 1e-6)
        self.total = float(self.mass[own].sum())


def find(robot: RobotSpec, model: mujoco.MjModel, moved: float = 0.0) -> RobotMirror:
    """Return the mirror map of a robot, from its MJCF or any of its variants.

    Args:
        robot: names and figures.
        model: in which it is found.
        moved: how far training moves the base's centre of mass to either side anyway [m]: where
            it is and its mirror image may be so far apart.

    Raises:
        InputError: the model is not symmetric; the sentence names what lacks a partner, and by how
            much it differs.
    """
    frames = _Frames(model, robot)
    bodies = _partners(model, frames, moved)
    joints = _joints(model, robot, frames, bodies)
    return RobotMirror(joints, _feet(model, robot, bodies), bodies)


def _partners(model: mujoco.MjModel, frames: _Frames, moved: float) -> np.ndarray:
    """Return each body's partner (nbody,), from the base towards the ends of the tree."""
    partner = np.arange(model.nbody)
    for body in range(frames.base, model.nbody):
        if body == frames.base or model.body_rootid[body] != model.body_rootid[frames.base]:
            continue
        parent = partner[model.body_parentid[body]]
        candidates = np.flatnonzero(model.body_parentid == parent)
        image = frames.com[body] * REFLECTION
        gaps = np.linalg.norm(frames.com[candidates] - image, axis=1)
        nearest = int(np.argmin(gaps))
        partner[body] = candidates[nearest]
        _require_same(model, frames, body, int(partner[body]), float(gaps[nearest]))
    beside = abs(2 * float(frames.com[frames.base, 1]))
    base = frames.base
    _require_same(model, frames, base, base, 0.0 if beside <= moved else beside)
    back = partner[partner]
    lonely = np.flatnonzero(back != np.arange(model.nbody))
    if lonely.size:
        names = ", ".join(source.names(model, "body", lonely.tolist()))
        raise _asymmetric(f"the bodies {names} do not pair up")
    return partner


def _require_same(
    model: mujoco.MjModel, frames: _Frames, body: int, other: int, gap: float
) -> None:
    """Raise `InputError` where a body is not the mirror image of the other."""
    first, second = source.names(model, "body", [body, other])
    one = body == other
    pair = f"the body {first}" if one else f"the bodies {first} and {second}"
    share = max(float(frames.mass[body]) / frames.total, 1e-9)
    if gap > LENGTH * frames.size * min(max(1.0, LIGHT / share), FARTHEST):
        raise _asymmetric(f"{pair} {'lies' if one else 'lie'} {gap:.3g} m beside the mirror image")
    masses = frames.mass[[body, other]]
    if abs(masses[0] - masses[1]) > MASS * frames.total:
        raise _asymmetric(f"{pair} weigh {masses[0]:.4g} and {masses[1]:.4g} kg")
    image = frames.inertia[body] * np.outer(REFLECTION, REFLECTION)
    difference = np.abs(image - frames.inertia[other]).max()
    floor = frames.total * (LENGTH * frames.size) ** 2
    if difference > 2 * MASS * np.abs(image).max() + floor:
        raise _asymmetric(f"the inertias of {pair} differ by {difference:.3g} kg m^2")


def _joints(model: mujoco.MjModel, robot: RobotSpec, frames: _Frames, bodies: np.ndarray) -> Mirror:
    """Return the mirror of the joint vector; `InputError` where a joint lacks its partner."""
    ids = [source.find(model, "joint", joint.name) for joint in robot.joints]
    adr = model.jnt_qposadr[ids]
    index = []
    sign = []
    for joint in range(len(ids)):
        partner, turn = _partner(model, frames, ids, bodies, joint)
        _require_same_joint(robot, joint, partner, turn, model.qpos0[adr])
        index.append(partner)
        sign.append(turn)
    return Mirror.of(index, sign)


def _partner(
    model: mujoco.MjModel, frames: _Frames, ids: list[int], bodies: np.ndarray, joint: int
) -> tuple[int, float]:
    """Return the index of a joint's partner, and whether it turns the same way (1) or not (-1)."""
    id = ids[joint]
    slides = model.jnt_type[id] == mujoco.mjtJoint.mjJNT_SLIDE
    axis = frames.axes[id] * REFLECTION * (1.0 if slides else -1.0)
    anchor = frames.anchors[id] * REFLECTION
    body = bodies[model.jnt_bodyid[id]]
    for other, candidate in enumerate(ids):
        along = float(axis @ frames.axes[candidate])
        near = np.linalg.norm(np.cross(anchor - frames.anchors[candidate], axis))
        fits = model.jnt_bodyid[candidate] == body and abs(along) > np.cos(ANGLE)
        if fits and near <= LENGTH * frames.size:
            return other, float(np.sign(along))
    name = source.names(model, "joint", [id])[0]
    raise _asymmetric(f"the joint {name} has no partner with the mirrored axis and anchor")


def _require_same_joint(
    robot: RobotSpec, joint: int, other: int, sign: float, reference: np.ndarray
) -> None:
    """Raise `InputError` where the figures of two partners in robot.yaml are not each other's.

    Args:
        robot: the figures.
        joint: index of one.
        other: index of its partner.
        sign: -1 where they turn in opposite directions.
        reference: angles (joints,) of the pose that the MJCF draws, its `ref` [rad].
    """
    one = robot.joints[joint]
    two = robot.joints[other]
    turned = sign * (one.default - reference[joint])
    if abs(turned - (two.default - reference[other])) > ANGLE:
        raise _asymmetric(
            f"the default angles of {one.name} and {two.name} are {one.default:g} and "
            f"{two.default:g} rad"
        )
    figures = ("kp", "kd", "torque_limit", "velocity_limit", "action_scale")
    for figure in figures:
        if getattr(one, figure) != getattr(two, figure):
            raise _asymmetric(f"the {figure} of {one.name} and {two.name} differs in robot.yaml")


def _feet(model: mujoco.MjModel, robot: RobotSpec, bodies: np.ndarray) -> Mirror:
    """Return the exchange of the feet; `InputError` where a foot's partner is not a foot."""
    owners = [int(model.geom_bodyid[ids[0]]) for ids in geometry.foot_geoms(model, robot)]
    index = []
    for foot, body in zip(robot.feet, owners, strict=True):
        partner = int(bodies[body])
        if owners.count(partner) != 1:
            raise _asymmetric(f"the foot {foot} has no partner among robot.yaml's `feet`")
        index.append(owners.index(partner))
    return Mirror.of(index, [1.0] * len(index))


def _asymmetric(what: str) -> InputError:
    return InputError(
        f"the robot is not symmetric: {what}; leave `networks.symmetric` false for it"
    )
