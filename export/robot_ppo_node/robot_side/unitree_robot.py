"""The robot's side of Unitree's low-level interface: what a simulated robot answers with.

It is a `RobotSide` (base.py). A command whose checksum, head or numbers are wrong is dropped and
counted by reason. So is one with a feed-forward torque (`tau`, or `dq` with a gain): the simulated
motors hold positions only, and a controller that relies on it must not be told that it was obeyed.
While a vendor controller runs (`motion`), no command is taken, as on a robot that walks by itself.
"""

import json
import math
import time

import numpy as np

from robot_ppo_export.contract.state import RobotState
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.unitree import unitree_idl as idl
from robot_ppo_node.drivers.unitree import unitree_motion
from robot_ppo_node.drivers.unitree.unitree_bodies import Body
from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS, HEAD, LOW_LEVEL
from robot_ppo_node.drivers.unitree.unitree_messages import MalformedMessageError, Message
from robot_ppo_node.drivers.unitree.unitree_remote import Remote, encode
from robot_ppo_node.drivers.unitree.unitree_states import STATES
from robot_ppo_node.host.closing import Closing
from robot_ppo_node.robot_side.base import SILENT_AFTER

BEGINNING = bytes((*HEAD, LOW_LEVEL))
"""Of a `LowCmd_` of unitree_go: its fields `head` and `level_flag`."""
MODE_MACHINE = 5
"""Of a G1 with 29 joints, as the vendor's simulator says."""
NOT_IMPLEMENTED = 3203
LOOK_EVERY = 0.2
"""[s] between two looks at how others on the domain describe the messages."""
VOLTAGE = 28.8
"""[V] Eight lithium cells at 3.6 V, about a Go2's; unitree_hg has no field for it."""
TEMPERATURE = 35
"""[degC] Of every motor, after some standing in a room. Nothing heats up in this simulation."""


class CommandDecoder:
    """Reads one `LowCmd_` after the other, in the same memory."""

    def __init__(self, body: Body, joints: tuple[str, ...]) -> None:
        """Read what is for the motors of `joints`, in their order."""
        self._motor_of = body.places(joints)
        self._message = Message(body.family, "LowCmd_")
        self._rows = self._message.commands()
        self._modes = self._message.motors["mode"]
        self._has_head = body.family == "unitree_go"
        self._gains = 3 * len(joints)

    def decode(self, payload: bytes, mode_machine: int) -> MotorCommand:
        """Return the command in CDR bytes, or raise `MalformedMessageError`."""
        message = self._message
        message.load(payload)
        if not message.intact():
            raise MalformedMessageError("checksum")
        if self._has_head:
            if not message.memory.startswith(BEGINNING):
                raise MalformedMessageError("head")
        elif message.fields["mode_machine"] != mode_machine:
            raise MalformedMessageError("mode_machine")
        rows = self._rows[:, self._motor_of].copy()
        numbers = rows.ravel().tolist()
        # Sums of float32 do not overflow a float64: this one is finite if every number is.
        if not math.isfinite(sum(numbers)) or min(numbers[self._gains :]) < 0:
            raise MalformedMessageError("command value")
        if 0 in self._modes[self._motor_of].tolist():
            raise MalformedMessageError("mode")
        q, dq, tau, kp, kd = rows
        if tau.any() or (dq.astype(bool) & kd.astype(bool)).any():
            raise MalformedMessageError("feed-forward")
        return MotorCommand(q, kp, kd)


class _Channel:
    """What a robot writes and reads on its domain, with octets declared in one way."""

    def __init__(self, bus: participant.Bus, family: str, octet: str) -> None:
        self.states = bus.writer(STATES, idl.idl_type(family, "LowState_", octet))
        self.commands = bus.reader(COMMANDS, idl.idl_type(family, "LowCmd_", octet))
        self.services = {
            name: (
                bus.reader(f"rt/api/{name}/request", idl.request_type(octet), 10, reliable=True),
                bus.writer(f"rt/api/{name}/response", idl.response_type(octet), 10),
            )
            for name in (unitree_motion.SWITCHER, unitree_motion.SPORT)
        }
        self.answer = idl.response_type(octet)


