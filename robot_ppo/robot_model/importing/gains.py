"""Gains, and what a file leaves out about its motors, from inertias and torque limits.

A joint of a leg moves two inertias: what hangs on it in the swing, and in stance the share of the
body that its foot carries, at the distance of the foot. Its stiffness is the larger one of

    swing:   (2 pi SWING)^2 I_swing,
    stance:  (STANCE sqrt(g / leg))^2 (I_swing + m d^2),
    posture: POSTURE M g leg / feet,

where m is the mass for each foot that carries (half of the feet do), d the distance [m] from the
joint's axis to the furthest contact point, and M the mass of the robot; the last two are for legs.
It is not more than what asks for the torque limit at an error of SATURATION. The damping is
kd = 2 DAMPING_RATIO sqrt(kp I_swing), at most FASTEST I_free, where nothing holds the other side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.tree import Joint, Tree

STANCE = 1.6
"""Natural frequency in stance, in units of sqrt(g / leg length): 1.5 Hz for a leg of 0.3 m."""
SWING = 4.0
"""[Hz] Least natural frequency of a joint that carries nothing but itself."""
POSTURE = 1 / 3
"""Of the moment of the weight on a foot, for each radian: what an ankle gives to the balance."""
SATURATION = 0.4
"""[rad] Error at which kp asks for the torque limit."""
DAMPING_RATIO = 0.7
STANDING = 2.0
"""The gains of standing up are so many times stiffer."""
UPRIGHT = 1.5
"""The feet of a biped that stands up hold so many times the moment of its weight as it tips."""
FASTEST = 400.0
"""[1/s] A motor controller at 500 Hz damps no faster, also where a light pelvis is what turns."""
NEARLY = 0.1
"""Gains of mirror images that differ by no more are made the same."""
LEAST_TORQUE = 0.05
"""[N m] No gain is made for less."""

_G = 9.81
ARMATURE = 2e-4
MOST_ARMATURE = 1.0
"""Assumed rotor inertia [kg m^2] for each N m of the torque limit, and as a fraction of the link's
inertia about the joint at the most, or 0.01; a geared motor of legged robots has 1e-4 to 5e-4."""
DAMPING = 0.005
FRICTION = 0.008
"""Assumed damping [N m s] and friction loss [N m] for each N m of the torque limit."""
PLACEHOLDER = 20.0
"""A torque limit of so many times what a leg takes to carry its share, flat out, is none."""
SPEED = 4.0
"""Assumed velocity limit in units of sqrt(g / leg length): 20 rad/s for a leg of 0.4 m."""


@dataclass(frozen=True)
class Gains:
    """Gains of one joint, and the rule that decided them."""

    kp: float
    kd: float
    stand_kp: float
    stand_kd: float
    inertia: float
    """That it moves in the swing [kg m^2]."""
    frequency: float
    """Natural frequency with that inertia [Hz]."""
    how: str
    """Which rule decided."""


@dataclass(frozen=True)
class Inertias:
    """What a joint moves [kg m^2], motor included."""

    swing: float
    """While everything else stands still."""
    free: float
    """While nothing is held: of both sides the lighter counts, a pelvis below a torso."""


def inertias(model: mujoco.MjModel, qpos: np.ndarray) -> dict[str, Inertias]:
    """Return what each hinge moves in a pose."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    mass = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, mass)
    inverse = np.linalg.inv(mass)
    found = {}
    for id in range(model.njnt):
        if model.jnt_type[id] == mujoco.mjtJoint.mjJNT_HINGE:
            dof = int(model.jnt_dofadr[id])
            found[model.joint(id).name] = Inertias(
                float(mass[dof, dof]), 1 / float(inverse[dof, dof])
            )
    return found


