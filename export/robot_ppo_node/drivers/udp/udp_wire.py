"""A UDP socket that speaks in frames, and the order of their numbers; both ends have one."""

import socket

from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.sends import Sends
from robot_ppo_node.drivers.udp import udp_frame
from robot_ppo_node.drivers.udp.udp_frame import Frame, MalformedError

MAX_DRAIN = 256
"""Datagrams read at one time: a flood must not hold up the tick."""


class Newest:
    """Remembers the newest sequence number, and tells what a number is beside it."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.sequence: int | None = None

    def accept(self, sequence: int) -> bool:
        """Return whether `sequence` is newer (modulo 2^32); count it where it is not."""
        ahead = 1 if self.sequence is None else (sequence - self.sequence) & 0xFFFFFFFF
        if 0 < ahead < 0x80000000:
            self.sequence = sequence
            return True
        if ahead == 0:
            self.counters.duplicated += 1
        else:
            self.counters.reordered += 1
        return False


class Wire:
    """A non-blocking UDP socket that speaks in frames."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.counters = Counters()
        self.sends = Sends()
        self._sent = 0

    def drain(self) -> list[tuple[Frame, tuple[str, int]]]:
        """Return the frames that have arrived, oldest first, with their senders."""
        arrived = []
        for _ in range(MAX_DRAIN):
            try:
                data, sender = self.socket.recvfrom(udp_frame.MAX_FRAME)
            except BlockingIOError:
                break
            except OSError:  # an earlier datagram found nobody: the robot is not there (yet)
                continue
            self.counters.received += 1
            try:
                arrived.append((udp_frame.decode(data), sender))
            except MalformedError as reason:
                self.counters.reject(str(reason))
        return arrived

    def send(self, kind: int, payload: bytes, to: tuple[str, int]) -> None:
        """Send one frame; what the operating system does not take is counted, not raised."""
        self._sent += 1
        try:
            self.socket.sendto(udp_frame.encode(kind, self._sent, payload), to)
        except OSError:
            self.sends.note(went=False)
        else:
            self.sends.note(went=True)

    def continue_after(self, sequence: int) -> None:
        """Let the next frame have the number after `sequence`."""
        self._sent = sequence

    def close(self) -> None:
        """Close the socket; it may be closed twice."""
        self.socket.close()
