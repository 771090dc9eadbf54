"""What a command source is: vx [m/s], vy [m/s], yaw rate [rad/s] in the body frame, and their age.

A source is asked once per tick and must not block. It says how old its command is; the node turns
a command that is older than `COMMAND_TIMEOUT` into zero, and clips the rest to the ranges that the
policy was trained with. Zero comes at once: training changes its commands in steps too.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Protocol, TypedDict

import numpy as np

from robot_ppo_export.errors import InputError

COMMAND_TIMEOUT = 0.5
"""Age [s] at which a command no longer counts: half a second of walking blind is 0.5 m."""
DEAD_MAN = 3.0
"""[s] without a key, by default, after which a keyboard's command is zero. A terminal tells nothing
of a key that is held, and nothing of a link that is lost: three seconds of it are 2.4 m."""
DEAD_ZONE = 0.08
"""Share of a stick's way around its middle that means nothing: sticks do not come back to zero."""


class CommandSource(Protocol):
    """Where commands come from."""

    name: str
    """For the log, at most 12 letters."""

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the newest command (3,) and its age [s] at the time `now` [s]."""
        ...


class Hands(TypedDict):
    """What a person can do to a node from a source, besides the command; takes the reason."""

    damp: Callable[[str], None]
    """Let the robot down, now: an emergency stop."""
    go: Callable[[], None]
    """Allow the next step: run the policy."""
    say: Callable[[str], None]
    """Tell the operator; returns at once."""


def bounded(wanted: np.ndarray, age: float, bounds: list[list[float]]) -> np.ndarray:
    """Return what the policy is asked for, (3,): clipped, and zero where it is old or no number.

    Args:
        wanted: as the source gave it, (3,).
        age: of it [s].
        bounds: the trained ranges, low and high of each.
    """
    x, y, turn = wanted.tolist()
    # The sum is finite only if all three are.
    if not age <= COMMAND_TIMEOUT or not math.isfinite(x + y + turn):
        return np.zeros(3, np.float32)
    (x0, x1), (y0, y1), (turn0, turn1) = bounds
    x, y, turn = min(max(x, x0), x1), min(max(y, y0), y1), min(max(turn, turn0), turn1)
    return np.array((x, y, turn), np.float32)


class FixedCommand:
    """One command for the whole run."""

    name = "fixed"

    def __init__(self, command: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        self.command = np.array(command, np.float32)

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command; it never ages."""
        return self.command, 0.0


class Chosen:
    """The command of one source; others are listened to as well, for their buttons alone."""

    def __init__(self, source: CommandSource, *others: CommandSource) -> None:
        self.source, self.others = source, others
        self.name = source.name

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command of the chosen source (3,) and its age [s]."""
        for other in self.others:
            with contextlib.suppress(Exception):  # a broken keyboard must not stop the gamepad
                other.read(now)
        return self.source.read(now)


def from_sticks(sticks: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the command (3,) that sticks (3,) in [-1, 1] ask for: forward, left, turning left.

    The end of a stick's way is the end of the trained range on that side, its middle is zero, and
    what lies between is linear outside of the dead zone.

    Args:
        sticks: 1 is forward, left, turning left.
        bounds: the trained ranges, (3, 2).
    """
    way = (np.abs(np.clip(sticks, -1, 1)) - DEAD_ZONE) / (1 - DEAD_ZONE)
    ends = np.where(sticks > 0, np.maximum(bounds[:, 1], 0), np.minimum(bounds[:, 0], 0))
    return (np.maximum(way, 0) * ends).astype(np.float32)


def parse(text: str) -> tuple[float, float, float]:
    """Return the command that "VX,VY,YAW" says, or raise `InputError`."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not np.isfinite(values).all():
        raise InputError(
            f"--command {text!r} is not three numbers VX,VY,YAW [m/s, m/s, rad/s]: try 0.5,0,0"
        )
    return values
