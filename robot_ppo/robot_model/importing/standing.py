"""The standing pose, by optimization: one leg after the other, Levenberg-Marquardt.

What is wanted, in this order: feet at one height, soles level and forward; feet below the hips,
shifted so that the centre of mass is above their middle; joints away from their stops; little
torque for an equal share of the weight; and near the neutral pose where nothing else decides.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robot_ppo.robot_model.importing import mirror_legs
from robot_ppo.robot_model.importing.feet import Foot
from robot_ppo.robot_model.importing.limbs import neutral
from robot_ppo.robot_model.importing.posed_leg import PosedLeg, limits, shared
from robot_ppo.robot_model.importing.tree import Tree
from robot_ppo_export.errors import InputError

EXTENSIONS = {2: (0.95,)}
"""Height of the hips above the feet as a fraction of what the straight leg reaches, by the number
of feet; a biped stands nearly straight, because bent knees cost torque."""
EXTENSIONS_OF_MANY = (0.72, 0.78, 0.84, 0.9)
"""The same of three feet and more: the first at which legs are strong enough, see `STRONG`."""
STRONG = 0.7
"""Part of a torque limit that standing on half of the feet may take: the rest is for walking."""
_STARTS = (0.3, 0.5, 0.7)
"""Places in the range of each of the last joints from which the search starts."""
_TRIED = 4
"""Starts from which the search goes down."""
_MISS = 0.02
"""A foot may miss its height by this fraction of the leg's length, and a sole be off level by so
much [rad]."""
_SHIFT = 0.2
"""The feet are shifted below the centre of mass by at most this fraction of the legs' length."""


@dataclass(frozen=True, eq=False)
class Wish:
    """Target of a foot."""

    target: np.ndarray
    """(3,) in the base's frame [m]."""
    length: float
    """Of the leg [m]: errors are counted in it."""
    force: float
    """On the foot [N]."""


def residuals(leg: PosedLeg, wish: Wish, angles: np.ndarray) -> np.ndarray:
    """Return what the search makes small; the weights say what matters more."""
    frames = leg.frames(angles)
    off = (leg.foot_at(frames) - wish.target) / wish.length
    parts = [off * (3.0, 1.0, 30.0)]
    if leg.foot.flat:
        mat = frames[leg.foot.leg.foot].mat
        parts += [10 * (mat @ leg.foot.normal)[:2], 3 * (mat @ leg.heading)[1:2]]
    parts.append(0.3 * ((angles - leg.middle) / leg.half) ** 4)
    parts.append(0.2 * leg.torques(frames, wish.force))
    parts.append(0.1 * (angles - leg.reference))
    return np.concatenate(parts)


def solve(leg: PosedLeg, wish: Wish) -> np.ndarray:
    """Return the best angles from the most promising of several starts."""
    bent = list(itertools.product(_STARTS, repeat=min(2, len(leg.names))))
    starts = [leg.reference]
    for places in bent:
        start = leg.reference.copy()
        for i, place in zip(_bending(leg), places, strict=False):
            low = max(leg.low[i], -2.6)
            high = min(leg.high[i], 2.6)
            start[i] = low + place * (high - low)
        starts.append(start)

    def cost(start: np.ndarray) -> float:
        values = residuals(leg, wish, start)
        return float(values @ values)

    starts.sort(key=cost)
    found = [descended(leg, wish, start) for start in starts[:_TRIED]]
    return min(found, key=lambda pair: round(pair[1], 6))[0]


def _bending(leg: PosedLeg) -> list[int]:
    """Return the two joints that change the leg's length most: those whose axes are level."""
    frames = leg.frames(leg.reference)
    level = []
    for i, joint in enumerate(leg.joints):
        link = next(link for link in leg.links if joint in link.joints)
        axis = frames[link.name].mat @ joint.axis
        distance = np.linalg.norm(leg.foot_at(frames) - frames[link.name].pos)
        level.append((abs(axis[1]) * float(distance), i))
    return sorted(i for _, i in sorted(level, reverse=True)[:2])


