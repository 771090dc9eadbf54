"""Events: what happens to a simulation at the start, at a reset, or at an interval.

    events:
      start: {link_mass: {range: [0.9, 1.1]}}        # drawn once, stays
      reset:
        home_pose: {clearance: 0.03, ...}            # initial states, in this order
        friction: {range: [0.4, 1.2]}                # randomizations: randomization.py
      interval:
        push: {interval: [4.0, 8.0], speed: [0.0, 0.7]}

An initial state is f(start, rng, *, parameters): it changes the positions and velocities of
`start` in place. An event at an interval is f(engine, ids, rng, *, parameters), after so many
seconds, uniform in `interval`, counted anew at every reset.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_ppo.config import EventTable
from robot_ppo.envs.robot.randomization import RANDOMIZATIONS, WRITES
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import (
    Fraction,
    NonNegative,
    NonNegativeRange,
    Positive,
    Range,
    Table,
    Term,
)

STATES = Table("initial state")
INTERVALS = Table("event at an interval", interval=NonNegativeRange)
MOMENTS = {
    "start": (RANDOMIZATIONS,),
    "reset": (STATES, RANDOMIZATIONS),
    "interval": (INTERVALS,),
}
"""Moment -> the tables whose terms may stand there."""


@dataclass(frozen=True)
class Start:
    """First states of m episodes; initial states change `qpos` and `qvel` in place."""

    qpos: np.ndarray
    """(m, nq), the home pose at first"""
    qvel: np.ndarray
    """(m, nv), zero at first"""
    engine: RobotEngine
    """Knows the columns of base and joints."""
    robot: RobotSpec


@STATES.add()
def home_pose(
    start: Start,
    rng: np.random.Generator,
    *,
    clearance: NonNegative = 0.0,
    heading: Range = (0.0, 0.0),
    joint_pos: NonNegative = 0.0,
    joint_vel: NonNegative = 0.0,
    base_lin_vel: NonNegative = 0.0,
    base_ang_vel: NonNegative = 0.0,
) -> None:
    """The home pose, so much [m] above the ground, turned, disturbed.

    `clearance` keeps feet out of the ground: Go2's joints 0.1 rad off reach 16 mm lower. `heading`
    is [rad]; the others are half-widths [rad], [rad/s], [m/s].
    """
    qpos = start.qpos
    qvel = start.qvel
    engine = start.engine
    nq = qpos.shape[1]
    joints = engine.joint_qpos
    # One draw for all that is uniform, because resets are few and often.
    drawn = rng.uniform(-1.0, 1.0, (len(qpos), nq + qvel.shape[1] + 1))
    speeds = drawn[:, nq:-1]
    qvel[:] = speeds * joint_vel
    qvel[:, engine.base_lin_vel_w] = speeds[:, engine.base_lin_vel_w] * base_lin_vel
    qvel[:, engine.base_ang_vel] = speeds[:, engine.base_ang_vel] * base_ang_vel
    qpos[:, joints] += drawn[:, :nq][:, joints] * joint_pos
    qpos[:, engine.base_pos.start + 2] += clearance
    yaw = 0.5 * (heading[0] + heading[1]) + 0.5 * (heading[1] - heading[0]) * drawn[:, -1]
    w = engine.base_quat.start
    qpos[:, engine.base_quat] = 0.0
    qpos[:, w] = np.cos(yaw / 2)
    qpos[:, w + 3] = np.sin(yaw / 2)


@STATES.add()
def fallen_pose(
    start: Start,
    rng: np.random.Generator,
    *,
    fraction: Fraction,
    clearance: NonNegativeRange,
    tilt: Range,
    joints: Fraction,
) -> None:
    """Part of the robots, by `fraction`, lie about: leaning any way, their joints anywhere.

    Their lowest point is `clearance` [m] above the ground, and they drop. `tilt` is the angle of
    lean [rad], about an axis of any heading; `joints` is the part of each joint's range, about its
    middle.
    """
    ids = np.flatnonzero(rng.random(len(start.qpos)) < fraction)
    m = len(ids)
    engine = start.engine
    span = start.robot.vector("range")
    angle = rng.uniform(*tilt, m)
    about, yaw = rng.uniform(-np.pi, np.pi, (2, m))
    # A lean about a horizontal axis after a turn about the vertical one, multiplied out.
    cosine = np.cos(angle / 2)
    sine = np.sin(angle / 2)
    leaning = (sine * np.cos(about - yaw / 2), sine * np.sin(about - yaw / 2))
    quat = (cosine * np.cos(yaw / 2), *leaning, cosine * np.sin(yaw / 2))
    start.qpos[ids, engine.base_quat] = np.stack(quat, axis=1)
    middle = span.mean(axis=1)
    half = 0.5 * joints * np.diff(span, axis=1)[:, 0]
    columns = np.arange(start.qpos.shape[1])[engine.joint_qpos]
    start.qpos[np.ix_(ids, columns)] = rng.uniform(middle - half, middle + half, (m, len(span)))
    start.qvel[ids] = 0.0
    lift = rng.uniform(*clearance, m) - engine.outline.lowest(start.qpos[ids])
    start.qpos[ids, engine.base_pos.start + 2] += lift


@INTERVALS.add()
def push(engine: RobotEngine, ids: np.ndarray, rng: np.random.Generator, *, speed: Range) -> None:
    """A sudden change of the base's horizontal velocity [m/s], to any side."""
    size = rng.uniform(*speed, len(ids))
    engine.push(ids, size[:, None] * _directions(len(ids), rng))


@INTERVALS.add()
def punch(
    engine: RobotEngine,
    ids: np.ndarray,
    rng: np.random.Generator,
    *,
    force: Range,
    seconds: Positive = 0.1,
) -> None:
    """A horizontal force on the base [N] for so many `seconds`, to any side."""
    size = rng.uniform(*force, len(ids))
    engine.pull(ids, size[:, None] * _directions(len(ids), rng))


