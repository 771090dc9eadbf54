"""Events of a node: a code and values; the sentence is made where it is shown.

event.code is Code.WAITING and event.reason.code == "tilt"
str(event)                      # "PASSIVE: waiting: tilt: 3.142 rad, limit 1 rad"
"""

import enum
from dataclasses import dataclass

from robot_ppo_node.control.states import Event, State
from robot_ppo_node.safety.reason import Reason

APPROVE_STAND = "approve_stand"
APPROVE_RUN = "approve_run"
"""Codes of the reasons that only the operator's approval removes."""


class Code(enum.Enum):
    """The kinds of events; the values are prefixes of their sentences."""

    CHANGED = ""
    """The state is a new one; `cause` says which event of the table led to it."""
    FAULT = "FAULT: "
    """The same, because of a fault."""
    WAITING = "waiting: "
    """The state is not left; told once per reason."""
    GIVING_UP = "giving up: "
    """A check has failed for too long, and the run ends."""
    AT_ONCE = "at once: "
    """Damping no longer fades."""
    WARNING = "warning"
    """It changes nothing, and should be looked at. The sentence is the reason's alone."""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One thing that happened."""

    code: Code
    state: State
    """The state after it."""
    reason: Reason
    cause: Event | None = None
    """The event of the table that led to a change."""
    held: bool = False
    """A robot that cannot lie down stands still until the operator has it."""
    denied: bool = False
    """An approval was denied and used up; the operator gives it anew."""

    @property
    def asks(self) -> bool:
        """Whether the node waits for the operator."""
        if self.code in (Code.WARNING, Code.AT_ONCE):
            return False
        approval = self.reason.code in (APPROVE_STAND, APPROVE_RUN)
        return self.denied or approval or self.held or self.state is State.DAMP

    def __str__(self) -> str:
        """Return the sentence."""
        if self.code is Code.WARNING:
            return str(self.reason)
        again = "; then approve it again" if self.denied else ""
        return f"{self.state.name}: {self.code.value}{self.reason}{again}"
