"""The duration of damping, and its fade."""

import math

from robot_ppo_node.control.setpoints import FADE
from robot_ppo_node.control.states import Event

FADING = (Event.LOWERED, Event.RELEASED, Event.HELD_LONG)
"""Events after which damping fades in, because the robot is held by something else."""


class Damping:
    """The end of a run: when nothing more is sent."""

    def __init__(self, after_stop: float, after_fault: float) -> None:
        """Send damping for so long after each [s]."""
        self.after_stop = after_stop
        self.after_fault = after_fault
        self._until = math.inf
        self._fading = False

    @property
    def endless(self) -> bool:
        """Whether damping, once begun, goes on until somebody ends it."""
        return math.isinf(self._until)

    def stop(self, now: float) -> None:
        """End the time of damping as after a stop at `now` [s]."""
        self._until = now + self.after_stop

    def fault(self, now: float) -> None:
        """End the time of damping as after a fault at `now` [s]."""
        self._until = now + self.after_fault

    def end(self, now: float, after: float) -> None:
        """End it at most `after` [s] from `now`."""
        self._until = min(self._until, now + after)

    def reset(self) -> None:
        """Begin anew."""
        self._until = math.inf

    def over(self, now: float) -> bool:
        """Return whether it was sent for long enough."""
        return now >= self._until

    def enter(self, event: Event) -> None:
        """Take in which event led on: after some, position gains fade to zero."""
        self._fading = event in FADING

    def at_once(self) -> None:
        """End the fade."""
        self._fading = False

    def fading(self, elapsed: float) -> bool:
        """Return whether gains are still on their way, `elapsed` [s] after the last event."""
        return self._fading and elapsed < FADE
