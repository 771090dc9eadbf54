"""The task `walk`: follow a commanded velocity, for any robot with legs.

    resolved = walk.resolve("go2")
    resolved.task                       # plain data, as a task's YAML holds them
    resolved.shown()                    # the same, with the formula of every number
    config.load(resolved.named)

Lengths are in leg lengths, times in sqrt(leg / g), speeds in sqrt(g leg), torques in weight times
leg: the same motion of a larger robot then has the same numbers (docs/any_robot.md says why each
factor is what it is). What belongs to electronics and not to the body (delays, noise of sensors,
the control period) is the same for all robots.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from robot_ppo import config, project
from robot_ppo.derived import gaits, numbers
from robot_ppo.derived.numbers import Number, number
from robot_ppo.robot_model import source, validation
from robot_ppo.robot_model.body import Body, measure

NAME = "walk"
Tree = dict[str, Any]

SWEEP = 1.07
"""The action scale, in half sweeps of a leg at the highest speed."""
FASTEST = 0.5
"""Part of a joint's velocity limit that walking may need."""
STRONGEST = 0.7
"""Part of a joint's torque limit that carrying the robot may need before it walks slower."""


@dataclass(frozen=True)
class Style:
    """Factors that depend on how the robot balances: on two feet, or on more."""

    forward: float
    """Highest speed, in sqrt(g leg)."""
    backward: float
    sideways: float
    yaw: float
    """In 1 / sqrt(leg / g)."""
    swing: float
    """Height of a step, in legs."""
    standing: float
    """Fraction of commands that say to stand."""
    height: float
    """Weight of the height of the base, in 1 / leg^2."""
    orientation: float
    """Weight."""
    push: float
    """In sqrt(g leg)."""
    velocity_error: float
    """Limit of the scorecard, of the highest speed."""
    yaw_error: float
    collisions: str


ON_MANY = Style(0.589, 0.589, 0.236, 0.173, 0.272, 0.15, -2.6, -3.0, 0.412, 0.15, 0.2, "feet")
ON_TWO = Style(0.314, 0.196, 0.118, 0.156, 0.12, 0.3, -17.0, -6.0, 0.2, 0.25, 0.4, "self")


@dataclass(frozen=True)
class Resolved:
    """The derived task of one robot."""

    head: str
    """Properties of the robot, as comments."""
    tree: Tree
    """The task's YAML, with formulas."""

    @property
    def task(self) -> Tree:
        """The task as plain data."""
        return numbers.plain(self.tree)

    @property
    def named(self) -> config.Derived:
        """The task as `config.load` takes it."""
        return config.Derived(NAME, self.task, f"{NAME} --robot {self.tree['robot']}")

    def shown(self, overrides: Sequence[str] = ()) -> str:
        """Return the task as YAML with each number's formula; `overrides` as for `--set`."""
        set_by_hand = [text.partition("=")[0].split(".") for text in overrides]
        tree = self.tree
        if set_by_hand:
            data = msgspec.to_builtins(config.load(self.named, overrides=overrides))
            for keys in set_by_hand:
                if keys[0] == "task":
                    tree = numbers.replaced(tree, keys[1:], data["task"], "--set")
        return self.head + numbers.page(tree)


def resolve(robot: str) -> Resolved:
    """Return the task of a robot that is given by name or path."""
    folder = project.robot_folder(robot)
    spec = project.load_robot_in(folder)
    file = source.read(folder / spec.model)
    validation.check(file, spec)
    body = measure(spec, file.model)
    head = (
        f"# The task `{NAME}` of {spec.name}, derived from its model: leg {body.leg:.3g} m, "
        f"sqrt(leg / g) {body.unit_time:.3g} s,\n# sqrt(g leg) {body.unit_speed:.3g} m/s, "
        f"mass {body.mass:.4g} kg, {len(body.feet)} feet. Reasons: docs/any_robot.md.\n"
    )
    return Resolved(head, {"robot": robot, **_tree(body)})


