"""Driver `ros2`: a robot that speaks ROS 2, over plain DDS, with no ROS installed.

    /joint_states    sensor_msgs/JointState        from the robot
    /imu             sensor_msgs/Imu               from the robot
    /joint_commands  std_msgs/Float64MultiArray    to the robot: target, kp and kd of every joint

Standard messages have no field for gains, and without gains there is no damping: so the command
is one array of three rows, whose labels name the rows and the joints (docs/drivers.md). Ranges and
limits of the joints come from the URDF on /robot_description, where there is one. Tried against
the encodings of cyclonedds and the simulated robot, not against an installed ROS 2.

Several publishers may share the joints, and others may share the topic (joint_parts.py). A sample
is new when every joint and the IMU were stated anew, so that each one falling silent makes the
state stale. A message whose stamp is not later than the one before is dropped and counted; a clock
that was set back is a fault while a command is out, and else the new time after `NEW_TIME`
(stamp_order.py).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from robot_ppo_export.contract.spec import per_joint
from robot_ppo_export.contract.state import NO_WIDTHS, RobotState
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import (
    Connection,
    DriverFault,
    JointMap,
    MotorCommand,
    Sample,
    check_joints,
)
from robot_ppo_node.drivers.capabilities import NOTHING
from robot_ppo_node.drivers.dds import dds_damping, participant
from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
from robot_ppo_node.drivers.dds.exclusive_access import ExclusiveAccess
from robot_ppo_node.drivers.dds.reached import found, require_reader
from robot_ppo_node.drivers.handover import Handover
from robot_ppo_node.drivers.repeater import Repeater
from robot_ppo_node.drivers.ros2 import ros2_messages
from robot_ppo_node.drivers.ros2.joint_parts import JOINT_SIGNALS, OWNED, JointParts
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_description import DESCRIPTION, described
from robot_ppo_node.drivers.ros2.ros2_messages import CommandEncoder, Imu
from robot_ppo_node.drivers.ros2.stamp_order import StampOrder
from robot_ppo_node.drivers.sends import Sends, Unsent
from robot_ppo_node.drivers.state_rate import StateRate

JOINT_STATES = "rt/joint_states"
IMU = "rt/imu"
JOINT_COMMANDS = "rt/joint_commands"
DEPTH = 256
"""Messages on /joint_states that may wait for a tick: a foreign publisher of 1 kHz must not push
the robot's own out of the queue."""
NEW_TIME = 0.5
"""[s] of older stamps after which they are the new time, where no command is out."""
SETTLE = 0.5
"""[s] after joining in which discovery finds who else commands the robot."""
STALE_PERIODS = 3
"""Control periods after which an unrefreshed command is not repeated."""
REPEAT_EVERY = 0.01
"""[s] between two sends of a command."""
LOOK_EVERY = 0.002


