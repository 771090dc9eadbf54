r"""Commands as datagrams, one per command. Numbers are little-endian.

    offset  bytes
    0       4     b"RPCM"
    4       1     version, 1
    5       1     flags; bit 0: emergency stop
    6       2     zero
    8       8     u64 stamp: nanoseconds since 1970; every datagram of a sender has a larger one
    16      12    f32 vx [m/s], vy [m/s], yaw rate [rad/s]
    28      32    HMAC-SHA256 of bytes 0 .. 28 with the shared key; absent where there is no key

The stamp is counter and clock in one: the receiver takes only what is newer than all that it took,
and not more than `WINDOW` from its own time of day. So a recorded datagram is worthless: at once to
a node that has heard the original, and after a second to one that was started since.
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

MAGIC, VERSION, STOP = b"RPCM", 1, 1
BODY = struct.Struct("<4sBBHQ3f")
TAG = hashlib.sha256().digest_size
WINDOW = 1.0
"""[s] that the clocks of sender and receiver may differ, the way of the datagram included."""
KEY_BYTES = 32
DEFAULT_PORT = 47101


class Order(NamedTuple):
    """What one datagram says."""

    stamp: int
    """[ns] since 1970"""
    command: tuple[float, float, float]
    stop: bool


class DroppedError(ValueError):
    """A datagram that does not count; its text is the reason that is counted."""


def encode(order: Order, key: bytes | None) -> bytes:
    """Return the datagram."""
    body = BODY.pack(MAGIC, VERSION, STOP * order.stop, 0, order.stamp, *order.command)
    return body + (_tag(body, key) if key else b"")


def decode(data: bytes, key: bytes | None) -> Order:
    """Return what a datagram says, or raise `DroppedError`; the tag is checked before the rest."""
    if len(data) != BODY.size + (TAG if key else 0):
        raise DroppedError("length")
    body = data[: BODY.size]
    if key and not hmac.compare_digest(_tag(body, key), data[BODY.size :]):
        raise DroppedError("not authentic")
    magic, version, flags, zero, stamp, *command = BODY.unpack(body)
    if (magic, version, zero) != (MAGIC, VERSION, 0) or flags & ~STOP:
        raise DroppedError("not a command")
    if not all(math.isfinite(value) for value in command):
        raise DroppedError("not a number")
    return Order(stamp, (command[0], command[1], command[2]), bool(flags & STOP))


def new_key(path: Path) -> None:
    """Write a new random key, which only its owner may read; `InputError` if there is a file."""
    if path.exists():
        raise InputError(f"{path}: is there already, and a key is not replaced by accident")
    write_atomically(path, secrets.token_hex(KEY_BYTES).encode() + b"\n", mode=0o600)


def read_key(path: Path) -> bytes:
    """Return the key in a file of hexadecimal digits, or raise `InputError`."""
    try:
        text, mode = path.read_text("ascii").strip(), path.stat().st_mode
        key = bytes.fromhex(text)
    except OSError as error:
        raise InputError(f"{path}: the key cannot be read ({error.strerror})") from None
    except ValueError:
        key, mode = b"", 0
    if len(key) < KEY_BYTES:
        raise InputError(
            f"{path}: a key is {2 * KEY_BYTES} hexadecimal digits or more: make one with "
            f"`robot-ppo-node command --new-key FILE`"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"{path}: others may read this key: chmod 600 {path}")
    return key


def _tag(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()
