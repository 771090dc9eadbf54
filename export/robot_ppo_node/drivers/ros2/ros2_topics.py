"""The topics of a robot that speaks ROS 2, by the names that an operator knows.

dds_name(JOINT_STATES)                          # "rt/joint_states", on the wire
reader = bus.reader(dds_name(IMU), idl.Imu, depth=DEPTH)
for writer, payload in waiting(reader): ...     # what has arrived, and from whom
"""

from collections.abc import Iterator
from typing import Any

JOINT_STATES = "/joint_states"
IMU = "/imu"
JOINT_COMMANDS = "/joint_commands"
DESCRIPTION = "/robot_description"
ELEVATION_MAP = "/elevation_map"
ODOMETRY = "/odom"
CMD_VEL = "/cmd_vel"
DEPTH = 256
"""Messages on a topic that may wait for a tick: its publishers share the queue, and a foreign one
of 1 kHz must not push the robot's own out of it."""


def dds_name(topic: str) -> str:
    """Return what DDS calls a topic of ROS 2."""
    return f"rt{topic}"


def waiting(reader: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the messages that wait, oldest first, each with what tells its writer from others."""
    while samples := reader.take():
        for sample in samples:
            yield sample.sample_info.publication_handle, sample.payload
