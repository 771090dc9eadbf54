"""Tiles of rough ground in one field of heights: a row for each level, columns for each kind.

    tiles = Tiles.build(task.terrain, kinds, shares)
    model = variants.train_model(robot, xml, physics, 0.0, tiles.field)
    tiles.centre(row, column)           # where a simulation starts

All simulations of a batch share one field, because heights cannot differ between them; they
are placed on its tiles.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_ppo.config import Terrain
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.sim.terrain import FADE, KINDS, Kind, Tile, heights
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

BORDER = 2.0
"""Level ground around all tiles [m]."""
_BYTES = 64
"""Memory for a grid point, in all that is made of it: heights, MuJoCo's own, look-up tables."""
_SHARE = 0.25
"""Largest share of a computer's memory that a field may take."""


@dataclass(frozen=True)
class Tiles:
    """A field of heights made of tiles: a row along x for each level, a column for each kind."""

    field: HeightField
    names: tuple[str, ...]
    """The kinds."""
    kinds: np.ndarray
    """(columns,) index of each column's kind."""
    levels: np.ndarray
    """(rows,) from above 0 to 1"""
    size: float
    """Side of a tile [m]."""

    @classmethod
    def build(
        cls, settings: Terrain, kinds: Mapping[str, Kind], shares: Mapping[str, float]
    ) -> "Tiles":
        """Return the tiles of a task's `terrain`.

        Args:
            settings: the section; its `kinds` are those that follow.
            kinds: name -> function, parameters filled in.
            shares: name -> its share of the columns.
        """
        tile = Tile(settings.size, settings.spacing, settings.platform)
        _check(settings, len(kinds))
        of_column = _columns(settings.columns, np.array([shares[name] for name in kinds]))
        levels = (np.arange(settings.levels) + 1) / settings.levels
        functions = list(kinds.values())
        made = [
            [
                heights(tile, functions[kind], level, (settings.seed, column, row))
                for row, level in enumerate(levels.tolist())
            ]
            for column, kind in enumerate(of_column.tolist())
        ]
        field = joined(made, tile)
        return cls(field, tuple(kinds), of_column, levels, settings.size)

    def fingerprint(self) -> str:
        """Return a text that is another for other ground: heights, where they are, kinds, tiles."""
        field = self.field
        digest = hashlib.sha256(field.heights.tobytes())
        numbers = (field.heights.shape, field.spacing, field.corner, self.size)
        digest.update(repr((numbers, self.names, self.kinds.tolist(), len(self.levels))).encode())
        return digest.hexdigest()

    def centre(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the middles (m, 2) [m] of tiles (m,)."""
        return centre(self.field, self.size, row, column)


def centre(field: HeightField, size: float, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the middles (m, 2) [m] of tiles (m,) of a `joined` field; `size` is a tile's [m]."""
    places = np.stack((row, column), axis=-1) + 0.5
    return np.array(field.corner) + BORDER + places * size


def course(name: str, level: float, seed: int = 0, spacing: float = 0.05) -> HeightField:
    """Return one tile of a kind at a level, with its middle at x = y = 0, to walk out of.

    Its platform is wide enough for a robot that lies, and its heights are near enough for edges.
    """
    tile = Tile(size=20.0, spacing=spacing, platform=1.6)
    return joined([[heights(tile, KINDS[name], level, seed)]], tile)


def parse(text: str) -> tuple[str, float]:
    """Return kind and level of a text such as "stairs_up:0.6".

    Raises:
        InputError: there is no such kind, or the level is not between 0 and 1.
    """
    name, _, level = text.partition(":")
    if name not in KINDS:
        raise InputError(f"unknown kind of ground {name!r}{strict.did_you_mean(name, KINDS)}")
    try:
        value = float(level)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise InputError(f"{text!r}: give the level behind a colon, 0 to 1, as in {name}:0.6")
    return name, value


def _columns(count: int, shares: np.ndarray) -> np.ndarray:
    """Return which kind each column is (columns,): one at least for each, the rest by share."""
    number = np.ones(len(shares), int)
    for _ in range(count - len(shares)):
        number[np.argmax(shares / number)] += 1
    return np.repeat(np.arange(len(shares)), number)


def joined(made: list[list[np.ndarray]], tile: Tile) -> HeightField:
    """Return the field of tiles, by column and then by row, with a level border around them."""
    margin = round(BORDER / tile.spacing)
    cells = round(tile.size / tile.spacing)
    field = np.zeros((len(made) * cells + 1 + 2 * margin, len(made[0]) * cells + 1 + 2 * margin))
    for column, rows in enumerate(made):
        for row, one in enumerate(rows):
            y = margin + column * cells
            x = margin + row * cells
            field[y : y + cells + 1, x : x + cells + 1] = one
    sides = tile.spacing * (np.array(field.shape[::-1]) - 1)
    return HeightField(field, tile.spacing, tuple((-sides / 2).tolist()))


def _check(settings: Terrain, kinds: int) -> None:
    """Raise `SettingError` for tiles that cannot be."""
    if settings.columns < kinds:
        raise SettingError(
            "task.terrain.columns", f"{settings.columns} is fewer than the {kinds} kinds"
        )
    for key in ("size", "platform"):
        value = getattr(settings, key)
        if abs(value / settings.spacing - round(value / settings.spacing)) > 1e-6:
            raise SettingError(
                f"task.terrain.{key}",
                f"{value:g} m is no multiple of spacing {settings.spacing}",
            )
    least = settings.platform + 2 * (FADE + settings.spacing)
    if settings.size < least:
        raise SettingError(
            "task.terrain.size",
            f"{settings.size:g} m leaves no room around the platform of {settings.platform:g} m; "
            f"it must be {least:g} m or more",
        )
    _check_memory(settings)


def _check_memory(settings: Terrain) -> None:
    """Raise `SettingError` for a field that this computer's memory should not be given to."""
    along, across = (
        (count * settings.size + 2 * BORDER) / settings.spacing + 1
        for count in (settings.levels, settings.columns)
    )
    needed = along * across * _BYTES
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > _SHARE * have:
        raise SettingError(
            "task.terrain",
            f"{round(along)} x {round(across)} heights take {needed / 1e9:.1f} GB, and a quarter "
            f"of this computer's memory is {_SHARE * have / 1e9:.1f} GB; take fewer levels or "
            "columns, smaller tiles, or a wider spacing",
        )


def check_room(settings: Terrain, footprint: float, robot: str) -> None:
    """Raise `SettingError` for a tile on which a robot cannot stand.

    Args:
        settings: the tiles.
        footprint: the longest side of what the robot stands on [m].
        robot: its name.
    """
    if settings.platform < footprint:
        raise SettingError(
            "task.terrain.platform",
            f"{settings.platform:g} m, and {robot} stands on {footprint:.2f} m: make it wider",
        )
    if settings.size < 4 * footprint:
        raise SettingError(
            "task.terrain.size",
            f"a tile of {settings.size:g} m is too small for {robot}, which stands on "
            f"{footprint:.2f} m; it must be {4 * footprint:.1f} m or more",
        )
