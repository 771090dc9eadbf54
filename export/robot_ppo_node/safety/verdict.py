"""Verdicts of guards: pass, clamp or damp, with the judged value and its limit."""

import enum

import msgspec


class Outcome(enum.IntEnum):
    """The kinds of verdicts."""

    PASS = 0
    CLAMP = 1
    DAMP = 2


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The finding of one guard that does not pass."""

    outcome: Outcome
    value: float
    limit: float
    where: int = -1
    """The joint, or the number in the flat state; -1 for the robot as a whole."""
