"""The state machine: what makes each event of states.py happen, and what a tick sends.

    machine.advance(now, asked)        # make the transitions that are due
    machine.decide(now, command)       # tick_state.target, kp and kd are what to send

It knows neither driver nor clock, and does nothing but arithmetic and bookkeeping.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.events import APPROVE_RUN, APPROVE_STAND, Code, NodeEvent
from robot_ppo_node.control.feet import Feet
from robot_ppo_node.control.patience import FAIL_AFTER, SILENT_AFTER, Patience
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.setpoints import FADE, Setpoints
from robot_ppo_node.control.states import RUNNING, SILENT, Event, State, leads_on, next_state
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.monitor import Monitor
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.tick_state import TickState
from robot_ppo_node.startup.joint_check import JointCheck
from robot_ppo_node.startup.preflight import Check, Watch

POSE_GATE = 0.5
"""Largest distance [rad] of a joint to the default pose at which the policy may start."""
DAMP_SECONDS = 1.0
"""How long damping is sent where nobody is there to end it [s]."""
HOLD_SECONDS = 10.0
"""How long a robot that cannot lie down is held after a stop, for the operator to take it [s]."""
HALT_SECONDS = 1.0
"""How long the policy is asked to stand still before the robot sits down [s]: two steps' time."""
FADING = (Event.LOWERED, Event.RELEASED, Event.HELD_LONG)
"""Events after which damping fades in, because the robot is held by something else."""

Due = tuple[Event, Reason] | None
"""An event, and what to say about it."""


@dataclass(frozen=True)
class Settings:
    """What is decided about a run before it begins."""

    limits: Limits
    """Of the envelope."""
    stand: bool = False
    """The operator approves beforehand that the robot stands up."""
    arm: bool = False
    """And that the policy runs."""
    joint_check: bool = False
    """Try every joint before standing up."""
    fail_after: float = FAIL_AFTER
    silent_after: float = SILENT_AFTER
    damp_after_stop: float = DAMP_SECONDS
    """How long damping is sent after a stop [s]."""
    damp_after_fault: float = DAMP_SECONDS
    """After a fault, and after an emergency stop: the robot did not sit down."""


