"""The height scan of a robot whose elevation map comes over ROS 2.

    /elevation_map   grid_map_msgs/GridMap, layer `elevation`   from a mapping node
    /odom            nav_msgs/Odometry                          pose of the base in the map's frame

Each map is looked at once, from where the base is when it arrives, as the training's maps are: what
is between two of them is what the last one said. Points that the map does not know get what level
ground below a standing robot has. Map and pose come from one publisher each (owners.py).

    scan = ScanReader(points, unknown=-0.3, clock=clock)
    scan.connect(bus)
    scan.listen()
    scan.values                 # (k,) float32 [m], None before the first map and pose
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_ppo_export.contract import frames
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.endpoints import Reader
from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.ros2 import ros2_grid
from robot_ppo_node.drivers.ros2.dropped import Dropped
from robot_ppo_node.drivers.ros2.owners import Owners
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_grid import GridMap, Odometry
from robot_ppo_node.drivers.ros2.ros2_topics import (
    DEPTH,
    ELEVATION_MAP,
    ODOMETRY,
    dds_name,
    waiting,
)

LAYER = "elevation"
MAPS = 8
"""Maps that may wait for a tick: they are large and rare."""
POSE_WITHIN = 0.2
"""[s] Age at which a pose says no longer from where a map is looked at."""


class ScanReader:
    """The newest scan of one robot."""

    def __init__(self, points: np.ndarray, unknown: float, clock: Clock) -> None:
        """Look at `points` (k, 2) [m] around the base; what no map knows is `unknown` [m]."""
        self.values: np.ndarray | None = None
        """Heights of the ground over the base (k,) float32 [m]."""
        self.dropped = Dropped()
        """Messages that were dropped."""
        self.readers: dict[str, Reader] = {}
        """Of each topic, once connected."""
        self._map_owners = Owners(ELEVATION_MAP)
        self._pose_owners = Owners(ODOMETRY)
        self.owners = (self._map_owners, self._pose_owners)
        """The publishers of each topic."""
        self._points = points
        self._unknown = np.float32(unknown)
        self._clock = clock
        self._pose: Odometry | None = None
        self._posed = 0.0
        """When it arrived [s]."""

    def connect(self, bus: Bus) -> None:
        """Read the topics."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        self._maps = bus.reader(dds_name(ELEVATION_MAP), idl.GridMap, depth=MAPS)
        self._poses = bus.reader(dds_name(ODOMETRY), idl.Odometry, depth=DEPTH)
        self.readers = {ELEVATION_MAP: self._maps, ODOMETRY: self._poses}

    def listen(self) -> None:
        """Take in what has arrived: the pose first, from which a map is looked at."""
        self._newest(self._poses, self._pose_owners, self._take_pose)
        self._newest(self._maps, self._map_owners, self._take_map)

    def silent(self) -> Mapping[str, tuple[str, Any]]:
        """Return the topics that no scan can be made without: name -> DDS name and type."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        silent: dict[str, tuple[str, Any]] = {}
        if self.values is None:
            silent[ELEVATION_MAP] = (dds_name(ELEVATION_MAP), idl.GridMap)
        if self._pose is None:
            silent[ODOMETRY] = (dds_name(ODOMETRY), idl.Odometry)
        return silent

    def _newest(self, reader: Reader, owners: Owners, take: Callable[[bytes], None]) -> None:
        """Take in the newest message of a topic's owner, or count why it was dropped."""
        newest = None
        for writer, payload in waiting(reader):
            try:
                owners.claim(writer, (owners.topic,), self._clock.now())
                newest = payload
            except MalformedCdrError as reason:
                self.dropped.note(owners.topic, reason)
        if newest is None:
            return
        try:
            take(newest)
        except MalformedCdrError as reason:
            self.dropped.note(owners.topic, reason)

    def _take_pose(self, payload: bytes) -> None:
        self._pose = ros2_grid.decode_odometry(payload)
        self._posed = self._clock.now()

    def _take_map(self, payload: bytes) -> None:
        grid = ros2_grid.decode_grid_map(payload, LAYER)
        if self._pose is None or self._clock.now() - self._posed > POSE_WITHIN:
            raise MalformedCdrError("no pose", f"no pose on {ODOMETRY} within {POSE_WITHIN:g} s")
        if self._pose.frame != grid.frame:
            raise MalformedCdrError(
                "frame", f"frame {grid.frame}, {ODOMETRY} has {self._pose.frame}"
            )
        self.values = scan(grid, self._pose, self._points, self._unknown)


def scan(grid: GridMap, pose: Odometry, points: np.ndarray, unknown: np.float32) -> np.ndarray:
    """Return the heights of the ground over the base (k,) float32 [m].

    Args:
        grid: the map.
        pose: of the base, in the map's frame.
        points: x forward and y to the left of the base (k, 2) [m], in a level frame that turns with
            its heading.
        unknown: what a point has that the map does not know [m].
    """
    yaw = float(frames.yaw(pose.quaternion))
    cosine = np.cos(yaw)
    sine = np.sin(yaw)
    forward, left = points.T
    x = pose.position[0] + cosine * forward - sine * left
    y = pose.position[1] + sine * forward + cosine * left
    heights = grid.heights_at(np.stack((x, y), axis=1)) - np.float32(pose.position[2])
    return np.where(np.isfinite(heights), heights, unknown)
