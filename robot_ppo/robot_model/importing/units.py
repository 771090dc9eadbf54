"""What tells that a file is in other units: degrees, millimetres, grams, kg cm^2.

A robot in the wrong units is a robot: nothing about it is impossible, but it is no robot of legs.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from robot_ppo.robot_model.importing.limbs import Leg
from robot_ppo.robot_model.importing.tree import Joint, Link, Pose, Tree
from robot_ppo_export.errors import InputError

HEAVIEST = 1e4
"""[kg], [kg m^2] No link of a legged robot has as much."""
FARTHEST = 20.0
"""[m]"""
LIGHTEST = 0.02
DENSEST = 5000.0
"""[kg/m^3] Mass of a robot in the cube of its extent; legged robots have 3 to 500."""
_GYRATION = 2.0
"""No part of a robot has a radius of gyration of so many times its extent; half is the limit."""
_NOTABLE = 0.01
"""Placeholders have such inertias too; smaller fractions of mass times extent squared are none."""
WIDEST = 13.0
"""[rad] A hinge that is bounded turns by less to either side: two turns, and a bit. ANYmal C's turn
by one and a half; of a leg's ranges in degrees one at least is wider."""
ENDLESS = 1e3
"""[rad] Bounds beyond it to both sides are none."""
NARROWEST = 0.115
"""[rad] Of the widest range in the legs: two turns, read as degrees, are no wider."""


def check(tree: Tree) -> None:
    """Raise `InputError` where masses, lengths or inertias are not in kg, m and kg m^2."""
    for link in tree.links.values():
        _check_link(tree, link)
    extent, farthest = _extent(tree)
    density = tree.mass / max(extent, 1e-9) ** 3
    if tree.mass > 0 and not LIGHTEST < density < DENSEST:
        heaviest = max(tree.links.values(), key=lambda link: link.mass)
        part = heaviest.name if density > 1 else farthest
        raise InputError(
            f"{tree.source}: the robot weighs {tree.mass:.3g} kg and is {extent:.3g} m across, "
            f"most of it by the link {part!r}; masses are in kilograms and lengths in metres (a "
            'mesh in millimetres has scale="0.001 0.001 0.001"): correct the units'
        )
    for link in tree.links.values():
        _check_inertia(tree, link, extent)


def _check_link(tree: Tree, link: Link) -> None:
    if not 0 <= link.mass < HEAVIEST:
        raise InputError(
            f"{tree.source}: the link {link.name!r} has {link.mass:g} kg, which is no part of a "
            "robot; masses are in kilograms: correct it"
        )
    farthest = max(np.abs(link.com).max(), np.abs(link.pose.pos).max())
    if farthest > FARTHEST:
        raise InputError(
            f"{tree.source}: the link {link.name!r} is {farthest:g} m from its parent, or its "
            "centre of mass from itself; lengths are in metres: correct it"
        )


def _check_inertia(tree: Tree, link: Link, extent: float) -> None:
    largest = float(np.abs(link.inertia).max())
    wide = largest > link.mass * (_GYRATION * extent) ** 2
    if largest > HEAVIEST or (wide and largest > _NOTABLE * tree.mass * extent**2):
        raise InputError(
            f"{tree.source}: the link {link.name!r} has {link.mass:.3g} kg and an inertia of up to "
            f"{largest:.3g} kg m^2, which is too much for a robot that is {extent:.3g} m across; "
            "inertias are in kg m^2 (1 kg cm^2 is 1e-4 kg m^2): correct it"
        )


def _extent(tree: Tree) -> tuple[float, str]:
    """Return the diagonal [m] of a box around the robot, and the link that is farthest out."""
    frames = tree.frames({})
    clouds = {link.name: _cloud(link, frames[link.name]) for link in tree.links.values()}
    points = np.concatenate(list(clouds.values()))
    middle = np.median(points, axis=0)
    farthest = max(clouds, key=lambda name: np.linalg.norm(clouds[name] - middle, axis=1).max())
    return float(np.linalg.norm(np.ptp(points, axis=0))), farthest


def _cloud(link: Link, frame: Pose) -> np.ndarray:
    shapes = [s for s in link.shapes if s.collides] or link.shapes
    known = [s.cloud() for s in shapes if s.kind != "mesh" or s.points is not None]
    return frame.points(np.concatenate([np.zeros((1, 3)), *known]))


def bounded(tree: Tree, joint: Joint, flags: Collection[str]) -> Joint:
    """Return a joint, its range None where its bounds are none; degrees are an `InputError`.

    Args:
        tree: for the message.
        joint: with the range that is to hold.
        flags: joints whose range is from the command line.
    """
    if joint.kind != "hinge" or joint.range is None:
        return joint
    far = [abs(end) for end in joint.range]
    if max(far) <= WIDEST:
        return joint
    low, high = joint.range
    if joint.name in flags:
        raise InputError(
            f"--range {joint.name}={low:g},{high:g}: ranges are in radians, and this looks like "
            "degrees; a whole turn is 6.28"
        )
    if min(far) >= ENDLESS and low < 0 < high:
        return replace(joint, range=None)
    hint = 'add <compiler angle="degree"/>' if tree.kind == "MJCF" else "convert it"
    raise InputError(
        f"{tree.source}: the joint {joint.name!r} has the range {low:g} to {high:g} rad; ranges "
        f"are in radians, and this looks like degrees: {hint}, or give it with "
        f"--range {joint.name}=LOW,HIGH"
    )


def check_held(tree: Tree, hold: Mapping[str, float]) -> None:
    """Raise `InputError` where a joint is to be held outside of its range."""
    for name, angle in hold.items():
        low, high = tree.joint(name).range or (-np.inf, np.inf)
        if not low <= angle <= high:
            raise InputError(
                f"--hold {name}={angle:g}: is outside of the joint's range {low:g} to {high:g}; "
                "give an angle inside, or another range with --range"
            )


def check_legs(tree: Tree, legs: Sequence[Leg]) -> None:
    """Raise `InputError` where no joint of the legs turns far enough for a step."""
    ranges = {name: tree.joint(name).range for leg in legs for name in leg.joints}
    widths = {name: span[1] - span[0] for name, span in ranges.items() if span is not None}
    if widths and max(widths.values()) <= 2 * NARROWEST and _narrow(ranges.values()):
        name = max(widths, key=lambda joint: widths[joint])
        hint = '<compiler angle="radian"/>' if tree.kind == "MJCF" else "lower and upper"
        raise InputError(
            f"{tree.source}: no joint of the legs turns far enough for a step: the widest is "
            f"{name!r} by {widths[name]:.3g} rad; ranges look as if radians were read as degrees: "
            f"correct {hint}"
        )


def _narrow(ranges: Collection[tuple[float, float] | None]) -> bool:
    return all(span is not None and max(map(abs, span)) < NARROWEST for span in ranges)
