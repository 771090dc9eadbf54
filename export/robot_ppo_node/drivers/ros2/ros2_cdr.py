"""Plain CDR, the encoding of ROS 2 messages, with every length checked.

Reads versions 1 and 2 in both byte orders, with the padding that the header may count (OMG
DDS-XTypes 1.3, 7.4 and 7.6.2.1.2); writes version 1, little-endian, as ROS 2 does.

cdr = CdrReader(payload)                 # with its header of 4 bytes
seconds, nanoseconds = cdr.take("iI")
name = cdr.string()
values = cdr.doubles(cdr.count(8))
"""

import struct
from collections.abc import Iterable

import numpy as np

HEADER = b"\x00\x01\x00\x00"
"""Of what is written: version 1, little-endian, no options."""
ENCODINGS = {
    b"\x00\x00": (">", 8),
    b"\x00\x01": ("<", 8),
    b"\x00\x06": (">", 4),
    b"\x00\x07": ("<", 4),
}
"""Encoding identifier -> byte order, and what numbers of 8 bytes are aligned to: version 2 aligns
to 4 bytes at the most."""
PADDING = 0b11
"""Bits of the header's options that count the bytes of padding behind the message."""
MAX_STRING = 1 << 16
"""Longest name [bytes] that is read."""


class MalformedCdrError(ValueError):
    """Bytes that are not the message that the topic carries; its text is the reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """Give the reason by its code, and in words for the operator where there are any."""
        super().__init__(reason)
        self.detail = detail


class CdrReader:
    """Takes one value after the other; offsets count from behind the header."""

    def __init__(self, payload: bytes) -> None:
        """Start behind the header, or raise `MalformedCdrError`."""
        if len(payload) < 4 or payload[:2] not in ENCODINGS:
            raise MalformedCdrError("encoding")
        self.order, self.widest = ENCODINGS[bytes(payload[:2])]
        padding = payload[3] & PADDING
        if padding > len(payload) - 4:
            raise MalformedCdrError("size")
        self.body = memoryview(payload)[4 : len(payload) - padding]
        self.at = 0

    def take(self, kinds: str) -> tuple[int, ...]:
        """Return numbers of 4 bytes, one for each letter of `struct`: "i", "I" or "f"."""
        self._align(4)
        return struct.unpack_from(f"{self.order}{kinds}", self.body, self._advance(4 * len(kinds)))

    def string(self, longest: int = MAX_STRING) -> str:
        """Return a string of `longest` bytes at the most."""
        (length,) = self.take("I")
        if length == 0:  # some writers send an empty string without its terminating zero
            return ""
        if length > longest:
            raise MalformedCdrError("string")
        start = self._advance(length)
        raw = bytes(self.body[start : start + length])
        try:
            text = raw[:-1].decode()
        except UnicodeDecodeError:
            raise MalformedCdrError("string") from None
        if raw[-1:] != b"\0" or "\0" in text:
            raise MalformedCdrError("string")
        return text

    def count(self, smallest: int) -> int:
        """Return the length of the sequence that follows; its items take `smallest` bytes each."""
        (count,) = self.take("I")
        if count * smallest > len(self.body) - self.at:
            raise MalformedCdrError("length")
        return count

    def strings(self) -> tuple[str, ...]:
        """Return a sequence of strings."""
        return tuple(self.string() for _ in range(self.count(4)))

    def doubles(self, count: int) -> np.ndarray:
        """Return numbers of 8 bytes (count,) float64; for a count of 0 nothing is read."""
        if not count:
            return np.zeros(0)
        self._align(self.widest)
        values = np.frombuffer(self.body, f"{self.order}f8", count, self._advance(8 * count))
        return values.astype(np.float64, copy=False)

    def floats(self, count: int) -> np.ndarray:
        """Return numbers of 4 bytes (count,) float32."""
        if not count:
            return np.zeros(0, np.float32)
        self._align(4)
        values = np.frombuffer(self.body, f"{self.order}f4", count, self._advance(4 * count))
        return values.astype(np.float32, copy=False)

    def shorts(self, count: int) -> tuple[int, ...]:
        """Return unsigned numbers of 2 bytes."""
        self._align(2)
        return struct.unpack_from(f"{self.order}{count}H", self.body, self._advance(2 * count))

    def end(self) -> None:
        """Raise `MalformedCdrError` where more than padding is left."""
        if len(self.body) - self.at > 7:
            raise MalformedCdrError("size")

    def _align(self, size: int) -> None:
        self.at += -self.at % size

    def _advance(self, size: int) -> int:
        """Step over `size` bytes; return where they begin."""
        start = self.at
        if start + size > len(self.body):
            raise MalformedCdrError("size")
        self.at += size
        return start


class CdrWriter:
    """Puts one value after the other."""

    def __init__(self) -> None:
        self.body = bytearray()

    def put(self, kinds: str, *values: float) -> "CdrWriter":
        """Append numbers of 4 bytes, one for each letter of `struct`."""
        self._align(4)
        self.body += struct.pack(f"<{kinds}", *values)
        return self

    def string(self, text: str) -> "CdrWriter":
        """Append a string."""
        raw = text.encode() + b"\0"
        self.put("I", len(raw)).body.extend(raw)
        return self

    def strings(self, texts: Iterable[str]) -> "CdrWriter":
        """Append a sequence of strings."""
        texts = tuple(texts)
        self.put("I", len(texts))
        for text in texts:
            self.string(text)
        return self

    def doubles(self, values: np.ndarray, counted: bool = True) -> "CdrWriter":
        """Append numbers of 8 bytes, as a sequence or (`counted` False) as an array."""
        if counted:
            self.put("I", len(values))
        if len(values):
            self._align(8)
            self.body += np.asarray(values, "<f8").tobytes()
        return self

    def floats(self, values: np.ndarray) -> "CdrWriter":
        """Append a sequence of numbers of 4 bytes."""
        self.put("I", len(values))
        self.body += np.asarray(values, "<f4").tobytes()
        return self

    def shorts(self, *values: int) -> "CdrWriter":
        """Append whole numbers of 2 bytes."""
        self._align(2)
        self.body += struct.pack(f"<{len(values)}H", *values)
        return self

    def payload(self) -> bytes:
        """Return the message with its header."""
        return HEADER + bytes(self.body)

    def _align(self, size: int) -> None:
        self.body.extend(bytes(-len(self.body) % size))
