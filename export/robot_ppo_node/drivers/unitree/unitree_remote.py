"""The remote control of a Unitree robot, as its 40 bytes in every low-level state say it.

Bytes 2 and 3 are the buttons, a little-endian number with one bit each; the sticks are floats in
[-1, 1] at 4 (lx), 8 (rx), 12 (ry) and 20 (ly). 40 zeros: no remote has been heard.
"""

import struct
from dataclasses import dataclass

import numpy as np

BUTTONS = (
    *("R1", "L1", "start", "select", "R2", "L2", "F1", "F2"),
    *("A", "B", "X", "Y", "up", "right", "down", "left"),
)
"""Name of each bit, lowest first."""
E_STOP = frozenset({"L2", "B"})
"""Held together, they damp: the chord that the vendor's own deployment code uses."""
_STICKS = struct.Struct("<4xfff4xf16x")


@dataclass(frozen=True)
class Remote:
    """What the operator does on the remote control."""

    buttons: frozenset[str]
    lx: float
    """Left stick, to the right [-1, 1]."""
    ly: float
    """Left stick, forward."""
    rx: float
    """Right stick, to the right."""
    ry: float
    """Right stick, forward."""

    @property
    def e_stop(self) -> bool:
        """Whether the operator wants the robot to damp, now."""
        return self.buttons >= E_STOP

    @property
    def sticks(self) -> np.ndarray:
        """The sticks' part of a command, (3,) in [-1, 1]: forward, left, turning left."""
        return np.array([self.ly, -self.lx, -self.rx])


def decode(data: bytes) -> Remote | None:
    """Return what 40 bytes say, or None: no remote.

    Numbers that no stick can have are sticks at rest: a broken stick must not cost the buttons.
    """
    if not any(data):
        return None
    bits = int.from_bytes(data[2:4], "little")
    pressed = frozenset(name for i, name in enumerate(BUTTONS) if bits >> i & 1)
    sticks = _STICKS.unpack(data)
    if not np.isfinite(sticks).all():
        sticks = (0.0,) * len(sticks)
    lx, rx, ry, ly = (min(max(v, -1.0), 1.0) for v in sticks)
    return Remote(pressed, lx, ly, rx, ry)


def encode(remote: Remote) -> bytes:
    """Return the 40 bytes: what a simulated robot sends."""
    data = bytearray(_STICKS.pack(remote.lx, remote.rx, remote.ry, remote.ly))
    data[2:4] = sum(1 << BUTTONS.index(name) for name in remote.buttons).to_bytes(2, "little")
    return bytes(data)
