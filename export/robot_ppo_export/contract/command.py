"""The command of a policy: its kind, and the unit and trained range of each number.

    twist((-1, 1), (-0.4, 0.4), (-1, 1))                    # vx, vy [m/s], yaw rate [rad/s]
    NO_COMMAND                                              # a task that is not told anything
    CommandSpec(kind="joint_pos", entries=(CommandEntry(name="hip", unit="rad", low=-1, high=1),))

A kind that is not in `FRAMES` is allowed: its entries say all that the node needs.
"""

import math

import msgspec
import numpy as np

from robot_ppo_export.contract.frames import Array
from robot_ppo_export.errors import InputError

Range = tuple[float, float]
TWIST_UNITS = {"vx": "m/s", "vy": "m/s", "yaw_rate": "rad/s"}
"""Entries of a twist, in order: forward, left, turning left."""
FRAMES = {"twist": "body", "joint_pos": "joint", "none": "none"}
"""Kind of command -> frame of its numbers; that of other kinds is "task"."""
STANDING_BELOW = 0.05
"""A twist whose norm is below this means: stand still."""


class CommandEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One number of a command."""

    name: str
    unit: str
    low: float
    """Smallest value that the policy was trained with."""
    high: float
    """Largest value that the policy was trained with."""


class CommandSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The command of one task."""

    kind: str
    """"twist", "joint_pos", "none", or a name of the task's own."""
    entries: tuple[CommandEntry, ...]

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each number."""
        return tuple(entry.name for entry in self.entries)

    @property
    def frame(self) -> str:
        """Frame of its numbers."""
        return FRAMES.get(self.kind, "task")

    @property
    def unit(self) -> str:
        """The entries' units as one text: a single unit where all have the same."""
        units = [entry.unit for entry in self.entries]
        return units[0] if len(set(units)) == 1 else ", ".join(units)

    def bounds(self) -> np.ndarray:
        """Return the trained ranges (k, 2), low and high of each entry, float32."""
        ranges = [(entry.low, entry.high) for entry in self.entries]
        return np.array(ranges, np.float32).reshape(-1, 2)

    def __str__(self) -> str:
        """Return kind, entries and units in one line."""
        entries = ", ".join(f"{entry.name} [{entry.unit}]" for entry in self.entries)
        return f"{self.kind}: {entries}" if entries else self.kind


NO_COMMAND = CommandSpec(kind="none", entries=())


def twist(vx: Range, vy: Range, yaw_rate: Range) -> CommandSpec:
    """Return a velocity command with these ranges [m/s, m/s, rad/s], body frame."""
    ranges = zip(TWIST_UNITS.items(), (vx, vy, yaw_rate), strict=True)
    entries = [
        CommandEntry(name=name, unit=unit, low=low, high=high)
        for (name, unit), (low, high) in ranges
    ]
    return CommandSpec(kind="twist", entries=tuple(entries))


TWIST = twist((-1.0, 1.0), (-1.0, 1.0), (-1.0, 1.0))
"""A twist where the ranges do not matter."""


def check(command: CommandSpec, joints: tuple[str, ...]) -> None:
    """Raise `InputError` where kind, entries and ranges contradict each other."""
    names = command.names
    units = {entry.name: entry.unit for entry in command.entries}
    if len(set(names)) != len(names):
        raise InputError(f"command: two entries share a name: {', '.join(names)}")
    if command.kind == "twist" and list(units.items()) != list(TWIST_UNITS.items()):
        raise InputError(f"command: a twist has the entries {TWIST_UNITS}, not {units}")
    if (command.kind == "none") != (not names):
        raise InputError(f"command: kind {command.kind!r} has {len(names)} entries")
    unknown = [name for name in names if name not in joints]
    if command.kind == "joint_pos" and unknown:
        raise InputError(f"command: the robot has no joint {', '.join(unknown)}")
    for entry in command.entries:
        finite = math.isfinite(entry.low) and math.isfinite(entry.high)
        if not (finite and entry.low <= entry.high):
            raise InputError(
                f"command: {entry.name}: [{entry.low}, {entry.high}] is not a range [low, high]"
            )


def is_moving(twists: Array) -> Array:
    """Return whether twists (..., 3) ask for motion, (...,) bool."""
    x = twists[..., 0]
    y = twists[..., 1]
    z = twists[..., 2]
    return x * x + y * y + z * z >= STANDING_BELOW * STANDING_BELOW
