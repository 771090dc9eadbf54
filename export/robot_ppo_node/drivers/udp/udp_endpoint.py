"""The node's end of the UDP protocol; the robot's is in robot_ppo_node/robot_side/udp_robot.py."""

import socket
from collections.abc import Iterable

import numpy as np

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.udp import udp_payloads
from robot_ppo_node.drivers.udp.udp_frame import (
    COMMAND,
    DEFAULT_PORT,
    HELLO,
    HELLO_REQUEST,
    STATE,
    Frame,
    MalformedError,
)
from robot_ppo_node.drivers.udp.udp_payloads import Hello, StateFormat, StateMessage
from robot_ppo_node.drivers.udp.udp_wire import Newest, Wire


def _resolved(host: str, port: int) -> tuple[str, int]:
    """Return the address as datagrams will bear it, or raise OSError."""
    address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    return str(address[0]), int(address[1])


def _own_address(peer: tuple[str, int]) -> str:
    """Return this computer's address towards `peer`; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(peer)
        return probe.getsockname()[0]


class NodeEndpoint:
    """The node's side: asks hello, reads states, sends commands."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = DEFAULT_PORT, optional: Iterable[str] = ()
    ) -> None:
        """Talk to the robot at `host`:`port`; datagrams of others are counted and dropped.

        `optional` are the optional signals that the robot is asked for.
        """
        self._request = udp_payloads.encode_request(optional)
        self.wire = Wire()
        try:
            self.address = _resolved(host, port)
            # Bound to the way to the robot: on loopback, nobody else's network reaches the socket.
            self.wire.socket.bind((_own_address(self.address), 0))
        except OSError as error:
            self.wire.close()
            raise InputError(f"UDP {host}:{port} cannot be reached ({error.strerror})") from None
        self.hello: Hello | None = None
        """Known once the robot has answered."""
        self.hello_error = ""
        """What was wrong with its newest HELLO that was."""
        self._format: StateFormat | None = None
        """Layout of its states, known with it."""
        self.sequence = 0
        """Of the newest state."""
        self._newest = Newest(self.counters)
        self._waiting: list[Frame] = []
        """States that `listen` took in, oldest first."""
        self._other_robot: RefusedError | None = None

    @property
    def counters(self) -> Counters:
        """What became of the datagrams."""
        return self.wire.counters

    def request_hello(self) -> None:
        """Ask the robot who it is, and to send its states here; its numbers may begin anew."""
        self._newest.sequence = None
        self.wire.send(HELLO_REQUEST, self._request, self.address)

    def receive(self) -> StateMessage | None:
        """Return the newest state since the last call, or None; a HELLO is kept in `hello`."""
        self.listen()
        return self.newest()

    def listen(self) -> bool:
        """Take in and count what has arrived; return whether there are states among it."""
        waiting = self._waiting
        before = len(self._waiting)
        for frame, sender in self.wire.drain():
            if sender != self.address:
                self.counters.foreign += 1
            elif self._newest.accept(frame.sequence):
                if frame.kind == STATE:
                    waiting.append(frame)
                elif frame.kind == HELLO:
                    self._take_hello(frame)
        return len(waiting) > before

    def newest(self) -> StateMessage | None:
        """Return the newest state that was taken in since the last call, or None.

        `RefusedError` where another robot than before has said hello.
        """
        if self._other_robot:
            refused = self._other_robot
            self._other_robot = None
            raise refused
        states = self._waiting
        self._waiting = []
        # Newest first: a robot may send ten states per tick, and only one is worth unpacking.
        for i, frame in enumerate(reversed(states)):
            message = self._unpack(frame)
            if message is not None:
                self.counters.superseded += len(states) - i - 1
                return message
        return None

    def send_command(self, target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> None:
        """Send one command; vectors (joints,) in the robot's order."""
        self.wire.send(COMMAND, udp_payloads.encode_command(target, kp, kd), self.address)

    def close(self) -> None:
        """Close the socket."""
        self.wire.close()

    def _take_hello(self, frame: Frame) -> None:
        """Keep who the robot is; a robot that comes back must be the one that it was."""
        try:
            hello = udp_payloads.decode_hello(frame.payload)
        except MalformedError as reason:
            self.counters.reject(str(reason))
            self.hello_error = reason.detail
            return
        if self.hello is not None and hello != self.hello:
            self._other_robot = RefusedError(
                f"another robot answers at {self.address[0]}:{self.address[1]} than before: "
                f"{hello.robot} with {len(hello.joints)} joints; start the node again"
            )
            return
        self.hello = hello
        self._format = StateFormat(len(hello.joints), len(hello.feet), hello.optional)

    def _unpack(self, frame: Frame) -> StateMessage | None:
        """Return the state in a frame, or None if it is not one of this robot."""
        if self._format is None:
            return None
        try:
            state = self._format.decode(frame.payload)
        except MalformedError as reason:
            self.counters.reject(str(reason))
            return None
        self.counters.accepted += 1
        self.sequence = frame.sequence
        return state
