"""What goes between the process that drives the robot and the one that serves the page.

A pair of sockets carries whole messages. Neither side ever waits for the other: a message that
finds no room is dropped, and only the newest that has come counts.
"""

import contextlib
import select
import socket
from typing import Any

import msgspec


class Job(msgspec.Struct, frozen=True):
    """What the serving process is told once, pickled."""

    model: Any
    """An `mujoco.MjModel`."""
    body: str
    """The robot's base."""
    standing: Any
    """(nq,) its default pose"""
    host: str
    port: int
    token: str
    """"" where none is asked for."""
    about: dict[str, Any]
    """What the page shows of robot and policy, and never changes."""


class Link:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        """Take over one end of a pair of SOCK_SEQPACKET sockets."""
        self._socket = end
        end.setblocking(False)
        self.open = True
        """False once the other end is gone."""
        self.dropped = 0
        """Messages that found no room."""

    def send(self, message: bytes) -> None:
        """Send a message now, or drop it."""
        try:
            self._socket.send(message)
        except BlockingIOError:
            self.dropped += 1
        except OSError:
            self.open = False

    def receive(self) -> list[bytes]:
        """Return all messages that have come, oldest first."""
        messages = []
        with contextlib.suppress(BlockingIOError):
            while self.open:
                message = self._receive()
                if not message:
                    self.open = False
                    break
                messages.append(message)
        return messages

    def wait(self, seconds: float) -> None:
        """Return when a message has come, or after `seconds`."""
        if self.open:
            select.select([self._socket], [], [], max(0.0, seconds))

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
        self.open = False

    def fileno(self) -> int:
        """Return the number of its socket."""
        return self._socket.fileno()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except BlockingIOError:
            raise
        except OSError:
            return b""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
