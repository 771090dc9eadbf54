"""The figures of a robot from which a task is derived, measured in its model.

    body = measure(robot, model)
    body.leg, body.mass, body.unit_time, body.feet

Everything is measured in the default pose on flat ground. Names are used to find things and never
to know what they are: left, right, front and rear are positions.
"""

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

GRAVITY = 9.81
"""[m/s^2]"""
Vector = tuple[float, float, float]
_STRAIGHT = 1e-3
"""A leg that cannot become longer by this fraction has no knee that bends."""
SIDEWAYS = 0.7
"""A joint whose axis has so much of the y axis swings its leg fore and aft."""


@dataclass(frozen=True)
class LegJoint:
    """A joint that moves one foot and no other."""

    name: str
    depth: int
    """Joints of the leg between it and the base."""
    pitch: bool
    """True where it swings the leg fore and aft."""
    load: float
    """Torque [N m] with which it carries its share of the weight, when half of the feet do."""
    anchor: Vector = (0.0, 0.0, 0.0)
    """From the foot to it [m]."""
    axis: Vector = (0.0, 1.0, 0.0)
    turns: tuple[float, float] = (-math.pi, math.pi)
    """How far it can turn from the default pose, either way [rad]."""


@dataclass(frozen=True)
class Foot:
    """A foot, and the leg above it."""

    name: str
    x: float
    """[m] ahead of the middle of all feet"""
    y: float
    """[m] to the left of it"""
    leg: float
    """Height of the leg's first joint above the ground [m]."""
    joints: tuple[LegJoint, ...]
    """From the base to the foot."""

    def lift(self, angle: float) -> float:
        """Return how much nearer to the hip it comes as one joint below bends by an angle [m].

        Of all joints the one that gives most, in its better direction; 0 without one.
        """
        if not self.joints:
            return 0.0
        hip = np.array(self.joints[0].anchor)
        found = [0.0]
        for joint in self.joints[1:]:
            anchor = np.array(joint.anchor)
            for turn in (angle, -angle):
                foot = anchor - _turned(np.array(joint.axis), turn, anchor)
                found.append(float(np.linalg.norm(hip) - np.linalg.norm(hip - foot)))
        return max(found)

    def ahead(self) -> float:
        """Return how far before and behind its hip it can be on the ground [m].

        By the joint below that stretches the leg most; inf where no joint does, as then it is not
        a knee that decides.
        """
        swinging = [joint for joint in self.joints if joint.pitch]
        if len(swinging) < 2:
            return math.inf
        hip = np.array(swinging[0].anchor)
        longest = float(np.linalg.norm(hip))
        bent = longest
        for joint in swinging[1:]:
            anchor = np.array(joint.anchor)
            for turn in np.linspace(*joint.turns, 64):
                foot = anchor - _turned(np.array(joint.axis), float(turn), anchor)
                longest = max(longest, float(np.linalg.norm(hip - foot)))
        if longest < (1 + _STRAIGHT) * bent:
            return math.inf
        return math.sqrt(longest**2 - hip[2] ** 2) - abs(float(hip[0]))


@dataclass(frozen=True)
class Body:
    """A robot, as far as a task depends on it."""

    robot: RobotSpec
    feet: tuple[Foot, ...]
    mass: float
    """[kg], everything"""
    height: float
    """Height of the base above the ground [m]."""
    trunk: frozenset[str]
    """Joints in no leg that several limbs hang on: a waist."""
    model: mujoco.MjModel
    """What it was measured in."""

    @property
    def leg(self) -> float:
        """Length of a leg [m]: the mean height of the legs' first joints."""
        return float(np.mean([foot.leg for foot in self.feet]))

    @property
    def share(self) -> float:
        """Weight on a foot when half of the feet are down [N]."""
        return self.mass * GRAVITY / (len(self.feet) / 2)

    @property
    def unit_time(self) -> float:
        """sqrt(leg / g) [s]."""
        return math.sqrt(self.leg / GRAVITY)

    @property
    def unit_speed(self) -> float:
        """sqrt(g leg) [m/s]: at this speed the Froude number is 1."""
        return math.sqrt(GRAVITY * self.leg)

    @property
    def unit_torque(self) -> float:
        """Weight times leg [N m]."""
        return self.mass * GRAVITY * self.leg

    def leg_joint(self, name: str) -> LegJoint | None:
        """Return a joint of a leg, or None for one that is in none."""
        joints = (joint for foot in self.feet for joint in foot.joints)
        return next((joint for joint in joints if joint.name == name), None)


