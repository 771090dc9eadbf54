"""Scripts: commands over time, from YAML or from one command.

    segments, seconds = choose(command=None, path=Path("tour.yaml"), seconds=None)
    commands = ScriptedCommands(segments)
    commands.begin(now)
    commands.read(now + 2.0)            # ((k,) command, age 0)

Before `begin` the command is zero.
"""

from pathlib import Path

import msgspec
import numpy as np

from robot_ppo_export.contract import strict
from robot_ppo_export.contract.command import TWIST, CommandSpec
from robot_ppo_export.errors import InputError
from robot_ppo_node.commands.base import CommandSource, parse

SECONDS = 12.0
"""Time that the policy runs by default [s]."""


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command of a script and its duration."""

    seconds: float
    command: tuple[float, ...]
    """(k,) in the units of the policy's command"""


DEFAULT_SCRIPT = (
    Segment(1.0, (0.0, 0.0, 0.0)),
    Segment(2.0, (0.5, 0.0, 0.0)),
    Segment(2.0, (0.8, 0.0, 0.0)),
    Segment(2.0, (0.0, 0.3, 0.0)),
    Segment(2.0, (0.3, 0.0, 0.7)),
    Segment(2.0, (-0.4, 0.0, 0.0)),
    Segment(1.0, (0.0, 0.0, 0.0)),
)
"""12 s: stand, forward, faster, left, a turn, back, stop."""


class ScriptedCommands(CommandSource):
    """A command source that plays a script after `begin` and then holds the last command."""

    name = "script"

    def __init__(self, script: tuple[Segment, ...]) -> None:
        """Stand still until `begin`."""
        self.ends = np.cumsum([segment.seconds for segment in script])
        self.commands = np.array([segment.command for segment in script], np.float32)
        self.start: float | None = None

    def begin(self, now: float) -> None:
        """Start the script at `now` [s]."""
        self.start = now

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command (k,) at `now`, and its age, which is always 0."""
        if self.start is None:
            return np.zeros_like(self.commands[0]), 0.0
        # Half a microsecond: a segment must not start a tick late because of a rounded sum.
        index = int(np.searchsorted(self.ends, now - self.start + 5e-7, side="right"))
        return self.commands[min(index, len(self.ends) - 1)], 0.0


def choose(
    command: str | tuple[float, ...] | None,
    path: Path | None,
    seconds: float | None,
    spec: CommandSpec = TWIST,
) -> tuple[tuple[Segment, ...], float]:
    """Return the script to play and its duration [s]; `spec` is what the policy takes."""
    if command is not None and path is not None:
        raise InputError("--command and --script exclude each other: give one of them")
    if seconds is not None and not 0 < seconds < 3600:
        raise InputError(f"--seconds {seconds:g} must be above 0 and below 3600")
    if command is not None or (path is None and spec.kind != "twist"):
        values = command if isinstance(command, tuple) else parse(command, spec)
        seconds = seconds or SECONDS
        return (Segment(seconds, values),), seconds
    script = load_script(path, spec.size) if path else DEFAULT_SCRIPT
    return script, seconds or sum(segment.seconds for segment in script)


def load_script(path: Path, size: int = TWIST.size) -> tuple[Segment, ...]:
    """Return the script in a YAML file, of commands with `size` numbers, or raise `InputError`."""
    script = strict.load_yaml(tuple[Segment, ...], path)
    for i, segment in enumerate(script):
        whole = len(segment.command) == size and np.isfinite(segment.command).all()
        if not (segment.seconds > 0 and whole):
            count = "three" if size == 3 else str(size)
            raise InputError(f"{path}: `[{i}]`: needs seconds above 0 and {count} finite numbers")
    if not script:
        raise InputError(
            f"{path}: the script is empty; a line is {{seconds: 2, command: [1, 0, 0]}}"
        )
    return script
