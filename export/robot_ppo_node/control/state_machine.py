"""The state machine at work: what makes each event of states.py happen, and what a tick sends.

    machine.advance(now)               # the transitions that are due
    machine.decide(now, command)       # situation.target, kp and kd are what to send

It knows neither driver nor clock, and does nothing but arithmetic and bookkeeping.
"""

import contextlib
import math
from collections.abc import Callable

import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.setpoints import FADE, Motion
from robot_ppo_node.control.states import RUNNING, SILENT, Event, State, leads_on, next_state
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.monitor import Monitor
from robot_ppo_node.safety.tick_state import Situation
from robot_ppo_node.startup.joint_check import Wiggle
from robot_ppo_node.startup.preflight import Check, Watch

POSE_GATE = 0.5
"""Largest distance [rad] of a joint to the default pose at which the policy may start."""
DAMP_SECONDS = 1.0
"""How long damping is sent where nobody is there to end it [s]."""

HOLD_SECONDS = 10.0
"""How long a robot that cannot lie down is held after a stop, for the operator to take it [s]."""

FAIL_AFTER, SILENT_AFTER = 5.0, 10.0
"""How long a check may fail before anything moves, and the robot be silent [s], unless the command
line says otherwise: then the run ends."""

CARRY_FORCE, CARRY_SECONDS = 1.0, 1.0
"""A robot that was lowered stands when every foot was pressed by so much [N] for so long [s]."""

HALT_SECONDS = 1.0
"""How long the policy is asked to stand still before the robot sits down [s]: two steps' time."""

A_WORD = "a person's word to stand up"

Due = tuple[Event, str] | None
"""An event, and what to say about it."""


