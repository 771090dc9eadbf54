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

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from robot_ppo import config, project
from robot_ppo.derived import (
    action_scales,
    biped,
    disturbances,
    incentives,
    numbers,
    speeds,
    styles,
    trial_grid,
    units,
)
from robot_ppo.derived.numbers import Number, Tree, number
from robot_ppo.derived.speeds import Speeds
from robot_ppo.derived.styles import Style
from robot_ppo.robot_model import source, validation
from robot_ppo.robot_model.body import Body, measure
from robot_ppo_export.contract.spec import RobotSpec

NAME = "walk"


@dataclass(frozen=True)
class Resolved:
    """The derived task of one robot."""

    head: str
    """Properties of the robot, as comments."""
    tree: Tree
    """The task's YAML, with formulas."""
    preset: str
    """What it trains with where none is given."""

    @property
    def task(self) -> Tree:
        """The task as plain data."""
        return numbers.plain(self.tree)

    @property
    def named(self) -> config.Derived:
        """The task as `config.load` takes it."""
        source = f"{NAME} --robot {shlex.quote(self.tree['robot'])}"
        return config.Derived(NAME, self.task, source, self.preset)

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


def told(robot: RobotSpec, xml: Path) -> list[str]:
    """Return what the task makes of a robot, a sentence each: what a report of it says."""
    body = measure(robot, source.read(xml).model)
    task = numbers.plain(_tree(body))
    gait = task["gait"]
    twist = task["commands"]["twist"]
    limits = task["evaluation"]["limits"]
    why = speeds.fastest(body, styles.of(body)).limited_by
    scales = task["action"]["scale"]
    if isinstance(scales, dict):
        scales = ", ".join(f"{joint} {value:g}" for joint, value in scales.items())
    return [
        f"gait: {speeds.kind(body)}, {gait['frequency']:g} Hz, steps of {gait['swing_height']:g} m",
        f"commands: {twist['vx'][0]:g} to {twist['vx'][1]:g} m/s ahead, {twist['vy'][1]:g} m/s "
        f"aside, {twist['yaw_rate'][1]:g} rad/s{why}",
        f"action scale [rad]: {scales}",
        f"it walks where it errs by at most {limits['velocity_error']:g} m/s and "
        f"{limits['yaw_error']:g} rad/s and does not fall",
    ]


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
        f"# Trains with the preset `{styles.of(body).preset}`.\n"
    )
    return Resolved(head, {"robot": robot, **_tree(body)}, styles.of(body).preset)


def _tree(body: Body) -> Tree:
    style = styles.of(body)
    fastest = speeds.fastest(body, style)
    reset = disturbances.reset(body, style)
    push = disturbances.push(body, style, fastest)
    return {
        "control_period": 0.02,
        "episode_length": units.seconds(body, 116),
        "physics": _physics(style),
        "gait": speeds.gait(body, style),
        "commands": {"twist": speeds.twist(body, style, fastest)},
        "action": _action(body, style, fastest),
        "observations": _observations(body),
        "rewards": incentives.rewards(body, style, fastest),
        "terminations": incentives.terminations(body, style),
        "events": {"reset": reset, "interval": {"push": push}},
        "metrics": {"velocity_error": {}, "yaw_error": {}},
        "noise": disturbances.noise(body),
        "evaluation": trial_grid.evaluation(body, style, fastest),
    }


def _physics(style: Style) -> Tree:
    why = "legs of two-legged robots meet" if style is styles.ON_TWO else "legs hardly ever meet"
    return {
        "timestep": 0.01,
        "solver": "newton",
        "iterations": Number(10, "a bound; with 3, the solver throws joints about"),
        "ls_iterations": 20,
        "cone": "pyramidal",
        "collisions": Number(style.collisions, why),
    }


def _action(body: Body, style: Style, fastest: Speeds) -> Tree:
    action: Tree = {"scale": action_scales.scale(body, style, fastest), "clip": 4.0}
    held = [joint.name for joint in body.robot.joints if joint.held]
    if held:
        action["held"] = Number(held, "marked so in robot.yaml")
    if len(body.feet) == 2:
        action["stepping"] = biped.stepping(body, speeds.gait(body, style))
    return action


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
