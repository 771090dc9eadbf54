"""Faults of the network: a man in the middle of the UDP protocol, in lockstep.

Both ends are the real ones, with sockets on loopback; only the time is simulated. Loopback hands
a datagram over at once, or in a moment that is waited for.
"""

import select
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.faults.fault import NOTHING, REFUSED, Fault, Seen
from benchmarks.faults.world import World
from robot_ppo.sim.server import hello_of
from robot_ppo_export.contract.state import zeros
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Driver
from robot_ppo_node.drivers.udp import udp_frame, udp_payloads
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.udp.udp_wire import Wire
from robot_ppo_node.robot_side.base import SILENT_AFTER
from robot_ppo_node.robot_side.udp_robot import UdpRobot

PATIENCE = 0.05
"""[s] that a datagram may take over loopback."""
GONE = 40
"""Ticks without a network."""
FORGED_KP = 99.0
FORGED_SEQUENCE = 2**20

Tamper = Callable[[bytes], list[bytes]]
"""A datagram -> what arrives in its place."""


class Tapped(socket.socket):
    """A socket whose datagrams somebody reads and changes."""

    tamper: Tamper | None = None
    past: deque[bytes]
    """Datagrams that were sent, newest last."""

    def sendto(self, *arguments: Any) -> int:
        """Send what `tamper` makes of the datagram."""
        data, to = arguments
        self.past.append(data)
        for arriving in self.tamper(data) if self.tamper else [data]:
            super().sendto(arriving, to)
        return len(data)


def tap(wire: Wire) -> Tapped:
    """Put a tap into a wire."""
    plain = wire.socket
    tapped = Tapped(plain.family, plain.type, fileno=plain.detach())
    tapped.setblocking(False)
    tapped.past = deque(maxlen=100)
    wire.socket = tapped
    return tapped


