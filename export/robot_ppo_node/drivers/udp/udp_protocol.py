"""The two ends of the UDP protocol: `RobotEndpoint` for a robot, `NodeEndpoint` for the node.

A robot of one's own needs only the first (docs/drivers.md has a whole example):

    with RobotEndpoint(Hello("go2", joints, signals, feet)) as wire:
        while True:
            command = wire.receive(now)                # newest CommandMessage, or None
            if wire.silent(now):
                damp()                                 # the node is gone, or not there yet
            wire.send_state(now, state)
"""

import socket
from collections.abc import Iterable
from types import TracebackType

import msgspec
import numpy as np

from robot_ppo_export.contract.state import RobotState, zeros
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.drivers.capabilities import Offer
from robot_ppo_node.drivers.udp import udp_frames as frames
from robot_ppo_node.drivers.udp.udp_frames import (
    COMMAND_TIMEOUT,
    DEFAULT_PORT,
    CommandMessage,
    Counters,
    Frame,
    Hello,
    MalformedError,
    StateMessage,
)
from robot_ppo_node.drivers.udp.udp_wire import Newest, Wire

__all__ = [
    "COMMAND_TIMEOUT",
    "DEFAULT_PORT",
    "CommandMessage",
    "Counters",
    "Hello",
    "NodeEndpoint",
    "Offer",
    "RobotEndpoint",
    "StateMessage",
    "Wire",
]


def _resolved(host: str, port: int) -> tuple[str, int]:
    """Return the address as datagrams will bear it, or raise OSError."""
    address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
    return str(address[0]), int(address[1])


def _own_address(peer: tuple[str, int]) -> str:
    """Return this computer's address towards `peer`; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(peer)
        return probe.getsockname()[0]


class RobotEndpoint:
    """The robot's side: answers hello, takes commands from one node at a time, sends states."""

    def __init__(self, hello: Hello, port: int = DEFAULT_PORT, host: str = "127.0.0.1") -> None:
        """Bind `host`:`port` (0 takes a free one), or raise `InputError`."""
        wrong = hello.problem()
        if wrong:
            raise InputError(f"Hello of {hello.robot}: {wrong}")
        self.hello = hello
        self.wire = Wire()
        try:
            self.wire.socket.bind((host, port))
        except OSError as error:
            self.wire.close()
            raise InputError(
                f"UDP {host}:{port} cannot be bound ({error.strerror}): is another robot running "
                "there? Give another --port"
            ) from None
        self.port: int = self.wire.socket.getsockname()[1]
        self.peer: tuple[str, int] | None = None
        """The node that states go to: the one that asked hello last."""
        self._newest = Newest(self.counters)
        self._commanded = -np.inf
        self._blank = zeros((), len(hello.joints), len(hello.feet))
        self._asked: tuple[str, ...] = ()
        """Optional signals that the node asked for and the robot measures."""

    @property
    def counters(self) -> Counters:
        """What became of the datagrams."""
        return self.wire.counters

    def receive(self, now: float) -> CommandMessage | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        command = None
        for frame, sender in self.wire.drain():
            if sender != self.peer and not self._welcome(frame, sender, now):
                self.counters.foreign += 1
                continue
            try:
                command = self._take(frame, now) or command
            except MalformedError as reason:
                self.counters.reject(str(reason))
        return command

    def silent(self, now: float) -> bool:
        """Return whether no command came for `COMMAND_TIMEOUT`: the robot must damp by itself."""
        return now - self._commanded > COMMAND_TIMEOUT

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement to the node, if there is one; vectors in the robot's order.

        A basic signal that the state does not hold is sent as zeros.
        """
        if self.peer:
            whole = RobotState(**{**self._blank, **state})
            payload = frames.encode_state(now, whole, self._asked)
            self.wire.send(frames.STATE, payload, self.peer)

    def close(self) -> None:
        """Close the socket."""
        self.wire.close()

    def __enter__(self) -> "RobotEndpoint":
        """Return the endpoint; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self.close()

    def _welcome(self, frame: Frame, sender: tuple[str, int], now: float) -> bool:
        """Return whether `sender` becomes the node: it asks hello while no other commands."""
        if frame.kind != frames.HELLO_REQUEST or not self.silent(now):
            return False
        self.peer = sender
        self._newest.sequence = None
        return True

    def _take(self, frame: Frame, now: float) -> CommandMessage | None:
        """Answer a request, or return the command in a frame that is new."""
        if not self._newest.accept(frame.sequence):
            return None
        if frame.kind == frames.HELLO_REQUEST and self.peer:
            asked = frames.decode_request(frame.payload)
            optional = {name: n for name, n in self.hello.optional.items() if name in asked}
            self._asked = tuple(optional)
            hello = msgspec.structs.replace(self.hello, optional=optional)
            self.wire.send(frames.HELLO, frames.encode_hello(hello), self.peer)
        elif frame.kind == frames.COMMAND:
            command = frames.decode_command(frame.payload, len(self.hello.joints))
            self._commanded = now
            self.counters.accepted += 1
            return command
        return None


