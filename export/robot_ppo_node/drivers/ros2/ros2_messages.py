"""The ROS 2 messages that the driver speaks, as plain bytes. Nothing here needs DDS or ROS.

Fields and their order are those of the public .msg files of std_msgs, sensor_msgs and
geometry_msgs. ROS quaternions are x, y, z, w; ours, as everywhere in this project, w, x, y, z.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_ppo_node.drivers.ros2.ros2_cdr import CdrReader, CdrWriter, MalformedCdrError

NO_ESTIMATE = -1.0
"""First number of a covariance whose quantity the sensor does not measure."""


class Stamp(NamedTuple):
    """Time of a header; later stamps compare as larger."""

    seconds: int
    nanoseconds: int


@dataclass(slots=True)
class JointState:
    """sensor_msgs/JointState; a vector that is not measured is empty."""

    stamp: Stamp
    names: tuple[str, ...]
    position: np.ndarray
    """(joints,) [rad]"""
    velocity: np.ndarray
    """(joints,) [rad/s]"""
    effort: np.ndarray
    """(joints,) [N m]"""


@dataclass(slots=True)
class Imu:
    """sensor_msgs/Imu; None is not measured."""

    stamp: Stamp
    quaternion: np.ndarray | None
    """(4,) wxyz, body to world"""
    angular_velocity: np.ndarray | None
    """(3,) [rad/s] body frame"""
    linear_acceleration: np.ndarray | None
    """(3,) [m/s^2] body frame"""


@dataclass(slots=True)
class JointCommand:
    """Message on `/joint_commands`: std_msgs/Float64MultiArray with labels."""

    names: tuple[str, ...]
    values: np.ndarray
    """(3, joints) float32: target [rad], kp [N m/rad], kd [N m s/rad]"""


ROWS = "target,kp,kd"
"""Label of the first dimension of a command; the second names the joints, with commas between."""


def encode_joint_state(message: JointState) -> bytes:
    """Return sensor_msgs/JointState."""
    cdr = headed(message.stamp).strings(message.names)
    for values in (message.position, message.velocity, message.effort):
        cdr.doubles(values)
    return cdr.payload()


def decode_joint_state(payload: bytes) -> JointState:
    """Return sensor_msgs/JointState, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    stamp, _ = decode_header(cdr)
    names = cdr.strings()
    vectors = [cdr.doubles(cdr.count(8)) for _ in range(3)]
    cdr.end()
    _require_fitting(names, vectors)
    return JointState(stamp, names, *vectors)


def _require_fitting(names: tuple[str, ...], vectors: list[np.ndarray]) -> None:
    """Raise `MalformedCdrError` unless each joint is named once and has one value, or none."""
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise MalformedCdrError("joints", f"joint {twice} is named twice")
    for what, values in zip(("position", "velocity", "effort"), vectors, strict=True):
        if len(values) not in (0, len(names)):
            raise MalformedCdrError(
                "joints", f"{what} has {len(values)} numbers for {len(names)} joints"
            )


def encode_imu(message: Imu) -> bytes:
    """Return sensor_msgs/Imu."""
    quaternion = message.quaternion
    xyzw = None if quaternion is None else np.roll(quaternion, -1)
    cdr = headed(message.stamp)
    for values, size in (
        (xyzw, 4),
        (message.angular_velocity, 3),
        (message.linear_acceleration, 3),
    ):
        covariance = np.zeros(9)
        if values is None:
            covariance[0] = NO_ESTIMATE
        cdr.doubles(np.zeros(size) if values is None else values, counted=False)
        cdr.doubles(covariance, counted=False)
    return cdr.payload()


def decode_imu(payload: bytes) -> Imu:
    """Return sensor_msgs/Imu, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    stamp, _ = decode_header(cdr)
    parts: list[np.ndarray | None] = []
    for size in (4, 3, 3):
        values = cdr.doubles(size)
        covariance = cdr.doubles(9)
        parts.append(None if covariance[0] == NO_ESTIMATE else values)
    cdr.end()
    xyzw = parts[0]
    return Imu(stamp, None if xyzw is None else np.roll(xyzw, 1), parts[1], parts[2])


def decode_twist(payload: bytes, stamped: bool) -> np.ndarray:
    """Return the command (3,) of a Twist or TwistStamped, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    if stamped:
        decode_header(cdr)
    values = float32(cdr.doubles(6))
    cdr.end()
    return values[[0, 1, 5]]


class CommandEncoder:
    """Writes std_msgs/Float64MultiArray for the same joints again and again."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """Write down once what never changes."""
        n = len(names)
        cdr = CdrWriter().put("I", 2).string(ROWS).put("II", 3, 3 * n)
        cdr.string(",".join(names)).put("III", n, n, 0)  # ..., data_offset
        cdr.doubles(np.zeros(3 * n))
        self._size = 3 * n
        self._head = cdr.payload()[: -8 * 3 * n]

    def encode(self, *rows: np.ndarray) -> bytes:
        """Return the message; target, kp and kd are (joints,) each."""
        values = np.concatenate(rows).astype("<f8")
        assert len(values) == self._size
        return self._head + values.tobytes()


def decode_command(payload: bytes) -> JointCommand:
    """Return a command, or raise `MalformedCdrError`: finite, no gain below 0."""
    cdr = CdrReader(payload)
    dimensions = []
    for _ in range(cdr.count(13)):
        label = cdr.string()
        size, _ = cdr.take("II")
        dimensions.append((label, size))
    (offset,) = cdr.take("I")
    values = cdr.doubles(cdr.count(8))
    cdr.end()
    if len(dimensions) != 2 or dimensions[0] != (ROWS, 3) or offset:
        raise MalformedCdrError("layout")
    names = tuple(dimensions[1][0].split(","))
    if len(set(names)) != len(names) or dimensions[1][1] != len(names):
        raise MalformedCdrError("layout")
    if len(values) != 3 * len(names):
        raise MalformedCdrError("layout")
    table = float32(values).reshape(3, len(names))
    if not np.isfinite(table).all() or (table[1:] < 0).any():
        raise MalformedCdrError("command value")
    return JointCommand(names, table)


def encode_string(text: str) -> bytes:
    """Return a std_msgs/String."""
    return CdrWriter().string(text).payload()


def decode_string(payload: bytes, longest: int) -> str:
    """Return the text of a std_msgs/String, or raise `MalformedCdrError`."""
    cdr = CdrReader(payload)
    text = cdr.string(longest)
    cdr.end()
    return text


def float32(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers; one that is too large becomes infinite, for a guard to name."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def decode_header(cdr: CdrReader) -> tuple[Stamp, str]:
    """Return stamp and frame of a std_msgs/Header."""
    seconds, nanoseconds = cdr.take("iI")
    return Stamp(seconds, nanoseconds), cdr.string()


def headed(stamp: Stamp, frame: str = "base_link") -> CdrWriter:
    """Return a message that has begun with a std_msgs/Header."""
    return CdrWriter().put("iI", *stamp).string(frame)
