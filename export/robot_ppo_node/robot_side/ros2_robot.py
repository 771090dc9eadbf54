"""The robot's side of driver `ros2`, for a simulated robot."""

import numpy as np

from robot_ppo_export.contract.state import BASIC, RobotState
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.ros2 import ros2_idl as idl
from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_topics import (
    DESCRIPTION,
    IMU,
    JOINT_COMMANDS,
    JOINT_STATES,
    dds_name,
)
from robot_ppo_node.robot_side.base import SILENT_AFTER
from robot_ppo_node.robot_side.ros2_mapping import Place, Ros2Mapping


class Ros2Robot:
    """A robot that speaks ROS 2 on a DDS domain."""

    def __init__(
        self,
        joints: tuple[str, ...],
        domain: int = 0,
        interface: str = "lo",
        signals: frozenset[str] = frozenset(BASIC),
        description: str = "",
        place: Place | None = None,
    ) -> None:
        """Join the domain.

        Args:
            joints: order of the vectors that come in and go out.
            domain: DDS domain.
            interface: network interface.
            signals: what it measures.
            description: its URDF, published once for whoever comes.
            place: of which a map is published; None: none is.
        """
        self.joints = joints
        self.signals = signals
        self.counters = Counters()
        self._commanded = -np.inf
        self.bus = participant.Bus(domain, interface)
        self._joint_writer = self.bus.writer(dds_name(JOINT_STATES), idl.JointState)
        self._imu_writer = self.bus.writer(dds_name(IMU), idl.Imu)
        self._commands = self.bus.reader(dds_name(JOINT_COMMANDS), idl.Float64MultiArray)
        if description:
            writer = self.bus.writer(dds_name(DESCRIPTION), idl.String, latched=True)
            writer.write(messages.encode_string(description))
        self._mapping = Ros2Mapping(self.bus, place) if place else None

    def receive(self, now: float) -> MotorCommand | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        payload = self._commands.newest()
        if payload is None:
            return None
        self.counters.received += 1
        try:
            command = messages.decode_command(payload)
            if set(command.names) != set(self.joints):
                raise MalformedCdrError("joints")
        except MalformedCdrError as reason:
            self.counters.reject(str(reason))
            return None
        self._commanded = now
        self.counters.accepted += 1
        order = [command.names.index(name) for name in self.joints]
        return MotorCommand(*command.values[:, order])

    def silent(self, now: float) -> bool:
        """Return whether no command came for `SILENT_AFTER`."""
        return now - self._commanded > SILENT_AFTER

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement; vectors in the order of `joints`."""
        seconds = int(now)
        stamp = messages.Stamp(seconds, int((now - seconds) * 1e9))
        none = np.zeros(0)
        values = {
            name: np.asarray(state[name], np.float64) if name in self.signals else None
            for name in BASIC
        }
        vectors = [values[name] for name in ("joint_pos", "joint_vel", "joint_torque")]
        present = [none if v is None else v for v in vectors]
        joint_state = messages.JointState(stamp, self.joints, *present)
        self._joint_writer.write(messages.encode_joint_state(joint_state))
        parts = [values[name] for name in ("base_quat", "base_ang_vel", "base_lin_acc")]
        self._imu_writer.write(messages.encode_imu(messages.Imu(stamp, *parts)))
        if self._mapping:
            self._mapping.send(now, stamp)

    def close(self) -> None:
        """Leave the domain; may be called twice."""
        self.bus.close()
