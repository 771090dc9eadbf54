"""Which joints the robot keeps, what they can do, and which of them serve locomotion."""

import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import numpy as np

from robot_ppo.robot_model.importing import units
from robot_ppo.robot_model.importing.limbs import Leg, neutral
from robot_ppo.robot_model.importing.options import Options, given
from robot_ppo.robot_model.importing.tree import Joint, Tree, fuse_rigid, lock
from robot_ppo_export.errors import InputError

_TRUNK = 0.25
"""A joint that carries so much of the robot's mass is part of the trunk: it serves locomotion."""
_TURN = "-3.14,3.14"
"""[rad] Half a turn to either side, which bounds a joint that turns without end."""
_LIGHT = 0.003
"""What hangs on a joint outside of the legs and is lighter than this fraction of the robot's mass
is made rigid: a finger, a rotor, an antenna."""


def apply(tree: Tree, options: Options) -> dict[str, float]:
    """Give joints the torques and ranges of the command line; return the angles held [rad]."""
    names = [joint.name for _, joint in tree.joints()]
    torques = given("--torque", options.torque, names)
    ranges = given("--range", options.range, names)
    named = {*options.torque, *options.range}
    for link in tree.links.values():
        changed = [_changed(joint, torques, ranges, named) for joint in link.joints]
        flags = {joint.name for joint in changed if joint.range == ranges.get(joint.name)}
        link.joints = [units.bounded(tree, joint, flags) for joint in changed]
    hold = given("--hold", options.hold, names)
    units.check_held(tree, hold)
    return hold


def _changed(joint: Joint, torques: dict, ranges: dict, named: Container[str]) -> Joint:
    """Return a joint with what is given; a pattern fills gaps, a name goes before the file."""
    open_ = joint.name in named
    if joint.name in torques and (open_ or not joint.torque):
        joint = replace(joint, torque=abs(torques[joint.name]), torque_from="--torque")
    if joint.name in ranges and (open_ or joint.range is None):
        joint = replace(joint, range=ranges[joint.name])
    return joint


def lock_endless(tree: Tree, hold: Mapping[str, float]) -> list[str]:
    """Lock the joints that are to be held and turn without end: wheels; return a sentence each."""
    told = []
    for _, joint in list(tree.joints()):
        if joint.name in hold and joint.kind == "hinge" and joint.range is None:
            angle = hold[joint.name]
            lock(tree, joint.name, angle)
            told.append(f"{joint.name} is rigid at {angle:.3g}: it turns without end, and is held")
    return told


def make_rigid(
    tree: Tree, legs: Sequence[Leg], hold: dict[str, float], leave: Sequence[str]
) -> list[str]:
    """Lock the joints that no motor can hold; return a sentence for each.

    Args:
        tree: is changed.
        legs: their joints must be driven.
        hold: angles from the command line [rad].
        leave: joints that a person wants to be moved.
    """
    in_legs = {name: leg for leg in legs for name in leg.joints}
    told = []
    for _, joint in list(tree.joints()):
        why = _why_rigid(tree, joint, joint.name in in_legs, leave)
        if not why:
            continue
        if joint.name in in_legs and joint.name not in hold:
            raise InputError(
                f"{tree.source}: the joint {joint.name!r} of the leg "
                f"{in_legs[joint.name].foot!r} {why}; make it a driven hinge in the file, or lock "
                f"it with --hold {joint.name}=ANGLE"
            )
        angle = hold.get(joint.name, _angle(tree, joint))
        lock(tree, joint.name, angle)
        told.append(f"{joint.name} is rigid at {angle:.3g}: it {why}")
    fuse_rigid(tree)
    return told


def _why_rigid(tree: Tree, joint: Joint, in_leg: bool, leave: Sequence[str]) -> str:
    """Return why a joint cannot be driven, "" if it can."""
    if joint.kind == "ball":
        return "is a ball joint, which no motor holds"
    if joint.kind == "slide":
        return "slides, and robot.yaml has hinges alone"
    if joint.mimic:
        return f"follows {joint.mimic[0]} (mimic)"
    if joint.actuator is None:
        return "has no actuator"
    if in_leg or joint.name in leave:
        return ""
    if not joint.torque:
        return "has no torque limit (--torque gives one)"
    if joint.range is None:
        return "turns without end (--range bounds it)"
    if _carried(tree, joint) < _LIGHT * tree.mass:
        return "carries next to nothing (--leave keeps it)"
    return ""


def _angle(tree: Tree, joint: Joint) -> float:
    """Return the angle at which a joint is locked: its leader's, or its own neutral one."""
    if joint.mimic:
        leader, factor, offset = joint.mimic
        known = {other.name: other for _, other in tree.joints()}
        return offset + factor * (neutral(known[leader]) if leader in known else 0.0)
    if joint.kind == "slide" and joint.range is not None:
        return float(np.clip(0.0, *joint.range))
    return neutral(joint) if joint.kind == "hinge" else 0.0


def _carried(tree: Tree, joint: Joint) -> float:
    """Return the mass of everything that moves with a joint [kg]."""
    carrier = next(link for link, other in tree.joints() if other is joint)
    below = {carrier.name}
    for link in tree.links.values():
        if link.parent in below:
            below.add(link.name)
    return sum(tree.links[name].mass for name in below)


def held(
    tree: Tree, legs: Sequence[Leg], hold: dict[str, float], leave: Sequence[str]
) -> list[str]:
    """Return the joints that do not serve locomotion: neither in a leg nor in the trunk."""
    in_legs = {name for leg in legs for name in leg.joints}
    found = []
    for _, joint in tree.joints():
        serves = joint.name in in_legs or _carried(tree, joint) > _TRUNK * tree.mass
        if joint.name in hold or not (serves or joint.name in leave):
            found.append(joint.name)
    return found


def require(tree: Tree) -> None:
    """Raise `InputError` where a joint that is driven has no torque limit or no range."""
    found = [joint for _, joint in tree.joints()]
    parts = []
    if without := [joint.name for joint in found if not joint.torque]:
        word = "effort" if tree.kind == "URDF" else "actuatorfrcrange"
        flag = f"--torque '{_pattern(without)}=NEWTON_METRES'"
        parts.append(f"no torque limit of {_some(without)}: give it with {flag}, or as {word}")
    if endless := [joint.name for joint in found if joint.range is None]:
        flag = f"--range '{_pattern(endless)}={_TURN}'"
        parts.append(f"no range of {_some(endless)}: give it with {flag} [rad] or less")
    if parts:
        raise InputError(f"{tree.source}: says {'; and '.join(parts)}")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the joint{'s' if len(names) > 1 else ''} {', '.join(names[:3])}{more}"


def _pattern(names: Sequence[str]) -> str:
    """Return a pattern that fits all names; it gives what is missing, so it may fit others too."""
    if len(names) == 1:
        return names[0]
    end = _shared_start([name[::-1] for name in names])[::-1]
    start = _shared_start(names)
    return f"{start}*" if len(start) > len(end) else f"*{end}"


def order(tree: Tree) -> list[str]:
    """Return the joints in the order of the file's actuators, where it has them, else its own."""
    found = [joint for _, joint in tree.joints()]
    places = [joint.actuator if joint.actuator is not None else -1 for joint in found]
    by_place = np.argsort(places, kind="stable")
    return [found[i].name for i in by_place]


def _shared_start(names: Sequence[str]) -> str:
    """Return the letters with which all names begin."""
    columns = zip(*names, strict=False)
    return "".join(c[0] for c in itertools.takewhile(lambda c: len(set(c)) == 1, columns))
