"""Driver `udp`: the simulated robot, and any robot that speaks the protocol of docs/drivers.md.

Tested with `robot-ppo sim` on loopback. There is no authentication: keep it on 127.0.0.1 or on a
cable of its own.
"""

import math
from collections.abc import Mapping

import numpy as np

from robot_ppo_export.contract.spec import Gain, per_joint
from robot_ppo_export.contract.state import NO_WIDTHS, SIGNALS
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import DAMPING, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.handover import Handover
from robot_ppo_node.drivers.joint_map import JointMap, StateMap
from robot_ppo_node.drivers.sends import Sends, Unsent
from robot_ppo_node.drivers.state_rate import FEWEST
from robot_ppo_node.drivers.udp import udp_damping
from robot_ppo_node.drivers.udp.udp_endpoint import NodeEndpoint
from robot_ppo_node.drivers.udp.udp_frame import DEFAULT_PORT, VERSION
from robot_ppo_node.drivers.udp.udp_payloads import Hello, encode_command

ASK_EVERY = 0.05
"""[s] between two requests for a HELLO while the robot does not answer."""
GONE_AFTER = 0.5
"""Silence [s] after which a robot may have been started anew, and is asked for HELLO again. The
node has been damping for long by then (`stale_after`), or has not begun."""
LOOK_EVERY = 0.002
"""[s] between two looks for the answer: it is not worth waiting longer for."""


