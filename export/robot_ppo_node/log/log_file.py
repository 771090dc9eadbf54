r"""The log as a file: slots of fixed size, each with its number and its checksum.

    offset   bytes
    0        8      b"RPPOLOG\n"
    8        4      u32 version of this layout
    12       4      u32 n, bytes of the meta data
    16       4      u32 slots for events
    20       4      u32 slots for ticks
    24       4      u32 1 after an orderly end, else 0
    28       4      u32 CRC-32 of bytes 0 .. 28 and of the meta data
    32       n      meta data, JSON (`Meta` and whatever else the node noted)
    32+n            slots for events, type `EVENT`
    ...             slots for ticks, type `tick_type(widths)`; the file ends with them

Numbers are little-endian. A slot begins with its number (u64, from 1 on; 0 where nothing was
written) and ends with the CRC-32 (u32) of its other bytes. Number k stands in slot (k - 1) modulo
the slots, so the file is a ring that keeps the newest. A slot that was being written when the
power went is noticed by its checksum, and costs that one tick.
"""

import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract.command import TWIST
from robot_ppo_export.errors import InputError

MAGIC = b"RPPOLOG\n"
LOG_VERSION = 4
OLDEST_LOG = 3
"""In version 3 the command is a twist, and is not named. Versions before were .npz archives."""
HEADER = struct.Struct("<8s5I")
CRC = struct.Struct("<I")
START = HEADER.size + CRC.size
"""Offset of the meta data."""
MAX_META = 1 << 20
MAX_WIDTH = 4096
MAX_FILE = 1 << 32

COLUMNS: dict[str, tuple[str, str]] = {
    "time": ("<f8", ""),  # [s] the node's clock at the start of the tick
    "node_state": ("u1", ""),  # number of the `State` that the tick ended in
    "flags": ("<u2", ""),  # what happened to the node in this tick: bits in recorder.py
    "missed": ("<u4", ""),  # deadlines missed just before this tick
    "sequence": ("<i8", ""),  # of the newest sample
    "sample_time": ("<f8", ""),  # [s] when it arrived
    "measured": ("<f4", "measured"),  # the signals of RobotState, one after the other
    "health": ("<f4", "health"),  # temperatures, lost motors, voltage; NaN where not said
    "others": ("u1", ""),  # other writers that the driver saw
    "source": ("S12", ""),  # where the command comes from
    "wanted": ("<f4", "command"),  # command as the source gave it
    "wanted_age": ("<f8", ""),  # [s]
    "command": ("<f4", "command"),  # command as the policy got it
    "policy_tick": ("<i8", ""),  # -1 while the network does not run
    "observation": ("<f4", "observation"),
    "action": ("<f4", "joints"),  # raw output of the network
    "target": ("<f4", "joints"),  # [rad] as sent
    "kp": ("<f4", "joints"),  # [N m/rad] as sent
    "kd": ("<f4", "joints"),  # [N m s/rad] as sent
    "guards": ("<u4", ""),  # bit i: guard i clamped or damped
    "outside": ("<u2", ""),  # entries of the observation on an excursion, see monitor.py
    "late": ("<f8", ""),  # [s] from the deadline to the start of the tick
    "duration": ("<f8", ""),  # [s] from the start of the tick to its end
}
"""Column -> type and width, in the order of the slot."""

EVENT = np.dtype([("number", "<u8"), ("time", "<f8"), ("text", "S240"), ("crc", "<u4")])
"""One event; the text is UTF-8, cut where it is longer."""


class Meta(msgspec.Struct, kw_only=True):
    """Meta data that every log has."""

    policy: str
    """SHA-256 of the policy file."""
    task: str
    robot: str
    joints: tuple[str, ...]
    measured: tuple[str, ...]
    """Name of each number of the column `measured`."""
    guards: tuple[str, ...]
    """Name of each bit of the column `guards`."""
    states: tuple[str, ...]
    """Name of each number of the column `node_state`."""
    widths: dict[str, int]
    """Widths of the columns "measured", "health", "command", "observation" and "joints"."""
    command: tuple[str, ...] = ()
    """Name of each number of the columns `wanted` and `command`."""
    control_period: float
    """[s]"""
    started: float = 0.0
    """When, in seconds since 1970; 0 in a simulation."""


def tick_type(widths: dict[str, int]) -> np.dtype:
    """Return the type of a tick's slot."""
    shapes = {"": ()} | {name: (n,) for name, n in widths.items()}
    columns = [(name, kind, shapes[width]) for name, (kind, width) in COLUMNS.items()]
    return np.dtype([("number", "<u8"), *columns, ("crc", "<u4")])


