"""Kinds of rough ground: name -> f(tile, level, rng, *, parameters) -> heights (k, k) [m].

    tile = Tile(size=8.0, spacing=0.1, platform=1.0)
    heights(tile, KINDS["stairs_up"], level=0.6, seed=0)

A kind is a function of a tile, a level and a generator that returns heights (k, k) [m]: level 0 is
the low end of its ranges, 1 the high end. Every tile has a level square in its middle, where robots
start, and height 0 all around its border, so that any two tiles fit. "up" and "down" say how the
ground goes for a robot that walks from the middle outwards.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from msgspec import Meta

from robot_ppo.config import NonNegative, NonNegativeRange, Positive, PositiveRange, Range
from robot_ppo_export.contract.strict import SettingError

FADE = 0.4
"""Width [m] of the border in which a tile falls to height 0."""

F = TypeVar("F", bound=Callable[..., np.ndarray])
Kind = Callable[["Tile", float, np.random.Generator], np.ndarray]
KINDS: dict[str, Callable[..., np.ndarray]] = {}
"""Kind of ground -> f(tile, level, rng, *, parameters) -> heights (k, k) [m]."""
LEAST: dict[str, dict[str, int]] = {}
"""Kind of ground -> parameter [m] -> distances of grid points that it must have: heights cannot
show less."""
_REPEATED = ("tread", "stone")
"""Parameters of which a tile must have room for one, or it is flat at every level."""

Angles = tuple[Annotated[float, Meta(ge=0, le=1.2)], Annotated[float, Meta(ge=0, le=1.2)]]
"""Range of slopes [rad], none of them a wall; in degrees one is refused."""


@dataclass(frozen=True)
class Tile:
    """The square that a kind fills."""

    size: float
    """Its side [m]."""
    spacing: float
    """Distance of grid points [m]."""
    platform: float
    """Side of the level square in the middle [m]."""

    @property
    def axis(self) -> np.ndarray:
        """Coordinates of the grid points along one side (k,) [m], 0 in the middle."""
        return np.linspace(-self.size / 2, self.size / 2, round(self.size / self.spacing) + 1)

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """The x and y of every grid point (k, k) [m]."""
        x, y = np.meshgrid(self.axis, self.axis)
        return x, y

    @property
    def ring(self) -> np.ndarray:
        """Distance of every grid point from the middle (k, k) [m]: half the side of its square."""
        x, y = self.places
        return np.maximum(np.abs(x), np.abs(y))

    @property
    def reach(self) -> float:
        """Distance from the edge of the platform to where the tile comes down to 0 [m]."""
        return self.size / 2 - FADE - self.platform / 2


def _kind(**least: int) -> Callable[[F], F]:
    """Return a decorator that adds a kind; see `LEAST`."""

    def register(function: F) -> F:
        KINDS[function.__name__] = function
        LEAST[function.__name__] = least
        return function

    return register


def check(name: str, parameters: Mapping[str, Any], tile: Tile, path: str) -> None:
    """Raise `SettingError`, under `path`, where a tile cannot be what a kind's parameters say."""
    for key, count in LEAST.get(name, {}).items():
        given = np.ravel(parameters[key])
        least = count * tile.spacing
        if given[0] < least - 1e-9:
            raise SettingError(
                f"{path}.{key}",
                f"{given[0]:g} m cannot be seen in heights {tile.spacing:g} m apart, of which it "
                f"must have {count}: make it {least:g} m or more, or `spacing` finer",
            )
        if key in _REPEATED and 0 < tile.reach < given[-1]:
            raise SettingError(
                f"{path}.{key}",
                f"{given[-1]:g} m is more than the {tile.reach:g} m between a tile's platform and "
                "its border, so that the ground would be flat: make it less, or `size` larger",
            )


def at(level: float, span: Range) -> float:
    """Return the value of a range at a level."""
    return span[0] + level * (span[1] - span[0])


@_kind()
def flat(tile: Tile, level: float, rng: np.random.Generator) -> np.ndarray:
    """Level ground."""
    return np.zeros_like(tile.ring)


@_kind(width=1)
def random_rough(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    height: NonNegativeRange = (0.01, 0.10),
    width: Positive = 0.2,
) -> np.ndarray:
    """Heights within +- `height` [m], drawn every `width` [m] and joined."""
    points = np.arange(-tile.size / 2, tile.size / 2 + 2 * width, width)
    drawn = rng.uniform(-1.0, 1.0, (len(points), len(points))) * at(level, height)
    along_x = np.array([np.interp(tile.axis, points, row) for row in drawn])
    return np.array([np.interp(tile.axis, points, column) for column in along_x.T]).T


def _slope(tile: Tile, angle: float) -> np.ndarray:
    """Return a pyramid (k, k) [m] with its platform on top."""
    down = np.clip(tile.ring - tile.platform / 2, 0.0, tile.reach)
    return np.tan(angle) * (tile.reach - down)


@_kind()
def slope_up(
    tile: Tile, level: float, rng: np.random.Generator, *, angle: Angles = (0.05, 0.45)
) -> np.ndarray:
    """A pit with sides that ascend by `angle` [rad]."""
    return -_slope(tile, at(level, angle))


@_kind()
def slope_down(
    tile: Tile, level: float, rng: np.random.Generator, *, angle: Angles = (0.05, 0.45)
) -> np.ndarray:
    """A hill with sides that descend by `angle` [rad]."""
    return _slope(tile, at(level, angle))


