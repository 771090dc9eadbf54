"""Unitree's low-level messages as plain memory: fields, C layout, CDR bytes, checksum.

Nothing here needs DDS. The table `STRUCTS` is the only place that knows a field; the C layout
(over which the checksum runs), the bytes on the wire and the DDS types (unitree_idl.py) follow
from it. Sources: the vendor's public IDL files (unitree_sdk2_python, unitree_ros2).

    command = Message("unitree_go", "LowCmd_")
    command.fields["level_flag"] = 0xFF
    command.motors["q"][:12] = target
    payload = command.encode()          # CDR with its header, checksum set
    state = decode(payload, "unitree_go", "LowState_")
"""

import functools
from typing import Any

import numpy as np

from robot_ppo_node.drivers.unitree.unitree_crc import crc32

U8 = "u1"
U16 = "<u2"
U32 = "<u4"
I16 = "<i2"
I32 = "<i4"
F32 = "<f4"
HEADER = b"\x00\x01\x00\x00"
"""Of a CDR payload: plain CDR version 1, little-endian."""

Fields = tuple[tuple[Any, ...], ...]

STRUCTS: dict[str, dict[str, Fields]] = {
    "unitree_go": {
        "MotorCmd_": (
            ("mode", U8),
            *((name, F32) for name in ("q", "dq", "tau", "kp", "kd")),
            ("reserve", U32, 3),
        ),
        "BmsCmd_": (("off", U8), ("reserve", U8, 3)),
        "LowCmd_": (
            ("head", U8, 2),
            ("level_flag", U8),
            ("frame_reserve", U8),
            ("sn", U32, 2),
            ("version", U32, 2),
            ("bandwidth", U16),
            ("motor_cmd", "MotorCmd_", 20),
            ("bms_cmd", "BmsCmd_"),
            ("wireless_remote", U8, 40),
            ("led", U8, 12),
            ("fan", U8, 2),
            ("gpio", U8),
            ("reserve", U32),
            ("crc", U32),
        ),
        "IMUState_": (
            ("quaternion", F32, 4),  # w, x, y, z
            ("gyroscope", F32, 3),  # [rad/s] body frame
            ("accelerometer", F32, 3),  # [m/s^2] body frame
            ("rpy", F32, 3),
            ("temperature", U8),
        ),
        "MotorState_": (
            ("mode", U8),
            *((n, F32) for n in ("q", "dq", "ddq", "tau_est", "q_raw", "dq_raw", "ddq_raw")),
            ("temperature", U8),
            ("lost", U32),
            ("reserve", U32, 2),
        ),
        "BmsState_": (
            *((name, U8) for name in ("version_high", "version_low", "status", "soc")),
            ("current", I32),
            ("cycle", U16),
            ("bq_ntc", U8, 2),
            ("mcu_ntc", U8, 2),
            ("cell_vol", U16, 15),
        ),
        "LowState_": (
            ("head", U8, 2),
            ("level_flag", U8),
            ("frame_reserve", U8),
            ("sn", U32, 2),
            ("version", U32, 2),
            ("bandwidth", U16),
            ("imu_state", "IMUState_"),
            ("motor_state", "MotorState_", 20),
            ("bms_state", "BmsState_"),
            ("foot_force", I16, 4),
            ("foot_force_est", I16, 4),
            ("tick", U32),  # [ms]
            ("wireless_remote", U8, 40),
            ("bit_flag", U8),
            ("adc_reel", F32),
            ("temperature_ntc1", U8),
            ("temperature_ntc2", U8),
            ("power_v", F32),
            ("power_a", F32),
            ("fan_frequency", U16, 4),
            ("reserve", U32),
            ("crc", U32),
        ),
    },
    "unitree_hg": {
        "MotorCmd_": (
            ("mode", U8),
            *((name, F32) for name in ("q", "dq", "tau", "kp", "kd")),
            ("reserve", U32),
        ),
        "LowCmd_": (
            ("mode_pr", U8),
            ("mode_machine", U8),
            ("motor_cmd", "MotorCmd_", 35),
            ("reserve", U32, 4),
            ("crc", U32),
        ),
        "IMUState_": (
            ("quaternion", F32, 4),
            ("gyroscope", F32, 3),
            ("accelerometer", F32, 3),
            ("rpy", F32, 3),
            ("temperature", I16),
        ),
        "MotorState_": (
            ("mode", U8),
            *((name, F32) for name in ("q", "dq", "ddq", "tau_est")),
            ("temperature", I16, 2),
            ("vol", F32),
            ("sensor", U32, 2),
            ("motorstate", U32),
            ("reserve", U32, 4),
        ),
        "LowState_": (
            ("version", U32, 2),
            ("mode_pr", U8),
            ("mode_machine", U8),
            ("tick", U32),
            ("imu_state", "IMUState_"),
            ("motor_state", "MotorState_", 35),
            ("wireless_remote", U8, 40),
            ("reserve", U32, 4),
            ("crc", U32),
        ),
    },
}
"""Family -> structure -> fields in wire order: name, type or structure, and length of an array."""