def _directions(m: int, rng: np.random.Generator) -> np.ndarray:
    """Return horizontal unit vectors to any side, (m, 2)."""
    angle = rng.uniform(-np.pi, np.pi, m)
    return np.stack((np.cos(angle), np.sin(angle)), axis=1)


def _let_go(engine: RobotEngine, ids: np.ndarray) -> None:
    engine.pull(ids, np.zeros(2))


ENDINGS: dict[str, Callable[[RobotEngine, np.ndarray], None]] = {"punch": _let_go}
"""Event that lasts -> what ends it, after its `seconds`."""


class Events:
    """A task's events, resolved."""

    def __init__(self, events: EventTable, robot: RobotSpec) -> None:
        """Look every name up; one that cannot happen at its moment is a `SettingError`."""
        self.robot = robot
        start, reset, self.intervals = (
            _resolve(moment, getattr(events, moment), robot) for moment in MOMENTS
        )
        self.states = [t.function for t in reset.values() if t.name in STATES.functions]
        drawn = {**start, **reset}
        self.ranges = {n: t.own["range"] for n, t in drawn.items() if "range" in t.own}
        """Randomization -> its range."""
        self.parameters = {n: t.parameters for n, t in drawn.items() if "range" in t.own}
        """Randomization -> its parameters."""
        self.kept = frozenset(start)
        """Randomizations that are drawn once."""
        for name in start.keys() & reset.keys():
            raise SettingError(f"task.events.start.{name}", "is at reset too; choose one")

    def check_payload(self, base_mass: float) -> None:
        """Raise `SettingError` where the least payload leaves nothing of the base's mass [kg]."""
        least = self.ranges.get("payload", (0.0, 0.0))[0]
        if base_mass + least <= 0:
            moment = "start" if "payload" in self.kept else "reset"
            raise SettingError(
                f"task.events.{moment}.payload.range",
                f"{least:g} kg must be above {-base_mass:g} kg: it is added to the base's "
                f"{base_mass:g} kg",
            )

    def start(self, engine: RobotEngine, m: int, rng: np.random.Generator) -> Start:
        """Return where `m` episodes start, from the keyframe `home` on."""
        qpos = np.tile(engine.model.key(engine.home).qpos, (m, 1))
        qvel = np.zeros((m, engine.model.nv))
        start = Start(qpos, qvel, engine, self.robot)
        for function in self.states:
            function(start, rng)
        return start


def _resolve(moment: str, entries: Mapping[str, Any], robot: RobotSpec) -> dict[str, Term]:
    """Return the terms of one moment, each from the table that has it."""
    path = f"task.events.{moment}"
    tables = MOMENTS[moment]
    terms = {}
    for name, given in entries.items():
        found = [table for table in tables if name in table.functions]
        if not found:
            known = [n for table in tables for n in table.functions]
            hint = strict.did_you_mean(name, known)
            raise SettingError(f"{path}.{name}", f"unknown event {name!r}{hint}")
        terms[name] = found[0].one(path, name, given, robot.joint_names)
        if found[0] is RANDOMIZATIONS:
            _check_randomization(f"{path}.{name}", name, terms[name])
    return terms


def _check_randomization(path: str, name: str, term: Term) -> None:
    """Raise `SettingError` for one that does not say what it writes, or a range out of bounds."""
    if name not in WRITES:
        raise SettingError(
            path, "does not say which fields it writes: add it by `@randomization(...)`"
        )
    WRITES[name].within.check(f"{path}.range", term.own["range"])


class Clocks:
    """Timers of the events at an interval, for n simulations."""

    def __init__(self, intervals: Mapping[str, Term], n: int, control_period: float) -> None:
        """Start with clocks that are due at once; `schedule` sets them."""
        self.control_period = control_period
        self.ticks_left = {name: np.zeros(n, np.int64) for name in intervals}
        self._endings = {name: ENDINGS[name] for name in intervals if name in ENDINGS}
        self._lasting = {name: self._duration(intervals[name]) for name in self._endings}
        self.ticks_left |= {f"{name}_end": np.zeros(n, np.int64) for name in self._endings}
        self._plan: list[tuple[str, Callable[..., None], Range]] = [
            (name, term.function, term.own["interval"]) for name, term in intervals.items()
        ]

    def advance(self, engine: RobotEngine, rng: np.random.Generator) -> None:
        """Count one control step down, and let happen what is due."""
        for name, end in self._endings.items():
            left = self.ticks_left[f"{name}_end"]
            left -= 1
            end(engine, np.flatnonzero(left == 0))
        for name, function, interval in self._plan:
            left = self.ticks_left[name]
            left -= 1
            due = np.flatnonzero(left <= 0)
            if due.size:
                function(engine, due, rng)
                left[due] = self._ticks(interval, len(due), rng)
                if name in self._endings:
                    self.ticks_left[f"{name}_end"][due] = self._lasting[name]

    def schedule(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Set the clocks of `ids` anew."""
        for name, _, interval in self._plan:
            self.ticks_left[name][ids] = self._ticks(interval, len(ids), rng)
        for name in self._endings:  # a reset ended it
            self.ticks_left[f"{name}_end"][ids] = 0

    def _duration(self, term: Term) -> int:
        """Return how many control periods an event lasts, at least one."""
        given = INTERVALS.defaults(term.name) | term.parameters
        return max(1, round(given["seconds"] / self.control_period))

    def _ticks(self, interval: Range, m: int, rng: np.random.Generator) -> np.ndarray:
        seconds = rng.uniform(*interval, m)
        return np.rint(seconds / self.control_period).astype(np.int64)