def descended(leg: PosedLeg, wish: Wish, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Return angles and cost after Levenberg-Marquardt from a start, inside the limits."""
    angles = start.clip(leg.low, leg.high)
    damping = 1e-2
    values = residuals(leg, wish, angles)
    for _ in range(40):
        jacobian = np.empty((len(values), len(angles)))
        for i in range(len(angles)):
            moved = angles.copy()
            step = 1e-5 if angles[i] + 1e-5 < leg.high[i] else -1e-5
            moved[i] += step
            jacobian[:, i] = (residuals(leg, wish, moved) - values) / step
        normal = jacobian.T @ jacobian
        delta = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal) + 1e-6), -jacobian.T @ values
        )
        trial = (angles + delta.clip(-0.5, 0.5)).clip(leg.low, leg.high)
        new = residuals(leg, wish, trial)
        if new @ new < values @ values:
            done = values @ values - new @ new < 1e-9
            angles = trial
            values = new
            damping = damping * 0.3
            if done:
                break
        else:
            damping *= 5
            if damping > 1e6:
                break
    return angles, float(values @ values)


def stand(tree: Tree, feet: Sequence[Foot], pose: Mapping[str, float]) -> dict[str, float]:
    """Return the standing pose: every joint's angle [rad].

    Args:
        tree: the robot, base level and forward.
        feet: what it stands on.
        pose: the neutral pose, which joints outside the legs keep.
    """
    both = shared(feet)
    legs = [PosedLeg(tree, foot, pose, both) for foot in feet]
    force = tree.mass * 9.81 / len(feet)
    length = min(leg.reach() for leg in legs)
    found = dict(pose)
    for fraction in EXTENSIONS.get(len(feet), EXTENSIONS_OF_MANY):
        found = _stood(tree, legs, pose, fraction, length, force)
        hardest = max(np.abs(leg.torques(leg.frames(_of(leg, found)), force)).max() for leg in legs)
        if 2 * hardest <= STRONG:
            break
    _check_heights(tree, legs, found, length)
    for leg in legs:
        _check_sole(tree, leg, found)
    return {name: round(angle, 4) for name, angle in found.items()}


def _stood(
    tree: Tree,
    legs: Sequence[PosedLeg],
    pose: Mapping[str, float],
    fraction: float,
    length: float,
    force: float,
) -> dict[str, float]:
    """Return the pose in which the hips are at a fraction of the straight legs' `length`."""
    ground = max(leg.hip[2] for leg in legs) - fraction * length
    images = mirror_legs.mirror_images(legs)
    found = dict(pose)
    shift = np.zeros(3)
    for turn in range(4):
        for leg in legs:
            if leg.foot.leg.foot in images.values():
                continue
            side = np.clip(leg.start[1], leg.hip[1] - 0.3 * length, leg.hip[1] + 0.3 * length)
            wish = Wish(np.array([leg.hip[0], side, ground]) + shift, length, force)
            again = turn > 0
            angles = descended(leg, wish, _of(leg, found))[0] if again else solve(leg, wish)
            found.update(zip(leg.names, angles.tolist(), strict=True))
        mirror_legs.mirror(legs, images, found)
        middle = np.mean([leg.foot_at(leg.frames(_of(leg, found))) for leg in legs], axis=0)
        off = tree.centre_of_mass(found) - middle
        if abs(off[0]) < 0.005 * length:
            break
        shift[0] = np.clip(shift[0] + off[0], -_SHIFT * length, _SHIFT * length)
    return found


def _of(leg: PosedLeg, pose: Mapping[str, float]) -> np.ndarray:
    return np.array([pose[name] for name in leg.names])


def _check_heights(
    tree: Tree, legs: Sequence[PosedLeg], found: Mapping[str, float], length: float
) -> None:
    """Raise `InputError` where a foot cannot be put down beside the others."""
    heights = [leg.foot_at(leg.frames(_of(leg, found)))[2] for leg in legs]
    off = np.abs(np.array(heights) - np.median(heights))
    if off.max() > _MISS * length:
        foot = legs[int(np.argmax(off))].foot.leg.foot
        raise InputError(
            f"{tree.source}: no standing pose is found: the foot {foot!r} misses the ground by "
            f"{off.max():.3f} m; give one with --pose FILE|KEYFRAME"
        )


def _check_sole(tree: Tree, leg: PosedLeg, found: Mapping[str, float]) -> None:
    """Raise `InputError` where a sole cannot be made level by a leg that has the joints for it."""
    if not leg.foot.flat or len(leg.names) <= 4:
        return
    frames = leg.frames(_of(leg, found))
    level = float((frames[leg.foot.leg.foot].mat @ leg.foot.normal)[2])
    if np.arccos(min(1.0, level)) > 5 * _MISS:
        raise InputError(
            f"{tree.source}: no standing pose is found: the sole of {leg.foot.leg.foot!r} is "
            f"{np.degrees(np.arccos(level)):.1f} degrees off level; give one with --pose "
            "FILE|KEYFRAME"
        )


def rest(
    tree: Tree, feet: Sequence[Foot], pose: Mapping[str, float], splayed: bool = True
) -> dict[str, float]:
    """Return the pose in which a robot of many feet lies on its belly: legs folded [rad].

    Args:
        tree: the robot.
        feet: at the ends of its legs.
        pose: standing.
        splayed: whether legs that do not fold far enough may spread sideways.
    """
    both = shared(feet)
    found = dict(pose)
    for foot in feet:
        leg = PosedLeg(tree, foot, pose, both)
        angles = _of(leg, pose).clip(leg.low, leg.high)
        length = max(leg.reach(), 1e-3)
        target = np.array([leg.hip[0], leg.start[1], leg.hip[2] - 0.25 * length])
        if not splayed:
            stays = np.setdiff1d(np.arange(len(leg.names)), _bending(leg))
            leg.low[stays] = leg.high[stays] = angles[stays]
        folded, _ = descended(leg, Wish(target, length, 0.0), angles)
        found.update(zip(leg.names, folded.tolist(), strict=True))
    legs = [PosedLeg(tree, foot, pose, both) for foot in feet]
    mirror_legs.mirror(legs, mirror_legs.mirror_images(legs), found)
    return {name: round(angle, 4) for name, angle in found.items()}


def inside(tree: Tree, pose: Mapping[str, float]) -> dict[str, float]:
    """Return a pose with every joint away from its stops [rad]."""
    found = {}
    for _, joint in tree.joints():
        limit = limits(joint)
        found[joint.name] = float(np.clip(pose[joint.name], limit.low, limit.high))
    return found


def complete(tree: Tree, given: Mapping[str, float]) -> dict[str, float]:
    """Return a pose of every joint: what is given, and neutral angles."""
    return {joint.name: neutral(joint) for _, joint in tree.joints()} | dict(given)
