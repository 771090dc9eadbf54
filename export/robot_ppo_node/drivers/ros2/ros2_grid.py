"""An elevation map (grid_map_msgs/GridMap) and where the base is in it (nav_msgs/Odometry).

    grid = decode_grid_map(payload, layer="elevation")      # encode_grid_map(grid, layer)
    pose = decode_odometry(payload)                         # encode_odometry(pose)
    grid.heights_at(points)                 # (k,) [m], NaN where nothing is known

Fields and their order are those of the public .msg files of grid_map_msgs and nav_msgs. A cell of
the map is found from its corner of largest x and y on; its rows go along x, its columns along y,
and the buffer that holds them is a ring in both directions.
"""

from dataclasses import dataclass

import numpy as np

from robot_ppo_node.drivers.ros2.ros2_cdr import CdrReader, MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import Stamp, decode_header, headed

MOST_CELLS = 1 << 20
"""Cells of a map that is read."""
COLUMNS_FIRST = ("column_index", "row_index")
ROWS_FIRST = ("row_index", "column_index")
"""Labels of the dimensions of an array, the one that changes slowest first."""


@dataclass(slots=True)
class GridMap:
    """One layer of an elevation map."""

    stamp: Stamp
    frame: str
    resolution: float
    """Side of a cell [m]."""
    center: np.ndarray
    """(2,) x and y of the middle [m]"""
    heights: np.ndarray
    """(rows, columns) float32 [m]; row 0 is at the largest x, column 0 at the largest y"""

    def heights_at(self, points: np.ndarray) -> np.ndarray:
        """Return the heights (k,) [m] at the x and y of `points` (k, 2) [m], between cell centres.

        NaN where one of the four cells around a point is not known, and outside of the map.
        """
        size = np.array(self.heights.shape)
        largest = self.center + size * self.resolution / 2
        place = (largest - points) / self.resolution - 0.5
        inside = ((place >= 0) & (place <= size - 1)).all(axis=1)
        first = np.clip(np.floor(place).astype(int), 0, size - 2)
        along = place - first
        i, j = first.T
        u, v = along.T
        near = (1 - v) * self.heights[i, j] + v * self.heights[i, j + 1]
        far = (1 - v) * self.heights[i + 1, j] + v * self.heights[i + 1, j + 1]
        return np.where(inside, (1 - u) * near + u * far, np.nan).astype(np.float32)


@dataclass(slots=True)
class Odometry:
    """Pose of the base in a frame that does not move with it."""

    stamp: Stamp
    frame: str
    position: np.ndarray
    """(3,) [m]"""
    quaternion: np.ndarray
    """(4,) wxyz, base to frame"""


def decode_grid_map(payload: bytes, layer: str) -> GridMap:
    """Return one layer of a grid_map_msgs/GridMap, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    stamp, frame = decode_header(cdr)
    resolution, length_x, length_y, x, y, *_ = cdr.doubles(10).tolist()
    layers = cdr.strings()
    cdr.strings()  # the basic layers
    arrays = [_array(cdr) for _ in range(cdr.count(8))]
    outer, inner = cdr.shorts(2)
    cdr.end()
    if layer not in layers or len(arrays) != len(layers):
        raise MalformedCdrError("layer")
    buffer = arrays[layers.index(layer)]
    rows, columns = buffer.shape
    if not _fits(resolution, length_x, rows) or not _fits(resolution, length_y, columns):
        raise MalformedCdrError("layout")
    heights = np.roll(buffer, (-outer, -inner), axis=(0, 1))
    return GridMap(stamp, frame, resolution, np.array([x, y]), heights)


def encode_grid_map(grid: GridMap, layer: str) -> bytes:
    """Return a grid_map_msgs/GridMap of one layer."""
    rows, columns = grid.heights.shape
    sides = (grid.resolution, rows * grid.resolution, columns * grid.resolution)
    cdr = headed(grid.stamp, grid.frame)
    cdr.doubles(np.array([*sides, *grid.center, 0.0, 0.0, 0.0, 0.0, 1.0]), counted=False)
    cdr.strings((layer,)).strings(()).put("I", 1)  # layers, basic layers, arrays
    cdr.put("I", 2)
    for label, size, stride in zip(
        COLUMNS_FIRST, (columns, rows), (rows * columns, rows), strict=True
    ):
        cdr.string(label).put("II", size, stride)
    cdr.put("I", 0).floats(grid.heights.T.ravel())
    return cdr.shorts(0, 0).payload()


def encode_odometry(pose: Odometry) -> bytes:
    """Return a nav_msgs/Odometry of a base whose velocity is not stated."""
    cdr = headed(pose.stamp, pose.frame).string("base_link")
    quaternion = np.roll(pose.quaternion, -1)
    rest = np.zeros(36 + 6 + 36)  # covariance, velocities, covariance
    return cdr.doubles(np.concatenate((pose.position, quaternion, rest)), counted=False).payload()


def decode_odometry(payload: bytes) -> Odometry:
    """Return a nav_msgs/Odometry's pose, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    stamp, frame = decode_header(cdr)
    cdr.string()  # the frame of the base
    pose = cdr.doubles(7)
    cdr.doubles(36 + 6 + 36)  # covariance, velocities, covariance
    cdr.end()
    norm = float(np.linalg.norm(pose[3:]))
    if not np.isfinite(pose).all() or abs(norm - 1) > 0.05:
        raise MalformedCdrError("pose")
    return Odometry(stamp, frame, pose[:3], np.roll(pose[3:], 1))


def _array(cdr: CdrReader) -> np.ndarray:
    """Return a std_msgs/Float32MultiArray of two dimensions (rows, columns)."""
    dimensions = []
    for _ in range(cdr.count(13)):
        label = cdr.string()
        dimensions.append((label, cdr.take("II")[0]))
    (offset,) = cdr.take("I")
    values = cdr.floats(cdr.count(4))
    labels = tuple(label for label, _ in dimensions)
    sizes = [size for _, size in dimensions]
    if len(sizes) != 2 or offset or len(values) != sizes[0] * sizes[1] or min(sizes) < 2:
        raise MalformedCdrError("layout")
    if len(values) > MOST_CELLS or labels not in (COLUMNS_FIRST, ROWS_FIRST):
        raise MalformedCdrError("layout")
    table = values.reshape(sizes)
    return table.T if labels == COLUMNS_FIRST else table


def _fits(resolution: float, length: float, cells: int) -> bool:
    """Return whether so many cells of `resolution` [m] are as long as `length` [m]."""
    if not (np.isfinite(length) and np.isfinite(resolution) and resolution > 0):
        return False
    return abs(length - cells * resolution) < resolution / 2
