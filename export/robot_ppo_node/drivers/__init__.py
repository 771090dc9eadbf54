"""The robot interfaces, by name; each is imported when it is asked for.

The package itself imports nothing heavy: the watchdog is quick to start and small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    from robot_ppo_node.clock import Clock
    from robot_ppo_node.drivers.base import Connection, Driver


def _udp(clock: Clock, connection: Connection) -> Driver:
    from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
    from robot_ppo_node.drivers.udp.udp_frame import DEFAULT_PORT

    port = DEFAULT_PORT if connection.port is None else connection.port
    return UdpDriver(clock, connection.host, port, connection.wait, connection.damping)


def _unitree(clock: Clock, connection: Connection) -> Driver:
    from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver

    return UnitreeDriver(clock, connection)


def _ros2(clock: Clock, connection: Connection) -> Driver:
    from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver

    return Ros2Driver(clock, connection)


def _replay(clock: Clock, connection: Connection) -> Driver:
    from robot_ppo_node.drivers.replay_driver import ReplayDriver

    if connection.log is None:
        raise InputError("driver replay plays a log back: give --log FILE")
    return ReplayDriver(clock, *connection.log)


def _fake(clock: Clock, connection: Connection) -> Driver:
    from robot_ppo_node.drivers.fake import FakeDriver

    robot = connection.robot
    pose = None if robot is None else robot.rest().astype("f4")
    return FakeDriver(clock, pose=pose, keep=1)  # nobody reads more, and a long run stays small


DRIVERS: dict[str, Callable[[Clock, Connection], Driver]] = {
    "udp": _udp,
    "unitree": _unitree,
    "ros2": _ros2,
    "replay": _replay,
    "fake": _fake,
}
"""Name on the command line -> factory(clock, connection)."""


def create(name: str, clock: Clock, connection: Connection) -> Driver:
    """Return the driver `name`, not yet open; an unknown name is an `InputError`."""
    if name not in DRIVERS:
        from robot_ppo_export.contract import strict

        raise InputError(f"unknown driver {name!r}{strict.did_you_mean(name, DRIVERS)}")
    return DRIVERS[name](clock, connection)
