"""The interface between the node and a robot.

A driver is one file with one class. It states which joints and signals its robot has, by name, and
what else it knows of it (capabilities.py); the node refuses a robot that differs from what the
policy was trained for (startup/comparison.py). Vectors that cross this boundary are in the order of
the contract's joints: a driver maps by name, with `JointMap` (joint_map.py).

    driver.open(robot.joint_names, robot.feet)   # connects; refuses joints that differ by name
    sample = driver.read()                       # newest, or None; never blocks
    driver.write(MotorCommand(target, kp, kd))   # never blocks
    driver.damp()                                # only brake, whatever was sent before
    driver.close()                               # damping is the last thing that it sends
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robot_ppo_export.contract.mounting import Mounting
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import Gain, RobotSpec
from robot_ppo_export.contract.state import NO_WIDTHS, RobotState
from robot_ppo_node.drivers.capabilities import Capabilities
from robot_ppo_node.drivers.handover import Handover


class Health:
    """Condition of the robot's parts, as one float32 vector `flat`; NaN where not measured."""

    def __init__(self, joints: int) -> None:
        self.flat = np.full(2 * joints + 1, np.nan, np.float32)
        self.motor_temperature = self.flat[:joints]
        """(joints,) [degC], in the contract's joint order"""
        self.motor_lost = self.flat[joints:-1]
        """(joints,) 1 where a motor no longer answers the robot, else 0"""
        self._voltage = self.flat[-1:]
        self.unsaid = True
        """Nothing is known, which is most robots' case: there is nothing to look at."""

    @property
    def voltage(self) -> float:
        """Return the voltage of the battery [V]."""
        return float(self._voltage[0])

    @voltage.setter
    def voltage(self, value: float) -> None:
        self._voltage[0] = value

    def update(self, other: "Health") -> None:
        """Copy `other` in."""
        self.flat[:] = other.flat
        self.unsaid = bool(np.isnan(self.flat).all())

    def hottest(self) -> tuple[int, float]:
        """Return the hottest motor's index and temperature [degC], NaN if none is measured."""
        if self.unsaid or np.isnan(self.motor_temperature).all():
            return 0, np.nan
        i = int(np.nanargmax(self.motor_temperature))
        return i, float(self.motor_temperature[i])

    def lost_motors(self) -> tuple[int, float]:
        """Return the first silent motor's index and how many there are, NaN if nobody says."""
        if self.unsaid or np.isnan(self.motor_lost).all():
            return 0, np.nan
        return int(np.nanargmax(self.motor_lost)), float(np.nansum(self.motor_lost))


class DriverFault(RuntimeError):
    """The robot or its network is not as it must be: the run has to end in damping.

    `read` raises it, with a sentence for the operator; the driver has begun to damp already.
    """


Log = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Columns and meta data of a recorded run, as log_file.py reads them."""


@dataclass(frozen=True)
class Connection:
    """Address and settings of a robot; a driver reads the fields that concern it."""

    robot: RobotSpec | None = None
    """The robot of the policy file: names, damping, the vendor's facts."""
    control_period: float = 0.02
    """[s] A driver that repeats commands stops repeating an old one after three of these."""
    wait: float = 10.0
    """How long `open` waits for the robot [s]."""
    host: str = "127.0.0.1"
    port: int | None = None
    """UDP port, by default that of the protocol."""
    interface: str = "lo"
    """Network interface of the DDS domain."""
    domain: int = 0
    """DDS domain; `ROS_DOMAIN_ID` for ROS 2."""
    peers: tuple[str, ...] = ()
    """Addresses where DDS looks for others, besides multicast."""
    scan: ScanGrid | None = None
    """Points of the height scan, where the policy reads one."""
    motion_mode: str = "refuse"
    """What to do about the vendor's own controller: "refuse", "release" or "ignore"."""
    allow_silent_writers: bool = False
    """Tolerate others that could command the motors, as long as they do not."""
    watch_only: bool = False
    """Shadow mode: somebody else moves the robot. `open` asks nothing of it, `write` fails."""
    log: Log | None = None
    """What driver `replay` plays back."""
    say: Callable[[str], None] = lambda text: None
    """Takes what a person should know while `open` waits."""

    @property
    def damping(self) -> Gain:
        """Velocity gain of damping [N m s/rad], for all joints or for each by name."""
        return self.robot.damping.kd if self.robot else DAMPING


