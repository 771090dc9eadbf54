"""Driver `ros2`: a robot that speaks ROS 2, over plain DDS, with no ROS installed.

    /joint_states    sensor_msgs/JointState        from the robot
    /imu             sensor_msgs/Imu               from the robot
    /joint_commands  std_msgs/Float64MultiArray    to the robot: target, kp and kd of every joint

Standard messages have no field for gains, and without gains there is no damping: so the command
is one array of three rows, whose labels name the rows and the joints (docs/drivers.md). Ranges and
limits of the joints come from the URDF on /robot_description, where there is one. Tried against
the encodings of cyclonedds and the simulated robot, not against an installed ROS 2.

A sample is new when both topics have said something new, so that either one falling silent makes
the state stale. A message whose stamp is not later than the one before is dropped and counted.
"""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import Connection, JointMap, MotorCommand, Sample
from robot_ppo_node.drivers.capabilities import NOTHING, Offer
from robot_ppo_node.drivers.dds import dds_damping, participant
from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
from robot_ppo_node.drivers.repeater import Repeater
from robot_ppo_node.drivers.ros2 import ros2_messages, ros2_urdf
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import CommandEncoder, Imu, JointState, Stamp
from robot_ppo_node.drivers.sends import Sends, Unsent
from robot_ppo_node.safety.watchdog import Handover

JOINT_STATES, IMU, JOINT_COMMANDS = "rt/joint_states", "rt/imu", "rt/joint_commands"
DESCRIPTION = "rt/robot_description"
DESCRIBED_WITHIN = 0.5
"""[s] that a robot's URDF is waited for: it was published before we came, if at all."""
STALE_PERIODS = 3
"""Control periods after which an unrefreshed command is not repeated."""
REPEAT_EVERY = 0.01
"""[s] between two sends of a command."""
LOOK_EVERY = 0.002
T = TypeVar("T", JointState, Imu)


