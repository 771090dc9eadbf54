"""Commands of a task: name -> f(robot, *, parameters) -> `Command`.

A task has one command or none. It is kept for a while, `resample` [s], uniform, and drawn anew.
Everything else that a kind of command means is its entry in `KINDS`: how well it is followed, and
how it looks in the mirror.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo.mirror import Mirror
from robot_ppo.robot_model.symmetry import RobotMirror
from robot_ppo_export.contract import command
from robot_ppo_export.contract.command import CommandEntry, CommandSpec
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import (
    Entries,
    Fraction,
    NonNegativeRange,
    PerJoint,
    Range,
    Table,
)

COMMANDS = Table("command", resample=NonNegativeRange)


@dataclass(frozen=True)
class Command:
    """One kind of command, with its ranges."""

    spec: CommandSpec
    """Kind, names, units, ranges: what the contract says of it."""
    neutral: np.ndarray
    """(k,) what nobody asks for: a curriculum narrows draws towards it."""
    standing_fraction: float = 0.0
    """Probability that a draw is the neutral command."""
    moving: Callable[[Array], Array] | None = None
    """Returns whether commands (..., k) ask for motion, (...,) bool; None: all do."""
    adjust: Callable[[np.ndarray, np.random.Generator], None] | None = None
    """Changes draws (m, k) in place, before some become the neutral command; None: nothing."""


@COMMANDS.add()
def twist(
    _: RobotSpec,
    *,
    vx: Range,
    vy: Range,
    yaw_rate: Range,
    standing_fraction: Fraction,
    straight_fraction: Fraction = 0.0,
) -> Command:
    """Velocities in the body frame: vx, vy [m/s], yaw rate [rad/s]; some are told to stand.

    Others, by `straight_fraction`, are told not to turn: a robot that always turns never walks far.
    """
    spec = command.twist(vx, vy, yaw_rate)
    neutral = np.zeros(3, np.float32)
    adjust = functools.partial(_straighten, straight_fraction) if straight_fraction > 0 else None
    return Command(spec, neutral, standing_fraction, command.is_moving, adjust)


def _straighten(fraction: float, twists: np.ndarray, rng: np.random.Generator) -> None:
    """Take the yaw rate from part of the twists (m, 3), by `fraction`, in place."""
    twists[rng.random(len(twists)) < fraction, 2] = 0.0


@COMMANDS.add()
def joint_pos(robot: RobotSpec, *, spread: PerJoint) -> Command:
    """Joint angles to hold: the default pose +- spread [rad], within each joint's range."""
    default = robot.vector("default")
    span = robot.vector("range")
    width = np.asarray(spread, np.float64)
    low = np.maximum(default - width, span[:, 0])
    high = np.minimum(default + width, span[:, 1])
    rows = zip(robot.joint_names, low.tolist(), high.tolist(), strict=True)
    entries = [CommandEntry(name=name, unit="rad", low=a, high=b) for name, a, b in rows]
    spec = CommandSpec(kind="joint_pos", entries=tuple(entries))
    return Command(spec, default.astype(np.float32))


NOTHING = Command(command.NO_COMMAND, np.zeros(0, np.float32))


@dataclass(frozen=True)
class Motion:
    """Commands and motion of n robots, from which the scorecard computes figures."""

    command: np.ndarray
    """(n, k)"""
    twist: np.ndarray
    """(n, 3) vx, vy [m/s] and yaw rate [rad/s] in the base's frame, without noise"""
    joint_pos: np.ndarray
    """(n, joints) [rad]"""
    default_pose: np.ndarray
    """(joints,) [rad]"""
    down: np.ndarray
    """(n,) bool, does not stand"""


@dataclass(frozen=True)
class Kind:
    """Meaning of a kind of command, beside its numbers."""

    units: dict[str, str]
    """Figure that says how well it is followed -> its unit, in the scorecard's order."""
    figures: Callable[[Motion], dict[str, np.ndarray]]
    """Returns those figures at one moment, (n,) each."""
    mirrored: Callable[[np.ndarray, np.ndarray, RobotMirror], np.ndarray]
    """f(commands (n, k), default pose, the robot's mirror) -> commands of the mirror image."""


