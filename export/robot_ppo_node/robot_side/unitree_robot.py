"""The robot's side of Unitree's low-level interface: what a simulated robot answers with.

It is a `RobotSide` (base.py). A command whose checksum, head or numbers are wrong is dropped and
counted by reason. So is one with a feed-forward torque (`tau`, or `dq` with a gain): the simulated
motors hold positions only, and a controller that relies on it must not be told that it was obeyed.
While a vendor controller runs (`motion`), no command is taken, as on a robot that walks by itself.
"""

import json
import math
from types import TracebackType

import numpy as np

from robot_ppo_export.contract.state import RobotState
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.unitree import unitree_idl as idl
from robot_ppo_node.drivers.unitree import unitree_motion
from robot_ppo_node.drivers.unitree.unitree_bodies import Body
from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS, HEAD, LOW_LEVEL, STATES
from robot_ppo_node.drivers.unitree.unitree_messages import MalformedMessageError, Message
from robot_ppo_node.drivers.unitree.unitree_remote import Remote, encode
from robot_ppo_node.robot_side.base import SILENT_AFTER

BEGINNING = bytes((*HEAD, LOW_LEVEL))
"""Of a `LowCmd_` of unitree_go: its fields `head` and `level_flag`."""
MODE_MACHINE = 5
"""Of a G1 with 29 joints, as the vendor's simulator says."""
NOT_IMPLEMENTED = 3203
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
        self._rows, self._modes = self._message.commands(), self._message.motors["mode"]
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
        if (tau + kd * dq).any():
            raise MalformedMessageError("feed-forward")
        return MotorCommand(q, kp, kd)


class UnitreeRobot:
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
        self.body, self.motion = body, motion
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
        self._states = self.bus.writer(STATES, idl.idl_type(body.family, "LowState_"))
        self._commands = self.bus.reader(COMMANDS, idl.idl_type(body.family, "LowCmd_"))
        self._services = {
            name: (
                self.bus.reader(f"rt/api/{name}/request", idl.Request, 10, reliable=True),
                self.bus.writer(f"rt/api/{name}/response", idl.Response, 10),
            )
            for name in (unitree_motion.SWITCHER, unitree_motion.SPORT)
        }
        self.calls: list[int] = []
        """What the services were asked, oldest first."""

    def receive(self, now: float) -> MotorCommand | None:
        """Return the newest command since the last call, or None; `now` is any clock [s]."""
        payload = self._commands.newest()
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
        return self._commands.wait(seconds)

    def silent(self, now: float) -> bool:
        """Return whether no command came for `SILENT_AFTER`."""
        return now - self._commanded > SILENT_AFTER

    def send_state(self, now: float, state: RobotState) -> None:
        """Send one measurement, vectors in the order of `joints`, and answer who called.

        The services wait for it, so that they never keep a command waiting.
        """
        fields, motors, imu = (
            self._state.fields,
            self._state.motors,
            self._state.fields["imu_state"],
        )
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
        self._states.write(self._state.encode())
        self._answer()

    def close(self) -> None:
        """Leave the domain; may be called twice."""
        self.bus.close()

    def __enter__(self) -> "UnitreeRobot":
        """Return the robot; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the domain."""
        self.close()

    def _answer(self) -> None:
        """Answer what the services were asked."""
        for name, (requests, answers) in self._services.items():
            for request in requests.take():
                api = request.header.identity.api_id
                self.calls.append(api)
                code, data = self._serve(name, api)
                header = idl.ResponseHeader(request.header.identity, idl.ResponseStatus(code))
                answers.send(idl.Response(header, data, []))

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