class UnitreeRobot(Closing):
    """A robot of Unitree's on a DDS domain."""

    def __init__(
        self,
        body: Body,
        joints: tuple[str, ...],
        domain: int = 0,
        interface: str = "lo",
        motion: str = "",
    ) -> None:
        """Join the domain.

        Args:
            body: which motor moves which joint.
            joints: order of the vectors that come in and go out.
            domain: DDS domain.
            interface: network interface.
            motion: name of the vendor controller that runs, "" for none.
        """
        self.body = body
        self.motion = motion
        self.remote: Remote | None = None
        """What the remote control says."""
        self.counters = Counters()
        self.mode_machine = MODE_MACHINE
        self._motor_of = body.places(joints)
        self._decoder = CommandDecoder(body, joints)
        self._state = Message(body.family, "LowState_")
        self._state.motors["temperature"][self._motor_of] = TEMPERATURE
        if body.family == "unitree_go":
            self._state.fields["power_v"] = VOLTAGE
        self._commanded = -np.inf
        self.bus = participant.Bus(domain, interface)
        self._channels = {"byte": _Channel(self.bus, body.family, "byte")}
        """By how octets are declared; a way is added once somebody on the domain uses it."""
        self._others = {
            STATES: ("LowState_", self.bus.descriptions(STATES)),
            COMMANDS: ("LowCmd_", self.bus.descriptions(COMMANDS)),
        }
        self._look_at = -np.inf
        self.calls: list[int] = []
        """What the services were asked, oldest first."""

    def receive(self, now: float) -> MotorCommand | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        payloads = [channel.commands.newest() for channel in self._channels.values()]
        payload = next((p for p in payloads if p is not None), None)
        if payload is None:
            return None
        self.counters.received += 1
        try:
            command = self._decoder.decode(payload, self.mode_machine)
        except MalformedMessageError as reason:
            self.counters.reject(str(reason))
            return None
        if self.motion:
            self.counters.foreign += 1
            return None
        self._commanded = now
        self.counters.accepted += 1
        return command

    def wait(self, seconds: float) -> bool:
        """Block until a command has arrived, or for so long; return whether one has."""
        return self._channels["byte"].commands.wait(seconds)

    def silent(self, now: float) -> bool:
        """Return whether no command came for `SILENT_AFTER`."""
        return now - self._commanded > SILENT_AFTER

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement, vectors in the order of `joints`, and answer who called.

        The services wait for it, so that they never keep a command waiting.
        """
        fields = self._state.fields
        motors = self._state.motors
        imu = self._state.fields["imu_state"]
        motors["q"][self._motor_of] = state.joint_pos
        motors["dq"][self._motor_of] = state.joint_vel
        motors["tau_est"][self._motor_of] = state.joint_torque
        imu["quaternion"] = state.base_quat
        imu["gyroscope"] = state.base_ang_vel
        imu["accelerometer"] = state.base_lin_acc
        fields["tick"] = int(now * 1000) & 0xFFFFFFFF
        fields["wireless_remote"] = np.frombuffer(
            encode(self.remote) if self.remote else bytes(40), np.uint8
        )
        if self.body.family == "unitree_hg":
            fields["mode_machine"] = self.mode_machine
        payload = self._state.encode()
        for channel in self._channels.values():
            channel.states.write(payload)
        self._answer()
        self._adapt(time.monotonic())

    def close(self) -> None:
        """Leave the domain; may be called twice."""
        self.bus.close()

    def _adapt(self, now: float) -> None:
        """Speak with octets declared in another way, too, once somebody does; `now` is [s]."""
        if now < self._look_at or len(self._channels) == len(idl.OCTETS):
            return
        self._look_at = now + LOOK_EVERY
        for octet in set(idl.OCTETS) - set(self._channels):
            if any(
                others.include(idl.idl_type(self.body.family, name, octet))
                for name, others in self._others.values()
            ):
                self._channels[octet] = _Channel(self.bus, self.body.family, octet)

    def _answer(self) -> None:
        """Answer what the services were asked."""
        for channel in self._channels.values():
            for name, (requests, answers) in channel.services.items():
                for request in requests.take():
                    identity = request.header.identity
                    self.calls.append(identity.api_id)
                    code, data = self._serve(name, identity.api_id)
                    header = idl.ResponseHeader(identity, idl.ResponseStatus(code))
                    answers.send(channel.answer(header, data, []))

    def _serve(self, service: str, api: int) -> tuple[int, str]:
        """Return code and data of an answer."""
        if service == unitree_motion.SPORT:
            return (0, "") if api == unitree_motion.STAND_DOWN else (NOT_IMPLEMENTED, "")
        if api == unitree_motion.CHECK_MODE:
            return 0, json.dumps({"form": "0", "name": self.motion})
        if api == unitree_motion.RELEASE_MODE:
            self.motion = ""
            return 0, ""
        return NOT_IMPLEMENTED, ""
