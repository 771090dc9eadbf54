"""What a guard says: pass, clamp or damp, with the value that it judged and its limit."""

import enum

import msgspec


class Outcome(enum.IntEnum):
    """What a guard says."""

    PASS = 0
    CLAMP = 1
    DAMP = 2


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one guard found. A Struct, because two dozen are made per tick."""

    outcome: Outcome
    value: float
    limit: float
    where: int = -1
    """The joint, or the number in the flat state; -1 for the robot as a whole."""
