"""`/cmd_vel` as a command source: geometry_msgs/Twist or TwistStamped, whichever is sent.

The stamp is not looked at, because two computers' clocks differ: the age of a command is counted
from its arrival.
"""

import math

import numpy as np

from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
from robot_ppo_node.drivers.ros2 import ros2_messages
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_topics import CMD_VEL, dds_name


class TwistCommands:
    """Command source that reads twists from a ROS 2 topic."""

    name = "cmd_vel"

    def __init__(self, connection: Connection) -> None:
        """Listen on `connection`'s interface and domain."""
        require_cyclonedds("ros2")
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        self.bus = participant.Bus(connection.domain, connection.interface, connection.peers)
        self._readers = (
            (self.bus.reader(dds_name(CMD_VEL), idl.Twist), False),
            (self.bus.reader(dds_name(CMD_VEL), idl.TwistStamped), True),
        )
        self.command = np.zeros(3, np.float32)
        self.arrived = -math.inf
        self.malformed = 0
        """Messages that were dropped."""

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the newest command (3,) and its age [s]; does not block."""
        for reader, stamped in self._readers:
            payload = reader.newest()
            if payload is None:
                continue
            try:
                self.command = ros2_messages.decode_twist(payload, stamped)
                self.arrived = now
            except MalformedCdrError:
                self.malformed += 1
        return self.command, now - self.arrived

    def close(self) -> None:
        """Leave the domain; may be called twice."""
        self.bus.close()