class Ros2Driver:
    """One robot that speaks ROS 2."""

    def __init__(self, clock: Clock, connection: Connection) -> None:
        """Talk on `connection`'s interface and domain (`ROS_DOMAIN_ID`)."""
        require_cyclonedds("ros2")
        self.name = "ros2"
        self.clock, self.connection = clock, connection
        self.joint_names: tuple[str, ...] = ()
        self.signals: frozenset[str] = frozenset()
        self.feet: tuple[str, ...] = ()
        self.offer = NOTHING
        self.malformed: dict[str, int] = {}
        """Messages that were dropped: reason -> number."""
        self.bus: participant.Bus | None = None
        self.repeater: Repeater | None = None
        self._sends = Sends()
        self._joints: JointState | None = None
        self._imu: Imu | None = None
        self._stamps: dict[str, Stamp] = {}
        self._sequence = 0
        self._settled = False  # whether joints and signals are those of `open`

    def open(self, joints: tuple[str, ...], feet: tuple[str, ...] = ()) -> None:
        """Wait for both topics and map by name; `RefusedError` where that fails."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        c = self.connection
        self.bus = participant.Bus(c.domain, c.interface, c.peers)
        try:
            self._joint_reader = self.bus.reader(JOINT_STATES, idl.JointState)
            self._imu_reader = self.bus.reader(IMU, idl.Imu)
            descriptions = self.bus.reader(DESCRIPTION, idl.String, reliable=True, latched=True)
            state, imu = self._first()
            self.joint_names = state.names
            self.signals = frozenset(_offered(state, imu))
            self.map = JointMap(joints, self.joint_names, self.name)
            self.offer = self._described(descriptions)
            self._settled = True
            if c.watch_only:
                return
            writer = self.bus.writer(JOINT_COMMANDS, idl.Float64MultiArray)
        except BaseException:
            self.close()
            raise
        self._encoder = CommandEncoder(self.joint_names)
        damping = self._damping(np.full(len(joints), c.damping, np.float32))
        stale = STALE_PERIODS * c.control_period
        self._sends = writer.sends
        self.repeater = Repeater(writer.write, damping, stale, period=REPEAT_EVERY)

    def read(self) -> Sample | None:
        """Return the newest state, once both topics have said something new, or None."""
        self._listen()
        if self._joints is None or self._imu is None:
            return None
        state, imu = self._joints, self._imu
        self._joints = self._imu = None
        self._sequence += 1
        return Sample(self._in_order(state, imu), self._sequence, self.clock.now())

    def write(self, command: MotorCommand) -> None:
        """Send one command, and let it be repeated."""
        assert self.repeater is not None, "open() comes first"
        to_robot = self.map.to_robot
        rows = (to_robot(v) for v in (command.target, command.kp, command.kd))
        self.repeater.put(self._encoder.encode(*rows))

    def damp(self) -> None:
        """Send damping, and repeat it until the next command."""
        assert self.repeater is not None, "open() comes first"
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
        self.repeater = self.bus = None
        self._settled = False

    def _damping(self, kd: np.ndarray) -> bytes:
        """Return damping with `kd` (joints,) [N m s/rad] in the contract's order."""
        zero = np.zeros_like(kd)
        return self._encoder.encode(zero, zero, self.map.to_robot(kd))

    def _first(self) -> tuple[JointState, Imu]:
        """Wait until both topics have spoken."""
        c = self.connection
        ends = self.clock.now() + c.wait
        while True:
            now = self.clock.now()
            self._listen()
            if self._joints is not None and self._imu is not None:
                return self._joints, self._imu
            if now >= ends:
                heard = {"/joint_states": self._joints, "/imu": self._imu}
                silent = " and ".join(name for name, message in heard.items() if message is None)
                raise RefusedError(
                    f"driver ros2: nothing on {silent} within {c.wait:g} s on interface "
                    f"{c.interface}, DDS domain {c.domain}: see --interface, and --domain for "
                    "ROS_DOMAIN_ID"
                )
            self.clock.sleep_until(now + LOOK_EVERY)

    def _described(self, reader: participant.Reader) -> Offer:
        """Return what the robot's URDF states, where it publishes one."""
        ends = self.clock.now() + DESCRIBED_WITHIN
        while (payload := reader.newest()) is None:
            now = self.clock.now()
            if now >= ends:
                return NOTHING
            self.clock.sleep_until(now + LOOK_EVERY)
        try:
            text = ros2_messages.decode_string(payload, ros2_urdf.LONGEST)
        except MalformedCdrError:
            return NOTHING
        return ros2_urdf.offer_of(text, self.joint_names)

    def _listen(self) -> None:
        """Take in the newest message of each topic."""
        payload = self._joint_reader.newest()
        if payload is not None:
            self._joints = self._accepted(payload, ros2_messages.decode_joint_state, self._joints)
        payload = self._imu_reader.newest()
        if payload is not None:
            self._imu = self._accepted(payload, ros2_messages.decode_imu, self._imu)

    def _accepted(self, payload: bytes, decode: Callable[[bytes], T], before: T | None) -> T | None:
        """Return the message in a payload, or the one before, counting why."""
        try:
            message = decode(payload)
            self._check(message)
        except MalformedCdrError as reason:
            self.malformed[str(reason)] = self.malformed.get(str(reason), 0) + 1
            return before
        self._stamps[type(message).__name__] = message.stamp
        return message

    def _check(self, message: JointState | Imu) -> None:
        """Raise `MalformedCdrError` for a message that is late or of another robot."""
        last = self._stamps.get(type(message).__name__)
        if any(message.stamp) and last is not None and message.stamp <= last:
            raise MalformedCdrError("duplicated" if message.stamp == last else "reordered")
        if not self._settled:
            return
        if isinstance(message, JointState) and set(message.names) != set(self.joint_names):
            raise MalformedCdrError("joints")
        if not set(_measured(message)) >= self.signals & _vectors(message).keys():
            raise MalformedCdrError("signals")

    def _in_order(self, state: JointState, imu: Imu) -> RobotState:
        """Return the offered signals in the contract's order of joints."""
        index = [state.names.index(name) for name in self.joint_names]

        def joints(values: np.ndarray) -> np.ndarray:
            return self.map.from_robot(ros2_messages.float32(values[index]))

        signals = {
            name: joints(values)
            for name, values in _vectors(state).items()
            if name in self.signals and values is not None
        }
        signals |= {
            name: ros2_messages.float32(values)
            for name, values in _vectors(imu).items()
            if name in self.signals and values is not None
        }
        return RobotState(**signals)


def _vectors(message: JointState | Imu) -> dict[str, np.ndarray | None]:
    """Return every signal that a message can carry; None where it does not."""
    if isinstance(message, JointState):
        return {
            "joint_pos": message.position if len(message.position) else None,
            "joint_vel": message.velocity if len(message.velocity) else None,
            "joint_torque": message.effort if len(message.effort) else None,
        }
    return {
        "base_quat": message.quaternion,
        "base_ang_vel": message.angular_velocity,
        "base_lin_acc": message.linear_acceleration,
    }


def _measured(message: JointState | Imu) -> tuple[str, ...]:
    """Return the signals that a message carries."""
    return tuple(name for name, values in _vectors(message).items() if values is not None)


def _offered(state: JointState, imu: Imu) -> tuple[str, ...]:
    """Return the signals that two messages carry together."""
    return (*_measured(state), *_measured(imu))
