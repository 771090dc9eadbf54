"""Height scans: what a robot's map says of the ground around it, and what it is wrong by.

    poses = Poses(x, y, z, yaw)                         # of the bases, (m,) each
    clean = scan(ground, grid, poses)                   # (m, points) [m]

    heights = HeightMap(ground, grid, errors, n, control_period, unknown=-0.3)
    heights.begin(ids, poses, rng)
    heights.advance(poses, rng)                         # every control step
    heights.values                                      # (n, points) what the robot is told

A map's errors are errors of the place from which it believes to look: an offset and a drift move
it, a delay takes one from the past, and a map that is frozen keeps it. Beside them a scan has white
noise, drawn when it is taken. Patches that a map does not know are filled with the height of level
ground below a robot that stands, as on the robot.
"""

from typing import Any, NamedTuple

import numpy as np

from robot_ppo.config import MapErrors
from robot_ppo.sim import sensors
from robot_ppo.sim.ground import Field, Ground
from robot_ppo.sim.robot_readings import RobotReadings
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.strict import SettingError

_BLOCK = 32
"""Robots that are scanned at once: their arrays stay in a cache."""
PATCH_TIME = 1.0
"""A patch that the map does not know stays about so long where it is [s]."""


class Poses(NamedTuple):
    """Positions x, y, z [m] and headings [rad] of m bases, (m,) each."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    yaw: np.ndarray


def poses(engine: RobotReadings, ids: Any = ...) -> Poses:
    """Return where the bases of the simulations `ids` are."""
    qpos = engine.qpos[ids]
    x, y, z = qpos[:, engine.base_pos].T
    return Poses(x, y, z, frames.yaw(qpos[:, engine.base_quat]))


def scan(ground: Ground, grid: ScanGrid, poses: Poses) -> np.ndarray:
    """Return heights of the ground over bases (m, points) float32 [m]."""
    forward, left = np.ascontiguousarray(grid.points().T)
    out = np.empty((len(poses.x), len(forward)), np.float32)
    for begin in range(0, len(out), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        out[part] = _block(ground, forward, left, Poses(*(values[part] for values in poses)))
    return out


def _block(ground: Ground, forward: np.ndarray, left: np.ndarray, poses: Poses) -> np.ndarray:
    """Return the scans of a few robots (m, points)."""
    per = 1.0
    x = poses.x
    y = poses.y
    if isinstance(ground, Field):  # in units of its grid, and so without a pass over all points
        per = 1.0 / ground.spacing
        x = (x - ground.corner[0]) * per
        y = (y - ground.corner[1]) * per
    cosine = (np.cos(poses.yaw) * per).astype(np.float32)[:, None]
    sine = (np.sin(poses.yaw) * per).astype(np.float32)[:, None]
    u = cosine * forward
    u -= sine * left
    u += x.astype(np.float32)[:, None]
    v = sine * forward
    v += cosine * left
    v += y.astype(np.float32)[:, None]
    heights = ground.at(u, v) if isinstance(ground, Field) else ground.height(u, v)
    heights -= poses.z.astype(np.float32)[:, None]
    return heights


class HeightMap:
    """The maps of n robots: what each is told of the ground around it."""

    def __init__(
        self,
        ground: Ground,
        grid: ScanGrid,
        errors: MapErrors,
        n: int,
        control_period: float,
        unknown: float,
        noise: float = 0.0,
    ) -> None:
        """Know nothing yet; `begin` looks around.

        Args:
            ground: is scanned.
            grid: the points.
            errors: of the maps.
            n: robots.
            control_period: [s]
            unknown: what a point has that the map does not know [m].
            noise: half-width of the white noise of a scan [m].
        """
        self.ground = ground
        self.grid = grid
        self.errors = errors
        self._unknown = np.float32(unknown)
        self._noise = np.float32(noise)
        self._period = control_period
        self._every = max(1, round(errors.period / control_period))
        self._patches = _patches(grid, errors.patch)
        # So many are in a patch, wherever it is: with that probability there is one. Policy files
        # from before `check_missing` may ask for more, and were trained with one at all times.
        self._chance = min(1.0, errors.missing / covered(grid, errors.patch))
        longest = round(errors.delay[1] / control_period)
        self.values = np.full((n, len(grid.points())), unknown, np.float32)
        """(n, points) heights of the ground over the base [m]"""
        self._past = np.zeros((n, 1 + longest, 4))
        """(n, D, 4) poses, the newest last"""
        self._delay = np.zeros(n, np.int64)
        self._offset = np.zeros((n, 3))
        self._drift = np.zeros((n, 3))
        self._frozen = np.zeros(n, np.int64)
        self._patch = np.zeros(n, np.int64)
        self._ticks = np.zeros(n, np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays (n, ...) that the next scans depend on, not copies."""
        names = ("past", "delay", "offset", "drift", "frozen", "patch", "ticks")
        return {"values": self.values} | {name: getattr(self, f"_{name}") for name in names}

    def begin(self, ids: np.ndarray, poses: Poses, rng: np.random.Generator) -> None:
        """Start episodes: new errors, no past, a first look around.

        Args:
            ids: (m,) robots.
            poses: theirs.
            rng: for the errors.
        """
        errors = self.errors
        m = len(ids)
        drawn = rng.uniform(-1.0, 1.0, (m, 4))
        self._offset[ids] = 0.0
        self._offset[ids, 2] = errors.offset * drawn[:, 0]
        self._drift[ids] = errors.drift * drawn[:, 1:]
        self._delay[ids] = np.rint(rng.uniform(*errors.delay, m) / self._period)
        self._frozen[ids] = 0
        self._ticks[ids] = rng.integers(0, self._every, m)  # not everyone at the same step
        self._past[ids] = np.stack(poses, axis=1)[:, None]
        self._draw_patches(ids, rng)
        self._look(ids, rng)

    def advance(self, poses: Poses, rng: np.random.Generator) -> None:
        """Go on by a control step: everyone is where `poses` say, and some maps are renewed."""
        self._past[:, :-1] = self._past[:, 1:]
        self._past[:, -1] = np.stack(poses, axis=1)
        self._offset += self._drift * self._period
        self._ticks += 1
        self._frozen -= self._frozen > 0
        self._freeze(rng)
        due = np.flatnonzero((self._ticks % self._every == 0) & (self._frozen == 0))
        self._draw_patches(due[rng.random(len(due)) < self._every * self._period / PATCH_TIME], rng)
        self._look(due, rng)

    def _freeze(self, rng: np.random.Generator) -> None:
        """Let some maps that are renewed freeze, so that the wanted part of the time is frozen."""
        if not self.errors.frozen:
            return
        fraction = self.errors.frozen
        low, high = self.errors.freeze
        chance = fraction / (1 - fraction) * self._period / (0.5 * (low + high))
        begin = np.flatnonzero((rng.random(len(self._frozen)) < chance) & (self._frozen == 0))
        self._frozen[begin] = np.rint(rng.uniform(low, high, len(begin)) / self._period)

    def _draw_patches(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Put the patch that the maps `ids` do not know somewhere, or nowhere."""
        if not self.errors.missing:
            return
        places = rng.integers(0, len(self._patches) - 1, len(ids))
        there = rng.random(len(ids)) < self._chance
        self._patch[ids] = np.where(there, places, len(self._patches) - 1)

    def _look(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Renew the maps `ids`."""
        then = self._past[ids, -1 - self._delay[ids]]
        then[:, :3] += self._offset[ids]
        values = scan(self.ground, self.grid, Poses(*then.T))
        if self._noise:
            values += self._noise * sensors.uniform(rng, values.shape)
        if self.errors.missing:
            values[self._patches[self._patch[ids]]] = self._unknown
        self.values[ids] = values


def covered(grid: ScanGrid, side: float) -> float:
    """Return the part of a scan's points that a patch of `side` [m] covers, on average."""
    return float(_patches(grid, side)[:-1].mean())


def check_missing(errors: MapErrors, grid: ScanGrid, path: str) -> None:
    """Raise `SettingError`, under `path`, where one patch cannot cover what is to be missing."""
    part = covered(grid, errors.patch)
    if errors.missing <= part:
        return
    # Sides between those that end at points, where rounding would decide.
    sides = grid.resolution * (2 * np.arange(grid.rows + grid.columns) + 1)
    wide = next(side for side in sides if covered(grid, side) >= errors.missing)
    raise SettingError(
        f"{path}.missing",
        f"{errors.missing:g} of the points, and one patch of {errors.patch:g} m covers {part:.3f} "
        f"of this scan: make `{path}.patch` {wide:g} m or more, or take less",
    )


def _patches(grid: ScanGrid, side: float) -> np.ndarray:
    """Return which points a patch covers (k + 1, k) bool: around each point, and nowhere."""
    points = grid.points()
    apart = np.abs(points[:, None] - points).max(axis=2)
    around = apart <= side / 2
    return np.concatenate((around, np.zeros((1, len(points)), bool)))
