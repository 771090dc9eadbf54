"""The scorecard for rough ground: what a policy crosses, kind by kind and level by level.

    card = crossed(contract, begin, kinds=("stairs_up", "stairs_down"))
    card.highest("stairs_up")           # 0.4: every level up to it is crossed by 90 % of the trials

A trial starts in the middle of a tile, heads anywhere, is told to walk ahead at 0.4 to 0.6 m/s, and
has crossed once it is 8 m away, within 1.5 times what that takes. The physics are the scorecard's
(evaluate.py), heights are 5 cm apart. Each kind and level is tried without and with pushes. Levels
above one that fewer than half of the trials cross are not tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_ppo.config import Condition
from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.trials import Plan
from robot_ppo.evaluation import intervals
from robot_ppo.evaluation.evaluate import Run
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.sim import terrain, tiles
from robot_ppo.sim.terrain import KINDS, Tile
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.errors import InputError

WAY = 8.0
"""From the middle of a tile to where it is crossed [m]."""
SPEEDS = (0.4, 0.6)
"""Slowest and fastest command [m/s]."""
PATIENCE = 1.5
"""A trial may take so much of the time that its command asks for, and a second to begin."""
ENOUGH = 0.9
"""A level counts when so many of its trials cross."""
HOPELESS = 0.5
LEVELS = (0.2, 0.4, 0.6, 0.8, 1.0)
TRIALS = 20
CONDITIONS = (Condition("nominal"), Condition("pushes", push=0.5))
_TILE = Tile(size=2 * WAY + 1.0, spacing=0.05, platform=1.0)
_TILES = 4
"""Tiles of each kind and level, of seeds that no training has."""
_SEED = 1_000_000

Act = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Crossing:
    """What became of the trials of one kind, level and condition."""

    kind: str
    level: float
    condition: str
    trials: int
    crossed: int
    fallen: int
    stuck: int
    """They ran out of time."""
    velocity_error: float
    """Mean |v_xy - command| until the trial's end [m/s]."""
    cost_of_transport: float
    """Mechanical energy over weight and way."""

    @property
    def success(self) -> intervals.Interval:
        """The fraction that crossed, with its exact interval."""
        return intervals.probability(self.crossed, self.trials)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        success = self.success
        own = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return own | {"success": success.value, "interval": [success.low, success.high]}