class WiredWorld(World):
    """Node and robot with the network between them."""

    def __init__(self, path: Path) -> None:
        """Begin with a network that works."""
        super().__init__(path)
        endpoint = self.wired.endpoint
        assert endpoint is not None, "the node is prepared"
        self.endpoint = endpoint
        self.to_robot = tap(endpoint.wire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close both ends."""
        super().__exit__(kind, error, traceback)
        self.end.close()

    def connect(self) -> Driver:
        """Return the driver of the real protocol, and be the robot's end of it."""
        spec = self.robot.spec
        self.end = UdpRobot(hello_of(spec), 0)
        self.to_node = tap(self.end.wire)
        self.wired = UdpDriver(self.clock, port=self.end.port, damping=spec.damping.kd)
        return self.wired

    def advance(self, time: float) -> None:
        """Let the robot take what has arrived, go on, and send its state."""
        wired = hasattr(self, "to_robot")
        if wired and self.node.sends and not self.to_robot.tamper:
            _arrived(self.end.wire)
        command = self.end.receive(self.robot.time)
        if command:
            self.robot.drive(command.target, command.kp, command.kd)
        elif self.end.silent(self.robot.time):
            self.robot.damp()
        self.robot.advance_to(time)
        self.end.send_state(self.robot.time, self.robot.state())
        if wired and not self.to_node.tamper:
            _arrived(self.endpoint.wire)


def _arrived(wire: Wire) -> None:
    """Wait until there is something to read, for a moment."""
    select.select([wire.socket], [], [], PATIENCE)


def _flipped(data: bytes) -> list[bytes]:
    return [data[:-1] + bytes([data[-1] ^ 1])]


def _states(tamper: Callable[[WiredWorld], Tamper], count: str) -> Callable[[Path], Seen]:
    """Return a run in which every state is tampered with; `count` names the node's counter."""

    def run(path: Path) -> Seen:
        with WiredWorld(path) as world:
            since = world.walk()
            world.to_node.tamper = tamper(world)
            seen = world.damped(since, world.limits.stale_after)
            counters = world.endpoint.counters
            number = counters.malformed.get(count) or getattr(counters, count, 0)
            return Seen(seen.outcome, f"{seen.reason}; {number} {count}", seen.allowed, seen.ticks)

    return run


def _again(world: WiredWorld) -> Tamper:
    last = world.to_node.past[-1]
    return lambda data: [last]


def _backwards(world: WiredWorld) -> Tamper:
    past = list(world.to_node.past)[:-1]
    return lambda data: [past.pop()]


def _malformed_command(path: Path) -> Seen:
    """Turn one bit of every command: the robot must brake by itself."""
    with WiredWorld(path) as world:
        since = world.walk()
        world.to_robot.tamper = _flipped
        seen = world.damped(since, SILENT_AFTER, "the robot by itself")
        number = world.end.counters.malformed.get("checksum", 0)
        return Seen(seen.outcome, f"{seen.reason}; {number} checksum", seen.allowed, seen.ticks)


def _spoofed(path: Path) -> Seen:
    """Let a stranger send states to the node and commands to the robot: nobody must listen."""
    with WiredWorld(path) as world, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        world.walk()
        joints = len(world.robot.spec.joints)
        fallen = zeros((), joints, len(world.robot.spec.feet))
        fallen.base_quat[:] = (0, 1, 0, 0)
        kp = np.full(joints, FORGED_KP, np.float32)
        state = udp_payloads.encode_state(0.0, fallen)
        command = udp_payloads.encode_command(0 * kp, kp, kp)
        followed = 0
        for i in range(50):
            number = FORGED_SEQUENCE + i
            node = world.to_robot.getsockname()
            stranger.sendto(udp_frame.encode(udp_frame.STATE, number, state), node)
            robot = ("127.0.0.1", world.end.port)
            stranger.sendto(udp_frame.encode(udp_frame.COMMAND, number, command), robot)
            world.step()
            followed += bool((world.robot.motors.kp == FORGED_KP).any())
        at_node = world.endpoint.counters.foreign
        at_robot = world.end.counters.foreign
        deaf = not followed and world.node.state is State.POLICY and min(at_node, at_robot) > 0
        reason = f"{at_node} foreign at the node, {at_robot} foreign at the robot"
        return Seen(REFUSED if deaf else NOTHING, reason + "; the robot walks on")


def _replayed(path: Path) -> Seen:
    """After a person's damping, send the commands of before again, from the node's address."""
    with WiredWorld(path) as world:
        world.walk()
        past = list(world.to_robot.past)
        world.node.damp("a person")
        world.step(2)
        heard = len(world.robot.heard)
        world.to_robot.tamper = lambda data: [data, past.pop()]
        world.step(50)
        counters = world.end.counters
        still = all(h.damping for h in world.robot.heard[heard:]) and counters.reordered > 0
        reason = f"{counters.reordered} reordered at the robot, which stays damped"
        return Seen(REFUSED if still else NOTHING, reason)


def _network_gone(path: Path) -> Seen:
    """Lose every datagram in both directions for a while: what comes after must be damping."""
    with WiredWorld(path) as world:
        since = world.walk()
        world.to_node.tamper = world.to_robot.tamper = lambda data: []
        world.step(GONE)
        world.to_node.tamper = None
        world.to_robot.tamper = None
        return world.damped(since, SILENT_AFTER)


FAULTS = (
    Fault(
        "malformed_state",
        "one bit of every state is turned on its way",
        _states(lambda world: _flipped, "checksum"),
        "stale_state",
    ),
    Fault(
        "malformed_command",
        "one bit of every command is turned on its way",
        _malformed_command,
        "checksum",
    ),
    Fault(
        "duplicated_state",
        "the last state arrives again and again",
        _states(_again, "duplicated"),
        "stale_state",
    ),
    Fault(
        "reordered_state",
        "the states of the last seconds arrive, newest first",
        _states(_backwards, "reordered"),
        "stale_state",
    ),
    Fault(
        "spoofed_packet",
        "a stranger sends states of a fallen robot to the node, and commands to the robot",
        _spoofed,
        "foreign at the node",
        (REFUSED,),
    ),
    Fault(
        "replayed_command",
        "after a person's stop, the commands of before arrive again from the node's address",
        _replayed,
        "reordered at the robot",
        (REFUSED,),
    ),
    Fault(
        "network_gone_and_back",
        f"no datagram arrives on either side for {GONE} ticks, then all do",
        _network_gone,
        "stale_state",
    ),
)
