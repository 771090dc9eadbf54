"""The gait, and how fast a robot is told to walk."""

import math
from dataclasses import dataclass

from robot_ppo.derived import gaits, styles, units
from robot_ppo.derived.numbers import Number, Tree, number
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body

FASTEST = 0.42
"""Part of a joint's velocity limit that walking may need."""
STRONGEST = 0.7
"""Part of a joint's torque limit that carrying the robot may need before it walks slower."""
FARTHEST = 0.7
"""Part of the way to where a leg is straight that half of a step may take, on many feet."""


def frequency(body: Body) -> float:
    """Return the frequency of the gait [Hz]."""
    return styles.of(body).frequency / body.unit_time


def kind(body: Body) -> str:
    """Return how the feet step, in a word or two."""
    names = {2: "in turn", 4: "trot", 6: "tripod"}
    return names[len(body.feet)] if gaits.alternates(body.feet) else "wave"


def gait(body: Body, style: Style) -> Tree:
    """Return when each foot steps, and how high."""
    how = kind(body)
    return {
        "frequency": number(frequency(body), f"{style.frequency} / sqrt(leg / g)"),
        "offsets": number(gaits.offsets(body.feet), f"{len(body.feet)} feet, by place: {how}"),
        "stance": number(gaits.stance(body.feet), f"feet step: {how}"),
        "swing_height": _swing_height(body, style),
    }


def _swing_height(body: Body, style: Style) -> Number:
    """Return how high a step is: a nearly straight leg would bend its knee far for a high one."""
    by_knee = min(foot.lift(style.bend) for foot in body.feet)
    if 0 < by_knee < style.swing * body.leg:
        return number(by_knee, f"what bending a knee by {style.bend} rad lifts a foot")
    return number(style.swing * body.leg, f"{style.swing} leg")


@dataclass(frozen=True)
class Speeds:
    """The fastest commands."""

    forward: float
    """[m/s]"""
    backward: float
    sideways: float
    yaw: float
    """[rad/s]"""
    part: float
    """Of the speeds that the Froude number allows."""
    limited_by: str
    """Why it is not the Froude number that decides, or ""."""


def fastest(body: Body, style: Style) -> Speeds:
    """Return the fastest commands: by the Froude number, or what the motors allow."""
    factor, why = _slower(body, style)
    speed = factor * body.unit_speed
    yaw = factor * style.yaw / body.unit_time
    sideways = style.sideways * speed
    if planar(body):
        sideways = 0.0
        yaw = 0.5 * yaw
    return Speeds(style.forward * speed, style.backward * speed, sideways, yaw, factor, why)


def planar(body: Body) -> bool:
    """Return whether no joint of a leg does anything but swing it fore and aft."""
    return all(joint.pitch for foot in body.feet for joint in foot.joints)


def _slower(body: Body, style: Style) -> tuple[float, str]:
    """Return the part of the Froude speed that the motors allow, and what limits it.

    In the swing a foot overtakes the base: half a sine over 1 - stance of the cycle, pi / 2 of its
    mean speed at the most, which the slowest joint that swings it must reach with a leg's length.
    In stance the weight on a foot turns the hip, at the end by half of the leg's sweep, to which
    the leg must reach. On two feet it is the rest of the foot that reaches, as the heel rises.
    """
    stance = gaits.stance(body.feet)
    limits = {joint.name: joint for joint in body.robot.joints}
    swinging = [[j for j in foot.joints if j.pitch] for foot in body.feet]
    wanted = style.forward * body.unit_speed * stance / (1 - stance) * math.pi / 2 / body.leg
    moment = body.share * half_sweep(body, style.forward * body.unit_speed)
    found = [(1.0, "")]
    for joint in (joint for joints in swinging for joint in joints):
        reachable = FASTEST * limits[joint.name].velocity_limit / wanted
        found.append((reachable, ", limited by the velocity limits of the joints"))
        strength = STRONGEST * limits[joint.name].torque_limit / max(joint.load, 1e-9)
        found.append((strength, ", limited by the torque limits of the joints"))
    for hip in (joints[0] for joints in swinging if joints):
        left = limits[hip.name].torque_limit - hip.load
        found.append((left / moment, ", limited by the torque limits of the hips"))
    if len(body.feet) > 2:
        ahead = min(foot.ahead() for foot in body.feet)
        sweep = half_sweep(body, style.forward * body.unit_speed)
        found.append((FARTHEST * ahead / sweep, ", limited by how far the knees stretch"))
    return min(found)


def half_sweep(body: Body, speed: float) -> float:
    """Return how far ahead of its middle a foot comes down at a speed [m]."""
    return speed * gaits.stance(body.feet) / (2 * frequency(body))


def twist(body: Body, style: Style, fastest: Speeds) -> Tree:
    """Return what is commanded in training."""
    why = fastest.limited_by
    forward = f"-{style.backward} to {style.forward} sqrt(g leg){why}"
    if planar(body):
        why += "; less, because legs only swing fore and aft"
    return {
        "vx": number([-fastest.backward, fastest.forward], forward),
        "vy": number([-fastest.sideways, fastest.sideways], f"{style.sideways} sqrt(g leg){why}"),
        "yaw_rate": number([-fastest.yaw, fastest.yaw], f"{style.yaw} / sqrt(leg / g){why}"),
        "standing_fraction": Number(style.standing, "0.15, or 0.3 on two feet"),
        "resample": units.span(body, [17.3, 40.4]),
    }
