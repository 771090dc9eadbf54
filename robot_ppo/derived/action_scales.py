"""How far one unit of action moves each joint."""

from robot_ppo.derived.numbers import Number, number
from robot_ppo.derived.speeds import Speeds, half_sweep
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body

STRENGTH = 0.75
"""What one unit of action asks of a joint at the most, in its torque limit."""
_SHARE = {"leg": 1.0, "trunk": 0.4, "limb": 0.6}
"""Action scale by the joint's place, in that of legs."""


def scale(body: Body, style: Style, fastest: Speeds) -> Number:
    """Return the scale of each joint: half the sweep of a leg, or what holds the robot up."""
    sweep = half_sweep(body, fastest.forward) / body.leg
    sag = max(
        joint.load / given.kp
        for given in body.robot.joints
        if (joint := body.leg_joint(given.name)) is not None
    )
    of_sweep, of_sag = style.reach
    leg = max(of_sweep * sweep, of_sag * min(sag, 0.5))
    found = {}
    for joint in body.robot.joints:
        most = STRENGTH * joint.torque_limit / joint.kp
        found[joint.name] = min(_SHARE[place(body, joint.name)] * leg, most)
    what = f"{of_sweep} of half a leg's sweep at top speed, or {of_sag} of its sag under the weight"
    what += f"; at most {STRENGTH} of the torque limit / kp"
    if any(place(body, name) != "leg" for name in found):
        what += f"; waist x {_SHARE['trunk']}, arms x {_SHARE['limb']}"
    different = set(found.values())
    return number(found if len(different) > 1 else different.pop(), what)


def place(body: Body, joint: str) -> str:
    """Return where a joint is: in a leg, in the trunk or in another limb."""
    if body.leg_joint(joint) is not None:
        return "leg"
    return "trunk" if joint in body.trunk else "limb"