@dataclass
class GroundCard:
    """The crossings of all kinds, levels and conditions."""

    kinds: tuple[str, ...]
    crossings: list[Crossing]

    def of(self, kind: str, condition: str = CONDITIONS[0].name) -> list[Crossing]:
        """Return the crossings of a kind under a condition, by level."""
        return [c for c in self.crossings if (c.kind, c.condition) == (kind, condition)]

    def highest(self, kind: str, condition: str = CONDITIONS[0].name) -> float | None:
        """Return the highest level up to which every level counts; None: the lowest does not."""
        best = None
        for crossing in self.of(kind, condition):
            if crossing.crossed < ENOUGH * crossing.trials:
                break
            best = crossing.level
        return best

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain data: a number per kind at the top."""
        names = list(dict.fromkeys(c.condition for c in self.crossings))
        return {
            "highest_level": {c: {k: self.highest(k, c) for k in self.kinds} for c in names},
            "crossings": [crossing.to_json() for crossing in self.crossings],
        }


def chosen(text: str | None) -> tuple[str, ...]:
    """Return the kinds in "stairs_up,waves"; None: all that are rough."""
    if text is None:
        return tuple(name for name in KINDS if name != "flat")
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in KINDS:
            hint = strict.did_you_mean(name, KINDS)
            raise InputError(f"unknown kind of ground {name!r}{hint}")
    return names


def crossed(
    contract: Contract,
    begin: Callable[[], Act],
    kinds: Sequence[str],
    levels: Sequence[float] = LEVELS,
    conditions: Sequence[Condition] = CONDITIONS,
    trials_each: int = TRIALS,
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    xml: Mjcf | None = None,
) -> GroundCard:
    """Return what a policy crosses.

    Args:
        contract: what the policy assumes.
        begin: returns the policy without memories, as of robots that begin:
            observations (n, size) -> deterministic raw actions (n, joints).
        kinds: of ground.
        levels: ascending, from 0 to 1.
        conditions: the first decides which levels are tried.
        trials_each: trials of each kind, level and condition.
        threads: for physics; 0: all CPUs.
        seed: of noise, pushes and headings.
        progress: called with the fraction that is done.
        xml: the robot's MJCF; by default that in the folder of its name.

    Raises:
        InputError: the policy does not walk ahead at the speeds that are asked for.
    """
    _check_command(contract)
    card = GroundCard(tuple(kinds), [])
    left = list(kinds)
    for i, level in enumerate(levels):
        if left:
            trial = _Trials(
                contract, left, level, list(conditions), trials_each, threads, seed, xml
            )
            card.crossings += trial.run(
                begin(), lambda done, i=i: progress((i + done) / len(levels))
            )
        first = {c.kind: c for c in card.crossings if c.condition == conditions[0].name}
        left = [k for k in left if first[k].crossed >= HOPELESS * first[k].trials]
    progress(1.0)
    return card


def _check_command(contract: Contract) -> None:
    entries = {entry.name: entry for entry in contract.command.entries}
    ahead = entries.get("vx") if contract.command.kind == "twist" else None
    if ahead is None or not (ahead.low <= SPEEDS[0] and SPEEDS[1] <= ahead.high):
        raise InputError(
            f"the scorecard for ground tells a robot to walk ahead at {SPEEDS[0]} to {SPEEDS[1]} "
            "m/s, which is no command of this policy"
        )


def field_of(kinds: Sequence[str], level: float) -> HeightField:
    """Return the tiles of a level: a column for each kind, rows of other seeds."""
    made = [
        [terrain.heights(_TILE, KINDS[kind], level, (_SEED, row)) for row in range(_TILES)]
        for kind in kinds
    ]
    return tiles.joined(made, _TILE)


class _Trials(Run):
    """The trials of one level: conditions, times kinds, times trials, side by side."""

    def __init__(
        self,
        contract: Contract,
        kinds: list[str],
        level: float,
        conditions: list[Condition],
        trials_each: int,
        threads: int,
        seed: int,
        xml: Mjcf | None,
    ) -> None:
        self.kinds = kinds
        self.level = level
        self.each = trials_each
        number = np.tile(np.arange(trials_each), len(kinds))
        speed = np.linspace(*SPEEDS, trials_each)[number]
        commands = np.column_stack((speed, 0 * speed, 0 * speed)).astype(np.float32)
        limit = PATIENCE * WAY / SPEEDS[0] + 1
        units = trials.figures("twist")
        plan = Plan(limit, 0.0, commands, tuple(conditions), 3.0, {}, [], units)
        field = field_of(kinds, level)
        super().__init__(contract, conditions, threads, seed, xml, plan, field)
        self._limit = np.tile(PATIENCE * WAY / speed + 1, len(conditions))
        self._over = np.zeros(self.n, bool)
        self._crossed = np.zeros(self.n, bool)
        self._time = np.zeros(self.n)
        self._error = np.zeros(self.n)
        self._energy = np.zeros(self.n)
        self._way = np.zeros(self.n)
        column = np.repeat(np.arange(len(kinds)), trials_each)
        self._start = np.tile(
            tiles.centre(field, _TILE.size, number % _TILES, column), (len(conditions), 1)
        )
        # Headings by the golden ratio: any number of them is spread over the circle.
        self._begin(
            np.tile(2 * np.pi * ((number * 0.6180339887 + 0.07 * seed) % 1.0), len(conditions))
        )

    def _begin(self, yaw: np.ndarray) -> None:
        """Put every robot in the middle of its tile, with a heading of its own (n,) [rad]."""
        engine = self.engine
        engine.qpos[:, engine.base_pos] += np.column_stack(
            (self._start, engine.ground.height(*self._start.T))
        )
        w = engine.base_quat.start
        engine.qpos[:, w] = np.cos(yaw / 2)
        engine.qpos[:, w + 3] = np.sin(yaw / 2)
        engine.batch.forward()

    def run(self, act: Act, progress: Callable[[float], None]) -> list[Crossing]:
        """Try until everyone has crossed, fallen, or run out of time."""
        period = self.contract.control_period
        ticks = round(self.plan.seconds / period)
        for t in range(ticks):
            self.tick(act, scored=True)
            if self._over.all():
                break
            progress(t / ticks)
        return self._crossings()

    def _score(self, power: np.ndarray, saturated: np.ndarray, rate: np.ndarray) -> None:
        """Add one tick to the trials that are not over, and end those that are."""
        engine = self.engine
        period = self.contract.control_period
        velocity = engine.qvel[:, engine.base_lin_vel_w][:, :2]
        error = np.hypot(*(self._twist() - self.command)[:, :2].T)
        going = ~self._over & self.alive
        self._time += period * going
        self._error += np.where(going, error, 0.0) * period
        self._energy += np.where(going, power, 0.0) * period
        self._way += np.where(going, np.hypot(*velocity.T), 0.0) * period
        away = np.hypot(*(engine.qpos[:, engine.base_pos][:, :2] - self._start).T)
        self._crossed |= going & (away >= WAY)
        self._over |= self._crossed | ~self.alive | (self._time >= self._limit)

    def _crossings(self) -> list[Crossing]:
        """Return what became of every kind under every condition."""
        shape = (len(self.conditions), len(self.kinds), self.each)
        crossed, fallen = (
            (a.reshape(shape)) for a in (self._crossed, ~self.alive & ~self._crossed)
        )
        error = (self._error / np.maximum(self._time, 1e-9)).reshape(shape)
        transport = (self._energy / self.weight / np.maximum(self._way, 0.1)).reshape(shape)
        return [
            Crossing(
                kind,
                self.level,
                condition.name,
                self.each,
                int(crossed[i, j].sum()),
                int(fallen[i, j].sum()),
                int((~crossed[i, j] & ~fallen[i, j]).sum()),
                float(error[i, j].mean()),
                float(transport[i, j].mean()),
            )
            for i, condition in enumerate(self.conditions)
            for j, kind in enumerate(self.kinds)
        ]
