"""Approvals of the operator: beforehand, for as long as it takes, or by key, once."""

from dataclasses import dataclass


@dataclass(slots=True)
class Approvals:
    """The approvals of a run; nothing moves without one."""

    stand: bool
    """Beforehand: the robot may stand up once its checks pass."""
    run: bool
    """Beforehand: the policy may start once the robot stands."""
    key: bool = False
    """By key: for the next judgement of this state, which uses it up."""

    @property
    def may_stand(self) -> bool:
        """Whether the robot may stand up now."""
        return self.stand or self.key

    @property
    def may_run(self) -> bool:
        """Whether the policy may start now."""
        return self.run or self.key

    def forget(self) -> None:
        """Begin anew: everything has to be approved again."""
        self.stand = False
        self.run = False
        self.key = False
