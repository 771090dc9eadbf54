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
            State.HALT: self._leave_halt,
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
        if fading and (why := asked.emergency or reason):
            self._damp_at_once(now, why)
        elif reason:
            self.fail(now, reason)
        elif self.state in self._due and (due := self._due[self.state](now)):
            self._fire(now, *due)

    def decide(self, now: float, command: np.ndarray) -> None:
        """Fill the situation with what this state sends, inside the envelope.

        In HALT the `command` (3,) becomes zero, in place.
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
        if state is State.HALT:
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
        elif self.state is State.PASSIVE:
            self._wait(now, reason)
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
        elif asked.stop and leads_on(self.state, Event.STOP):
            self._damp_until = now + self.damp_after_stop
            self._fire(now, Event.STOP, asked.stop)
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
            return None
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
        return Event.STOOD, "armed" if self.armed else "waiting for a person's word to walk"

    def _leave_ready(self, now: float) -> Due:
        """Start the policy from a fresh start, unless a joint is far from where it should be."""
        if not (self.armed or self.word):
            return None
        distance = np.abs(self.situation.measured.state.joint_pos - self.motion.default)
        i = int(distance.argmax())
        if distance[i] > POSE_GATE:
            name = self.policy.contract.robot.joint_names[i]
            self._deny(now, f"pose: {name} is {distance[i]:.2f} rad from the default pose")
            return None
        self.policy.reset()
        self.monitor.reset()
        return Event.ARMED, "running the policy"

    def _leave_halt(self, now: float) -> Due:
        """Sit down once the feet had the time to come together."""
        if now - self._entered_at < HALT_SECONDS:
            return None
        return Event.HALTED, "standing still"

    def _leave_sit(self, now: float) -> Due:
        if now - self._entered_at < self.motion.duration:
            return None
        self._damp_until = now + self.damp_after_stop
        return Event.LOWERED, "lowered"

    def _fire(self, now: float, event: Event, text: str) -> None:
        """Change state; what was sent last is where targets and gains fade from."""
        state = next_state(self.state, event)
        self._fading_out = event is Event.LOWERED
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
