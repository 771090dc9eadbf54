"""Derive the start of an episode, the randomizations, pushes, and the noise of sensors."""

from robot_ppo.derived import units
from robot_ppo.derived.numbers import Tree, number
from robot_ppo.derived.speeds import Speeds
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body

MOST_PAYLOAD = 0.2
LEAST_PAYLOAD = 0.05
LIGHTER = 0.0667
"""Of the mass of the robot."""
CARRYING = 0.9
"""Part of a torque limit that carrying the payload may need."""


def reset(body: Body, style: Style) -> Tree:
    """Return how an episode begins, and what is randomized for it."""
    length = body.leg
    speed = body.unit_speed
    time = body.unit_time
    home = {
        "clearance": number(style.drop * length, f"{style.drop} leg"),
        "heading": [-3.141592653589793, 3.141592653589793],
        "joint_pos": 0.1,
        "joint_vel": number(0.0346 / time, "0.0346 / sqrt(leg / g)"),
        "base_lin_vel": number(style.speed * speed, f"{style.speed} sqrt(g leg)"),
        "base_ang_vel": number(0.052 / time, "0.052 / sqrt(leg / g)"),
    }
    factors = {
        "link_mass": [0.9, 1.1],
        "joint_damping": [0.5, 1.5],
        "friction_loss": [0.5, 1.5],
        "armature": [0.8, 1.2],
        "motor_strength": [0.85, 1.1],
        "kp": [0.9, 1.1],
        "kd": [0.8, 1.2],
        "encoder_offset": [-0.02, 0.02],
        "imu_bias": [-0.05, 0.05],
        "imu_mounting": [-0.02, 0.02],
        "actuator_delay": [0.0, 12.0],
        "sensor_delay": [0.0, 15.0],
    }
    light = lightening(body) < LIGHTER * body.mass
    least = "-2/3 of the base's mass" if light else "-1/15"
    carried = f"{least} to {payload(body):.2g} of the mass: 0.2, less where legs are weak"
    return {
        "home_pose": home,
        "friction": {"range": [0.4, 1.2]},
        "payload": {"range": number([-lightening(body), payload(body) * body.mass], carried)},
        "base_com": {"range": number([-0.1 * length, 0.1 * length], "0.1 leg")},
        **{name: {"range": given} for name, given in factors.items()},
    }


def lightening(body: Body) -> float:
    """Return what is missing of the base at most [kg]: 1/15 of the robot, or 2/3 of a light base.

    A base without a mass of its own, between a torso and legs, is no mass that could be taken away.
    """
    base = float(body.model.body(body.robot.base.body).mass[0])
    return min(LIGHTER * body.mass, 2 / 3 * base)


def payload(body: Body) -> float:
    """Return the heaviest payload, as a fraction of the mass: 0.2, or what weak legs can carry.

    With it, standing on half of the feet takes 0.9 of no joint's torque limit; 0.05 at the least.
    """
    limits = {joint.name: joint.torque_limit for joint in body.robot.joints}
    loads = [joint.load / limits[joint.name] for foot in body.feet for joint in foot.joints]
    return min(MOST_PAYLOAD, max(LEAST_PAYLOAD, CARRYING / max(loads) - 1))


def push(body: Body, style: Style, fastest: Speeds) -> Tree:
    """Return how often and how hard the robot is pushed."""
    how = f"{style.push} sqrt(g leg){fastest.limited_by}"
    speed = number([0.0, hardest(body, style, fastest)], how)
    return {"interval": units.span(body, [23.1, 46.2]), "speed": speed}


def hardest(body: Body, style: Style, fastest: Speeds) -> float:
    """Return the hardest push [m/s]: legs that are too weak or slow to run cannot catch more."""
    return style.push * body.unit_speed * fastest.part


def noise(body: Body) -> Tree:
    """Return the half-widths of the sensors' noise."""
    return {
        "base_ang_vel": 0.2,
        "base_quat": 0.04,
        "joint_pos": 0.01,
        "joint_vel": number(0.173 / body.unit_time, "0.173 / sqrt(leg / g)"),
    }
