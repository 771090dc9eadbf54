"""Tells what happens: every event once, and the reason for waiting once per reason."""

import contextlib
from collections.abc import Callable

from robot_ppo_node.control.events import Code, NodeEvent
from robot_ppo_node.control.states import State
from robot_ppo_node.safety.reason import Reason

Listener = Callable[[float, NodeEvent], None]
"""f(time [s], event)"""


class Announcer:
    """The events of a run."""

    def __init__(self, listener: Listener | None = None) -> None:
        self.events: list[tuple[float, NodeEvent]] = []
        """Everything that happened, with its time [s]."""
        self.waiting_for = ""
        """Code of the reason for waiting that was told last."""
        self._listener = listener

    def log(self, now: float, event: NodeEvent) -> None:
        """Keep an event, and tell whoever listens."""
        self.events.append((now, event))
        if self._listener:
            with contextlib.suppress(Exception):  # a listener's trouble is not the robot's
                self._listener(now, event)

    def wait(self, now: float, state: State, reason: Reason, denied: bool = False) -> None:
        """Say why a state is not left, once per reason."""
        if reason.code != self.waiting_for:
            self.waiting_for = reason.code
            self.log(now, NodeEvent(Code.WAITING, state, reason, denied=denied))
