"""Trials of a policy and limits on its figures: a task's section `evaluation:`, resolved.

    planned = plan(task.evaluation, command, robot, task.control_period, "task.evaluation")

An environment resolves it too, so that a mistake in it is told before a training and not after.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import msgspec
import numpy as np

from robot_ppo import installed_terms
from robot_ppo.config import Condition, Evaluation
from robot_ppo.envs.robot.commands import KINDS
from robot_ppo.envs.robot.events import STATES
from robot_ppo_export.contract import strict, tables
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError

COMMANDS = tuple(product((-0.8, -0.4, 0.0, 0.4, 0.8), (-0.3, 0.0, 0.3), (-0.7, 0.0, 0.7)))
"""vx [m/s], vy [m/s], yaw rate [rad/s]."""
SECONDS = 8.0
UNSCORED = 2.0
WALKING = {"velocity_error": 0.15, "yaw_error": 0.20, "falls": 0}
"""A policy walks when none of these is exceeded on the nominal 45."""
CONDITIONS = (
    Condition("nominal"),
    Condition("pushes", push=0.5),
    Condition("friction 0.3", friction=0.3),
    Condition("payload +3 kg", payload=3.0),
    Condition("delay +20 ms", delay=0.020),
    Condition("strength 0.85", strength=0.85),
)
PUSH_EVERY = 3.0
PUNCH = 0.1
"""A punch lasts so long [s], and one control period at least."""
SHORT = 4.0
"""Seconds of a trial where there are many."""

COMMON_FIGURES = {
    "falls": "",
    "cost_of_transport": "",
    "torque_saturation": "",
    "action_rate": "1/s",
    "foot_slip": "m/s",
}
"""Name -> unit of the figures that every task has."""


@dataclass(frozen=True)
class Plan:
    """Trials and limits of a scorecard."""

    seconds: float
    unscored: float
    commands: np.ndarray
    """(trials, k)"""
    conditions: tuple[Condition, ...]
    push_every: float
    limits: dict[str, float]
    states: list[Callable[..., None]]
    """Initial states, in order; none: the home pose."""
    units: dict[str, str]
    """Figure -> its unit."""


def first_edition() -> Plan:
    """Return what a policy file without a section is tried on: the first edition's 45 twists."""
    grid = np.array(COMMANDS, np.float32)
    units = figures("twist")
    return Plan(SECONDS, UNSCORED, grid, CONDITIONS, PUSH_EVERY, WALKING, [], units)


def figures(kind: str) -> dict[str, str]:
    """Return the figures of a kind of command, with their units."""
    return {**KINDS[kind].units, **COMMON_FIGURES}


def plan(
    given: Evaluation, command: CommandSpec, robot: RobotSpec, control_period: float, path: str
) -> Plan:
    """Return what a section stands for.

    Args:
        given: the section.
        command: what the policy is told.
        robot: names the joints that parameters speak of.
        control_period: [s]
        path: of the section, for errors.

    Raises:
        SettingError: it contradicts the command or itself, or names what does not exist.
    """
    installed_terms.load()
    if command.kind not in KINDS:
        known = ", ".join(KINDS)
        raise SettingError(
            path, f"commands of the kind {command.kind!r} cannot be scored ({known} can); null it"
        )
    units = figures(command.kind)
    for name in given.limits:
        if name not in units:
            hint = strict.did_you_mean(name, units)
            raise SettingError(f"{path}.limits.{name}", f"unknown figure {name!r}{hint}")
    if given.unscored >= given.seconds:
        raise SettingError(
            f"{path}.unscored",
            f"{given.unscored:g} s leave nothing of the trial's {given.seconds:g} s to be scored",
        )
    _check_pushes(given, control_period, f"{path}.push_every")
    for name, condition in given.conditions.items():
        delays(condition, robot.joint_names, f"{path}.conditions.{name}.delay")
    states = STATES.resolve(f"{path}.start", given.start, robot.joint_names)
    return Plan(
        given.seconds,
        given.unscored,
        _commands(given, command, path),
        _named(given.conditions),
        given.push_every,
        given.limits,
        [term.function for term in states.values()],
        units,
    )


def many(planned: Plan, command: CommandSpec, n: int, seconds: float | None = None) -> Plan:
    """Return a plan with `n` drawn commands in place of its own, in short trials.

    A trial lasts `seconds`, by default `SHORT`; its first half is not scored, or less where the
    plan says so. Commands are uniform in the ranges of `command`.
    """
    length = SHORT if seconds is None else seconds
    low, high = command.bounds().T if command.size else np.zeros((2, 0), np.float32)
    drawn = np.random.default_rng(0).uniform(low, high, (n, command.size)).astype(np.float32)
    unscored = min(planned.unscored, 0.5 * length)
    return replace(planned, seconds=length, unscored=unscored, commands=drawn)


def ticks(seconds: float, control_period: float) -> int:
    """Return how many control periods a time takes, at least one."""
    return max(1, round(seconds / control_period))


def _check_pushes(given: Evaluation, control_period: float, path: str) -> None:
    """Raise `SettingError` where a push, or the end of a punch, has no control period."""
    if given.push_every < control_period:
        raise SettingError(
            path, f"{given.push_every:g} s is less than a control period, {control_period:g} s"
        )
    lasts = ticks(PUNCH, control_period)
    punched = [name for name, condition in given.conditions.items() if condition.punch]
    if punched and ticks(given.push_every, control_period) <= lasts:
        raise SettingError(
            path,
            f"{given.push_every:g} s must be above {lasts * control_period:g} s, which a punch "
            f"lasts: that of the condition {punched[0]!r} would not end",
        )


def delays(condition: Condition, joints: tuple[str, ...], path: str = "delay") -> np.ndarray:
    """Return the extra delay of each joint under a condition, (joints,) [s].

    Raises:
        SettingError: it names a joint that does not exist.
    """
    return tables.per_joint(condition.delay, path, joints, unnamed=0.0)


def _named(conditions: dict[str, Condition]) -> tuple[Condition, ...]:
    return tuple(msgspec.structs.replace(c, name=name) for name, c in conditions.items())


def _commands(given: Evaluation, command: CommandSpec, path: str) -> np.ndarray:
    """Return the commands of all trials, (trials, k) float32."""
    names = [entry.name for entry in command.entries]
    for name in given.commands:
        if name not in names:
            hint = strict.did_you_mean(name, names) if names else "; the task has no command"
            raise SettingError(f"{path}.commands.{name}", f"unknown entry {name!r}{hint}")
    low, high = command.bounds().T if names else np.zeros((2, 0), np.float32)
    if given.commands:
        middle = (0.5 * (low + high)).tolist()
        axes = [given.commands.get(name, (middle[i],)) for i, name in enumerate(names)]
        return np.array(list(product(*axes)), np.float32)
    drawn = np.random.default_rng(0).uniform(low, high, (given.trials, len(names)))
    return drawn.astype(np.float32)