def _tree(body: Body) -> Tree:
    style = ON_TWO if len(body.feet) == 2 else ON_MANY
    gait = _gait(body, style)
    speeds = _speeds(body, style)
    return {
        "control_period": 0.02,
        "episode_length": _time(body, 116),
        "physics": _physics(style),
        "gait": gait,
        "commands": {"twist": _twist(body, style, speeds)},
        "action": {"scale": _action_scale(body, speeds), "clip": 4.0},
        "observations": _observations(body),
        "rewards": _rewards(body, style, speeds),
        "terminations": _terminations(body),
        "events": {"reset": _reset(body), "interval": {"push": _push(body, style)}},
        "metrics": {"velocity_error": {}, "yaw_error": {}},
        "noise": _noise(body),
        "evaluation": _evaluation(body, style, speeds),
    }


# -- gait and commands --------------------------------------------------------------------------


def _physics(style: Style) -> Tree:
    why = "legs of two-legged robots meet" if style is ON_TWO else "legs hardly ever meet"
    return {
        "timestep": 0.01,
        "solver": "newton",
        "iterations": 3,
        "ls_iterations": 6,
        "cone": "pyramidal",
        "collisions": Number(style.collisions, why),
    }


FREQUENCY = 0.346
"""Cycles in the time sqrt(leg / g)."""


def _frequency(body: Body) -> float:
    """Return the frequency of the gait [Hz]."""
    return FREQUENCY / body.unit_time


def _gait(body: Body, style: Style) -> Tree:
    kind = {2: "in turn", 4: "trot", 6: "tripod"}.get(len(body.feet), "wave")
    kind = kind if gaits.alternates(body.feet) else "wave"
    return {
        "frequency": number(_frequency(body), f"{FREQUENCY} / sqrt(leg / g)"),
        "offsets": number(gaits.offsets(body.feet), f"{len(body.feet)} feet, by place: {kind}"),
        "stance": number(gaits.stance(body.feet), f"feet step: {kind}"),
        "swing_height": number(style.swing * body.leg, f"{style.swing} leg"),
    }


@dataclass(frozen=True)
class Speeds:
    """The fastest commands."""

    forward: float
    """[m/s]"""
    backward: float
    sideways: float
    yaw: float
    """[rad/s]"""
    limited_by: str
    """Why it is not the Froude number that decides, or ""."""


def _speeds(body: Body, style: Style) -> Speeds:
    factor, why = _slower(body, style)
    speed = factor * body.unit_speed
    yaw = factor * style.yaw / body.unit_time
    return Speeds(style.forward * speed, style.backward * speed, style.sideways * speed, yaw, why)


def _slower(body: Body, style: Style) -> tuple[float, str]:
    """Return the part of the Froude speed that the motors allow, and what limits it.

    In the swing a foot overtakes the base: half a sine over 1 - stance of the cycle, pi / 2 of its
    mean speed at the most, which the slowest joint that swings it must reach with a leg's length.
    """
    stance = gaits.stance(body.feet)
    limits = {joint.name: joint for joint in body.robot.joints}
    swinging = [j for foot in body.feet for j in foot.joints if j.pitch]
    wanted = style.forward * body.unit_speed * stance / (1 - stance) * math.pi / 2 / body.leg
    found = [(1.0, "")]
    for joint in swinging:
        reachable = FASTEST * limits[joint.name].velocity_limit / wanted
        found.append((reachable, ", limited by the velocity limits of the joints"))
        strength = STRONGEST * limits[joint.name].torque_limit / max(joint.load, 1e-9)
        found.append((strength, ", limited by the torque limits of the joints"))
    return min(found)


def _twist(body: Body, style: Style, speeds: Speeds) -> Tree:
    why = speeds.limited_by
    forward = f"-{style.backward} to {style.forward} sqrt(g leg){why}"
    return {
        "vx": number([-speeds.backward, speeds.forward], forward),
        "vy": number([-speeds.sideways, speeds.sideways], f"{style.sideways} sqrt(g leg){why}"),
        "yaw_rate": number([-speeds.yaw, speeds.yaw], f"{style.yaw} / sqrt(leg / g){why}"),
        "standing_fraction": Number(style.standing, "0.15, or 0.3 on two feet"),
        "resample": _times(body, [17.3, 40.4]),
    }


