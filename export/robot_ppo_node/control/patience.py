"""Ends a run by itself whose robot fails its checks, or is silent, for too long."""

from robot_ppo_node.safety.reason import Reason

FAIL_AFTER = 5.0
SILENT_AFTER = 10.0
"""[s] Where nothing else is said."""
ROUNDING = 1e-6
"""[s] A sum of control periods may be that much short of the whole."""


class Patience:
    """The times since which checks fail, or the robot is silent."""

    def __init__(self, fail_after: float, silent_after: float) -> None:
        """End a run after so long [s] of failing checks, or without a state."""
        self.fail_after = fail_after
        self.silent_after = silent_after
        self.attended = False
        """The operator has begun anew and is there: nothing ends by itself any more."""
        self._failing_since: float | None = None
        self._silent_since: float | None = None
        self._failure: Reason | None = None
        self._silence: Reason | None = None

    @property
    def pending(self) -> Reason | None:
        """The failure or silence that no pass has followed; None where an operator attends."""
        return None if self.attended else self._failure or self._silence

    def passed(self) -> None:
        """Take in that every check has passed."""
        self._failing_since = None
        self._failure = None

    def failed(self, now: float, reason: Reason) -> Reason | None:
        """Take in a failure; return why to give up where none has passed for too long."""
        self._failure = reason
        if self._failing_since is None:
            self._failing_since = now
        long = now - self._failing_since > self.fail_after - ROUNDING
        if self.attended or not long:
            return None
        return reason.adding(f"failing for {self.fail_after:g} s")

    def heard(self) -> None:
        """Take in that the robot is heard, or need not be."""
        self._silent_since = None
        self._silence = None

    def silent(self, now: float, reason: Reason) -> Reason | None:
        """Take in that the robot is not heard; return why to give up where that lasts too long."""
        self._silence = reason
        if self._silent_since is None:
            self._silent_since = now
        long = now - self._silent_since > self.silent_after - ROUNDING
        if self.attended or not long:
            return None
        return reason.adding(f"no state for {self.silent_after:g} s")

    def begin_anew(self) -> None:
        """Let the operator decide from now on."""
        self.attended = True
        self.passed()
