"""How many messages of a protocol arrived, and what became of each."""

from dataclasses import dataclass, field


@dataclass
class Counters:
    """Messages since the start, by what became of them."""

    received: int = 0
    accepted: int = 0
    superseded: int = 0
    """A newer one, read at the same time, made them worthless."""
    duplicated: int = 0
    reordered: int = 0
    foreign: int = 0
    """From an address that is not the robot's; at the robot, from a node that is not in command."""
    malformed: dict[str, int] = field(default_factory=dict)
    """Reason -> number."""

    def reject(self, reason: str) -> None:
        """Count one malformed message."""
        self.malformed[reason] = self.malformed.get(reason, 0) + 1