class Machine:
    """One policy's way from PASSIVE to DAMP."""

    def __init__(
        self,
        policy: Policy,
        situation: Situation,
        limits: Limits,
        watch: Watch,
        on_event: Callable[[float, str], None] | None,
        fail_after: float = FAIL_AFTER,
        silent_after: float = SILENT_AFTER,
    ) -> None:
        self.policy, self.situation, self.watch = policy, situation, watch
        signals = situation.measured.widths
        self.envelope = Envelope(policy.contract.robot, limits, signals)
        self.motion = Motion(policy)
        self.monitor = Monitor(policy.contract)
        self.on_event = on_event
        self.requests = Requests()
        self.state = State.PASSIVE
        self.may_stand = self.armed = False
        """What a person has allowed for good, on the command line."""
        self.word = False
        """A person says go, to what this state judges next; whatever the judgement, it is used."""
        self.checks: list[Check] = []
        """What PREFLIGHT found last."""
        self.events: list[tuple[float, str]] = []
        self.fault: str | None = None
        """Why a guard or an error brought the robot down; the first reason stays."""
        self.over = False
        """Nothing more is to be sent."""
        self.wiggle: Wiggle | None = None
        """Set where every joint is to be tried before standing up."""
        self.ran = False
        """The network ran in this tick."""
        self.damp_after_stop = self.damp_after_fault = DAMP_SECONDS
        """[s] The latter after an emergency stop too: the robot did not sit down."""
        self.start = policy.contract.robot.life_cycle.start
        """Selects the rows of the table."""
        self.fail_after, self.silent_after = fail_after, silent_after
        """[s]"""
        self._failing_since: float | None = None
        """First failure since everything passed last [s]."""
        self._silent_since: float | None = None
        """Since when the robot is not heard in PASSIVE [s]."""
        self._silent = True
        """It is not heard in this tick."""
        self._attended = False
        """A person has begun anew with `reset`: nothing ends by itself any more."""
        self._carried_since: float | None = None
        """When the feet began to carry, all of them and without a break [s]."""
        self._entered_at = 0.0
        self._damp_until = math.inf
        self._fading_out = False
        self._waiting_for = ""
        self._idle = np.zeros_like(situation.action)
        self._blind = np.zeros_like(situation.observation)
        self._due: dict[State, Callable[[float], Due]] = {
            State.PASSIVE: self._leave_passive,
            State.PREFLIGHT: self._leave_preflight,
            State.WIGGLE: self._leave_wiggle,
            State.STAND: self._leave_stand,
            State.READY: self._leave_ready,
            State.HALT: self._leave_halt if self.sits_down else self._leave_hold,
            State.HOLD: self._leave_hold,
            State.SIT: self._leave_sit,
        }

    @property
    def sends(self) -> bool:
        """Whether this state sends something."""
        return self.state not in SILENT

    @property
    def sits_down(self) -> bool:
        """Whether a stop ends on the ground, and not in the operator's hands."""
        return self.policy.contract.robot.life_cycle.has_rest

    @property
    def endless(self) -> bool:
        """Whether damping, once begun, goes on until somebody ends it."""
        return math.isinf(self._damp_until)

    def take_up(self, state: State) -> None:
        """Be in `state` since long ago: for replay, which continues from the middle of a log."""
        self.state, self._entered_at = state, -math.inf

    def advance(self, now: float, asked: Requests, trouble: str | None = None) -> None:
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
        reason = trouble or self.envelope.check_state(self.situation)
        stale_after = self.envelope.bounds.limits.stale_after
        self._silent = trouble is not None or self.situation.age > stale_after
        self._count_silence(now, reason or "")
        if self.over:
            return
        if fading and (why := asked.emergency or reason):
            self._damp_at_once(now, why)
        elif reason:
            self.fail(now, reason)
        elif self.state in self._due and (due := self._due[self.state](now)):
            self._fire(now, *due)

    def decide(self, now: float, command: np.ndarray) -> None:
        """Fill the situation with what this state sends, inside the envelope.

        In HALT a `command` (k,) that is a twist becomes zero, in place.
        """
        s, state, elapsed = self.situation, self.state, now - self._entered_at
        self.ran = False
        s.action, s.observation = self._idle, self._blind
        if state is State.DAMP:
            fading = self._fading(now)
            self.motion.damp(s, elapsed if fading else FADE)
            if fading and (reason := self.envelope.check_target(s)):
                self._damp_at_once(now, reason)
                self.motion.damp(s)
            return
        if not self.sends:
            return
        if state is State.HALT and self.policy.contract.command.kind == "twist":
            command[:] = 0
        if state in RUNNING:
            target = self.policy.tick(s.measured.state, command)
            s.action, s.observation, self.ran = (
                self.policy.last_action,
                self.policy.observation,
                True,
            )
            for text in self.monitor.watch(s.observation):
                self.note(now, text)
        elif state is State.WIGGLE and self.wiggle:
            target = self.wiggle.target(elapsed)
        else:
            target = self.motion.pose(state, elapsed)
        self.motion.fill(s, state, target, elapsed)
        reason = self.envelope.check_target(s)
        if reason:
            self.fail(now, reason)
            self.motion.damp(s)

    def finish(self, now: float) -> None:
        """Say `over` when damping was sent for long enough; the tick's last act."""
        self.over = self.over or (self.state is State.DAMP and now >= self._damp_until)

    def fail(self, now: float, reason: str) -> None:
        """Bring the robot down for `reason`; where nothing was sent yet, go back and wait."""
        if self.state is State.PREFLIGHT:
            self._fire(now, Event.UNFIT, f"waiting: {reason}")
            self._waiting_for = _cause(reason)
            self._count_failure(now, reason)
        elif self.state is State.PASSIVE:
            self._wait(now, reason)
            self._count_failure(now, reason)
        elif self.state is not State.DAMP:
            self.fault = reason
            self._damp_until = now + self.damp_after_fault
            self._fire(now, Event.FAULT, f"FAULT: {reason}")

    def _obey(self, now: float, asked: Requests) -> None:
        """Do what people asked for; what means nothing in this state is forgotten."""
        self.word = self.word or (asked.go and self.state in (State.PREFLIGHT, State.READY))
        if asked.taken_over and self.sends:
            self.fail(now, asked.taken_over)
        if asked.emergency and self.state is not State.DAMP:
            self._damp_until = now + self.damp_after_fault
            self._fire(now, Event.EMERGENCY, asked.emergency)
        if asked.stop and not self.sends:
            self.over = True
        elif asked.stop and self._knows(Event.STOP):
            self._damp_until = now + self.damp_after_stop
            self._fire(now, Event.STOP, asked.stop)
        elif asked.stop and self._knows(Event.RELEASED):
            self._damp_until = now + self.damp_after_stop
            self._fire(now, Event.RELEASED, asked.stop)
        if asked.end is not None:
            self._damp_until = min(self._damp_until, now + asked.end)

    def _fading(self, now: float) -> bool:
        """Return whether position gains are still on their way to zero, after sitting down."""
        return self._fading_out and now - self._entered_at < FADE

    def _damp_at_once(self, now: float, reason: str) -> None:
        """End the fade."""
        self._fading_out = False
        self.note(now, f"DAMP: at once: {reason}")

    def _reset(self, now: float) -> None:
        """Begin anew, with every word forgotten."""
        self.may_stand = self.armed = self.over = False
        self.fault, self._damp_until = None, math.inf
        self._attended, self._failing_since = True, None
        self._fire(now, Event.RESET, "reset")

    def _leave_passive(self, now: float) -> Due:
        """Begin to watch, once the robot answers."""
        self.watch.begin()
        return Event.FIT, "watching the robot at rest"

    def _leave_preflight(self, now: float) -> Due:
        """Stand up from where the joints are, once the robot passes and a person says so."""
        s, watch, may = self.situation, self.watch, self.may_stand or self.word
        watch.add(s)
        if not watch.full or (self._waiting_for == A_WORD and not may):
            return None
        self.checks = watch.judge()
        bad = [str(check) for check in self.checks if not check.good]
        if bad:
            self._deny(now, "; ".join(bad))
            watch.begin()  # judged again after another second
            self._count_failure(now, bad[0])
            return None
        self._failing_since = None
        if not may:
            self._wait(now, A_WORD)
            return None
        self.motion.rise_from(s.measured.state.joint_pos, s)
        self.envelope.reset()
        passed = f"{len(self.checks)} checks passed"
        if self.wiggle:
            self.wiggle.begin(s.measured.state.joint_pos)
            return Event.GO_WIGGLE, f"{passed}; moving one joint after the other"
        return Event.GO, f"{passed}; moving to the default pose"

    def _leave_wiggle(self, now: float) -> Due:
        """Stand up once every joint has answered as it should."""
        wiggle, elapsed = self.wiggle, now - self._entered_at
        assert wiggle is not None, "GO_WIGGLE needs a wiggle"
        wiggle.add(elapsed, now, self.situation)
        if not wiggle.over(elapsed):
            return None
        results = wiggle.judge()
        self.checks = [*self.checks, *results]
        bad = [str(check) for check in results if not check.good]
        if bad:
            self.fail(now, bad[0])
            return None
        return Event.ANSWERED, f"{results[-1]}; moving to the default pose"

    def _leave_stand(self, now: float) -> Due:
        if now - self._entered_at < self.motion.duration:
            return None
        self._carried_since = None
        return Event.STOOD, "armed" if self.armed else "waiting for a person's word to walk"

    def _leave_ready(self, now: float) -> Due:
        """Start the policy from a fresh start, unless a joint is far from where it should be."""
        if self.start == "hanging":
            self._watch_feet(now)
        if not (self.armed or self.word):
            return None
        distance = np.abs(self.situation.measured.state.joint_pos - self.motion.default)
        i = int(distance.argmax())
        if distance[i] > POSE_GATE:
            name = self.policy.contract.robot.joint_names[i]
            reason = f"pose: {name} is {distance[i]:.2f} rad from the default pose"
            self._deny(now, reason)
            if self.armed:  # a person at the keys has used up the word, and is asked again
                self._count_failure(now, reason)
            return None
        self._failing_since = None
        if self.start == "hanging" and (in_the_air := self._in_the_air(now)):
            self._deny(now, in_the_air)
            return None
        self.policy.reset()
        self.monitor.reset()
        return Event.CARRIED if self.start == "hanging" else Event.ARMED, "running the policy"

    def _watch_feet(self, now: float) -> None:
        """Keep the time since when every foot carries."""
        if not (self.situation.measured.state.foot_force > CARRY_FORCE).all():
            self._carried_since = None
        elif self._carried_since is None:
            self._carried_since = now

    def _in_the_air(self, now: float) -> str | None:
        """Return why a robot that hung does not stand yet, or None."""
        if "foot_force" not in self.watch.signals:
            text = "feet: the robot does not measure what they carry: key p once they do"
            return None if self.word else text
        if self._carried_since is None or now - self._carried_since < CARRY_SECONDS:
            return "feet: not all of them carry yet: lower the robot until they do"
        return None

    def _leave_halt(self, now: float) -> Due:
        """Sit down once the feet had the time to come together."""
        if now - self._entered_at < HALT_SECONDS:
            return None
        return Event.HALTED, "standing still"

    def _leave_hold(self, now: float) -> Due:
        """Let go of a robot that cannot lie down, in case nobody said that it is held."""
        if now - self._entered_at < HOLD_SECONDS:
            return None
        self._damp_until = now + self.damp_after_stop
        return Event.HELD_LONG, f"held for {HOLD_SECONDS:g} s"

    def _leave_sit(self, now: float) -> Due:
        if now - self._entered_at < self.motion.duration:
            return None
        self._damp_until = now + self.damp_after_stop
        return Event.LOWERED, "lowered"

    def _fire(self, now: float, event: Event, text: str) -> None:
        """Change state; what was sent last is where targets and gains fade from."""
        state = next_state(self.state, event, self.start)
        self._fading_out = event in (Event.LOWERED, Event.RELEASED, Event.HELD_LONG)
        self.motion.begin(self.situation)
        self.state, self._entered_at, self._waiting_for = state, now, ""
        self.word = False
        self.note(now, f"{state.name}: {text}")

    def _deny(self, now: float, text: str) -> None:
        """Say why a state is not left; whoever said the word is told each time, and says it anew.

        Else the robot would move when the reason is gone, and the person no longer expects it.
        """
        if self.word:
            self.word, self._waiting_for = False, ""
            text += "; then the word again"
        self._wait(now, text)

    def _knows(self, event: Event) -> bool:
        """Return whether `event` means anything now."""
        return leads_on(self.state, event, self.start)

    def _count_failure(self, now: float, reason: str) -> None:
        """End the run where no check or guard has passed for `fail_after` since the first failure.

        Where nothing was sent yet, nothing is; a robot that stands is stopped. Silence is not
        counted here.
        """
        if self._silent:
            return
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > self.fail_after - 1e-6:  # a sum of periods
            self._give_up(now, f"{reason}; failing for {self.fail_after:g} s")

    def _count_silence(self, now: float, reason: str) -> None:
        """End the run where a robot that was reached has not been heard for `silent_after`."""
        if not (self._silent and self.state is State.PASSIVE):
            self._silent_since = None
            return
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > self.silent_after - 1e-6:
            self._give_up(now, f"{reason}; no state for {self.silent_after:g} s")

    def _give_up(self, now: float, reason: str) -> None:
        """Stop as for a fault, in order; a person who has begun anew decides for themselves."""
        if self._attended:
            return
        self.fault = reason
        if self.sends:
            self._damp_until = now + self.damp_after_fault
            self._fire(now, Event.STOP, f"giving up: {reason}")
        else:
            self.over = True
            self.note(now, f"{self.state.name}: giving up: {reason}")

    def _wait(self, now: float, text: str) -> None:
        """Say why a state is not left, once per cause."""
        if _cause(text) != self._waiting_for:
            self._waiting_for = _cause(text)
            self.note(now, f"{self.state.name}: waiting: {text}")

    def note(self, now: float, text: str) -> None:
        """Keep an event, and tell whoever listens."""
        self.events.append((now, text))
        if self.on_event:
            with contextlib.suppress(Exception):  # a listener's trouble is not the robot's
                self.on_event(now, text)


def _cause(text: str) -> str:
    """Return the part of a reason that does not change from tick to tick."""
    return text.partition(":")[0]