def assumed(
    joint: Joint, inertia: float, speed: float, strongest: float
) -> tuple[Joint, list[str]]:
    """Return a joint with what its file leaves out, and the names of what was assumed.

    Args:
        joint: as the file has it; its torque limit is known.
        inertia: that it moves [kg m^2].
        speed: velocity limit where there is none [rad/s].
        strongest: torque limit of the strongest motor that the robot can need [N m].
    """
    assert joint.torque is not None
    torque = min(joint.torque, strongest)
    given = {
        "armature": min(ARMATURE * torque, max(MOST_ARMATURE * inertia, 0.01)),
        "damping": DAMPING * torque,
        "frictionloss": FRICTION * torque,
        "velocity": speed,
    }
    missing = {
        key: float(f"{value:.3g}") for key, value in given.items() if not getattr(joint, key)
    }
    names = [key for key in missing if key != "velocity"]
    return replace(joint, **missing), names + (["velocity_limit"] if "velocity" in missing else [])


def distances(
    tree: Tree, feet: Sequence[Foot], pose: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Return, joint by joint of the legs, how far its axis is from the foot's contact points.

    The first figure is the distance to the furthest point [m], the second the height above it.
    """
    frames = tree.frames(pose)
    found: dict[str, tuple[float, float]] = {}
    for foot in feet:
        points = frames[foot.leg.foot].points(foot.contact_points())
        for name in foot.leg.links:
            for joint in tree.links[name].joints:
                anchor = frames[name].points(joint.pos[None])[0]
                axis = frames[name].mat @ joint.axis
                arms = points - anchor
                across = arms - np.outer(arms @ axis, axis)
                reach = float(np.linalg.norm(across, axis=1).max())
                height = float(anchor[2] - points[:, 2].min())
                old = found.get(joint.name, (0.0, 0.0))
                found[joint.name] = (max(reach, old[0]), max(height, old[1]))
    return found


def gains(
    joint: Joint, moves: Inertias, distance: float | None, mass: float, leg: float, feet: int
) -> Gains:
    """Return the gains of a joint.

    Args:
        joint: with its torque limit.
        moves: what it moves.
        distance: to the contact points [m]; None outside of the legs.
        mass: of the robot [kg].
        leg: length of a leg [m].
        feet: how many there are.
    """
    inertia = moves.swing
    limit = max(joint.torque or 0.0, LEAST_TORQUE)
    rules = {"swing": (2 * math.pi * SWING) ** 2 * inertia}
    if distance is not None:
        carried = mass / (feet / 2)
        rules["posture"] = POSTURE * mass * _G * leg / feet
        rules["stance"] = STANCE**2 * _G / leg * (inertia + carried * distance**2)
    how = max(rules, key=lambda rule: rules[rule])
    kp = rules[how]
    if kp > limit / SATURATION:
        how = "torque limit"
        kp = limit / SATURATION
    stand = min(STANDING * kp, max(kp, limit / 0.3))
    if distance is not None and feet == 2:
        stand = max(stand, UPRIGHT * mass * _G * leg / 2)
    kd = min(2 * DAMPING_RATIO * math.sqrt(kp * inertia), FASTEST * moves.free)
    stand_kd = min(2 * STANDING * math.sqrt(stand * inertia), FASTEST * moves.free)
    frequency = math.sqrt(kp / inertia) / (2 * math.pi)
    kp, kd, stand, stand_kd = (float(f"{value:.3g}") for value in (kp, kd, stand, stand_kd))
    return Gains(kp, kd, stand, stand_kd, inertia, frequency, how)


def alike(one: Gains, other: Gains) -> tuple[Gains, Gains]:
    """Return the gains of two mirror images, equal where they nearly are.

    Left and right of a real robot differ a little in mass; a policy learns both at once only
    where their gains are the same.
    """
    words = ("kp", "kd", "stand_kp", "stand_kd")
    pairs = {word: (getattr(one, word), getattr(other, word)) for word in words}
    if any(max(pair) > (1 + NEARLY) * min(pair) for pair in pairs.values()):
        return one, other
    mean = {word: float(f"{sum(pair) / 2:.3g}") for word, pair in pairs.items()}
    return replace(one, **mean), replace(other, **mean)
