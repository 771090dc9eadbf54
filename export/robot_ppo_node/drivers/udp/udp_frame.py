"""The frame around every datagram of the UDP protocol: 16 bytes of header, little-endian.

    offset  type    content
    0       4 x u8  magic "RPPO"
    4       u8      protocol version, 2
    5       u8      kind: 1 HELLO_REQUEST, 2 HELLO, 3 STATE, 4 COMMAND
    6       u16     payload length in bytes
    8       u32     sequence number, +1 with every frame that the sender sends; it wraps
    12      u32     CRC-32 (zlib) over bytes 0..11 and the payload

What the payloads hold is in udp_payloads.py. This module imports the standard library alone: the
watchdog, too, speaks the protocol.
"""

import struct
import zlib
from typing import NamedTuple

MAGIC = b"RPPO"
VERSION = 2
DEFAULT_PORT = 47100
"""Where the robot listens."""
HELLO_REQUEST = 1
HELLO = 2
STATE = 3
COMMAND = 4
_PREFIX = struct.Struct("<4sBBHI")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<4sBBHII")
HEADER_SIZE = _HEADER.size
MAX_FRAME = 65535
"""Longest datagram [bytes] that either end reads: the longest that there is."""


class MalformedError(ValueError):
    """A datagram that is not a frame of this protocol; its text is the reason that is counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Give the `reason` in a few words; `detail` is for a person and may quote the datagram."""
        super().__init__(reason)
        self.detail = detail


class Frame(NamedTuple):
    """One datagram whose header and checksum hold."""

    kind: int
    sequence: int
    payload: bytes


def encode(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    prefix = _PREFIX.pack(MAGIC, VERSION, kind, len(payload), sequence & 0xFFFFFFFF)
    return prefix + _CRC.pack(zlib.crc32(payload, zlib.crc32(prefix))) + payload


def decode(data: bytes) -> Frame:
    """Return the frame in a datagram, or raise `MalformedError` with the reason."""
    if len(data) < HEADER_SIZE:
        raise MalformedError("short")
    magic, version, kind, length, sequence, checksum = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise MalformedError("magic")
    if version != VERSION:
        raise MalformedError("version")
    payload = data[HEADER_SIZE:]
    if length != len(payload):
        raise MalformedError("length")
    if checksum != zlib.crc32(payload, zlib.crc32(data[: _PREFIX.size])):
        raise MalformedError("checksum")
    if not HELLO_REQUEST <= kind <= COMMAND:
        raise MalformedError("kind")
    return Frame(kind, sequence, payload)
