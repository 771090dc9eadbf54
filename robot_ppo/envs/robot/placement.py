"""On which tile each simulation is, and how far its episode got there.

    placement = Placement(tiles, start=0.3, n=1024, control_period=0.02, rising=True)
    xy = placement.begin(ids, rng)
    placement.advance(world)                    # every control step
    placement.left(xy)                          # (n,) who is beyond the border of its tile
    placement.end(ids, crossed, failed)         # episodes that are over
    placement.change_levels(fraction=0.5)       # what the curriculum makes of them

A simulation keeps its kind of ground. Its level is a row of tiles; where nothing changes the levels
(`rising` is false), each episode has one at random.
"""

from collections.abc import Mapping

import numpy as np

from robot_ppo.envs.robot.world import World
from robot_ppo.sim.tiles import Tiles

_ANY = -1
"""In place of a row: drawn when the next episode begins."""


def _nobody() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return no ids of episodes that ended, and which of these crossed and failed."""
    return np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool)


class Placement:
    """The tiles of n simulations."""

    def __init__(
        self,
        tiles: Tiles,
        start: float,
        n: int,
        control_period: float,
        rising: bool,
    ) -> None:
        """Place nobody yet; `begin` does.

        Args:
            tiles: to be placed on.
            start: the highest level of a first episode, where levels rise.
            n: simulations.
            control_period: [s]
            rising: a curriculum changes the levels, and commands are twists.
        """
        self.tiles = tiles
        self.rising = rising
        self._control_period = control_period
        self._lowest_rows = 1 + int(start * (len(tiles.levels) - 1) + 1e-9)
        self._number = np.bincount(tiles.kinds, minlength=len(tiles.names))
        self._first = np.concatenate(([0], np.cumsum(self._number)[:-1]))
        self.kind = np.zeros(n, np.int64)
        """(n,) index into `tiles.names`"""
        self.row = np.zeros(n, np.int64)
        self.column = np.zeros(n, np.int64)
        self.asked = np.zeros(n)
        """(n,) length of the way that the commands of the episode ask for [m]"""
        self.covered = np.zeros(n)
        """(n,) how much of it the robots went, along their commands [m]"""
        self._ended = _nobody()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays (n,) that the next steps depend on, not copies."""
        names = ("kind", "row", "column", "asked", "covered")
        return {name: getattr(self, name) for name in names}

    def begin(self, ids: np.ndarray, rng: np.random.Generator, anew: bool = False) -> np.ndarray:
        """Return the places (m, 2) [m] at which the episodes `ids` begin.

        With `anew` every simulation gets its kind, and the first of its levels.
        """
        m = len(ids)
        rows = len(self.tiles.levels)
        if anew:
            kinds = rng.permutation(self.tiles.kinds)  # first, so that few robots get any of them
            self.kind[ids] = np.resize(kinds, m)
            self.row[ids] = rng.integers(0, self._lowest_rows, m)
        drawn = rng.random((2, m))
        any_row = (self.row[ids] == _ANY) | (not self.rising)
        self.row[ids] = np.where(any_row, (drawn[0] * rows).astype(int), self.row[ids])
        kind = self.kind[ids]
        self.column[ids] = self._first[kind] + (drawn[1] * self._number[kind]).astype(int)
        self.asked[ids] = 0.0
        self.covered[ids] = 0.0
        return self.centres(ids)

    def restart(self) -> None:
        """Place nobody, as at first; `begin` with `anew` does."""
        for values in self.arrays().values():
            values[:] = 0
        self._ended = _nobody()

    def centres(self, ids: np.ndarray) -> np.ndarray:
        """Return the middles (m, 2) [m] of the tiles of `ids`."""
        return self.tiles.centre(self.row[ids], self.column[ids])

    def left(self, xy: np.ndarray) -> np.ndarray:
        """Return who of all, at places (n, 2) [m], is beyond the border of its tile (n,)."""
        offset = np.abs(xy - self.centres(np.arange(len(xy))))
        return offset.max(axis=1) > self.tiles.size / 2

    def advance(self, world: World) -> None:
        """Add a control step to the ways, where levels follow from them."""
        if not self.rising:
            return
        wanted = world.command[:, :2]
        speed = np.hypot(wanted[:, 0], wanted[:, 1])
        along = (world.base_lin_vel[:, :2] * wanted).sum(axis=1) / np.maximum(speed, 1e-6)
        self.asked += speed * self._control_period
        self.covered += np.where(speed > 0, along, 0.0) * self._control_period

    def end(self, ids: np.ndarray, crossed: np.ndarray, failed: np.ndarray) -> None:
        """Take note of the episodes `ids` that are over.

        Args:
            ids: (m,)
            crossed: (n,) who left its tile.
            failed: (n,) who failed.
        """
        self._ended = (ids, crossed[ids], failed[ids])

    def change_levels(self, fraction: float) -> None:
        """Change the levels of those whose episodes ended.

        A level up for who left its tile, and any level for who left the highest; a level down for
        who failed, or went less than `fraction` of the way that was asked for.
        """
        ids, crossed, failed = self._ended
        self._ended = (ids[:0], crossed[:0], failed[:0])
        short = self.covered[ids] < fraction * self.asked[ids]
        up = crossed & ~failed
        down = ~up & (failed | short)
        row = self.row[ids] + up - down
        self.row[ids] = np.where(row >= len(self.tiles.levels), _ANY, np.maximum(row, 0))

    def level(self) -> float:
        """Return the mean level of all; who goes to any and has not begun counts as the highest."""
        return float(self.tiles.levels[self.row].mean())

    def counts(self) -> dict[str, list[int]]:
        """Return how many simulations of a kind each row has, from the lowest, by its name."""
        rows = len(self.tiles.levels)
        found = np.unique(self.kind).tolist()
        return {
            self.tiles.names[k]: np.bincount(self.row[self.kind == k], minlength=rows).tolist()
            for k in found
        }

    def take_up(self, counts: Mapping[str, list[int]], rng: np.random.Generator) -> None:
        """Give simulations the levels of those that were counted, kind by kind.

        Rows may be others now: a level is the lowest row that is as hard. Kinds that `counts` does
        not name keep their levels.
        """
        for k, name in enumerate(self.tiles.names):
            if name not in counts:
                continue
            there = np.repeat(np.arange(len(counts[name])) + 1, counts[name]) / len(counts[name])
            mine = np.flatnonzero(self.kind == k)
            levels = np.resize(rng.permutation(there), len(mine))
            self.row[mine] = np.searchsorted(self.tiles.levels, levels - 1e-9)

    def figures(self) -> dict[str, float]:
        """Return the mean level of each kind, for the log."""
        level = self.tiles.levels[self.row]
        found = np.unique(self.kind)
        names = self.tiles.names
        return {f"level_{names[k]}": float(level[self.kind == k].mean()) for k in found.tolist()}
