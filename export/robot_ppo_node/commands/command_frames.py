r"""Commands as datagrams, one per command. Numbers are little-endian.

    offset  bytes
    0       4     b"RPCM"
    4       1     version, 1
    5       1     flags; bit 0: emergency stop; bit 1: the node's answer to one
    6       2     zero
    8       8     u64 stamp: nanoseconds since 1970; every datagram of a sender has a larger one
    16      12    f32 vx [m/s], vy [m/s], yaw rate [rad/s]
    28      32    HMAC-SHA256 of bytes 0 .. 28 with the shared key; absent where there is no key

The stamp is counter and clock in one: the receiver takes only what is newer than all that it took,
and not more than `WINDOW` from its own time of day. So a recorded command is worthless: at once to
a node that has heard the original, and after a second to one that was started since.

A stop counts whatever its stamp says, if it is authentic: clocks that differ and a second sender
must not make it worthless. Who recorded one can stop the robot again; who can send that can jam the
network as well. The node answers a stop with its stamp, so that the sender knows.
"""

import hashlib
import hmac
import math
import secrets
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

MAGIC = b"RPCM"
VERSION = 1
STOP = 1
ANSWER = 2
"""Bits of the flags."""
BODY = struct.Struct("<4sBBHQ3f")
TAG = hashlib.sha256().digest_size
WINDOW = 1.0
"""[s] that the clocks of sender and receiver may differ, the way of the datagram included."""
KEY_BYTES = 32
DEFAULT_PORT = 47101


class Order(NamedTuple):
    """Content of one datagram."""

    stamp: int
    """[ns] since 1970"""
    command: tuple[float, float, float]
    stop: bool


class DroppedError(ValueError):
    """A datagram that does not count; its text is the reason that is counted."""


def encode(order: Order, key: bytes | None) -> bytes:
    """Return the datagram."""
    return _with_tag(
        BODY.pack(MAGIC, VERSION, STOP * order.stop, 0, order.stamp, *order.command), key
    )


def decode(data: bytes, key: bytes | None) -> Order:
    """Return what a datagram says, or raise `DroppedError`; the tag is checked before the rest."""
    flags, stamp, command = _verified(data, key)
    if flags & ~STOP:
        raise DroppedError("not a command")
    if flags & STOP:
        return Order(stamp, (0.0, 0.0, 0.0), True)
    if not all(math.isfinite(value) for value in command):
        raise DroppedError("not a number")
    return Order(stamp, command, False)


def encode_answer(stamp: int, key: bytes | None) -> bytes:
    """Return the node's answer to the stop with this stamp."""
    return _with_tag(BODY.pack(MAGIC, VERSION, ANSWER, 0, stamp, 0.0, 0.0, 0.0), key)


def decode_answer(data: bytes, key: bytes | None) -> int:
    """Return the stamp of the stop that a datagram answers, or raise `DroppedError`."""
    flags, stamp, _ = _verified(data, key)
    if flags != ANSWER:
        raise DroppedError("not an answer")
    return stamp


def new_key(path: Path) -> None:
    """Write a new random key, which only its owner may read; `InputError` if there is a file."""
    if path.exists():
        raise InputError(f"{path}: is there already: give another name, or remove it")
    write_atomically(path, secrets.token_hex(KEY_BYTES).encode() + b"\n", mode=0o600)


def read_key(path: Path) -> bytes:
    """Return the key in a file of hexadecimal digits, or raise `InputError`."""
    try:
        text = path.read_text("ascii").strip()
        mode = path.stat().st_mode
        key = bytes.fromhex(text)
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror})") from None
    except ValueError:
        key = b""
        mode = 0
    if len(key) < KEY_BYTES:
        raise InputError(
            f"{path}: is not {2 * KEY_BYTES} hexadecimal digits or more: make a key with "
            f"`robot-ppo-node command --new-key FILE`"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"{path}: others may read this key: chmod 600 {path}")
    return key


def _with_tag(body: bytes, key: bytes | None) -> bytes:
    return body + (_tag(body, key) if key else b"")


def _verified(data: bytes, key: bytes | None) -> tuple[int, int, tuple[float, float, float]]:
    """Return flags, stamp and command of a datagram, or raise `DroppedError`."""
    if len(data) != BODY.size + (TAG if key else 0):
        raise DroppedError("length")
    body = data[: BODY.size]
    if key and not hmac.compare_digest(_tag(body, key), data[BODY.size :]):
        raise DroppedError("not authentic")
    magic, version, flags, zero, stamp, x, y, turn = BODY.unpack(body)
    if (magic, version, zero) != (MAGIC, VERSION, 0):
        raise DroppedError("not a command")
    return flags, stamp, (x, y, turn)


def _tag(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()
