"""Damping over DDS, from another process than the node's: see watchdog.py.

    handover = dds_damping.handover(driver.bus, COMMANDS, "unitree_go", payload)

A robot on DDS takes the newest command of whichever writer. So the sender is a writer of its own on
the motors' topic: it joins the domain when the watchdog starts, and sends nothing until the node
has stopped. It carries the token of the driver's bus, by which the driver tells it from foreign
writers. A node that wakes up finds that its command is stale, and damps as well (repeater.py): at
most one command that was under way when it stopped is still sent.
"""

import time
from typing import Any

from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.dds.dds_watch import WATCHDOG
from robot_ppo_node.drivers.dds.endpoints import Writer
from robot_ppo_node.drivers.handover import Handover

SETTLE = 0.5
"""[s] A robot that is there is found within."""
LOOK_EVERY = 0.002


def handover(
    bus: participant.Bus, topic: str, message: str, payload: bytes, octet: str = "byte"
) -> Handover:
    """Return how another process sends `payload` to `topic` as a writer with the token of `bus`.

    `message` is the family of Unitree's `LowCmd_`, whose octets are declared as `octet`, or "ros2".
    """
    arguments = {
        "domain": bus.domain,
        "interface": bus.interface,
        "peers": bus.peers,
        "token": bus.token.hex(),
        "topic": topic,
        "message": message,
        "octet": octet,
        "command": payload.hex(),
    }
    return Handover(__name__, arguments)


class DdsSender:
    """Sends one command, as a participant of its own."""

    def __init__(self, bus: participant.Bus, writer: Writer, payload: bytes) -> None:
        self.bus = bus
        self.writer = writer
        self.payload = payload

    def begin(self, takeover: int) -> None:
        """Do nothing: the robot listens to everybody."""

    def send(self) -> None:
        """Send damping once; what DDS does not take is lost."""
        self.writer.write(self.payload)

    def close(self) -> None:
        """Leave the domain, so that nobody takes this writer for one that could still speak."""
        self.bus.close()


def sender(arguments: dict[str, Any], files: tuple[int, ...]) -> DdsSender:
    """Join the domain, find the robot, and return a sender of the "command" (hex)."""
    a = arguments
    bus = participant.Bus(a["domain"], a["interface"], tuple(a["peers"]), bytes.fromhex(a["token"]))
    bus.mark = WATCHDOG + bus.token
    writer = bus.writer(a["topic"], _type_of(a["message"], a["octet"]))
    ends = time.monotonic() + SETTLE
    while not writer.readers and time.monotonic() < ends:
        time.sleep(LOOK_EVERY)
    return DdsSender(bus, writer, bytes.fromhex(a["command"]))


def _type_of(message: str, octet: str) -> type:
    """Return the DDS type of a command."""
    if message == "ros2":
        from robot_ppo_node.drivers.ros2.ros2_idl import Float64MultiArray

        return Float64MultiArray
    from robot_ppo_node.drivers.unitree.unitree_idl import idl_type

    return idl_type(message, "LowCmd_", octet)