def measure(robot: RobotSpec, model: mujoco.MjModel) -> Body:
    """Return the figures of a robot; `InputError` where it has no leg to walk with."""
    if len(robot.feet) < 2:
        raise InputError(
            f"robot.yaml's `feet`: the task `walk` needs at least two, {robot.name} has "
            f"{len(robot.feet)}"
        )
    data = geometry.standing_pose(model, robot)
    base = model.body(robot.base.body).id
    geoms = geometry.foot_geoms(model, robot)
    points = np.array([data.geom_xpos[ids].mean(axis=0) for ids in geoms])
    chains = [_chain(model, base, int(model.geom_bodyid[ids[0]])) for ids in geoms]
    mass = float(model.body_subtreemass[base])
    share = mass * GRAVITY / (len(robot.feet) / 2)
    ours = set(robot.joint_names)
    feet = []
    for i, (name, chain) in enumerate(zip(robot.feet, chains, strict=True)):
        others = {id for j, other in enumerate(chains) if j != i for id in other}
        own = [id for id in chain if id not in others and model.joint(id).name in ours]
        if not own:
            raise InputError(f"robot.yaml's `feet`: no joint moves the foot {name!r} alone")
        joints = [_leg_joint(model, data, id, k, points[i], share) for k, id in enumerate(own)]
        x, y, _ = (points[i] - points.mean(axis=0)).tolist()
        feet.append(Foot(name, x, y, float(data.xanchor[own[0], 2]), tuple(joints)))
    _require_forward(robot, feet)
    height = float(data.xpos[base, 2])
    return Body(robot, tuple(feet), mass, height, _trunk(model, base, chains, ours), model)


def _require_forward(robot: RobotSpec, feet: list[Foot]) -> None:
    """Raise `InputError` where all legs swing sideways: x is not forward.

    The legs of an insect swing about a vertical axis, and bend about any.
    """
    for foot in feet:
        about = np.abs([joint.axis for joint in foot.joints]) > SIDEWAYS
        sideways, fore, turns = about.sum(axis=0)
        if sideways < 2 or sideways <= fore or (turns and len(feet) > 2):
            return
    raise InputError(
        f"robot.yaml's `base`: the legs of {robot.name} bend about the x axis of "
        f"{robot.base.body!r} ({', '.join(joint.name for joint in feet[0].joints)}), so that it "
        "would walk sideways; x must be forward: turn what is in that body by 90 degrees, or let "
        "`robot-ppo import` do it"
    )


def _chain(model: mujoco.MjModel, base: int, body: int) -> list[int]:
    """Return the ids of the joints between the base and a body, the nearest to the base first."""
    found: list[int] = []
    while body not in (base, 0):
        first = int(model.body_jntadr[body])
        found = [*range(first, first + int(model.body_jntnum[body])), *found]
        body = int(model.body_parentid[body])
    return found


def _leg_joint(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    id: int,
    depth: int,
    foot: np.ndarray,
    share: float,
) -> LegJoint:
    """Return a joint of a leg on whose foot the force `share` [N] acts upwards."""
    axis = data.xaxis[id]
    arm = foot - data.xanchor[id]
    load = abs(float(axis @ np.cross(arm, (0.0, 0.0, share))))
    x, y, z = (-arm).tolist()
    limited = bool(model.jnt_limited[id])
    now = float(data.qpos[model.jnt_qposadr[id]])
    low, high = (model.jnt_range[id] - now).tolist() if limited else (-math.pi, math.pi)
    return LegJoint(
        model.joint(id).name,
        depth,
        abs(float(axis[1])) > SIDEWAYS,
        load,
        (x, y, z),
        (float(axis[0]), float(axis[1]), float(axis[2])),
        (low, high),
    )


def _turned(axis: np.ndarray, angle: float, vector: np.ndarray) -> np.ndarray:
    """Return a vector turned about a unit axis."""
    along = axis * (axis @ vector)
    across = vector - along
    return along + math.cos(angle) * across + math.sin(angle) * np.cross(axis, vector)


def _trunk(
    model: mujoco.MjModel, base: int, chains: list[list[int]], ours: set[str]
) -> frozenset[str]:
    """Return the joints, in no leg, that several limbs hang on: a waist."""
    legs = {id for chain in chains for id in chain if sum(id in c for c in chains) == 1}
    ends = set(range(1, model.nbody)) - set(model.body_parentid.tolist())
    limbs = [_chain(model, base, body) for body in sorted(ends)]
    carried = [id for limb in limbs for id in limb]
    return frozenset(
        name
        for id in set(carried) - legs
        if carried.count(id) > 1 and (name := model.joint(id).name) in ours
    )
