"""The height of the ground at any place, which every height of a robot is measured from.

    ground = of(engine)
    above = z - ground.height(x, y)         # [m]; on a plane at 0 the bits of z

`of` finds the geom that the variants call the floor: a plane or a field of heights. Ground that is
neither is asked by rays (`RayGround`), which is some hundred times slower.
"""

from typing import Protocol

import mujoco
import numpy as np

from robot_ppo.robot_model.assembly import FLOOR
from robot_ppo.sim.engine import Engine
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.errors import InputError

_HIGHEST = 100.0
"""Height [m] at which a ray starts, above any ground that a legged robot walks on."""
_BLOCK = 16384
"""Points that are interpolated at once: their arrays stay in a cache."""


class Ground(Protocol):
    """Ground that a robot stands on."""

    def height(self, x: Array, y: Array) -> Array:
        """Return the heights (...,) float32 [m] of the ground at places (...,) [m]."""
        ...


def of(engine: Engine) -> Ground:
    """Return the ground of an engine's model.

    Raises:
        InputError: it is neither a plane nor a field, and the robot is in the way of rays to it.
    """
    model = engine.model
    floor = model.geom(FLOOR)
    kind = int(floor.type[0])
    if kind == mujoco.mjtGeom.mjGEOM_HFIELD:
        return Field(model)
    if kind == mujoco.mjtGeom.mjGEOM_PLANE:
        return Plane()
    group = int(floor.group[0])
    if group in model.geom_group[model.geom_bodyid > 0]:
        raise InputError(
            f"the ground {FLOOR!r} and geoms of the robot are in group {group}: give the ground "
            "a geom group of its own, in which rays meet nothing else"
        )
    return RayGround(engine, (group,))


class Plane:
    """Level ground at height 0."""

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return zeros (...,)."""
        return np.zeros(np.shape(x), np.float32)


class Field:
    """A field of heights: two triangles between four neighbours, as MuJoCo has them.

    Beyond its border the ground goes on as the last triangles do.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        """Take the heights from the compiled model, for they are what the robot touches."""
        floor = model.geom(FLOOR)
        field = int(floor.dataid[0])
        rows = int(model.hfield_nrow[field])
        columns = int(model.hfield_ncol[field])
        start = int(model.hfield_adr[field])
        half_x, half_y, top, _ = model.hfield_size[field]
        data = model.hfield_data[start : start + rows * columns].reshape(rows, columns)
        heights = data * np.float64(top) + floor.pos[2]
        self.corner = np.array([floor.pos[0] - half_x, floor.pos[1] - half_y])
        """x and y of the first height [m]."""
        self.spacing = 2 * half_x / (columns - 1)
        """Distances of heights along x and along y [m]."""
        self._columns = columns - 1
        self._last = (columns - 2, rows - 2)
        self._cells = _cells(heights)

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights (...,) float32 [m] at places (...,) [m]."""
        per = np.float64(1 / self.spacing)
        u, v = np.broadcast_arrays((x - self.corner[0]) * per, (y - self.corner[1]) * per)
        return self.at(u.astype(np.float32), v.astype(np.float32))

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the heights (...,) float32 [m] at grid coordinates (...,) float32."""
        if u.size <= _BLOCK:
            return self._interpolated(u.ravel(), v.ravel()).reshape(u.shape)
        out = np.empty(u.size, np.float32)
        flat = (u.ravel(), v.ravel())
        for begin in range(0, u.size, _BLOCK):
            part = slice(begin, begin + _BLOCK)
            out[part] = self._interpolated(flat[0][part], flat[1][part])
        return out.reshape(u.shape)

    def _interpolated(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return the heights of the triangles at grid coordinates (m,)."""
        column = _cell(u, self._last[0])
        row = _cell(v, self._last[1])
        u = u - column
        v = v - row
        place = row.astype(np.int32)
        place *= self._columns
        place += column.astype(np.int32)
        cell = self._cells.take(place).view(np.float32).reshape(-1, 4)
        height = u * cell[:, 1]
        height += cell[:, 0]
        height += v * cell[:, 2]
        v -= u
        np.maximum(v, 0, out=v)
        v *= cell[:, 3]
        height += v
        return height


def _cell(places: np.ndarray, last: int) -> np.ndarray:
    """Return the cells (m,), whole numbers from 0 to `last`, that grid coordinates (m,) are in."""
    whole = np.floor(places)
    if whole.min(initial=0) < 0 or whole.max(initial=0) > last:
        np.clip(whole, 0, last, out=whole)
    return whole


def _cells(heights: np.ndarray) -> np.ndarray:
    """Return four numbers of each cell as one, so that a look-up touches one place in memory.

    With u and v from 0 to 1 within a cell, its lower triangle has h + u a + v b; the upper one,
    where v > u, has (v - u) c more.
    """
    corner = heights[:-1, :-1]
    right = heights[:-1, 1:]
    above = heights[1:, :-1]
    across = heights[1:, 1:]
    a = right - corner
    b = across - right
    c = (above - corner) - b
    packed = np.stack((corner, a, b, c), axis=-1).astype(np.float32)
    return np.ascontiguousarray(packed).view(np.complex128).ravel()


class RayGround:
    """Ground of any geoms: the highest that a ray from above meets."""

    def __init__(self, engine: Engine, groups: tuple[int, ...]) -> None:
        """Cast rays in the first simulation of `engine`; the ground's geoms are in `groups`."""
        self._engine = engine
        self._groups = groups

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights (...,) float32 [m] at places (...,) [m]; -inf where there is none."""
        x, y = np.broadcast_arrays(x, y)
        points = np.stack((x, y, np.full(x.shape, _HIGHEST)), axis=-1).reshape(-1, 3)
        down = np.array([0.0, 0.0, -1.0])
        first = np.zeros(1, np.int64)
        distance = self._engine.ray(points[None], down, first, self._groups)
        return (_HIGHEST - distance).astype(np.float32).reshape(x.shape)
