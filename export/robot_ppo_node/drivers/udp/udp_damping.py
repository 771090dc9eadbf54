"""Damping over the UDP protocol, from another process than the node's: see watchdog.py.

The robot takes commands from one address, and only with rising numbers. So the sender uses the
node's own socket, and numbers that are a quarter of their range ahead: the robot takes them for
newer than any of the node's, and drops what a node that wakes up still sends.
"""

import socket
from typing import Any

from robot_ppo_node.drivers.udp import udp_frame

EPOCH = 2**30
"""Sequence numbers of one sender's turn: 24 days at 500 Hz."""


def first_number(takeovers: int, node: bool) -> int:
    """Return the number before the first of a turn; turns alternate between node and watchdog."""
    return (2 * takeovers - (not node)) * EPOCH


class UdpSender:
    """Sends one command, with numbers of its own."""

    def __init__(self, node: socket.socket, robot: tuple[str, int], payload: bytes) -> None:
        """Send `payload` from the `node`'s socket to the `robot`'s address."""
        self.node = node
        self.robot = robot
        self.payload = payload
        self.number = 0

    def begin(self, takeover: int) -> None:
        """Number on from where this turn begins."""
        self.number = first_number(takeover, node=False)

    def send(self) -> None:
        """Send damping once; what the operating system does not take is lost."""
        self.number += 1
        frame = udp_frame.encode(udp_frame.COMMAND, self.number, self.payload)
        try:
            self.node.sendto(frame, self.robot)
        except OSError:  # the robot is not there (yet)
            return

    def close(self) -> None:
        """Close this process's end of the socket."""
        self.node.close()


def sender(arguments: dict[str, Any], files: tuple[int, ...]) -> UdpSender:
    """Return a sender of the "command" (hex) to the "address", through the socket `files[0]`."""
    host, port = arguments["address"]
    return UdpSender(
        socket.socket(fileno=files[0]), (host, port), bytes.fromhex(arguments["command"])
    )
