"""Derive the commands and conditions of the scorecard, and the limits of walking."""

from robot_ppo.derived import disturbances, units
from robot_ppo.derived.numbers import Tree, number
from robot_ppo.derived.speeds import Speeds
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model.body import Body


def evaluation(body: Body, style: Style, fastest: Speeds) -> Tree:
    """Return the trials of the scorecard, and their limits."""
    forward = [-0.8 * fastest.backward, -0.4 * fastest.backward, 0.0]
    forward += [0.4 * fastest.forward, 0.8 * fastest.forward]
    side = 0.75 * fastest.sideways
    yaw = 0.7 * fastest.yaw
    payload = disturbances.payload(body)
    push = 0.715 * disturbances.hardest(body, style, fastest)
    error = style.velocity_error * fastest.forward
    turn = style.yaw_error * fastest.yaw
    return {
        "seconds": units.seconds(body, 46.2),
        "unscored": units.seconds(body, 11.6),
        "commands": {
            "vx": number(forward, "-80, -40, 0, 40, 80 % of the range"),
            "vy": number([-side, 0.0, side] if side else [0.0], "75 % of the range"),
            "yaw_rate": number([-yaw, 0.0, yaw], "70 % of the range"),
        },
        "push_every": units.seconds(body, 17.3),
        "conditions": {
            "nominal": {},
            "pushes": {"push": number(push, "0.715 of the strongest push in training")},
            "friction 0.3": {"friction": 0.3},
            f"payload {100 * payload:.0f} %": {
                "payload": number(payload * body.mass, f"{payload:.2g} of the mass")
            },
            "delay +20 ms": {"delay": 0.02},
            "strength 0.85": {"strength": 0.85},
        },
        "limits": {
            "velocity_error": number(error, f"{style.velocity_error} of the highest speed"),
            "yaw_error": number(turn, f"{style.yaw_error} of the highest yaw rate"),
            "falls": 0,
        },
    }
