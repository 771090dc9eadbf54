"""What a person may say on the command line of `robot-ppo import`."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """Flags; patterns are those of the shell: `*_knee`."""

    file: Path
    name: str | None = None
    out: Path = Path("robots")
    overwrite: bool = False
    feet: tuple[str, ...] = ()
    base: str | None = None
    imu: str | None = None
    pose: str | None = None
    hold: Mapping[str, float] = field(default_factory=dict)
    """Pattern of joints -> angle [rad] at which they are held."""
    leave: tuple[str, ...] = ()
    """Patterns of joints that are left to the policy."""
    torque: Mapping[str, float] = field(default_factory=dict)
    """Pattern of joints -> torque limit [N m]."""
    range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Pattern of joints -> range [rad]."""


def number_by_joint(flag: str, texts: Sequence[str]) -> dict[str, float]:
    """Return JOINT=NUMBER texts as pattern -> number."""
    found = {}
    for text in texts:
        joint, separator, value = text.rpartition("=")
        if not separator or not joint:
            raise InputError(f"{flag} {text}: write it as JOINT=NUMBER, e.g. '*_knee=0.5'")
        found[joint] = _number(flag, text, value)
    return found


def range_by_joint(flag: str, texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return JOINT=LOW,HIGH texts as pattern -> range."""
    found = {}
    for text in texts:
        joint, separator, value = text.rpartition("=")
        low, comma, high = value.partition(",")
        if not separator or not joint or not comma:
            raise InputError(f"{flag} {text}: write it as JOINT=LOW,HIGH, e.g. '*_knee=-2,0.1'")
        found[joint] = (_number(flag, text, low), _number(flag, text, high))
        if found[joint][0] >= found[joint][1]:
            raise InputError(f"{flag} {text}: the range is empty; give the lower angle first")
    return found


def _number(flag: str, text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{flag} {text}: {value!r} is not a finite number")
    return number


def given(flag: str, table: Mapping[str, T], joints: Sequence[str]) -> dict[str, T]:
    """Return what a flag says of each joint; a pattern that no joint fits is an `InputError`."""
    found: dict[str, T] = {}
    for pattern, value in table.items():
        fitting = fnmatch.filter(joints, pattern)
        if not fitting:
            raise InputError(
                f"{flag} {pattern}: the robot has no such joint{did_you_mean(pattern, joints)}"
            )
        found |= dict.fromkeys(fitting, value)
    return found
