"""Settings of a run."""

from dataclasses import dataclass
from typing import Any

import msgspec

from robot_ppo_export.contract.spec import Limits
from robot_ppo_node.control.patience import FAIL_AFTER, SILENT_AFTER

DAMP_SECONDS = 1.0
"""[s] Duration of damping where nobody is there to end it."""


@dataclass(frozen=True)
class Settings:
    """Approvals, limits and times of one run."""

    limits: Limits
    """Limits of the envelope."""
    stand: bool = False
    """The operator approves beforehand that the robot stands up."""
    arm: bool = False
    """The operator approves beforehand that the policy runs."""
    joint_check: bool = False
    """Try every joint before standing up."""
    fail_after: float = FAIL_AFTER
    """[s] Longest failure of a guard or check before anything moves."""
    silent_after: float = SILENT_AFTER
    """[s] Longest silence of the robot there."""
    damp_after_stop: float = DAMP_SECONDS
    """[s] Duration of damping after a stop."""
    damp_after_fault: float = DAMP_SECONDS
    """[s] The same after a fault and after an emergency stop, when the robot did not sit down."""

    def for_replay(self) -> dict[str, Any]:
        """Return what a replay must know, as plain data under the names of the log."""
        return {
            "stand": self.stand,
            "armed": self.arm,
            "joint_check": self.joint_check,
            "limits": msgspec.to_builtins(self.limits),
            "fail_after": self.fail_after,
            "silent_after": self.silent_after,
        }