def head(meta: bytes, events: int, ticks: int, closed: bool) -> bytes:
    """Return the header and the meta data behind it."""
    header = HEADER.pack(MAGIC, LOG_VERSION, len(meta), events, ticks, closed)
    return header + CRC.pack(zlib.crc32(meta, zlib.crc32(header))) + meta


def add_checksums(slots: np.ndarray) -> memoryview:
    """Put the checksums into contiguous `slots`; return their bytes."""
    raw = slots.view(np.uint8).data
    size = slots.dtype.itemsize
    crcs = slots["crc"]
    for i in range(len(slots)):
        crcs[i] = zlib.crc32(raw[i * size : (i + 1) * size - CRC.size])
    return raw


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a log's columns, oldest tick first, and its meta data; else `InputError`.

    Beside `Meta`, the meta data say: `events` (time [s], text), `closed` after an orderly end,
    `first`, the number of the oldest tick (above 1: the ring has wrapped), and `damaged`, how many
    slots did not hold what was written to them.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return parse(data)
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        raise InputError(f"{path}: is not a log of robot-ppo-node ({error})") from None


def parse(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what `load` does, from a file's bytes; ValueError or its like where they are wrong."""
    if len(data) < START or data[:8] != MAGIC or len(data) > MAX_FILE:
        raise ValueError("it does not begin like one")
    _, version, size, events, ticks, closed = HEADER.unpack_from(data)
    if not OLDEST_LOG <= version <= LOG_VERSION:
        known = f"this node reads {OLDEST_LOG} to {LOG_VERSION}"
        raise ValueError(f"its layout has version {version}, {known}")
    if size > MAX_META or len(data) < START + size:
        raise ValueError("it ends within its meta data")
    text = data[START : START + size]
    if CRC.unpack_from(data, HEADER.size)[0] != zlib.crc32(text, zlib.crc32(data[: HEADER.size])):
        raise ValueError("the checksum of its head is wrong")
    meta = _meta(text, version)
    kind = tick_type(meta["widths"])
    begin = START + size + events * EVENT.itemsize
    if len(data) != begin + ticks * kind.itemsize:
        raise ValueError(f"it has {len(data)} bytes, its head says {begin + ticks * kind.itemsize}")
    told, lost = _newest(np.frombuffer(data, EVENT, events, START + size))
    rows, damaged = _newest(np.frombuffer(data, kind, ticks, begin))
    meta["events"] = [(float(event["time"]), _readable(event["text"])) for event in told]
    meta["first"] = int(rows["number"][0]) if len(rows) else 1
    meta |= {"closed": bool(closed), "damaged": damaged + lost}
    return {name: rows[name] for name in COLUMNS}, meta


def _meta(text: bytes, version: int) -> dict[str, Any]:
    """Return the checked meta data, as of the newest version."""
    data = msgspec.json.decode(text, type=dict[str, Any])
    if version == OLDEST_LOG and isinstance(data.get("widths"), dict):
        data["widths"]["command"] = len(TWIST.names)
        data["command"] = TWIST.names
    meta = msgspec.convert(data, Meta)
    names = {width for _, width in COLUMNS.values()} - {""}
    fit = all((name != "command") <= n <= MAX_WIDTH for name, n in meta.widths.items())
    if set(meta.widths) != names or not fit:
        raise ValueError(f"its widths {meta.widths} are not those of {sorted(names)}")
    named = {name: len(getattr(meta, name)) for name in ("joints", "measured", "command")}
    if any(meta.widths[name] != n for name, n in named.items()):
        raise ValueError("it names more or fewer joints, signals or commands than it has")
    if not 0 < meta.control_period < 1:
        raise ValueError(f"its control period {meta.control_period} s is not between 0 and 1")
    return data


def _newest(slots: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the slots whose numbers run up to the highest without a gap, and the count of bad."""
    raw = slots.view(np.uint8).data
    size = slots.dtype.itemsize
    written = np.flatnonzero(slots.view(np.uint8).reshape(-1, size).any(axis=1)).tolist()
    good = [
        i
        for i in written
        if zlib.crc32(raw[i * size : (i + 1) * size - CRC.size]) == slots["crc"][i]
        and (int(slots["number"][i]) - 1) % len(slots) == i
    ]
    whole = slots[good]
    whole = whole[np.argsort(whole["number"])]
    gaps = np.flatnonzero(np.diff(whole["number"].astype(np.int64)) != 1)
    return whole[gaps[-1] + 1 if len(gaps) else 0 :], len(written) - len(good)


def _readable(text: bytes) -> str:
    """Return an event's text without what a terminal would take for an order."""
    return "".join(c for c in text.decode("utf-8", "replace") if c.isprintable())
