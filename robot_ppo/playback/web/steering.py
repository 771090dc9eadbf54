"""What stands between the page and the node: its command source, and a policy it may exchange."""

import time
from typing import Any

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.commands.base import COMMAND_TIMEOUT, CommandSource

SAME = ("robot", "layout", "action", "control_period", "gait_frequency", "command")
"""Parts of the contract that two policies must have in common to follow one another."""


class Switchable:
    """A policy that can be exchanged for another of the same robot while the node runs."""

    def __init__(self, policy: Policy) -> None:
        """Begin with `policy`."""
        self.now = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)

    def fits(self, policy: Policy) -> bool:
        """Return whether nothing but weights and origin differs."""
        ours = self.now.contract
        others = policy.contract
        return all(getattr(ours, key) == getattr(others, key) for key in SAME)


class PageCommands(CommandSource):
    """The command of the page: zero once the page has been silent for a while."""

    name = "web"

    def __init__(self, size: int) -> None:
        """Ask for nothing until the page does."""
        self._values = np.zeros(size, np.float32)
        self._heard = -np.inf

    def hear(self, values: list[float]) -> None:
        """Take a command; one of another size or that is no number is none."""
        wanted = np.array(values, np.float32)
        if wanted.shape == self._values.shape and np.isfinite(wanted).all():
            self._values = wanted
            self._heard = time.monotonic()

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command, and its age [s] on the wall clock; `now` is simulated."""
        silent = time.monotonic() - self._heard > COMMAND_TIMEOUT
        return (np.zeros_like(self._values) if silent else self._values), 0.0
