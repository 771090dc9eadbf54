"""The SHA-256 checksum over a whole policy file, stored inside it.

The digest is that of the file's bytes with the 64 hexadecimal digits of the digest itself
replaced by zeros. It is checked on the raw bytes, before anything parses them.
"""

import hashlib
from pathlib import Path

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.onnx_summary import summarize

KEY = "robot_ppo.sha256"
BLANK = "0" * 64
_MARK = KEY.encode() + b"\x12\x40"
"""The protobuf bytes before the digest: the metadata key, then field 2 of length 64."""


def insert(blank: bytes) -> bytes:
    """Return a file that was built with `BLANK` under `KEY`, with its digest in that place."""
    start = _digest_at(blank)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank[:start] + digest + blank[start + 64 :]


def read(path: Path) -> bytes:
    """Return the file's bytes if its checksum holds, else raise `RefusedError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    verify(data, str(path))
    return data


def verify(data: bytes, source: str) -> str:
    """Return the digest of `data` if its checksum holds, else raise `RefusedError`."""
    try:
        start = _digest_at(data)
    except ValueError:
        raise RefusedError(_foreign(data, source)) from None
    stated = data[start : start + 64]
    digest = hashlib.sha256(data[:start] + BLANK.encode() + data[start + 64 :]).hexdigest()
    if stated != digest.encode():
        raise RefusedError(
            f"{source}: its SHA-256 is {digest}, and it states "
            f"{stated.decode('ascii', 'replace')}: copy or export it again"
        )
    return digest


def _foreign(data: bytes, source: str) -> str:
    """Return the sentence about a file without a checksum: what it is, and what it lacks."""
    what = summarize(data)
    text = f"{source}: is not a robot-ppo policy file (no {KEY}) but {what}"
    if not what.startswith("ONNX"):
        return f"{text}: copy it again, or write it with `robot-ppo export`"
    return (
        f"{text}; contract, golden traces or the one input `observation` and output `action` are "
        "missing: write it with `robot-ppo export` (docs/policy_file.md)"
    )


def _digest_at(data: bytes) -> int:
    """Return the offset of the digest; exactly one mark must exist."""
    start = data.find(_MARK)
    if start < 0 or data.find(_MARK, start + 1) >= 0 or start + len(_MARK) + 64 > len(data):
        raise ValueError
    return start + len(_MARK)