class MalformedMessageError(ValueError):
    """Bytes that are not the message that the topic carries; its text is the reason."""


@functools.cache
def layout(family: str, name: str) -> np.dtype:
    """Return the C layout of a structure, with the compiler's natural padding."""
    fields = []
    for field, kind, *length in STRUCTS[family][name]:
        inner = layout(family, kind) if kind in STRUCTS[family] else np.dtype(kind)
        fields.append((field, inner, *length))
    return np.dtype(fields, align=True)


class Message:
    """One message in memory that is taken once, and written or read again and again.

    Its C structure and its CDR bytes differ in one place: CDR does not align a structure, only its
    numbers. So the one-byte `mode` of the first motor follows the byte before it, while the C
    compiler puts it on the next multiple of four. From the float behind that `mode` on, both are
    the same, byte for byte at the same place, because CDR has four bytes of header before it.
    """

    def __init__(self, family: str, name: str, structure: bytes | None = None) -> None:
        """Be zeros, or the C `structure` that is given."""
        self.layout = layout(family, name)
        self.memory = bytearray(structure or self.layout.itemsize)
        self.fields = np.frombuffer(self.memory, self.layout)[0]
        """Its fields by name; writing to them changes the message."""
        kind = "motor_cmd" if name == "LowCmd_" else "motor_state"
        self.motors = self.fields[kind]
        """(motors,) with fields by name, in the vendor's order."""
        self._before, self._mode, self._same = _seam(self.layout)
        self._padding = bytes(self._same - len(HEADER) - self._before - 1)

    def commands(self) -> np.ndarray:
        """Return q, dq, tau, kp, kd of a `LowCmd_`'s motors, (5, motors) float32, not a copy."""
        motor = self.motors.dtype
        message_fields: Any = self.layout.fields
        motor_fields: Any = motor.fields
        at = message_fields["motor_cmd"][1] + motor_fields["q"][1]
        return np.ndarray((5, *self.motors.shape), F32, self.memory, at, (4, motor.itemsize))

    def encode(self) -> bytes:
        """Set the checksum; return the message as CDR bytes with their header."""
        memory = self.memory
        before = self._before
        mode = self._mode
        memory[-4:] = crc32(memory).to_bytes(4, "little")
        start = HEADER + memory[:before] + memory[mode : mode + 1] + self._padding
        return start + memory[self._same :]

    def load(self, payload: bytes) -> None:
        """Be the message in CDR bytes with their header, or raise `MalformedMessageError`.

        The checksum is not looked at: `intact` does, where the sender is known to set it.
        """
        if payload[:4] != HEADER:
            raise MalformedMessageError("encoding")
        memory = self.memory
        before = self._before
        same = self._same
        if len(payload) != len(memory):
            raise MalformedMessageError("size")
        memory[:before] = payload[4 : 4 + before]
        memory[self._mode] = payload[4 + before]
        memory[same:] = payload[same:]

    def intact(self) -> bool:
        """Return whether the checksum fits the rest."""
        return crc32(self.memory) == int.from_bytes(self.memory[-4:], "little")


def decode(payload: bytes, family: str, name: str) -> Message:
    """Return a new message, made of CDR bytes as `Message.load` does."""
    message = Message(family, name)
    message.load(payload)
    return message


@functools.cache
def _seam(kind: Any) -> tuple[int, int, int]:
    """Return where data end before the motors, the first `mode`, and the first float after it."""
    names = list(kind.names)
    i = next(i for i, name in enumerate(names) if name.startswith("motor_"))
    return _end(kind, names[i - 1]), kind.fields[names[i]][1], kind.fields[names[i]][1] + 4


def _end(kind: Any, name: str) -> int:
    """Return the offset just behind the data of a field, trailing padding not included."""
    inner, offset = kind.fields[name][:2]
    if inner.names is None:
        return offset + inner.itemsize
    return offset + _end(inner, inner.names[-1])
