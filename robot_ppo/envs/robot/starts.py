"""Starts of episodes, drawn in blocks: poses, velocities, randomized fields.

    starts = Starts(events, randomizer, engine)
    begin = starts.take(len(ids), rng)
    engine.reset(ids, begin.qpos, begin.qvel, begin.rows)

Some fifteen randomizations and initial states cost the same time in Python for one episode as for
sixty-four, and in most control steps only one or two episodes end. So a block is drawn at once,
from a generator of its own, and handed out row by row. A block follows from its key alone: the
key, its size and how much of it is used are all that is saved of it.

Where a task keeps draws from episode to episode (`events.start`), they are put into the block's
place, so there each call draws its own.
"""

from dataclasses import dataclass

import numpy as np

from robot_ppo.envs.robot.events import Events
from robot_ppo.envs.robot.randomization import Randomizer
from robot_ppo.sim.fields import Rows
from robot_ppo.sim.robot_engine import RobotEngine

BLOCK = 64
"""Episodes that are drawn at once, at least."""
_LARGEST_KEY = 2**62


@dataclass(frozen=True)
class Beginning:
    """First states and randomization of m episodes."""

    qpos: np.ndarray
    """(m, nq)"""
    qvel: np.ndarray
    """(m, nv)"""
    rows: Rows
    """Values of the varied fields, (m, ...) each."""
    draws: np.ndarray
    """(m, r) the randomization's draws, each scaled to [-1, 1] over its range"""

    def part(self, begin: int, end: int) -> "Beginning":
        """Return the episodes from `begin` on, before `end`."""
        rows = {name: values[begin:end] for name, values in self.rows.items()}
        return Beginning(self.qpos[begin:end], self.qvel[begin:end], rows, self.draws[begin:end])


class Starts:
    """Draws a task's episode starts."""

    def __init__(self, events: Events, randomizer: Randomizer, engine: RobotEngine) -> None:
        """Start without a block.

        Args:
            events: initial states.
            randomizer: of the model's fields.
            engine: knows the model.
        """
        self.events = events
        self.randomizer = randomizer
        self.engine = engine
        self._place = np.zeros(3, np.int64)
        """Key and size of the block, and how many of it are used."""
        self._block: Beginning | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next starts depend on, not copies; `restore` after a write."""
        return {"place": self._place}

    def restore(self) -> None:
        """Draw the block anew that was in use when the arrays were saved."""
        key, size, _ = self._place.tolist()
        self._block = self._draw(size, np.random.default_rng(key)) if size else None

    def clear(self) -> None:
        """Let go of what was drawn: the next start follows from the next generator alone."""
        self._place[:] = 0
        self._block = None

    def take(self, m: int, rng: np.random.Generator, before: np.ndarray | None = None) -> Beginning:
        """Return how `m` episodes start.

        Args:
            m: how many.
            rng: gives the key of a new block.
            before: draws (m, r) of the episodes before, for what stays; None: all are new.
        """
        if before is not None and self.randomizer.kept.size:
            return self._draw(m, rng, before)
        used = int(self._place[2])
        if self._block is None or used + m > self._place[1]:
            used = 0
            self._place[:2] = rng.integers(_LARGEST_KEY), max(m, BLOCK)
            self.restore()
        assert self._block is not None
        self._place[2] = used + m
        return self._block.part(used, used + m)

    def _draw(
        self, m: int, rng: np.random.Generator, before: np.ndarray | None = None
    ) -> Beginning:
        start = self.events.start(self.engine, m, rng)
        rows = self.engine.nominal(self.randomizer.fields, m)
        draws = self.randomizer.apply(rows, m, rng, before)
        return Beginning(start.qpos, start.qvel, rows, draws)