def _stairs(tile: Tile, rise: float, tread: float) -> np.ndarray:
    """Return a pyramid of steps (k, k) [m] with its platform on top."""
    steps = int(tile.reach / tread)
    # A riser stands on the grid point that it begins at, whatever that is rounded to.
    outwards = np.ceil((tile.ring - tile.platform / 2) / tread - 1e-6)
    return rise * (steps - np.clip(outwards, 0, steps))


@_kind(tread=2)
def stairs_up(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    rise: NonNegativeRange = (0.02, 0.20),
    tread: Positive = 0.3,
) -> np.ndarray:
    """A pit of stairs: steps of `rise` [m], `tread` [m] deep, lead up and out."""
    return -_stairs(tile, at(level, rise), tread)


@_kind(tread=2)
def stairs_down(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    rise: NonNegativeRange = (0.02, 0.20),
    tread: Positive = 0.3,
) -> np.ndarray:
    """A hill of stairs: steps of `rise` [m], `tread` [m] deep, lead down and out."""
    return _stairs(tile, at(level, rise), tread)


@_kind(width=1)
def blocks(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    height: NonNegativeRange = (0.02, 0.20),
    width: PositiveRange = (0.4, 1.2),
    density: Positive = 0.8,
) -> np.ndarray:
    """Blocks and holes, `density` a square metre, `width` [m] long and wide.

    `height` [m] is that from the deepest hole to the highest block.
    """
    heights = np.zeros_like(tile.ring)
    half = tile.size / 2
    for _ in range(round(density * tile.size**2)):
        x, y = rng.uniform(-half, half, 2)
        long, wide = rng.uniform(*width, 2)
        columns = np.abs(tile.axis - x) <= long / 2
        rows = np.abs(tile.axis - y) <= wide / 2
        heights[np.ix_(rows, columns)] = rng.uniform(-0.5, 0.5) * at(level, height)
    return heights


@_kind(length=4)
def waves(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    height: NonNegativeRange = (0.02, 0.25),
    length: Positive = 1.5,
) -> np.ndarray:
    """Waves along both axes, `length` [m] long, `height` [m] from the lowest to the highest."""
    x, y = tile.places
    begin = rng.uniform(0.0, 2 * np.pi, 2)
    pace = 2 * np.pi / length
    return at(level, height) / 4 * (np.sin(pace * x + begin[0]) + np.sin(pace * y + begin[1]))


@_kind(stone=2)
def stepping_stones(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    gap: NonNegativeRange = (0.1, 0.3),
    depth: NonNegativeRange = (0.03, 0.15),
    stone: Positive = 0.5,
    height: NonNegative = 0.02,
) -> np.ndarray:
    """Stones, `stone` [m] wide and +- `height` [m] high, between shallow gaps.

    A gap is `gap` [m] wide and `depth` [m] deep.
    """
    pitch = stone + at(level, gap)
    x, y = (places + rng.uniform(0, pitch) for places in tile.places)
    column, row = (np.floor(places / pitch).astype(int) for places in (x, y))
    tops = rng.uniform(-height, height, (np.ptp(row) + 1, np.ptp(column) + 1))
    on_top = (x - column * pitch <= stone) & (y - row * pitch <= stone)
    return np.where(on_top, tops[row - row.min(), column - column.min()], -at(level, depth))


@_kind(width=2)
def tilted_plates(
    tile: Tile,
    level: float,
    rng: np.random.Generator,
    *,
    angle: Angles = (0.03, 0.30),
    width: Positive = 0.8,
) -> np.ndarray:
    """Square plates, `width` [m] wide, each leaning to a side of its own by up to `angle` [rad]."""
    x, y = (places + rng.uniform(0, width) for places in tile.places)
    column, row = (np.floor(places / width).astype(int) for places in (x, y))
    count = (np.ptp(row) + 1, np.ptp(column) + 1)
    lean = np.tan(at(level, angle) * np.sqrt(rng.random(count)))
    side = rng.uniform(-np.pi, np.pi, count)
    mine = (row - row.min(), column - column.min())
    from_x = x - (column + 0.5) * width
    from_y = y - (row + 0.5) * width
    return lean[mine] * (np.cos(side[mine]) * from_x + np.sin(side[mine]) * from_y)


def measure(name: str, level: float) -> tuple[str, float]:
    """Return the first of a kind's ranges and its value at a level; "" and 0 where it has none."""
    for parameter in inspect.signature(KINDS[name]).parameters.values():
        if isinstance(parameter.default, tuple):
            return parameter.name, at(level, parameter.default)
    return "", 0.0


def heights(tile: Tile, kind: Kind, level: float, seed: int | tuple[int, ...]) -> np.ndarray:
    """Return the heights of a tile (k, k) [m]: the same for the same arguments.

    Args:
        tile: the square.
        kind: fills it.
        level: from 0 to 1.
        seed: of what is drawn.

    Raises:
        SettingError: the level is outside of its range.
    """
    if not 0 <= level <= 1:
        raise SettingError("level", f"{level:g} is not between 0 and 1")
    made = kind(tile, level, np.random.default_rng(seed))
    middle = made[tile.ring <= tile.platform / 2 + 1e-9]
    made = np.where(tile.ring <= tile.platform / 2 + 1e-9, middle.mean(), made)
    return made * np.clip((tile.size / 2 - tile.ring) / FADE, 0.0, 1.0)
