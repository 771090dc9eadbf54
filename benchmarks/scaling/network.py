"""Ranks in networks of their own, joined by a relay that delays packets and limits their rate.

    with Network(size=2, delay=0.001, bandwidth=100e6) as network:
        measure(setting, 20, network.prefixes, **network.variables)

Every rank is in a network namespace with one TUN device; the relay reads each packet and writes it
to the device of its destination when it is due. So gloo's own algorithms meet a real delay. It
needs root and /dev/net/tun; the kernel's own netem is not in every kernel.
"""

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from types import TracebackType

from robot_ppo_export.errors import InputError

MTU = 9000
_SET_INTERFACE = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001
_DEVICE = "link0"


def refusal() -> str | None:
    """Return why this system permits no such network; None: it does."""
    try:
        with Network(2):
            return None
    except InputError as error:
        return str(error)


class Network:
    """Namespaces and their relay. Use as a context manager."""

    def __init__(self, size: int, delay: float = 0.0, bandwidth: float = float("inf")) -> None:
        """Plan it: one-way `delay` [s], and bytes per second that each rank can send."""
        self._delay = delay
        self._bandwidth = bandwidth
        self._names = [f"robot_ppo_{os.getpid()}_{rank}" for rank in range(size)]
        self._devices: list[int] = []
        self._made: list[str] = []
        self._stop, self._stopped = os.pipe()
        self._relay = threading.Thread(target=self._carry, daemon=True)
        self.prefixes = [["ip", "netns", "exec", name] for name in self._names]
        """Words before the command of each rank."""
        self.variables = {"MASTER_ADDR": _address(0), "GLOO_SOCKET_IFNAME": _DEVICE}
        """Of the ranks' environment."""

    def __enter__(self) -> "Network":
        """Make the namespaces and start the relay."""
        try:
            for rank, name in enumerate(self._names):
                self._add(rank, name)
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            said = getattr(error, "stderr", None) or str(error)
            raise InputError(f"no network of its own for each rank: {said.strip()}") from None
        self._relay.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the relay and remove the namespaces."""
        os.close(self._stopped)
        self._relay.join()
        os.close(self._stop)
        self._remove()

    def _add(self, rank: int, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        self._devices.append(device)
        own = f"rppo{os.getpid()}_{rank}"[-15:]
        fcntl.ioctl(
            device, _SET_INTERFACE, struct.pack("16sH22x", own.encode(), _TUN_WITHOUT_HEADER)
        )
        _ip("link", "set", own, "netns", name, "name", _DEVICE)
        _ip("-n", name, "addr", "add", f"{_address(rank)}/24", "dev", _DEVICE)
        _ip("-n", name, "link", "set", _DEVICE, "mtu", str(MTU), "up")
        _ip("-n", name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for device in self._devices:
            os.close(device)
        self._devices.clear()
        for name in self._made:
            _ip("netns", "delete", name)
        self._made.clear()

    def _carry(self) -> None:
        """Carry packets until the pipe is closed."""
        waiting: list[tuple[float, int, int, bytes]] = []
        free = [0.0] * len(self._devices)  # when each sender has sent what it has to
        count = 0
        while True:
            until = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready = select.select([*self._devices, self._stop], [], [], until)[0]
            if self._stop in ready:
                return
            now = time.monotonic()
            for device in ready:
                sender = self._devices.index(device)
                packet = os.read(device, 65536)
                receiver = _receiver(packet, len(free))
                if receiver is None:
                    continue
                free[sender] = max(now, free[sender]) + len(packet) / self._bandwidth
                heapq.heappush(waiting, (free[sender] + self._delay, count, receiver, packet))
                count += 1
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, receiver, packet = heapq.heappop(waiting)
                os.write(self._devices[receiver], packet)


def _receiver(packet: bytes, size: int) -> int | None:
    """Return the rank that a packet is for; None: it is for none, or not IPv4."""
    if packet[0] >> 4 != 4 or packet[16:19] != bytes((10, 77, 0)):
        return None
    rank = packet[19] - 1
    return rank if 0 <= rank < size else None


def _address(rank: int) -> str:
    return f"10.77.0.{rank + 1}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
