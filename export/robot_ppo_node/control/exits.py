"""The conditions under which a state ends by itself: one per state, judged at every tick.

    judgement = exits.judge(State.STAND, Moment(now, elapsed, measurement), approvals, "")
    judgement.event         # what leads on, or None: then `reason` says what the state waits for

The conditions change nothing but their own counts; the state machine acts on the results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_node.control.approvals import Approvals
from robot_ppo_node.control.events import APPROVE_RUN, APPROVE_STAND
from robot_ppo_node.control.feet import Feet
from robot_ppo_node.control.states import Event, State
from robot_ppo_node.safety.measurement import Measurement
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.startup.joint_check import JointCheck
from robot_ppo_node.startup.preflight import SECONDS, Check, Watch

POSE_GATE = 0.5
"""Largest distance [rad] of a joint to the default pose at which the policy may start."""
HOLD_SECONDS = 10.0
"""[s] A robot that cannot lie down is held so long after a stop, for the operator to take it."""
HALT_SECONDS = 1.0
"""[s] The policy is asked to stand still so long before the robot sits down: two steps' time."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a state's condition."""

    reason: Reason
    event: Event | None = None
    """The event that leads to the next state."""
    denied: bool = False
    """The checks do not allow what was approved: an approval by key is used up."""
    fault: bool = False
    """The run cannot go on."""
    failed: Reason | None = None
    """A check that failed, and counts against the run."""
    passed: bool = False
    """Every check has passed."""


class Moment(NamedTuple):
    """One tick, as a condition sees it."""

    now: float
    """[s]"""
    elapsed: float
    """Since the state was entered [s]."""
    measurement: Measurement


class Exits:
    """The conditions of one robot's states."""

    def __init__(self, contract: Contract, joint_check: JointCheck | None) -> None:
        """Judge the states of this robot; `joint_check` tries every joint before standing up."""
        self.contract = contract
        self.checks: list[Check] = []
        """Results of the last PREFLIGHT and joint check."""
        self.watch = Watch(contract, ticks=round(SECONDS / contract.control_period))
        self.joint_check = joint_check
        self._standing_up = contract.robot.stand.duration
        """Time of standing up and of sitting down [s]."""
        self._default = contract.action_map().default_pose
        self._feet = Feet()
        self._hangs = contract.robot.life_cycle.start == "hanging"
        rests = contract.robot.life_cycle.has_rest
        self._conditions: Mapping[State, Callable[[Moment, Approvals, str], Judgement | None]] = {
            State.PASSIVE: self._passive,
            State.PREFLIGHT: self._preflight,
            State.JOINT_CHECK: self._trying_joints,
            State.STAND: self._stand,
            State.READY: self._ready,
            State.HALT: self._halt if rests else self._hold,
            State.HOLD: self._hold,
            State.SIT: self._sit,
        }

    def judge(
        self, state: State, moment: Moment, approvals: Approvals, waiting_for: str
    ) -> Judgement | None:
        """Return the result of the state's condition, or None where there is nothing to say.

        Args:
            state: of the node.
            moment: this tick.
            approvals: of the operator.
            waiting_for: code of the reason that was told last in this state.
        """
        condition = self._conditions.get(state)
        return condition(moment, approvals, waiting_for) if condition else None

    def _passive(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement:
        """Begin to watch, once the robot answers."""
        self.watch.begin()
        return Judgement(Reason("fit", "watching the robot at rest"), Event.FIT)

    def _preflight(
        self, moment: Moment, approvals: Approvals, waiting_for: str
    ) -> Judgement | None:
        """Stand up from where the joints are, once the robot passes and the operator approves."""
        watch = self.watch
        watch.add(moment.measurement)
        asked = waiting_for == APPROVE_STAND and not approvals.may_stand
        if not watch.full or asked:
            return None
        self.checks = watch.judge()
        bad = [check.reason for check in self.checks if not check.good]
        if bad:
            watch.begin()  # judged again after another second
            every = Reason(bad[0].code, "; ".join(map(str, bad)))
            return Judgement(every, denied=True, failed=bad[0])
        if not approvals.may_stand:
            reason = Reason(APPROVE_STAND, "the operator's approval to stand up")
            return Judgement(reason, passed=True)
        return self._rise(moment)

    def _rise(self, moment: Moment) -> Judgement:
        passed = f"{len(self.checks)} checks passed"
        if self.joint_check is None:
            reason = Reason("passed", f"{passed}; moving to the default pose")
            return Judgement(reason, Event.GO, passed=True)
        self.joint_check.begin(moment.measurement.state.joint_pos)
        reason = Reason("passed", f"{passed}; moving one joint after the other")
        return Judgement(reason, Event.GO_JOINT_CHECK, passed=True)

    def _trying_joints(
        self, moment: Moment, approvals: Approvals, waiting_for: str
    ) -> Judgement | None:
        """Stand up once every joint has answered as it should."""
        check = self.joint_check
        assert check is not None, "GO_JOINT_CHECK needs a joint check"
        check.add(moment.elapsed, moment.now, moment.measurement)
        if not check.over(moment.elapsed):
            return None
        results = check.judge()
        self.checks = [*self.checks, *results]
        bad = [result.reason for result in results if not result.good]
        if bad:
            return Judgement(bad[0], fault=True)
        reason = Reason("passed", f"{results[-1]}; moving to the default pose")
        return Judgement(reason, Event.ANSWERED)

    def _stand(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement | None:
        if moment.elapsed < self._standing_up:
            return None
        self._feet.reset()
        if approvals.run:
            return Judgement(Reason("armed", "armed"), Event.STOOD)
        text = "waiting for the operator's approval to walk"
        return Judgement(Reason(APPROVE_RUN, text), Event.STOOD)

    def _ready(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement | None:
        """Start the policy anew, where the robot is in its default pose and on its feet."""
        state = moment.measurement.state
        if self._hangs:
            self._feet.add(moment.now, state.foot_force)
        if not approvals.may_run:
            return None
        if far := self._far_from_default(state.joint_pos):
            # Without --arm the operator has used up the approval, and is asked again.
            return Judgement(far, denied=True, failed=far if approvals.run else None)
        if self._hangs and (airborne := self._in_the_air(moment.now, approvals.key)):
            return Judgement(airborne, denied=True, passed=True)
        event = Event.CARRIED if self._hangs else Event.ARMED
        return Judgement(Reason("armed", "running the policy"), event, passed=True)

    def _in_the_air(self, now: float, approved: bool) -> Reason | None:
        measured = "foot_force" in self.watch.signals
        return self._feet.in_the_air(now, measured, approved)

    def _far_from_default(self, position: np.ndarray) -> Reason | None:
        """Return which joint is too far from the default pose to start the policy, or None."""
        distance = np.abs(position - self._default)
        i = int(distance.argmax())
        if distance[i] <= POSE_GATE:
            return None
        name = self.contract.robot.joint_names[i]
        text = f"{name} is {distance[i]:.2f} rad from the default pose, limit {POSE_GATE:g}"
        return Reason("pose", f"pose: {text}; free it")

    def _halt(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement | None:
        """Sit down once the feet had the time to come together."""
        if moment.elapsed < HALT_SECONDS:
            return None
        return Judgement(Reason("halted", "standing still"), Event.HALTED)

    def _hold(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement | None:
        """Let go of a robot that cannot lie down, in case nobody said that it is held."""
        if moment.elapsed < HOLD_SECONDS:
            return None
        return Judgement(Reason("held", f"held for {HOLD_SECONDS:g} s"), Event.HELD_LONG)

    def _sit(self, moment: Moment, approvals: Approvals, waiting_for: str) -> Judgement | None:
        if moment.elapsed < self._standing_up:
            return None
        return Judgement(Reason("lowered", "lowered"), Event.LOWERED)