class UdpDriver:
    """A robot over UDP."""

    def __init__(
        self,
        clock: Clock,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        wait: float = 10.0,
        damping: Gain = DAMPING,
    ) -> None:
        """Talk to `host`:`port`.

        Args:
            clock: stamps the samples.
            host: where the robot is.
            port: where it listens.
            wait: how long `open` waits for it [s].
            damping: velocity gain of damping [N m s/rad], for all joints or for each by name.
        """
        self.name = "udp"
        self.clock = clock
        self.host = host
        self.port = port
        self.wait = wait
        self.damping = damping
        self._commands = False
        self.joint_names: tuple[str, ...] = ()
        self.signals: frozenset[str] = frozenset()
        self.feet: tuple[str, ...] = ()
        self.capabilities = NOTHING
        self.endpoint: NodeEndpoint | None = None
        self._opened = -math.inf
        """When the robot had answered [s]."""
        self._heard = -math.inf
        """When the robot was last heard, or asked [s]."""
        self._arrived = -math.inf
        """When the newest state was taken in [s]."""

    @property
    def counters(self) -> Counters:
        """Return the counts of accepted and rejected datagrams."""
        return self.endpoint.counters if self.endpoint else Counters()

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Wait for the robot's HELLO and map by name; `RefusedError` where that fails."""
        asked = [name for name in signals if SIGNALS[name].optional]
        self.endpoint = NodeEndpoint(self.host, self.port, asked)
        self.adopt(self._wait_for_hello(self.endpoint), joints, feet, signals)
        self._heard = self._opened = self.clock.now()

    def adopt(
        self,
        hello: Hello,
        joints: tuple[str, ...],
        feet: tuple[str, ...],
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Map the robot that `hello` describes to these joints and feet, or `RefusedError`."""
        self.joint_names = hello.joints
        self.feet = hello.feet
        self.capabilities = hello.capabilities
        self.signals = frozenset((*hello.signals, *hello.optional))
        for name, size in hello.optional.items():
            if size != signals.get(name, size):
                raise RefusedError(
                    f"driver udp: the robot's {name} has {size} numbers, the policy reads "
                    f"{signals[name]}: let the robot send those of the training"
                )
        self.map = JointMap(joints, self.joint_names, f"{self.name} ({hello.robot})")
        self._damping = per_joint(self.damping, self.joint_names).astype(np.float32)
        self._states = StateMap(self.map, feet, self.feet, self.signals)

    @property
    def state_period(self) -> float | None:
        """Mean time between two of the robot's states since the driver was opened [s]."""
        states = self.counters.accepted + self.counters.superseded
        return (self._arrived - self._opened) / states if states >= FEWEST else None

    def read(self) -> Sample | None:
        """Return the newest state that has arrived since the last call, or None."""
        self.poll()
        assert self.endpoint is not None, "open() comes first"
        message = self.endpoint.newest()
        if message is None:
            self._ask_after_silence(self.clock.now())
            return None
        self._heard = self._arrived
        state = self._states.from_robot(message.state)
        return Sample(state, self.endpoint.sequence, self._arrived)

    def poll(self) -> None:
        """Take in and count what has arrived: of ten states per tick, `read` needs one."""
        assert self.endpoint is not None, "open() comes first"
        if self.endpoint.listen():
            self._arrived = self.clock.now()

    def write(self, command: MotorCommand) -> None:
        """Send one command."""
        assert self.endpoint is not None, "open() comes first"
        self._commands = True
        to_robot = self.map.to_robot
        self.endpoint.send_command(
            to_robot(command.target), to_robot(command.kp), to_robot(command.kd)
        )

    def unsent(self) -> Unsent:
        """Return what the operating system did not take."""
        sends = self.endpoint.wire.sends if self.endpoint else Sends()
        return Unsent(sends.lost, sends.failing())

    def damping_sender(self, kd: np.ndarray) -> Handover:
        """Return a sender of damping that uses this driver's socket, with numbers of its own."""
        assert self.endpoint is not None, "open() comes first"
        nothing = np.zeros_like(kd)
        command = encode_command(nothing, nothing, self.map.to_robot(kd))
        socket = self.endpoint.wire.socket.fileno()
        arguments = {"command": command.hex(), "address": self.endpoint.address}
        return Handover(udp_damping.__name__, arguments, (socket,))

    def reclaim(self, takeovers: int) -> None:
        """Go on with numbers that are above those of the sender."""
        assert self.endpoint is not None, "open() comes first"
        self.endpoint.wire.continue_after(udp_damping.first_number(takeovers, node=True))

    def damp(self) -> None:
        """Send damping."""
        assert self.endpoint is not None, "open() comes first"
        zero = np.zeros(len(self.joint_names), np.float32)
        self.endpoint.send_command(zero, zero, self._damping)

    def close(self) -> None:
        """Send damping last, and close the socket."""
        if self.endpoint:
            if self._commands:
                self.damp()
            self.endpoint.close()
        self._commands = False

    def _ask_after_silence(self, now: float) -> None:
        """Ask a robot that has fallen silent who it is: one that was restarted knows no peer."""
        if self.endpoint and now - self._heard >= GONE_AFTER:
            self._heard = now
            self.endpoint.request_hello()

    def _wait_for_hello(self, endpoint: NodeEndpoint) -> Hello:
        """Ask until the robot has said its joints; return its HELLO."""
        now = self.clock.now()
        ends = now + self.wait
        ask_at = now
        while endpoint.hello is None:
            if now >= ends:
                endpoint.close()
                raise RefusedError(self._unanswered(endpoint))
            if now >= ask_at:
                endpoint.request_hello()
                ask_at = now + ASK_EVERY
            self.clock.sleep_until(now + LOOK_EVERY)
            endpoint.receive()
            now = self.clock.now()
        return endpoint.hello

    def _unanswered(self, endpoint: NodeEndpoint) -> str:
        """Return the sentence that says why no robot was found."""
        where = f"driver udp: no robot answered at {self.host}:{self.port} within {self.wait:g} s"
        dropped = ", ".join(f"{n} x {why}" for why, n in endpoint.counters.malformed.items())
        if dropped:
            detail = f" ({endpoint.hello_error})" if endpoint.hello_error else ""
            return f"{where} as docs/drivers.md has it; dropped: {dropped}{detail}"
        return (
            f"{where}: start it (`robot-ppo sim go2`) with version {VERSION} of the protocol, or "
            "give --host and --port"
        )
