"""Tells whether a robot that hung on a gantry stands on its feet."""

import numpy as np

from robot_ppo_node.safety.reason import Reason

CARRY_FORCE = 1.0
CARRY_SECONDS = 1.0
"""A robot that was lowered stands when every foot was pressed by so much [N] for so long [s]."""


class Feet:
    """The time since which every foot carries load."""

    def __init__(self) -> None:
        self._carry_since: float | None = None

    def reset(self) -> None:
        """Forget what was measured before."""
        self._carry_since = None

    def add(self, now: float, force: np.ndarray) -> None:
        """Take in one tick: the force on each foot (feet,) [N]."""
        if not (force > CARRY_FORCE).all():
            self._carry_since = None
        elif self._carry_since is None:
            self._carry_since = now

    def in_the_air(self, now: float, measured: bool, approved: bool) -> Reason | None:
        """Return why the robot does not stand yet, or None.

        Args:
            now: [s]
            measured: whether the robot measures what its feet carry.
            approved: whether the operator says go at this moment.
        """
        if not measured:
            text = "feet: not measured: key p once they carry the robot"
            return None if approved else Reason("feet", text)
        if self._carry_since is None or now - self._carry_since < CARRY_SECONDS:
            return Reason("feet", "feet: not all of them carry yet: lower the robot")
        return None