def _action_scale(body: Body, speeds: Speeds) -> Number:
    """Return the scale of each joint: half the sweep of a leg, or what holds the robot up."""
    sweep = speeds.forward * gaits.stance(body.feet) / (2 * _frequency(body) * body.leg)
    sag = max(
        joint.load / given.kp
        for given in body.robot.joints
        if (joint := body.leg_joint(given.name)) is not None
    )
    leg = SWEEP * max(sweep, min(sag, 0.5))
    places = {j.name: _SHARE[_place(body, j.name)] * leg for j in body.robot.joints}
    what = f"{SWEEP} of half a leg's sweep at top speed, or of its sag under the weight"
    if len(set(places.values())) == 1:
        return number(leg, what)
    return number(places, f"{what}; waist x {_SHARE['trunk']}, arms x {_SHARE['limb']}")


_SHARE = {"leg": 1.0, "trunk": 0.4, "limb": 0.6}
"""Action scale by the joint's place, in that of legs."""


def _place(body: Body, joint: str) -> str:
    if body.leg_joint(joint) is not None:
        return "leg"
    return "trunk" if joint in body.trunk else "limb"


def _observations(body: Body) -> Tree:
    rate = number(1.44 * body.unit_time, "1.44 sqrt(leg / g)")
    velocity = number(0.289 * body.unit_time, "0.289 sqrt(leg / g)")
    actor = {
        "base_ang_vel": {"scale": rate},
        "projected_gravity": {},
        "command": {},
        "joint_pos_error": {},
        "joint_vel": {"scale": velocity},
        "last_action": {},
        "gait_clock": {},
    }
    critic = (
        "base_lin_vel base_ang_vel_true projected_gravity_true base_height joint_pos_true "
        "joint_vel_true foot_height foot_contact randomized"
    )
    return {"actor": actor, "critic": {name: {} for name in critic.split()}}


# -- rewards and terminations -------------------------------------------------------------------


def _rewards(body: Body, style: Style, speeds: Speeds) -> Tree:
    speed = body.unit_speed
    time = body.unit_time
    return {
        "lin_vel_tracking": {
            "weight": 4.0,
            "sigma2": number(0.2 * speeds.forward**2, "0.2 of the highest speed squared"),
        },
        "yaw_rate_tracking": {
            "weight": 2.0,
            "sigma2": number(0.25 * speeds.yaw**2, "0.25 of the highest yaw rate squared"),
        },
        "contact_schedule": {"weight": 5.0},
        "swing_height": {"weight": -10.0},
        "base_height": {
            "weight": number(style.height / body.leg**2, f"{style.height} / leg^2"),
            "target": number(body.height, "the base of the default pose"),
        },
        "lin_vel_z": {"weight": number(-5.77 / speed**2, "-5.77 / (g leg)")},
        "ang_vel_xy": {"weight": number(-1.67 * time**2, "-1.67 leg / g")},
        "orientation": {"weight": Number(style.orientation, "-3, or -6 on two feet")},
        "torque": {"weight": number(-0.45 / body.unit_torque**2, "-0.45 / (weight leg)^2")},
        "action_rate": {"weight": -1.2},
        "joint_acc": {"weight": number(-2.67e-4 * time**4, "-2.67e-4 (leg / g)^2")},
        "joint_limits": {"weight": -24.0},
        "joint_pose": _pose(body),
        "slip": {"weight": number(-0.288 / speed**2, "-0.288 / (g leg)")},
        "stand_still": {"weight": -12.0},
        "termination": {"weight": -4.0},
    }


def _pose(body: Body) -> Tree:
    """Return the weight of the pose: legs that walk on two feet, and nothing else, swing freely."""
    if len(body.feet) > 2:
        return {"weight": -1.2, "joints": 1.0}
    weights = {joint.name: _pose_weight(body, joint.name) for joint in body.robot.joints}
    what = "pitch of legs 0.1, other axes of the hip 1, of the foot 0.5, waist 1, arms 0.3"
    return {"weight": -48.0, "joints": number(weights, what)}


