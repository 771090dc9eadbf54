"""The robot's side of the UDP protocol.

A robot of one's own needs only this (docs/drivers.md has a whole example):

    with UdpRobot(Hello("go2", joints, signals, feet)) as wire:
        while True:
            command = wire.receive(now)                # newest MotorCommand, or None
            if wire.silent(now):
                damp()                                 # the node is gone, or not there yet
            wire.send_state(now, state)
"""

import msgspec
import numpy as np

from robot_ppo_export.contract.state import RobotState, zeros
from robot_ppo_export.errors import InputError
from robot_ppo_node.drivers.base import MotorCommand
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
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.drivers.udp.udp_wire import Newest, Wire
from robot_ppo_node.host.closing import Closing
from robot_ppo_node.robot_side.base import SILENT_AFTER


class UdpRobot(Closing):
    """A robot over UDP: answers hello, takes commands from one node at a time, sends states."""

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

    def receive(self, now: float) -> MotorCommand | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        command = None
        for frame, sender in self.wire.drain():
            if sender != self.peer and not self._accept_node(frame, sender, now):
                self.counters.foreign += 1
                continue
            try:
                command = self._take(frame, now) or command
            except MalformedError as reason:
                self.counters.reject(str(reason))
        return command

    def silent(self, now: float) -> bool:
        """Return whether no command came for `SILENT_AFTER`: the robot must damp by itself."""
        return now - self._commanded > SILENT_AFTER

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement to the node, if there is one; vectors in the robot's order.

        A basic signal that the state does not hold is sent as zeros.
        """
        if self.peer:
            whole = RobotState(**{**self._blank, **state})
            payload = udp_payloads.encode_state(now, whole, self._asked)
            self.wire.send(STATE, payload, self.peer)

    def close(self) -> None:
        """Close the socket."""
        self.wire.close()

    def _accept_node(self, frame: Frame, sender: tuple[str, int], now: float) -> bool:
        """Return whether `sender` becomes the node: it asks hello while no other commands."""
        if frame.kind != HELLO_REQUEST or not self.silent(now):
            return False
        self.peer = sender
        self._newest.sequence = None
        return True

    def _take(self, frame: Frame, now: float) -> MotorCommand | None:
        """Answer a request, or return the command in a frame that is new."""
        if not self._newest.accept(frame.sequence):
            return None
        if frame.kind == HELLO_REQUEST and self.peer:
            asked = udp_payloads.decode_request(frame.payload)
            optional = {name: n for name, n in self.hello.optional.items() if name in asked}
            self._asked = tuple(optional)
            hello = msgspec.structs.replace(self.hello, optional=optional)
            self.wire.send(HELLO, udp_payloads.encode_hello(hello), self.peer)
        elif frame.kind == COMMAND:
            command = udp_payloads.decode_command(frame.payload, len(self.hello.joints))
            self._commanded = now
            self.counters.accepted += 1
            return command
        return None
