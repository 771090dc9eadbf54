"""The mapping node of a simulated robot: `/elevation_map` and `/odom`, for driver `ros2`.

    mapping = Ros2Mapping(bus, robot)
    mapping.send(now, stamp)    # with every state; a map ten times per second

A real robot has an elevation mapper of its own (docs/drivers.md). This one knows the ground.
"""

from typing import Protocol

import numpy as np

from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.ros2 import ros2_grid
from robot_ppo_node.drivers.ros2 import ros2_idl as idl
from robot_ppo_node.drivers.ros2.ros2_grid import GridMap, Odometry
from robot_ppo_node.drivers.ros2.ros2_messages import Stamp
from robot_ppo_node.drivers.ros2.ros2_scan import LAYER
from robot_ppo_node.drivers.ros2.ros2_topics import ELEVATION_MAP, ODOMETRY, dds_name

SIDE = 4.0
"""Of the map, with the base in the middle [m]."""
RESOLUTION = 0.05
"""[m]"""
MAP_PERIOD = 0.1
POSE_PERIOD = 0.02
"""[s] Between two messages."""
FRAME = "odom"


class Place(Protocol):
    """A robot that knows where it is, and what the ground around it is like."""

    def pose_w(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) [m] and orientation (4,) wxyz of the base in the world."""
        ...

    def ground_height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights (...,) [m] of the ground at places (...,) [m] of the world."""
        ...


class Ros2Mapping:
    """Tells where the base is, and how high the ground around it."""

    def __init__(self, bus: Bus, place: Place) -> None:
        """Announce the topics."""
        self._place = place
        self._maps = bus.writer(dds_name(ELEVATION_MAP), idl.GridMap)
        self._poses = bus.writer(dds_name(ODOMETRY), idl.Odometry)
        self._map_due = -np.inf
        self._pose_due = -np.inf

    def send(self, now: float, stamp: Stamp) -> None:
        """Send what is due at the time `now` [s]: the pose before the map that is seen from it."""
        if now >= self._pose_due:
            self._pose_due = now + POSE_PERIOD
            position, quaternion = self._place.pose_w()
            pose = Odometry(stamp, FRAME, position, quaternion)
            self._poses.write(ros2_grid.encode_odometry(pose))
        if now >= self._map_due:
            self._map_due = now + MAP_PERIOD
            self._maps.write(ros2_grid.encode_grid_map(self._around(stamp), LAYER))

    def _around(self, stamp: Stamp) -> GridMap:
        """Return the map around the base; its cells stay where they are in the world."""
        position, _ = self._place.pose_w()
        center = np.round(position[:2] / RESOLUTION) * RESOLUTION
        cells = round(SIDE / RESOLUTION)
        offset = RESOLUTION * (0.5 * (cells - 1) - np.arange(cells))
        x, y = np.meshgrid(center[0] + offset, center[1] + offset, indexing="ij")
        heights = self._place.ground_height(x, y)
        return GridMap(stamp, FRAME, RESOLUTION, center, np.asarray(heights, np.float32))
