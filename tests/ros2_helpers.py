"""What other programs on ROS 2 send, and the node never does."""

import numpy as np

from robot_ppo_node.drivers.ros2.ros2_cdr import CdrWriter
from robot_ppo_node.drivers.ros2.ros2_messages import Stamp, headed


def encode_twist(command: np.ndarray, stamp: Stamp | None = None) -> bytes:
    """Return geometry_msgs/Twist of (3,): vx, vy, yaw rate; TwistStamped where there is a stamp."""
    vx, vy, yaw_rate = command
    cdr = CdrWriter() if stamp is None else headed(stamp)
    return cdr.doubles(np.array([vx, vy, 0, 0, 0, yaw_rate]), counted=False).payload()
