"""Driver `unitree`: the low-level interface of Go2, B2, H1 and G1, over DDS, without vendor SDK.

Not tried on hardware: proven against the simulated robot, the published checksums and the
encodings of cyclonedds. What the vendor does not publish, this driver does not use: `foot_force`
has no documented unit and is not offered, and the checksum of incoming states is not looked at,
because the vendor's own simulator leaves it zero.

Before the first command: a state must have arrived, the vendor's controller must have let go
(unitree_motion.py), and nobody else may write to the motors' topic (exclusive_access.py). The last
is watched during the run as well. `mode_machine` (unitree_hg) is what the robot says it is. L2 and
B on the remote control damp. Commands are repeated at 500 Hz, but not for longer than three control
periods.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import per_joint
from robot_ppo_export.contract.state import NO_WIDTHS, RobotState
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import Connection, DriverFault, Health, MotorCommand, Sample
from robot_ppo_node.drivers.dds import dds_damping, participant
from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
from robot_ppo_node.drivers.dds.exclusive_access import ExclusiveAccess
from robot_ppo_node.drivers.dds.reached import require_reader
from robot_ppo_node.drivers.handover import Handover
from robot_ppo_node.drivers.joint_map import JointMap
from robot_ppo_node.drivers.repeater import Repeater
from robot_ppo_node.drivers.sends import Sends, Unsent
from robot_ppo_node.drivers.unitree import unitree_remote
from robot_ppo_node.drivers.unitree.unitree_bodies import Body, body_of
from robot_ppo_node.drivers.unitree.unitree_messages import (
    MalformedMessageError,
    Message,
    decode,
)
from robot_ppo_node.drivers.unitree.unitree_remote import Remote
from robot_ppo_node.drivers.unitree.unitree_states import STATES, StateReader

SIGNALS: frozenset[str] = frozenset(
    ("joint_pos", "joint_vel", "joint_torque", "base_quat", "base_ang_vel", "base_lin_acc")
)
COMMANDS = "rt/lowcmd"
HEAD = (0xFE, 0xEF)
LOW_LEVEL = 0xFF
STALE_PERIODS = 3
"""Control periods after which an unrefreshed command is not repeated."""
FASTEST_COMMANDS = 1000.0
"""[Hz] The vendor's examples allow 1 to 10 ms between two commands."""
SETTLE = 0.5
"""[s] from joining the domain until everybody on it is known: discovery takes a few round trips."""
LOOK_EVERY = 0.002
LOSING = 5
"""States in a row in which a motor's count of lost packets grew: it does not answer any more."""


