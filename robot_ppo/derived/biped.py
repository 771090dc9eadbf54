"""Rewards and the step in place that the task `walk` adds for robots on two feet.

A robot on two feet is always about to fall: it steps more often for its size, does not swing its
hips and its trunk about, keeps its soles flat and its feet apart. The factors are those of a
29-joint humanoid of 33 kg, divided by its units (docs/any_robot.md).
"""

from robot_ppo.derived.numbers import Number, Tree, number, plain, rounded
from robot_ppo.robot_model import lifting
from robot_ppo.robot_model.body import Body
from robot_ppo_export.errors import InputError

NARROWEST = 0.77
"""Distance of the feet that costs nothing, in that of the default pose."""
POSE = -4.0
"""Weight of the pose, for each joint."""
SWING = 0.1
"""Weight of the joints that swing a leg fore and aft, in that of the others of its hip."""
FOOT = 0.5
ARM = 0.3


def rewards(body: Body, place: dict[str, str]) -> Tree:
    """Return terms that replace or join those of any robot.

    Args:
        body: a robot on two feet.
        place: joint -> "leg", "trunk" or "limb".
    """
    width = abs(body.feet[0].y - body.feet[1].y)
    return {
        "joint_pose": _pose(body, place),
        "slip": {"weight": number(-2.6 / body.unit_speed**2, "-2.6 / (g leg)")},
        "sole_flat": {"weight": -4.0},
        "feet_apart": {
            "weight": number(-10.0 / width**2, "-10 / (distance of the feet)^2"),
            "least": number(NARROWEST * width, f"{NARROWEST} of the distance of the feet"),
        },
    }


def stepping(body: Body, gait: Tree) -> Tree:
    """Return the step in place that is added to the targets: each foot straight up, level.

    Args:
        body: a robot on two feet.
        gait: when its feet step, and how high.
    """
    when = plain(gait)
    lifts = {}
    for i, foot in enumerate(body.feet):
        pitching = [joint.name for joint in foot.joints if joint.pitch]
        if not pitching:
            raise InputError(
                f"{body.robot.name}: no joint between the base and the foot {foot.name!r} turns "
                "about the axis across the body, so it cannot step forward; let the base's x point "
                "forward and its z up, or name other feet"
            )
        angles = lifting.lifted(body.model, body.robot, i, pitching, when["swing_height"])
        offset = when["offsets"][foot.name]
        lifts |= {k: {"angle": rounded(v), "offset": offset} for k, v in angles.items()}
    return {
        "stance": Number(when["stance"], "that of the gait"),
        "joints": Number(lifts, "lifts each foot by the height of a step, its sole level"),
    }


def _pose(body: Body, place: dict[str, str]) -> Tree:
    """Return the weight of the pose: only joints that swing the legs fore and aft are free."""
    joints = body.robot.joint_names
    weights = {name: _freedom(body, name, place[name]) for name in joints}
    what = (
        f"pitch of legs {SWING}, other axes of the hip 1, of the foot {FOOT}, waist 1, arms {ARM}"
    )
    return {
        "weight": number(POSE * len(joints), f"{POSE:g} for each joint"),
        "joints": Number(weights, what),
    }


def _freedom(body: Body, name: str, place: str) -> float:
    """Return a joint's weight: what steers and balances stays, what walks may move."""
    joint = body.leg_joint(name)
    if joint is None:
        return 1.0 if place == "trunk" else ARM
    if joint.pitch:
        return SWING
    return 1.0 if joint.depth < 3 else FOOT