def _pose_weight(body: Body, name: str) -> float:
    joint = body.leg_joint(name)
    if joint is None:
        return 1.0 if _place(body, name) == "trunk" else 0.3
    if joint.pitch:
        return 0.1
    return 1.0 if joint.depth < 3 else 0.5


def _terminations(body: Body) -> Tree:
    tilt = number(body.robot.safety.max_tilt, "the robot's own `max_tilt`")
    return {
        "tilt": {"limit": tilt},
        "base_height": {"limit": number(0.511 * body.height, "0.511 of the base's height")},
    }


# -- what happens to the robot ------------------------------------------------------------------


def _reset(body: Body) -> Tree:
    length = body.leg
    speed = body.unit_speed
    time = body.unit_time
    home = {
        "clearance": number(0.1 * length, "0.1 leg"),
        "heading": [-3.141592653589793, 3.141592653589793],
        "joint_pos": 0.1,
        "joint_vel": number(0.0346 / time, "0.0346 / sqrt(leg / g)"),
        "base_lin_vel": number(0.177 * speed, "0.177 sqrt(g leg)"),
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
    return {
        "home_pose": home,
        "friction": {"range": [0.4, 1.2]},
        "payload": {
            "range": number([-0.0667 * body.mass, 0.2 * body.mass], "-1/15 to 1/5 of the mass")
        },
        "base_com": {"range": number([-0.1 * length, 0.1 * length], "0.1 leg")},
        **{name: {"range": given} for name, given in factors.items()},
    }


def _push(body: Body, style: Style) -> Tree:
    speed = number([0.0, style.push * body.unit_speed], f"{style.push} sqrt(g leg)")
    return {"interval": _times(body, [23.1, 46.2]), "speed": speed}


def _noise(body: Body) -> Tree:
    return {
        "base_ang_vel": 0.2,
        "base_quat": 0.04,
        "joint_pos": 0.01,
        "joint_vel": number(0.173 / body.unit_time, "0.173 / sqrt(leg / g)"),
    }


# -- the scorecard ------------------------------------------------------------------------------


def _evaluation(body: Body, style: Style, speeds: Speeds) -> Tree:
    forward = [-0.8 * speeds.backward, -0.4 * speeds.backward, 0.0]
    forward += [0.4 * speeds.forward, 0.8 * speeds.forward]
    side = 0.75 * speeds.sideways
    yaw = 0.7 * speeds.yaw
    payload = 0.2 * body.mass
    push = 0.715 * style.push * body.unit_speed
    error = style.velocity_error * speeds.forward
    turn = style.yaw_error * speeds.yaw
    return {
        "seconds": _time(body, 46.2),
        "unscored": _time(body, 11.6),
        "commands": {
            "vx": number(forward, "-80, -40, 0, 40, 80 % of the range"),
            "vy": number([-side, 0.0, side], "75 % of the range"),
            "yaw_rate": number([-yaw, 0.0, yaw], "70 % of the range"),
        },
        "push_every": _time(body, 17.3),
        "conditions": {
            "nominal": {},
            "pushes": {"push": number(push, "0.715 of the strongest push in training")},
            "friction 0.3": {"friction": 0.3},
            "payload 20 %": {"payload": number(payload, "1/5 of the mass")},
            "delay +20 ms": {"delay": 0.02},
            "strength 0.85": {"strength": 0.85},
        },
        "limits": {
            "velocity_error": number(error, f"{style.velocity_error} of the highest speed"),
            "yaw_error": number(turn, f"{style.yaw_error} of the highest yaw rate"),
            "falls": 0,
        },
    }


def _time(body: Body, factor: float) -> Number:
    """Return a time [s]."""
    return number(factor * body.unit_time, f"{factor:g} sqrt(leg / g)")


def _times(body: Body, factors: list[float]) -> Number:
    """Return a range of times [s]."""
    low, high = (f"{factor:g}" for factor in factors)
    return number([f * body.unit_time for f in factors], f"{low} to {high} sqrt(leg / g)")
