"""One fault: how it is injected and what must come of it; and what did.

    seen = fault.run(policy_file)        # Seen(outcome, reason, allowed, ticks)
    fault.good(seen)                     # the outcome, the reason and the ticks are as they must be

Ticks are control periods, counted at the robot: from the moment at which the fault exceeds its
limit to the first command with which the motors only brake. What a limit allows before, such as
five ticks without a new state, stands beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DAMPED = "damped"
"""The motors brake, and the robot hears no other command afterwards."""
REFUSED = "refused"
"""The input was rejected, and the reason was printed or counted."""
CLAMPED = "clamped"
"""The command was clamped to its limit, and the robot walks on."""
NOTHING = "nothing"
"""None of these: the envelope has a hole."""
NOT_RUN = "not run"
"""Something is not installed; the reason says what."""

NODE_ALIVE = 2.0
NODE_DEAD = 5.0
"""Most ticks from a fault to damping at the robot."""


@dataclass(frozen=True)
class Seen:
    """The outcome of a fault."""

    outcome: str
    reason: str
    """As the node, its watchdog or a counter said it."""
    allowed: float = 0.0
    """Ticks for which the limit tolerates it."""
    ticks: float | None = None
    """From there to damping at the robot; None where nothing was damped."""


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    injected: str
    """Description of the injection."""
    run: Callable[[Path], Seen]
    """Injects it into a run of a policy file."""
    reason: str
    """Text that the reason must contain."""
    wanted: tuple[str, ...] = (DAMPED,)
    most: float = NODE_ALIVE
    """Ticks."""

    def good(self, seen: Seen) -> bool:
        """Return whether the fault ended as it must; what was not run is not held against it."""
        if seen.outcome == NOT_RUN:
            return True
        in_time = seen.outcome != DAMPED or (seen.ticks is not None and seen.ticks <= self.most)
        return seen.outcome in self.wanted and self.reason in seen.reason and in_time
