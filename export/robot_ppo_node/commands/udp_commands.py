"""Commands over UDP: `UdpCommands` for the node, `CommandSender` for whoever commands it.

    with CommandSender("127.0.0.1", key=None) as sender:
        sender.send((0.5, 0.0, 0.0))       # again within `COMMAND_TIMEOUT`, or the robot stands
        sender.stop()                      # emergency stop, until the node says that it has it

On loopback a key may be left out; everywhere else there is none without. What is not authentic, not
new or not a command is counted by reason, and dropped. A stop need not be new.
"""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable

import numpy as np

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.commands import command_frames as frames
from robot_ppo_node.commands.base import CommandSource, OperatorActions
from robot_ppo_node.commands.command_frames import DEFAULT_PORT, DroppedError, Order
from robot_ppo_node.host.closing import Closing

MAX_DRAIN = 64
"""Datagrams read in one tick: a flood must not hold it up."""
STOP_FOR = 1.0
STOP_EVERY = 0.05
"""[s] How long and how often a stop is sent until the node answers."""


class UdpCommands(CommandSource):
    """Takes commands from one sender, or from several of which the newest counts."""

    name = "udp"

    def __init__(
        self,
        operator: OperatorActions,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        key: bytes | None = None,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        """Bind `host`:`port` (0 takes a free one), or raise `InputError`.

        Args:
            operator: what an emergency stop calls.
            host: an address of this computer; other than loopback only with a key.
            port: UDP.
            key: shared with the sender.
            wall: the time of day [ns since 1970].
        """
        if not key and not _is_loopback(host):
            raise InputError(
                f"--listen {host}: commands from another computer need --key FILE on both sides; "
                "`robot-ppo-node command --new-key FILE` makes one"
            )
        self.operator = operator
        self.key = key
        self.wall = wall
        self.dropped: dict[str, int] = {}
        """Reason -> datagrams."""
        self.accepted = 0
        self._command = np.zeros(3, np.float32)
        self._heard = -np.inf
        self._stamp = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"UDP {host}:{port} cannot be bound for commands ({error.strerror}): end the other "
                "node, or give another --listen HOST:PORT"
            ) from None
        self.port: int = self._socket.getsockname()[1]

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the newest command (3,) and its age [s] since it arrived."""
        for _ in range(MAX_DRAIN):
            try:
                data, sender = self._socket.recvfrom(256)
            except BlockingIOError:
                break
            except OSError:  # an answer of ours that found nobody; nothing to do with commands
                continue
            try:
                self._take(frames.decode(data, self.key), now, sender)
            except DroppedError as reason:
                self.dropped[str(reason)] = self.dropped.get(str(reason), 0) + 1
        return self._command, now - self._heard

    def remarks(self) -> str:
        """Return what became of the datagrams."""
        dropped = ", ".join(f"{reason} {n}" for reason, n in sorted(self.dropped.items()))
        return f"commands over UDP: {self.accepted} taken, dropped: {dropped or 'none'}"

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _take(self, order: Order, now: float, sender: tuple[str, int]) -> None:
        """Take one authentic order, if it is new and of this moment; a stop in any case."""
        if order.stop:
            self.operator["damp"]("emergency stop over UDP")
            with contextlib.suppress(OSError):  # the stop counts, the answer is a courtesy
                self._socket.sendto(frames.encode_answer(order.stamp, self.key), sender)
        elif abs(self.wall() - order.stamp) > frames.WINDOW * 1e9:
            raise DroppedError("clock")
        elif order.stamp <= self._stamp:
            raise DroppedError("replayed")
        else:
            self._stamp = order.stamp
        self.accepted += 1
        self._command = np.array(order.command, np.float32)
        self._heard = now


class CommandSender(Closing):
    """Sends commands to a node."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = DEFAULT_PORT, key: bytes | None = None
    ) -> None:
        self.host = host
        self.port = port
        self.key = key
        self._stamp = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            raise InputError(f"UDP {host}:{port} cannot be reached ({error.strerror})") from None

    def send(self, command: tuple[float, float, float]) -> None:
        """Send one command: vx, vy [m/s], yaw rate [rad/s]. That nobody listens is no error."""
        with contextlib.suppress(OSError):
            self._send(command, stop=False)

    def stop(self) -> None:
        """Send an emergency stop again and again until the node answers, or `RefusedError`."""
        first = self._stamp + 1
        ends = time.monotonic() + STOP_FOR
        heard = "no answer"
        while (now := time.monotonic()) < ends:
            try:
                self._send((0.0, 0.0, 0.0), stop=True)
                if self._answered(first, now + STOP_EVERY):
                    return
            except OSError as error:
                heard = error.strerror or str(error)
                time.sleep(STOP_EVERY)
        raise RefusedError(
            f"the stop was not taken: for {STOP_FOR:g} s {heard} from {self.host}:{self.port}; "
            "stop the robot another way, then look at --to, --key, and the node's --source udp"
        )

    def _send(self, command: tuple[float, float, float], stop: bool) -> None:
        """Send one order; `OSError` too where the one before found nobody."""
        self._stamp = max(self._stamp + 1, time.time_ns())
        self._socket.send(frames.encode(Order(self._stamp, command, stop), self.key))

    def _answered(self, first: int, until: float) -> bool:
        """Return whether the node answers a stop with a stamp from `first` on; `OSError` as above.

        `until` is on CLOCK_MONOTONIC [s].
        """
        while (wait := until - time.monotonic()) > 0:
            self._socket.settimeout(wait)
            with contextlib.suppress(DroppedError, TimeoutError):
                return frames.decode_answer(self._socket.recv(256), self.key) >= first
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def address(text: str) -> tuple[str, int]:
    """Return host and port of "HOST" or "HOST:PORT", or raise `InputError`."""
    host, _, port = text.partition(":")
    try:
        ipaddress.IPv4Address(host)
        number = int(port) if port else DEFAULT_PORT
    except ValueError:
        host = ""
        number = -1
    if not host or not 0 <= number < 65536:
        raise InputError(f"{text!r} is not an IPv4 address with a port, such as 127.0.0.1:47101")
    return host, number


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