class UnitreeDriver:
    """One robot of Unitree's."""

    def __init__(self, clock: Clock, connection: Connection, body: Body | None = None) -> None:
        """Talk to the robot on `connection`'s interface and domain.

        Args:
            clock: stamps the samples.
            connection: its `robot` says the message family and the damping gain.
            body: which motor moves which joint; by default the one that has the robot's joints.
        """
        require_cyclonedds("unitree")
        self.name = "unitree"
        self.clock = clock
        self.connection = connection
        self.body = body or body_of(connection.robot)
        self.joint_names = self.body.joint_names
        self.signals = SIGNALS
        self.feet: tuple[str, ...] = ()
        slowest = 1 / (STALE_PERIODS * connection.control_period)
        rates = (slowest, FASTEST_COMMANDS)
        self.capabilities = msgspec.structs.replace(self.body.capabilities, command_rate=rates)
        self.remote: Remote | None = None
        """Of the newest sample; None: no remote control has been heard."""
        self.remote_heard = -np.inf
        """When it was heard, on `clock` [s]."""
        self.malformed: dict[str, int] = {}
        """States that could not be read: reason -> number."""
        self.bus: participant.Bus | None = None
        self.repeater: Repeater | None = None
        self._octet = "byte"
        """How the robot declares one, a key of unitree_idl.OCTETS."""
        self._states: StateReader | None = None
        self._sends = Sends()
        self._sequence = 0
        self._e_stop: str | None = None
        self._lost = np.zeros(len(self.joint_names), np.int64)
        self._losing = np.zeros(len(self.joint_names), np.int64)

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Find the robot, alone in command of it, and map by name; `RefusedError` otherwise."""
        self.map = JointMap(joints, self.joint_names, f"{self.name} ({self.body.name})")
        self._motors = self.body.places(self.joint_names)
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def read(self) -> Sample | None:
        """Return the newest state that has arrived since the last call, or None.

        `DriverFault` where somebody else commands the motors, or the remote control says stop.
        """
        assert self.bus is not None, "open() comes first"
        if self.repeater and self.repeater.fault:
            raise DriverFault(self.repeater.fault)
        payload = self._states.newest() if self._states else None
        message = self._decoded(payload) if payload is not None else None
        if message is None:
            return None
        self._watch_remote(message)
        self._sequence += 1
        return Sample(
            self._state_of(message), self._sequence, self.clock.now(), self._health_of(message)
        )

    @property
    def state_period(self) -> float | None:
        """Mean time between two of the robot's states when the driver was opened [s]."""
        return self._states.rate.period if self._states else None

    def other_writers(self) -> tuple[str, ...]:
        """Return who else commands the motors, in a sentence, or nothing."""
        fault = self.repeater.fault if self.repeater else None
        return (fault,) if fault else ()

    def poll(self) -> None:
        """Encode the last command once more, for nothing: the next one finds warm caches."""
        if self.repeater:
            self._command.encode()

    def write(self, command: MotorCommand) -> None:
        """Send one command, and let it be repeated; after a fault, damping goes out instead."""
        assert self.repeater is not None, "open() comes first"
        if self._e_stop:
            self.repeater.damp()
            return
        motors = self._motors
        to_robot = self.map.to_robot
        self._q[motors] = to_robot(command.target)
        self._kp[motors] = to_robot(command.kp)
        self._kd[motors] = to_robot(command.kd)
        self.repeater.put(self._command.encode())

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
        damping = self._damping(self.map.to_robot(kd))
        return dds_damping.handover(self.bus, COMMANDS, self.body.family, damping, self._octet)

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

    def _connect(self) -> None:
        """Join the domain, wait for the robot, require exclusive access, and begin to repeat."""
        from robot_ppo_node.drivers.unitree import unitree_motion
        from robot_ppo_node.drivers.unitree.unitree_idl import idl_type

        c = self.connection
        self.bus = participant.Bus(c.domain, c.interface, c.peers)
        joined = self.clock.now()
        self._states = StateReader(self.bus, self.body.family, self.clock, c.say)
        first = self._states.first(c.wait, self._decoded)
        octet = self._octet = self._states.octet
        if c.watch_only:  # the vendor's controller may run; nothing is asked or sent
            return
        kind = idl_type(self.body.family, "LowCmd_", octet)
        access = ExclusiveAccess(
            self.bus, COMMANDS, kind, self.name, STATES, c.allow_silent_writers
        )
        stands_down = self.body.stands_down
        unitree_motion.take_over(self.bus, self.clock, c.motion_mode, stands_down, c.wait, octet)
        self._states.count(joined + SETTLE)
        access.forget()
        self.clock.sleep_until(self.clock.now() + LOOK_EVERY)
        access.wait(self.clock, c.wait, c.say)
        self._begin_with(self._blank_command(first))
        writer = self.bus.writer(COMMANDS, kind)
        require_reader(self.bus, writer, COMMANDS, kind, self.clock, self.name)
        self._sends = writer.sends
        self.repeater = Repeater(
            writer.write,
            self._damping(per_joint(c.damping, self.joint_names)),
            STALE_PERIODS * c.control_period,
            access.trouble,
        )

    def _begin_with(self, command: Message) -> None:
        """Let `write` write into `command`."""
        self._command = command
        self._q, _, _, self._kp, self._kd = command.commands()

    def _blank_command(self, state: Message) -> Message:
        """Return a command that moves nothing."""
        command = Message(self.body.family, "LowCmd_")
        command.motors["mode"] = self.body.modes
        if self.body.family == "unitree_hg":
            command.fields["mode_pr"] = 0  # ankles and waist as pitch and roll
            command.fields["mode_machine"] = state.fields["mode_machine"]
        else:
            command.fields["head"] = HEAD
            command.fields["level_flag"] = LOW_LEVEL
        return command

    def _damping(self, kd: np.ndarray) -> bytes:
        """Return damping with `kd` (joints,) [N m s/rad], in the robot's order."""
        command = Message(self.body.family, "LowCmd_", bytes(self._command.memory))
        command.motors["q"] = 0
        command.motors["kp"] = 0  # what was written last is in there
        command.motors["kd"][self._motors] = kd
        return command.encode()

    def _decoded(self, payload: bytes) -> Message | None:
        try:
            return decode(payload, self.body.family, "LowState_")
        except MalformedMessageError as reason:
            self.malformed[str(reason)] = self.malformed.get(str(reason), 0) + 1
            return None

    def _watch_remote(self, state: Message) -> None:
        """Take in the remote control; raise `DriverFault` once it says stop, and ever after."""
        self.remote = unitree_remote.decode(state.fields["wireless_remote"].tobytes())
        if self.remote:
            self.remote_heard = self.clock.now()
        if self.remote and self.remote.e_stop:
            self._e_stop = f"remote control: {' and '.join(sorted(unitree_remote.E_STOP))} pressed"
        if self._e_stop and self.repeater:
            if self.repeater.active:
                self.repeater.damp()
            raise DriverFault(self._e_stop)

    def _health_of(self, message: Message) -> Health:
        motors = message.motors[self._motors]
        health = Health(len(motors))
        heat = motors["temperature"].reshape(len(motors), -1).max(axis=1)
        health.motor_temperature[:] = self.map.from_robot(heat)
        if self.body.family == "unitree_go":
            lost = motors["lost"].astype(np.int64)
            self._losing = np.where(lost > self._lost, self._losing + 1, 0)
            self._lost = lost
            health.motor_lost[:] = self.map.from_robot(self._losing >= LOSING)
            health.voltage = float(message.fields["power_v"])
        health.unsaid = False
        return health

    def _state_of(self, message: Message) -> RobotState:
        """Return the state in the contract's order; every array is a copy."""
        motors = message.motors[self._motors].copy()
        imu = message.fields["imu_state"]
        from_robot = self.map.from_robot
        return RobotState(
            joint_pos=from_robot(motors["q"]),
            joint_vel=from_robot(motors["dq"]),
            joint_torque=from_robot(motors["tau_est"]),
            base_quat=imu["quaternion"].copy(),
            base_ang_vel=imu["gyroscope"].copy(),
            base_lin_acc=imu["accelerometer"].copy(),
        )