DAMPING = 3.0
"""[N m s/rad] Where no robot says its own."""


@dataclass(slots=True)
class Sample:
    """One measurement of the whole robot."""

    state: RobotState
    """The signals that the driver offers, vectors in the contract's order of joints and feet."""
    sequence: int
    """Grows with every new measurement."""
    time: float
    """When it arrived, on the node's clock [s]."""
    health: Health | None = None
    """Where the robot says how its parts are."""


@dataclass(slots=True)
class MotorCommand:
    """Command of every motor until the next one: torque = kp (target - q) - kd dq.

    All are (joints,) float32 in the contract's joint order. The arrays belong to the node and
    change at the next tick: a driver that keeps them copies them.
    """

    target: np.ndarray
    """[rad]"""
    kp: np.ndarray
    """[N m/rad]"""
    kd: np.ndarray
    """[N m s/rad]"""


class Driver(Protocol):
    """One robot interface."""

    name: str
    """As on the command line."""
    joint_names: tuple[str, ...]
    """The robot's joints, in its own order; known after `open`."""
    signals: frozenset[str]
    """Names in `contract.state.SIGNALS` that it measures; known after `open`."""
    feet: tuple[str, ...]
    """The robot's feet, for `foot_force`; known after `open`."""
    capabilities: Capabilities
    """What else it knows of the robot; known after `open`."""

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Connect, and map to these joints and feet by name; `RefusedError` where it cannot.

        `signals` are those that the node will hold, with their widths: an optional signal is
        measured and sent only where it is among them.
        """
        ...

    def read(self) -> Sample | None:
        """Return the newest sample that `read` has not returned yet, or None. Does not block."""
        ...

    def write(self, command: MotorCommand) -> None:
        """Send one command. Does not block; a robot that is gone shows as a stale state."""
        ...

    def damp(self) -> None:
        """Let every motor brake with the robot's damping gain. Does not block."""
        ...

    def close(self) -> None:
        """Release the connection; may be called twice, and without `open`.

        Where a command was sent, damping is sent last: what a motor heard last, it may keep doing.
        """
        ...


@runtime_checkable
class SeesWriters(Protocol):
    """A driver that can tell who else writes to or for its robot."""

    def other_writers(self) -> tuple[str, ...]:
        """Return who else commands the robot or plays it, now; cheap, asked at every tick."""
        ...


@dataclass(frozen=True, slots=True)
class DriverWarning:
    """Something that changes nothing, and that the operator should look at."""

    code: str
    """What programs compare; it stays, and the values are in the sentence."""
    text: str


@runtime_checkable
class Warns(Protocol):
    """A driver that warns of what it sees while the node runs."""

    def warnings(self) -> tuple[DriverWarning, ...]:
        """Return what came up since the last call, oldest first; cheap, asked at every tick."""
        ...


@runtime_checkable
class Polls(Protocol):
    """A driver that can do beforehand what a tick would wait for."""

    def poll(self) -> None:
        """Take in what has arrived, or warm up what is sent; called shortly before a tick.

        `read` and `write` are quicker then, and mean the same: nothing is lost, nothing is sent.
        """
        ...


@runtime_checkable
class HandsOver(Protocol):
    """A driver whose robot another process can damp when this one no longer can."""

    def damping_sender(self, kd: np.ndarray) -> Handover:
        """Return how to send damping with `kd` (joints,) [N m s/rad]; known after `open`.

        The robot must take what it sends in place of what the driver sends, also when both do.
        """
        ...

    def reclaim(self, takeovers: int) -> None:
        """Be the one whom the robot listens to again, after so many takeovers since `open`."""
        ...


def mounting_of(robot: RobotSpec, driver: Driver) -> Mounting | None:
    """Return how to turn what the IMU of a driver's robot measures into the base's frame.

    None where nothing turns it, and where the driver plays back what was turned when it was
    recorded (`in_base_frame`).
    """
    return None if getattr(driver, "in_base_frame", False) else Mounting.of(robot)