class StateMachine:
    """One policy's way from PASSIVE to DAMP."""

    def __init__(
        self,
        policy: Policy,
        tick_state: TickState,
        watch: Watch,
        settings: Settings,
        on_event: Callable[[float, NodeEvent], None] | None,
    ) -> None:
        contract = policy.contract
        self.policy, self.tick_state, self.watch = policy, tick_state, watch
        self.envelope = Envelope(contract.robot, settings.limits, tick_state.measured.widths)
        self.setpoints = Setpoints(policy)
        self.monitor = Monitor(contract)
        self.on_event = on_event
        self.requests = Requests()
        self.state = State.PASSIVE
        self.start = contract.robot.life_cycle.start
        """Selects the rows of the table."""
        self.checks: list[Check] = []
        """What PREFLIGHT found last."""
        self.events: list[tuple[float, NodeEvent]] = []
        self.fault: Reason | None = None
        """Why a guard or an error brought the robot down; the first reason stays."""
        self.over = False
        """Nothing more is to be sent."""
        self.ran = False
        """The network ran in this tick."""
        self._may_stand, self._armed = settings.stand or settings.arm, settings.arm
        self._approved = False
        """The operator approves what this state judges next; the judgement uses it up."""
        self._joint_check = self._make_joint_check() if settings.joint_check else None
        self._patience = Patience(settings.fail_after, settings.silent_after)
        self._damp_after_stop = settings.damp_after_stop
        self._damp_after_fault = settings.damp_after_fault
        self._feet = Feet()
        self._silent = True
        """The robot is not heard in this tick."""
        self._entered_at = 0.0
        self._damp_until = math.inf
        self._fading_out = False
        self._waiting_for = ""
        """Code of the reason that was told last."""
        self._idle = np.zeros_like(tick_state.action)
        self._blind = np.zeros_like(tick_state.observation)
        self._due = self._due_by_state(contract.robot.life_cycle.has_rest)

    def _make_joint_check(self) -> JointCheck:
        return JointCheck(self.policy.contract, *self.setpoints.gains[State.JOINT_CHECK])

    def _due_by_state(self, has_rest: bool) -> dict[State, Callable[[float], Due]]:
        return {
            State.PASSIVE: self._leave_passive,
            State.PREFLIGHT: self._leave_preflight,
            State.JOINT_CHECK: self._leave_joint_check,
            State.STAND: self._leave_stand,
            State.READY: self._leave_ready,
            State.HALT: self._leave_halt if has_rest else self._leave_hold,
            State.HOLD: self._leave_hold,
            State.SIT: self._leave_sit,
        }

    @property
    def sends(self) -> bool:
        """Whether this state sends something."""
        return self.state not in SILENT

    @property
    def endless(self) -> bool:
        """Whether damping, once begun, goes on until somebody ends it."""
        return math.isinf(self._damp_until)

    def shorten_damping(self, seconds: float) -> None:
        """Send damping for so long [s] after a stop, whatever was said before."""
        self._damp_after_stop = seconds

    def take_up(self, state: State) -> None:
        """Be in `state` since long ago: for replay, which continues from the middle of a log."""
        self.state, self._entered_at = state, -math.inf

    def advance(self, now: float, asked: Requests, trouble: Reason | None = None) -> None:
        """Make the transitions that are due: what was asked, what the guards say, what is over.

        `trouble` says what is wrong with the driver; there is nothing to guard then.
        """
        self.envelope.fired = 0
        if asked.reset and self.state is State.DAMP:
            self._reset(now)
            return
        fading = self._fading(now)
        self._obey(now, asked)
        if self.over or (self.state is State.DAMP and not fading):
            return
        reason = trouble or self.envelope.check_state(self.tick_state)
        self._listen(now, trouble, reason)
        if self.over:
            return
        if fading and (asked.emergency or reason):
            self._damp_at_once(now, reason or Reason("operator", asked.emergency or ""))
        elif reason:
            self.fail(now, reason)
        elif self.state in self._due and (due := self._due[self.state](now)):
            self._change(now, *due)

    def decide(self, now: float, command: np.ndarray) -> None:
        """Fill the tick state with what this state sends, inside the envelope.

        In HALT a `command` (k,) that is a twist becomes zero, in place.
        """
        s, state, elapsed = self.tick_state, self.state, now - self._entered_at
        self.ran = False
        s.action, s.observation = self._idle, self._blind
        if state is State.DAMP:
            self._decide_damping(now, elapsed)
            return
        if not self.sends:
            return
        if state is State.HALT and self.policy.contract.command.kind == "twist":
            command[:] = 0
        if state in RUNNING:
            target = self._run_policy(now, command)
        elif state is State.JOINT_CHECK and self._joint_check:
            target = self._joint_check.target(elapsed)
        else:
            target = self.setpoints.pose(state, elapsed)
        self.setpoints.fill(s, state, target, elapsed)
        reason = self.envelope.check_target(s)
        if reason:
            self.fail(now, reason)
            self.setpoints.damp(s)

    def finish(self, now: float) -> None:
        """Say `over` when damping was sent for long enough; the tick's last act."""
        self.over = self.over or (self.state is State.DAMP and now >= self._damp_until)

    def fail(self, now: float, reason: Reason) -> None:
        """Bring the robot down for `reason`; where nothing was sent yet, go back and wait."""
        if self.state is State.PREFLIGHT:
            self._change(now, Event.UNFIT, reason, Code.WAITING)
            self._waiting_for = reason.code
            self._count_failure(now, reason)
        elif self.state is State.PASSIVE:
            self._wait(now, reason)
            self._count_failure(now, reason)
        elif self.state is not State.DAMP:
            self.fault = reason
            self._damp_until = now + self._damp_after_fault
            self._change(now, Event.FAULT, reason, Code.FAULT)

    def warn(self, now: float, reason: Reason) -> None:
        """Tell something that changes nothing."""
        self._log(now, NodeEvent(Code.WARNING, self.state, reason))

    def _obey(self, now: float, asked: Requests) -> None:
        """Do what people asked for; what means nothing in this state is forgotten."""
        awaited = self.state in (State.PREFLIGHT, State.READY)
        self._approved = self._approved or (asked.approval and awaited)
        if asked.taken_over and self.sends:
            self.fail(now, Reason("watchdog", asked.taken_over))
        if asked.emergency and self.state is not State.DAMP:
            self._damp_until = now + self._damp_after_fault
            self._change(now, Event.EMERGENCY, Reason("operator", asked.emergency))
        if asked.unguarded:  # nobody would damp the robot of a node that dies from here on
            self.fault = self.fault or Reason("watchdog_lost", asked.unguarded)
            self._stop(now, self.fault, Code.FAULT)
        if asked.stop:
            self._stop(now, Reason("operator", asked.stop))
        if asked.end is not None:
            self._damp_until = min(self._damp_until, now + asked.end)

    def _stop(self, now: float, reason: Reason, code: Code = Code.CHANGED) -> None:
        """Stop in order: by the table, and before anything was sent by ending the run."""
        if not self.sends:
            self.over = True
            return
        for event in (Event.STOP, Event.RELEASED):
            if leads_on(self.state, event, self.start):
                self._damp_until = now + self._damp_after_stop
                self._change(now, event, reason, code)
                return

    def _reset(self, now: float) -> None:
        """Begin anew, with every approval forgotten."""
        self._may_stand = self._armed = self.over = False
        self.fault, self._damp_until = None, math.inf
        self._patience.begin_anew()
        self._change(now, Event.RESET, Reason("operator", "reset"))

    def _leave_passive(self, now: float) -> Due:
        """Begin to watch, once the robot answers."""
        self.watch.begin()
        return Event.FIT, Reason("fit", "watching the robot at rest")

    def _leave_preflight(self, now: float) -> Due:
        """Stand up from where the joints are, once the robot passes and the operator approves."""
        s, watch = self.tick_state, self.watch
        approved = self._may_stand or self._approved
        watch.add(s)
        if not watch.full or (self._waiting_for == APPROVE_STAND and not approved):
            return None
        self.checks = watch.judge()
        bad = [check.reason for check in self.checks if not check.good]
        if bad:
            self._deny(now, Reason(bad[0].code, "; ".join(map(str, bad))))
            watch.begin()  # judged again after another second
            self._count_failure(now, bad[0])
            return None
        self._patience.passed()
        if not approved:
            self._wait(now, Reason(APPROVE_STAND, "the operator's approval to stand up"))
            return None
        self.setpoints.rise_from(s.measured.state.joint_pos, s)
        self.envelope.reset()
        passed = f"{len(self.checks)} checks passed"
        if self._joint_check:
            self._joint_check.begin(s.measured.state.joint_pos)
            text = f"{passed}; moving one joint after the other"
            return Event.GO_JOINT_CHECK, Reason("passed", text)
        return Event.GO, Reason("passed", f"{passed}; moving to the default pose")

    def _leave_joint_check(self, now: float) -> Due:
        """Stand up once every joint has answered as it should."""
        check, elapsed = self._joint_check, now - self._entered_at
        assert check is not None, "GO_JOINT_CHECK needs a joint check"
        check.add(elapsed, now, self.tick_state)
        if not check.over(elapsed):
            return None
        results = check.judge()
        self.checks = [*self.checks, *results]
        bad = [result.reason for result in results if not result.good]
        if bad:
            self.fail(now, bad[0])
            return None
        return Event.ANSWERED, Reason("passed", f"{results[-1]}; moving to the default pose")

    def _leave_stand(self, now: float) -> Due:
        if now - self._entered_at < self.setpoints.duration:
            return None
        self._feet.reset()
        if self._armed:
            return Event.STOOD, Reason("armed", "armed")
        return Event.STOOD, Reason(APPROVE_RUN, "waiting for the operator's approval to walk")

    def _leave_ready(self, now: float) -> Due:
        """Start the policy anew, where the robot is in its default pose and on its feet."""
        hangs, state = self.start == "hanging", self.tick_state.measured.state
        if hangs:
            self._feet.add(now, state.foot_force)
        if not (self._armed or self._approved):
            return None
        if far := self._far_from_default():
            self._deny(now, far)
            if self._armed:  # else the operator has used up the approval, and is asked again
                self._count_failure(now, far)
            return None
        self._patience.passed()
        measured = "foot_force" in self.watch.signals
        if hangs and (in_the_air := self._feet.in_the_air(now, measured, self._approved)):
            self._deny(now, in_the_air)
            return None
        self.policy.reset()
        self.monitor.reset()
        event = Event.CARRIED if hangs else Event.ARMED
        return event, Reason("armed", "running the policy")

    def _far_from_default(self) -> Reason | None:
        """Return which joint is too far from the default pose to start the policy, or None."""
        position = self.tick_state.measured.state.joint_pos
        distance = np.abs(position - self.setpoints.default)
        i = int(distance.argmax())
        if distance[i] <= POSE_GATE:
            return None
        name = self.policy.contract.robot.joint_names[i]
        text = f"pose: {name} is {distance[i]:.2f} rad from the default pose"
        return Reason("pose", text)

    def _leave_halt(self, now: float) -> Due:
        """Sit down once the feet had the time to come together."""
        if now - self._entered_at < HALT_SECONDS:
            return None
        return Event.HALTED, Reason("halted", "standing still")

    def _leave_hold(self, now: float) -> Due:
        """Let go of a robot that cannot lie down, in case nobody said that it is held."""
        if now - self._entered_at < HOLD_SECONDS:
            return None
        self._damp_until = now + self._damp_after_stop
        return Event.HELD_LONG, Reason("held", f"held for {HOLD_SECONDS:g} s")

    def _leave_sit(self, now: float) -> Due:
        if now - self._entered_at < self.setpoints.duration:
            return None
        self._damp_until = now + self._damp_after_stop
        return Event.LOWERED, Reason("lowered", "lowered")

    def _run_policy(self, now: float, command: np.ndarray) -> np.ndarray:
        """Run the network; return its targets (joints,) [rad]."""
        s, policy = self.tick_state, self.policy
        target = policy.tick(s.measured.state, command)
        s.action, s.observation, self.ran = policy.last_action, policy.observation, True
        for text in self.monitor.watch(s.observation):
            self.warn(now, Reason("outside_of_training", text))
        return target

    def _decide_damping(self, now: float, elapsed: float) -> None:
        fading = self._fading(now)
        self.setpoints.damp(self.tick_state, elapsed if fading else FADE)
        if fading and (reason := self.envelope.check_target(self.tick_state)):
            self._damp_at_once(now, reason)
            self.setpoints.damp(self.tick_state)

    def _fading(self, now: float) -> bool:
        """Return whether position gains are still on their way to zero, after a stop."""
        return self._fading_out and now - self._entered_at < FADE

    def _damp_at_once(self, now: float, reason: Reason) -> None:
        """End the fade."""
        self._fading_out = False
        self._log(now, NodeEvent(Code.AT_ONCE, self.state, reason))

    def _listen(self, now: float, trouble: Reason | None, reason: Reason | None) -> None:
        """Notice a robot that is not heard; in PASSIVE, end the run where that lasts too long."""
        stale_after = self.envelope.bounds.limits.stale_after
        self._silent = trouble is not None or self.tick_state.age > stale_after
        if not (self._silent and self.state is State.PASSIVE and reason):
            self._patience.heard()
        elif why := self._patience.silent(now, reason):
            self._give_up(now, why)

    def _count_failure(self, now: float, reason: Reason) -> None:
        """End the run where this has failed for too long; of a silent robot nothing is known."""
        if not self._silent and (why := self._patience.failed(now, reason)):
            self._give_up(now, why)

    def _give_up(self, now: float, reason: Reason) -> None:
        """End the run as for a fault, but in order; where nothing was sent, nothing is."""
        self.fault = reason
        if self.sends:
            self._damp_until = now + self._damp_after_fault
            self._change(now, Event.STOP, reason, Code.GIVING_UP)
        else:
            self.over = True
            self._log(now, NodeEvent(Code.GIVING_UP, self.state, reason))

    def _deny(self, now: float, reason: Reason) -> None:
        """Say why a state is not left; an approval is used up, and each one is answered.

        Else the robot would move when the reason is gone, and nobody expects it any more.
        """
        denied = self._approved
        if denied:
            self._approved, self._waiting_for = False, ""
        self._wait(now, reason, denied)

    def _wait(self, now: float, reason: Reason, denied: bool = False) -> None:
        """Say why a state is not left, once per reason."""
        if reason.code != self._waiting_for:
            self._waiting_for = reason.code
            self._log(now, NodeEvent(Code.WAITING, self.state, reason, denied=denied))

    def _change(self, now: float, event: Event, reason: Reason, code: Code = Code.CHANGED) -> None:
        """Change state; what was sent last is where targets and gains fade from."""
        state = next_state(self.state, event, self.start)
        self._fading_out = event in FADING
        self.setpoints.begin(self.tick_state)
        self.state, self._entered_at, self._waiting_for = state, now, ""
        self._approved = False
        held = leads_on(state, Event.RELEASED, self.start)
        self._log(now, NodeEvent(code, state, reason, event, held))

    def _log(self, now: float, event: NodeEvent) -> None:
        """Keep an event, and tell whoever listens."""
        self.events.append((now, event))
        if self.on_event:
            with contextlib.suppress(Exception):  # a listener's trouble is not the robot's
                self.on_event(now, event)