class Ros2Driver:
    """One robot that speaks ROS 2."""

    def __init__(self, clock: Clock, connection: Connection) -> None:
        """Talk on `connection`'s interface and domain (`ROS_DOMAIN_ID`)."""
        require_cyclonedds("ros2")
        self.name = "ros2"
        self.clock = clock
        self.connection = connection
        self.joint_names: tuple[str, ...] = ()
        self.signals: frozenset[str] = frozenset()
        self.feet: tuple[str, ...] = ()
        self.capabilities = NOTHING
        self.malformed: dict[str, int] = {}
        """Messages that were dropped: reason -> number."""
        self.bus: participant.Bus | None = None
        self.repeater: Repeater | None = None
        self._sends = Sends()
        self._parts = JointParts(())
        self._imu: Imu | None = None
        self._imu_from = (0, -math.inf)  # publisher of the IMU, and when it spoke last
        self._rates: dict[int, StateRate] = defaultdict(StateRate)  # of the joints' publishers
        self._order = StampOrder()
        self._sequence = 0
        self._settled = False  # whether joints and signals are those of `open`
        self._commanding = False  # whether the newest command is more than damping

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Wait for both topics and map by name; `RefusedError` where that fails."""
        c = self.connection
        self.bus = participant.Bus(c.domain, c.interface, c.peers)
        joined = self.clock.now()
        try:
            self._meet(self.bus, joints)
            if not c.watch_only:
                self._take_command(self.bus, joined)
        except BaseException:
            self.close()
            raise

    def _meet(self, bus: participant.Bus, joints: tuple[str, ...]) -> None:
        """Wait for the robot's joints and IMU, and fix what it has."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        self._parts = JointParts(joints)
        self._joint_reader = bus.reader(JOINT_STATES, idl.JointState, depth=DEPTH)
        self._imu_reader = bus.reader(IMU, idl.Imu)
        descriptions = bus.reader(DESCRIPTION, idl.String, reliable=True, latched=True)
        self._settle(self._first())
        self.capabilities = described(
            descriptions, self.joint_names, self.clock, self.connection.say
        )

    def _settle(self, imu: Imu) -> None:
        """Fix joints and signals as those that have been stated by now."""
        self._parts.settle()
        self.joint_names = self._parts.names
        self.signals = frozenset((*self._parts.signals, *_measured(imu)))
        self.map = JointMap(self._parts.wanted, self.joint_names, self.name)
        self._encoder = CommandEncoder(self.joint_names)
        self._settled = True

    def _take_command(self, bus: participant.Bus, joined: float) -> None:
        """Require exclusive access and a robot that reads commands, and begin to repeat."""
        from robot_ppo_node.drivers.ros2.ros2_idl import Float64MultiArray

        c = self.connection
        silent = c.allow_silent_writers
        access = ExclusiveAccess(
            bus, JOINT_COMMANDS, Float64MultiArray, self.name, allow_silent=silent
        )
        self.clock.sleep_until(joined + SETTLE)
        access.wait(self.clock, c.wait, c.say)
        writer = bus.writer(JOINT_COMMANDS, Float64MultiArray)
        require_reader(bus, writer, JOINT_COMMANDS, Float64MultiArray, self.clock, self.name)
        damping = self._damping(per_joint(c.damping, self._parts.wanted).astype(np.float32))
        stale = STALE_PERIODS * c.control_period
        self._sends = writer.sends
        self.repeater = Repeater(writer.write, damping, stale, access.trouble, REPEAT_EVERY)

    def read(self) -> Sample | None:
        """Return the newest state, once both topics have said something new, or None.

        `DriverFault` where somebody else commands the motors, or the robot's clock was set back.
        """
        if self.repeater and self.repeater.fault:
            raise DriverFault(self.repeater.fault)
        self._listen()
        self._judge_clocks()
        if self._imu is None or (joints := self._parts.take()) is None:
            return None
        imu = self._imu
        self._imu = None
        self._sequence += 1
        return Sample(self._in_order(joints, imu), self._sequence, self.clock.now())

    @property
    def state_period(self) -> float | None:
        """Mean time between two messages of the joints' publisher that speaks most often [s]."""
        periods = [rate.period for rate in self._rates.values() if rate.period]
        return min(periods, default=None)

    def other_writers(self) -> tuple[str, ...]:
        """Return who else commands the motors, in a sentence, or nothing."""
        fault = self.repeater.fault if self.repeater else None
        return (fault,) if fault else ()

    def write(self, command: MotorCommand) -> None:
        """Send one command, and let it be repeated."""
        assert self.repeater is not None, "open() comes first"
        to_robot = self.map.to_robot
        rows = (to_robot(v) for v in (command.target, command.kp, command.kd))
        self._commanding = True
        self.repeater.put(self._encoder.encode(*rows))

    def damp(self) -> None:
        """Send damping, and repeat it until the next command."""
        assert self.repeater is not None, "open() comes first"
        self._commanding = False
        self.repeater.damp()

    def unsent(self) -> Unsent:
        """Return what DDS did not take, and how often the repeater had nothing fresh."""
        stale = self.repeater.stale if self.repeater else 0
        return Unsent(self._sends.lost, self._sends.failing(), stale)

    def damping_sender(self, kd: np.ndarray) -> Handover:
        """Return a sender of damping that joins the robot's domain by itself."""
        assert self.bus is not None, "open() comes first"
        return dds_damping.handover(self.bus, JOINT_COMMANDS, "ros2", self._damping(kd))

    def reclaim(self, takeovers: int) -> None:
        """Do nothing: the robot listens to everybody, and the watchdog is silent again."""

    def close(self) -> None:
        """Send damping last, and leave the domain."""
        if self.repeater:
            self.repeater.close()
        if self.bus:
            self.bus.close()
        self.repeater = None
        self.bus = None
        self._settled = False

    def _damping(self, kd: np.ndarray) -> bytes:
        """Return damping with `kd` (joints,) [N m s/rad] in the contract's order."""
        zero = np.zeros_like(kd)
        return self._encoder.encode(zero, zero, self.map.to_robot(kd))

    def _first(self) -> Imu:
        """Wait until every joint and the IMU have been stated; return what the IMU said."""
        c = self.connection
        ends = self.clock.now() + c.wait
        while True:
            now = self.clock.now()
            self._listen()
            if self._parts.complete and self._imu is not None:
                return self._imu
            if now >= ends:
                if self._parts.names:  # said by name, which joints nobody stated
                    check_joints(self._parts.wanted, self._parts.names, self.name)
                raise RefusedError(self._silence())
            self.clock.sleep_until(now + LOOK_EVERY)

    def _silence(self) -> str:
        """Return the sentence about what was waited for in vain."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        assert self.bus is not None
        silent = {}
        if not self._parts.names:
            silent["/joint_states"] = (JOINT_STATES, idl.JointState)
        if self._imu is None:
            silent["/imu"] = (IMU, idl.Imu)
        seen = "; ".join(found(self.bus, silent))
        both = f"; {seen}; this reads best effort, volatile" if seen else ""
        return (
            f"driver ros2: nothing on {' and '.join(silent)} within {self.connection.wait:g} s on "
            f"{self.bus.where()}: see --interface, --peer, --domain (ROS_DOMAIN_ID){both}"
        )

    def _listen(self) -> None:
        """Take in everything that has arrived."""
        for writer, payload in _waiting(self._joint_reader):
            self._count_reason(self._take_joints, writer, payload)
        for writer, payload in _waiting(self._imu_reader):
            self._count_reason(self._take_imu, writer, payload)

    def _count_reason(
        self, take: Callable[[int, bytes], None], writer: int, payload: bytes
    ) -> None:
        """Take in one message, or count why it was dropped."""
        try:
            take(writer, payload)
        except MalformedCdrError as reason:
            self.malformed[str(reason)] = self.malformed.get(str(reason), 0) + 1

    def _take_joints(self, writer: int, payload: bytes) -> None:
        """Take in a message of /joint_states; one without the robot's joints is passed over."""
        message = ros2_messages.decode_joint_state(payload)
        if not self._parts.concerns(message):
            return
        now = self.clock.now()
        self._order.check((writer, message.names), message.stamp, now)
        self._parts.add(writer, message, now)
        self._rates[writer].note(now)

    def _take_imu(self, writer: int, payload: bytes) -> None:
        """Take in a message of /imu."""
        message = ros2_messages.decode_imu(payload)
        now = self.clock.now()
        owner, heard = self._imu_from
        if owner != writer and now - heard < OWNED:
            raise MalformedCdrError("second publisher")
        self._order.check((writer, "imu"), message.stamp, now)
        if self._settled and not set(_measured(message)) >= self.signals & _vectors(message).keys():
            raise MalformedCdrError("signals")
        self._imu_from = (writer, now)
        self._imu = message

    def _judge_clocks(self) -> None:
        """Damp where a clock was set back while a command is out; else take the new time."""
        step = self._order.set_back()
        if step is None:
            return
        what = f"the clock of the robot's messages was set back by {step.seconds:.1f} s"
        if self._commanding:
            self.damp()
            raise DriverFault(f"{what}: set it while nothing moves")
        if self.clock.now() - step.since >= NEW_TIME:
            self._order.accept()
            self.connection.say(f"driver ros2: {what}; the new time is taken")

    def _in_order(self, joints: np.ndarray, imu: Imu) -> RobotState:
        """Return the offered signals in the contract's order of joints."""
        rows = (self.map.from_robot(row) for row in ros2_messages.float32(joints))
        signals = {
            name: row for name, row in zip(JOINT_SIGNALS, rows, strict=True) if name in self.signals
        }
        signals |= {
            name: ros2_messages.float32(values)
            for name, values in _vectors(imu).items()
            if name in self.signals and values is not None
        }
        return RobotState(**signals)


def _vectors(message: Imu) -> dict[str, np.ndarray | None]:
    """Return every signal that an IMU's message can carry; None where it does not."""
    return {
        "base_quat": message.quaternion,
        "base_ang_vel": message.angular_velocity,
        "base_lin_acc": message.linear_acceleration,
    }


def _measured(message: Imu) -> tuple[str, ...]:
    """Return the signals that an IMU's message carries."""
    return tuple(name for name, values in _vectors(message).items() if values is not None)


def _waiting(reader: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the messages that wait, oldest first, each with what tells its writer from others."""
    while samples := reader.take():
        for sample in samples:
            yield sample.sample_info.publication_handle, sample.payload