def _twist_errors(motion: Motion) -> dict[str, np.ndarray]:
    error = motion.twist - motion.command
    return {
        "velocity_error": np.sqrt(np.square(error[:, :2]).sum(axis=1)),
        "yaw_error": np.abs(error[:, 2]),
    }


def _joint_error(motion: Motion) -> dict[str, np.ndarray]:
    return {"joint_error": np.abs(motion.joint_pos - motion.command).mean(axis=1)}


def _standing_error(motion: Motion) -> dict[str, np.ndarray]:
    pose = np.abs(motion.joint_pos - motion.default_pose).mean(axis=1)
    return {"pose_error": pose, "lying": motion.down.astype(np.float64)}


def _mirrored_twist(twists: np.ndarray, _: np.ndarray, robot: RobotMirror) -> np.ndarray:
    return Mirror.of([0, 1, 2], [1, -1, -1])(twists)


def _mirrored_angles(angles: np.ndarray, default: np.ndarray, robot: RobotMirror) -> np.ndarray:
    return default + robot.joints(angles - default)


def _mirrored_nothing(nothing: np.ndarray, _: np.ndarray, robot: RobotMirror) -> np.ndarray:
    return nothing


KINDS = {
    "twist": Kind({"velocity_error": "m/s", "yaw_error": "rad/s"}, _twist_errors, _mirrored_twist),
    "joint_pos": Kind({"joint_error": "rad"}, _joint_error, _mirrored_angles),
    "none": Kind({"pose_error": "rad", "lying": ""}, _standing_error, _mirrored_nothing),
}
"""`CommandSpec.kind` -> its meaning; "none" is judged by the distance to the default pose and by
how long the robot does not stand. A kind that is not here trains, without a scorecard
(`evaluation: null`) and without a mirror image (`networks.symmetric: false`)."""


def resolve(entries: Entries, robot: RobotSpec) -> tuple[Command, Range]:
    """Return a task's command, and after what time [s], uniform, it is drawn anew."""
    if len(entries) > 1:
        raise SettingError("task.commands", f"a task has one command, not {sorted(entries)}")
    for term in COMMANDS.resolve("task.commands", entries, robot.joint_names).values():
        return term.function(robot), term.own["resample"]
    return NOTHING, (math.inf, math.inf)


class CommandSource:
    """The commands of n simulations, (n, k) float32."""

    def __init__(self, entries: Entries, robot: RobotSpec, n: int, control_period: float) -> None:
        """Start with neutral commands that are due at once."""
        self.command, self.resample_after = resolve(entries, robot)
        self.control_period = control_period
        self.values = np.tile(self.command.neutral, (n, 1))
        self.ticks_left = np.zeros(n, np.int64)
        self.width = 1.0
        """Part of the ranges that is drawn from, around the neutral command; a curriculum's."""
        self._low, self._high = self.command.spec.bounds().T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next steps depend on, not copies."""
        if not self.command.spec.size:
            return {}
        return {"values": self.values, "ticks_left": self.ticks_left}

    def moving(self, values: Array) -> Array:
        """Return whether commands (n, k) ask for motion, (n,) bool."""
        if self.command.moving is None:
            xp = namespace(values)
            return xp.ones(len(values), dtype=xp.bool, device=values.device)
        return self.command.moving(values)

    def advance(self, rng: np.random.Generator) -> None:
        """Count one control step down; redraw what is due."""
        if not self.command.spec.size:
            return
        self.ticks_left -= 1
        due = np.flatnonzero(self.ticks_left <= 0)
        if due.size:
            self.resample(due, rng)

    def resample(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Draw new commands for `ids`."""
        if not self.command.spec.size:
            return
        neutral = self.command.neutral
        standing = self.command.standing_fraction
        drawn = rng.uniform(self._low, self._high, (len(ids), len(neutral)))
        if self.width < 1.0:
            drawn = neutral + self.width * (drawn - neutral)
        if self.command.adjust is not None:
            self.command.adjust(drawn, rng)
        if standing > 0:
            drawn[rng.random(len(ids)) < standing] = neutral
        self.values[ids] = drawn
        seconds = rng.uniform(*self.resample_after, len(ids))
        self.ticks_left[ids] = np.rint(seconds / self.control_period).astype(np.int64)
