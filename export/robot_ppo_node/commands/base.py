"""The protocol of a command source: the numbers of the policy's command, and their age.

A twist is vx [m/s], vy [m/s], yaw rate [rad/s] in the body frame. Keyboard, gamepad and the other
sources send twists; a command of another kind is constant for the whole run (`FixedCommand`).

A source is asked once per tick and must not block. It says how old its command is; the node turns
a command that is older than `COMMAND_TIMEOUT` into zero, and clips the rest to the ranges that the
policy was trained with. Zero comes at once: training changes its commands in steps too.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Protocol, TypedDict

import numpy as np

from robot_ppo_export.contract.command import TWIST, CommandSpec
from robot_ppo_export.errors import InputError

COMMAND_TIMEOUT = 0.5
"""Age [s] at which a command no longer counts: half a second of walking blind is 0.5 m."""
DEAD_MAN = 3.0
"""[s] without a key, by default, after which a keyboard's command is zero. A terminal tells nothing
of a key that is held, and nothing of a link that is lost: three seconds of it are 2.4 m."""
DEAD_ZONE = 0.08
"""Share of a stick's way around its middle that means nothing: sticks do not come back to zero."""


class CommandSource(Protocol):
    """A source of commands. One that holds nothing derives from this, and has its `close`."""

    name: str
    """For the log, at most 12 letters."""

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the newest command (k,) and its age [s] at the time `now` [s]."""
        ...

    def close(self) -> None:
        """Give back what the source holds: a socket, a device, a DDS domain; nothing here."""


class OperatorActions(TypedDict):
    """Actions of the operator on a node, besides the command."""

    damp: Callable[[str], None]
    """Damp at once, an emergency stop; takes the reason."""
    approve: Callable[[], None]
    """Approve the next step: stand up, or run the policy."""
    say: Callable[[str], None]
    """Tell the operator; returns at once."""


def bounded(wanted: np.ndarray, age: float, bounds: list[list[float]]) -> np.ndarray:
    """Return what the policy is asked for, (k,): clipped, and zero where it is old or no number.

    Args:
        wanted: as the source gave it, (k,).
        age: of it [s].
        bounds: the trained ranges, low and high of each entry.
    """
    values = wanted.tolist()
    # The sum is finite only if all of them are.
    if not age <= COMMAND_TIMEOUT or not math.isfinite(sum(values)):
        return np.zeros(len(bounds), np.float32)
    pairs = zip(values, bounds, strict=True)
    return np.array([min(max(value, low), high) for value, (low, high) in pairs], np.float32)


class FixedCommand(CommandSource):
    """One command for the whole run."""

    name = "fixed"

    def __init__(self, command: tuple[float, ...] = (0.0, 0.0, 0.0)) -> None:
        self.command = np.array(command, np.float32)

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command; it never ages."""
        return self.command, 0.0


class Chosen(CommandSource):
    """The command of one source; others are listened to as well, for their buttons alone."""

    def __init__(self, source: CommandSource, *others: CommandSource) -> None:
        self.source = source
        self.others = others
        self.name = source.name

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command of the chosen source (k,) and its age [s]."""
        for other in self.others:
            with contextlib.suppress(Exception):  # a broken keyboard must not stop the gamepad
                other.read(now)
        return self.source.read(now)

    def close(self) -> None:
        """Close every source, also where one cannot be closed."""
        with contextlib.ExitStack() as stack:
            for source in (*self.others, self.source):
                stack.callback(source.close)


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


def parse(text: str | None, command: CommandSpec = TWIST) -> tuple[float, ...]:
    """Return the numbers that "A,B,..." gives to the entries of `command`, or raise `InputError`.

    None is a twist of zero, and is all that a policy without a command takes.
    """
    if text is None and command.kind in ("twist", "none"):
        return (0.0,) * command.size
    wanted = ",".join(entry.name.upper() for entry in command.entries)
    units = ", ".join(entry.unit for entry in command.entries)
    if text is None:
        raise InputError(
            f"no source sends a command of kind {command.kind!r}: give --command {wanted} [{units}]"
        )
    if command.kind == "none":
        raise InputError(f"--command {text!r}: the policy takes no command; leave it out")
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != command.size or not np.isfinite(values).all():
        hint = ": try 0.5,0,0" if command.kind == "twist" else ""
        count = "three" if command.size == 3 else str(command.size)
        raise InputError(f"--command {text!r} is not {count} numbers {wanted} [{units}]{hint}")
    return values
