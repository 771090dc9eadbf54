"""The robot interfaces, by name; each is imported when it is asked for.

The package itself imports nothing heavy: the watchdog is quick to start and small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    from robot_ppo_export.node.clock import Clock
    from robot_ppo_export.node.drivers.base import Driver


def _udp(clock: Clock, host: str, port: int | None, wait: float) -> Driver:
    from robot_ppo_export.node.drivers.udp import UdpDriver
    from robot_ppo_export.node.drivers.udp_protocol import DEFAULT_PORT

    return UdpDriver(clock, host, DEFAULT_PORT if port is None else port, wait)


def _fake(clock: Clock, host: str, port: int | None, wait: float) -> Driver:
    from robot_ppo_export.node.drivers.fake import FakeDriver

    return FakeDriver(clock)


DRIVERS: dict[str, Callable[[Clock, str, int | None, float], Driver]] = {
    "udp": _udp,
    "fake": _fake,
}
"""Name on the command line -> factory(clock, host, port, wait [s])."""


def create(name: str, clock: Clock, host: str, port: int | None, wait: float) -> Driver:
    """Return the driver `name`, not yet open; an unknown name is an `InputError`."""
    if name not in DRIVERS:
        from robot_ppo_export.contract import strict

        raise InputError(f"unknown driver {name!r}{strict.did_you_mean(name, DRIVERS)}")
    return DRIVERS[name](clock, host, port, wait)
