"""`Scorecard`: the figures of a policy over trials and conditions, and what they say."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_ppo.evaluation import intervals
from robot_ppo.evaluation.intervals import Interval
from robot_ppo_export.contract.contract import Scores

MOVES = 0.5
"""A robot that does at least this fraction of a command moves by it."""

Zone = tuple[float | None, float | None]
"""The smallest commands below and above zero that move the robot; None where none does."""


@dataclass
class Scorecard:
    """Every figure of every trial under every condition."""

    conditions: list[str]
    commands: np.ndarray
    """(trials, k)"""
    limits: dict[str, float]
    units: dict[str, str]
    figures: dict[str, np.ndarray] = field(default_factory=dict)
    """Name -> (conditions, trials)."""
    source: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, np.ndarray] = field(default_factory=dict)
    """Entry of a twist -> its mean as measured, (conditions, trials); in the order of `commands`,
    and empty for other kinds."""
    response: dict[str, np.ndarray] = field(default_factory=dict)
    """Entry of a twist -> (m, 2), commands along it alone in ascending order and what was measured
    of each, less what it is at rest; empty where it was not asked for (dead_zones.py)."""

    def gain(self, condition: int = 0) -> dict[str, float]:
        """Return measured over commanded for each entry of a twist that was asked for.

        It is the slope through the origin that fits the trials best: 1 where a policy does what it
        is told, 0 where it ignores it.
        """
        slopes = {}
        for asked, (name, values) in zip(self.commands.T, self.measured.items(), strict=False):
            if size := float(np.square(asked, dtype=np.float64).sum()):
                slopes[name] = float(values[condition] @ asked) / size
        return slopes

    def dead_zone(self) -> dict[str, Zone]:
        """Return the smallest commands that move the robot, below and above zero, of each entry.

        A command moves it where it and all larger ones are followed by half or more.
        """
        return {name: dead_zone(curve) for name, curve in self.response.items()}

    def falls(self, condition: int = 0) -> Interval:
        """Return the probability of a fall in a trial, with its exact 95 % interval."""
        fell = self.figures["falls"][condition]
        return intervals.probability(int(fell.sum()), len(fell))

    def overall(self, condition: int = 0) -> dict[str, float]:
        """Return means over the trials; falls are counted."""
        return {
            name: float(values[condition].sum() if name == "falls" else values[condition].mean())
            for name, values in self.figures.items()
        }

    @property
    def is_twist(self) -> bool:
        """True where the command is a twist."""
        return "velocity_error" in self.units

    @property
    def passed(self) -> bool:
        """True where no limit is exceeded under the first condition."""
        nominal = self.overall(0)
        return all(nominal[name] <= limit for name, limit in self.limits.items())

    @property
    def walking(self) -> bool:
        """True where the policy follows a twist, and passes."""
        return self.is_twist and self.passed

    def scores(self) -> Scores:
        """Return what a policy file says of its policy."""
        return Scores(
            condition=self.conditions[0],
            passed=self.passed,
            figures=self.overall(0),
            gain=self.gain(0),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the scorecard as plain data; the nominal means stand at the top."""
        rows = {name: self._row(i) for i, name in enumerate(self.conditions)}
        curves = {name: curve.tolist() for name, curve in self.response.items()}
        return {
            "passed": self.passed,
            "walking": self.walking,
            **rows[self.conditions[0]],
            **({"dead_zone": self.dead_zone(), "response": curves} if curves else {}),
            "limits": self.limits,
            "conditions": rows,
            "commands": self.commands.astype(np.float64).round(6).tolist(),
            "per_command": {
                c: {name: values[i].tolist() for name, values in self.figures.items()}
                for i, c in enumerate(self.conditions)
            },
            "source": self.source,
        }

    def _row(self, condition: int) -> dict[str, Any]:
        """Return the means of one condition, the interval of its falls and its gains."""
        fell = self.falls(condition)
        row = {**self.overall(condition), "falls_interval": [fell.low, fell.high]}
        return row | ({"gain": self.gain(condition)} if self.measured else {})


def dead_zone(curve: np.ndarray) -> Zone:
    """Return the smallest commands of a response curve (m, 2) that move a robot."""
    low, high = (_threshold(curve, sign) for sign in (-1.0, 1.0))
    return low, high


def _threshold(curve: np.ndarray, sign: float) -> float | None:
    """Return the smallest command of that sign which, as all larger ones, moves the robot."""
    found = None
    side = curve[sign * curve[:, 0] > 0]
    for command, measured in side[np.argsort(-np.abs(side[:, 0]))].tolist():
        if sign * measured < MOVES * abs(command):
            break
        found = command
    return found
