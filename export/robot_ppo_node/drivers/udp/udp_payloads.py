"""The payloads of the UDP protocol's frames, as pure functions.

The frame around them is in udp_frame.py, the layouts are in docs/drivers.md. Vectors are in the
robot's own joint order, which its HELLO names. A payload with a wrong length or number raises
`MalformedError`, whose text is the reason that is counted.
"""

import itertools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from robot_ppo_export.contract.state import BASIC, NO_WIDTHS, SIGNALS, RobotState, width
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities, problem
from robot_ppo_node.drivers.udp.udp_frame import MalformedError

MOST_NUMBERS = 4096
"""In one optional signal."""

_STATE_HEAD = struct.Struct("<dBBH")
_COMMAND_HEAD = struct.Struct("<B3x")


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a robot says of itself."""

    robot: str
    joints: tuple[str, ...]
    """Names, in the order of every joint vector on the wire."""
    signals: tuple[str, ...]
    """Names in `contract.state.BASIC` that it measures."""
    feet: tuple[str, ...] = ()
    """Names, in the order of `foot_force`."""
    capabilities: Capabilities = msgspec.field(default=NOTHING, name="offer")
    """Its figures, those that it states; "offer" on the wire."""
    optional: dict[str, int] = {}
    """Optional signals that it can measure, and how many numbers each has. On the wire, those of
    them that the node asked for: they stand behind the others in every STATE, in this order."""

    def problem(self) -> str | None:
        """Return what is wrong with it, or None."""
        if not 0 < len(self.joints) < 256 or len(self.feet) > 255:
            return f"{len(self.joints)} joints and {len(self.feet)} feet are not 1 to 255, 0 to 255"
        unknown = sorted(set(self.signals) - {*BASIC})
        if unknown:
            return f"{unknown[0]!r} is not a signal; there are {', '.join(BASIC)}"
        for name, size in self.optional.items():
            if name not in SIGNALS or not SIGNALS[name].optional:
                return f"{name!r} is not an optional signal"
            if not 0 < size <= MOST_NUMBERS:
                return f"{name} has {size} numbers, and not 1 to {MOST_NUMBERS}"
        wrong = problem(self.capabilities, len(self.joints))
        return f"capabilities: {wrong}" if wrong else None


@dataclass(slots=True)
class StateMessage:
    """Payload of STATE."""

    time: float
    """The robot's own clock [s]."""
    state: RobotState


def encode_hello(hello: Hello) -> bytes:
    """Return the payload of HELLO: JSON."""
    return msgspec.json.encode(hello)


def decode_hello(payload: bytes) -> Hello:
    """Return the HELLO in a payload, or raise `MalformedError`."""
    try:
        hello = msgspec.json.decode(payload, type=Hello)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError("hello", str(error)) from None
    wrong = hello.problem()
    if wrong:
        raise MalformedError("hello", wrong)
    return hello


def encode_request(optional: Iterable[str]) -> bytes:
    """Return the payload of HELLO_REQUEST: JSON names of optional signals, or nothing for none."""
    names = tuple(optional)
    return msgspec.json.encode(names) if names else b""


def decode_request(payload: bytes) -> tuple[str, ...]:
    """Return the optional signals that a HELLO_REQUEST asks for, or raise `MalformedError`."""
    if not payload:
        return ()
    try:
        return msgspec.json.decode(payload, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError("hello request", str(error)) from None


def encode_state(time: float, state: RobotState, optional: Iterable[str] = ()) -> bytes:
    """Return the payload of STATE: the basic signals and the `optional` ones behind them."""
    vectors = [np.asarray(state[name], "<f4") for name in (*BASIC, *optional)]
    head = _STATE_HEAD.pack(time, len(state.joint_pos), len(state.foot_force), 0)
    return head + np.concatenate(vectors).tobytes()


class StateFormat:
    """The layout of one robot's STATEs, which is the same in every tick."""

    def __init__(self, joints: int, feet: int, optional: Mapping[str, int] = NO_WIDTHS) -> None:
        """Lay out the basic signals of a robot of that size, and behind them the `optional` ones.

        `optional` are their widths.
        """
        widths = {name: width(name, joints, feet) for name in BASIC} | {**optional}
        ends = list(itertools.accumulate(widths.values()))
        places = map(slice, (0, *ends), ends)
        self._places = tuple(zip(widths, places, strict=True))
        self._size = _STATE_HEAD.size + 4 * ends[-1]
        self._counts = (joints, feet)

    def decode(self, payload: bytes) -> StateMessage:
        """Return the STATE in a payload, or raise `MalformedError`.

        Numbers that are not finite pass: a broken sensor is for the safety envelope to name.
        """
        if len(payload) != self._size:
            raise MalformedError("state size")
        time, joints, feet, _ = _STATE_HEAD.unpack_from(payload)
        if (joints, feet) != self._counts:
            raise MalformedError("state size")
        flat = np.frombuffer(payload, "<f4", offset=_STATE_HEAD.size).astype(np.float32, copy=False)
        return StateMessage(time, RobotState(**{name: flat[at] for name, at in self._places}))


def encode_command(target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> bytes:
    """Return the payload of COMMAND; (joints,) each."""
    vectors = np.concatenate([target, kp, kd]).astype("<f4", copy=False)
    return _COMMAND_HEAD.pack(len(target)) + vectors.tobytes()


def decode_command(payload: bytes, joints: int) -> MotorCommand:
    """Return the COMMAND in a payload for that many joints, or raise `MalformedError`.

    Its numbers are finite, its gains not below 0.
    """
    if len(payload) != _COMMAND_HEAD.size + 12 * joints or payload[0] != joints:
        raise MalformedError("command size")
    flat = np.frombuffer(payload, "<f4", offset=_COMMAND_HEAD.size)
    if not np.isfinite(flat).all() or (flat[joints:] < 0).any():
        raise MalformedError("command value")
    return MotorCommand(*flat.astype(np.float32, copy=False).reshape(3, joints))