class NodeEndpoint:
    """The node's side: asks hello, reads states, sends commands."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = DEFAULT_PORT, optional: Iterable[str] = ()
    ) -> None:
        """Talk to the robot at `host`:`port`; datagrams of others are counted and dropped.

        `optional` are the optional signals that the robot is asked for.
        """
        self._request = frames.encode_request(optional)
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
        self.misunderstood = ""
        """What was wrong with its newest HELLO that was."""
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
        self.wire.send(frames.HELLO_REQUEST, self._request, self.address)

    def receive(self) -> StateMessage | None:
        """Return the newest state since the last call, or None; a HELLO is kept in `hello`."""
        self.listen()
        return self.newest()

    def listen(self) -> bool:
        """Take in and count what has arrived; return whether there are states among it."""
        waiting, before = self._waiting, len(self._waiting)
        for frame, sender in self.wire.drain():
            if sender != self.address:
                self.counters.foreign += 1
            elif self._newest.accept(frame.sequence):
                if frame.kind == frames.STATE:
                    waiting.append(frame)
                elif frame.kind == frames.HELLO:
                    self._meet(frame)
        return len(waiting) > before

    def newest(self) -> StateMessage | None:
        """Return the newest state that was taken in since the last call, or None.

        `RefusedError` where another robot than before has said hello.
        """
        if self._other_robot:
            refused, self._other_robot = self._other_robot, None
            raise refused
        states, self._waiting = self._waiting, []
        # Newest first: a robot may send ten states per tick, and only one is worth unpacking.
        for i, frame in enumerate(reversed(states)):
            message = self._unpack(frame)
            if message is not None:
                self.counters.superseded += len(states) - i - 1
                return message
        return None

    def send_command(self, target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> None:
        """Send one command; vectors (joints,) in the robot's order."""
        self.wire.send(frames.COMMAND, frames.encode_command(target, kp, kd), self.address)

    def close(self) -> None:
        """Close the socket."""
        self.wire.close()

    def _meet(self, frame: Frame) -> None:
        """Keep who the robot is; a robot that comes back must be the one that it was."""
        try:
            hello = frames.decode_hello(frame.payload)
        except MalformedError as reason:
            self.counters.reject(str(reason))
            self.misunderstood = reason.detail
            return
        if self.hello is not None and hello != self.hello:
            self._other_robot = RefusedError(
                f"another robot answers at {self.address[0]}:{self.address[1]} than before: "
                f"{hello.robot} with {len(hello.joints)} joints; start the node again"
            )
            return
        self.hello = hello

    def _unpack(self, frame: Frame) -> StateMessage | None:
        """Return the state in a frame, or None if it is not one of this robot."""
        if self.hello is None:
            return None
        try:
            joints, feet = len(self.hello.joints), len(self.hello.feet)
            state = frames.decode_state(frame.payload, joints, feet, self.hello.optional)
        except MalformedError as reason:
            self.counters.reject(str(reason))
            return None
        self.counters.accepted += 1
        self.sequence = frame.sequence
        return state
