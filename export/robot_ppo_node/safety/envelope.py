"""The envelope: runs the guards over what is measured and over what is to be sent, and counts.

    envelope = Envelope(robot, limits, held_signals(contract))
    reason = envelope.check_state(measurement)               # None, or a Reason
    reason = envelope.check_target(measurement, decision)    # decision.motors is now inside

The first guard that says damp ends the tick: the node goes to damping and names the guard.
The guards themselves are in state_guards.py and target_guards.py.
"""

from collections.abc import Mapping

import msgspec

from robot_ppo_export.contract.spec import Limits, RobotSpec
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.guard import Guard
from robot_ppo_node.safety.guards import GUARDS
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.state_guards import STATE_GUARDS
from robot_ppo_node.safety.target_guards import TARGET_GUARDS
from robot_ppo_node.safety.verdict import Outcome, Verdict

STATE_CHECKS = tuple(guard.check for guard in STATE_GUARDS)
TARGET_CHECKS = tuple(guard.check for guard in TARGET_GUARDS)


class Envelope:
    """One robot's limits, and the count of what the guards did."""

    def __init__(self, robot: RobotSpec, limits: Limits, signals: Mapping[str, int]) -> None:
        """Guard `robot` within `limits`; `signals` are those of the state, with their widths."""
        self.bounds = Bounds(robot, limits, signals)
        self.joint_names = robot.joint_names
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.counts = [[0] * len(Outcome) for _ in GUARDS]
        """Count of each guard's outcomes; `PASS` is not counted."""
        self.last: list[Verdict | None] = [None] * len(GUARDS)
        """The last verdict of each guard that did not pass; None where it always did."""
        self.worst: list[Verdict | None] = [None] * len(GUARDS)
        """The verdict of each guard that was farthest beyond its limit; None where it passed."""
        self.fired = 0
        """Bit i: guard i clamped or damped in this tick."""

    def check_state(self, measurement: Measurement) -> Reason | None:
        """Return why the robot must be damped, or None; begins the tick's count."""
        self.fired = 0
        bounds = self.bounds
        for i, check in enumerate(STATE_CHECKS):
            verdict = check(bounds, measurement)
            if verdict is not None and (reason := self._take_in(i, verdict)):
                return reason
        return None

    def check_target(self, measurement: Measurement, decision: Decision) -> Reason | None:
        """Bring what is sent inside the envelope; return why the robot must be damped, or None."""
        bounds = self.bounds
        for i, check in enumerate(TARGET_CHECKS, len(STATE_CHECKS)):
            verdict = check(bounds, measurement, decision)
            if verdict is not None and (reason := self._take_in(i, verdict)):
                return reason
        return None

    def warm_up(self, measurement: Measurement, decision: Decision) -> None:
        """Bring the guards into the caches by judging what was judged before; nothing changes."""
        motors = decision.motors
        copies = (motors.target.copy(), motors.kp.copy(), motors.kd.copy())
        decision = msgspec.structs.replace(decision, motors=MotorCommand(*copies))
        for check in STATE_CHECKS:
            check(self.bounds, measurement)
        for check in TARGET_CHECKS:
            check(self.bounds, measurement, decision)

    def fired_counts(self) -> dict[str, int]:
        """Return how often each guard clamped or damped, those that did."""
        fired = (
            (g.name, sum(n[Outcome.CLAMP :])) for g, n in zip(GUARDS, self.counts, strict=True)
        )
        return {name: n for name, n in fired if n}

    def report(self) -> list[str]:
        """Return one line per guard that clamped or damped: how often, and at worst."""
        return [
            f"{sum(self.counts[i][Outcome.CLAMP :])} x {self._explain(guard, worst)}"
            for i, guard in enumerate(GUARDS)
            if (worst := self.worst[i])
        ]

    def _take_in(self, i: int, verdict: Verdict) -> Reason | None:
        """Count what guard `i` said; return why the robot must be damped, or None."""
        self.last[i] = verdict
        self.counts[i][verdict.outcome] += 1
        self.fired |= 1 << i
        self._keep_worst(i, verdict)
        if verdict.outcome is Outcome.DAMP:
            return Reason(GUARDS[i].name, self._explain(GUARDS[i], verdict))
        return None

    def _keep_worst(self, i: int, verdict: Verdict) -> None:
        worst = self.worst[i]
        if worst is None or _excess(verdict) > _excess(worst):
            self.worst[i] = verdict

    def _explain(self, guard: Guard, verdict: Verdict) -> str:
        """Return a verdict as a sentence: guard, place, value, limit."""
        place = ""
        if guard.places == "joint":
            place = f" at {self.joint_names[verdict.where]}"
        elif guard.places == "state":
            place = f" at {self.bounds.places[verdict.where]}"
        elif guard.places == "entry":
            place = f" at entry {verdict.where}"
        unit = f" {guard.unit}" if guard.unit else ""
        return f"{guard.name}{place}: {verdict.value:.4g}{unit}, limit {verdict.limit:.4g}{unit}"


def _excess(verdict: Verdict) -> float:
    """Return how far beyond its limit a value is; the limit may be of either side."""
    return abs(abs(verdict.value) - abs(verdict.limit))
