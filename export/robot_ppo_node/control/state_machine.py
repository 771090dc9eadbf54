"""The state machine: makes the events of states.py happen, and decides what a tick sends.

    machine.advance(now, measurement, asked)                 # make the transitions that are due
    decision = machine.decide(now, measurement, command)     # what to send, inside the envelope

It knows neither driver nor clock, and does nothing but arithmetic and bookkeeping.
"""

from collections.abc import Mapping

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.control.announcer import Announcer, Listener
from robot_ppo_node.control.approvals import Approvals
from robot_ppo_node.control.command_maker import CommandMaker
from robot_ppo_node.control.damping import FADING, Damping
from robot_ppo_node.control.events import Code, NodeEvent
from robot_ppo_node.control.exits import Exits, Judgement, Moment
from robot_ppo_node.control.inputs import DRIVER_FAULT
from robot_ppo_node.control.patience import Patience
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.settings import Settings
from robot_ppo_node.control.states import SILENT, Event, State, leads_on, next_state
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.reason import Reason

RISING = (Event.GO, Event.GO_JOINT_CHECK)
STARTING = (Event.ARMED, Event.CARRIED)


class StateMachine:
    """One policy's way from PASSIVE to DAMP."""

    def __init__(
        self,
        policy: Policy,
        signals: Mapping[str, int],
        settings: Settings,
        listener: Listener | None,
    ) -> None:
        """Be PASSIVE; `signals` are those of a measurement, with their widths."""
        contract = policy.contract
        self.start = contract.robot.life_cycle.start
        """Selects the rows of the table."""
        self.state = State.PASSIVE
        self.fault: Reason | None = None
        """The guard or error that brought the robot down; the first one stays."""
        self.over = False
        """Nothing more is to be sent."""
        self.maker = CommandMaker(policy, settings.limits, signals, settings.joint_check)
        self.policy = policy
        self.envelope = self.maker.envelope
        self.monitor = self.maker.runner.monitor
        self.announcer = Announcer(listener)
        self.exits = Exits(contract, self.maker.joint_check)
        self.damping = Damping(settings.damp_after_stop, settings.damp_after_fault)
        self._approvals = Approvals(settings.stand or settings.arm, settings.arm)
        self._patience = Patience(settings.fail_after, settings.silent_after)
        self._entered_at = 0.0
        self._silent = True
        """The robot is not heard in this tick."""

    @property
    def sends(self) -> bool:
        """Whether this state sends something."""
        return self.state not in SILENT

    def expect(self, signals: frozenset[str]) -> None:
        """Take in which signals the robot measures: checks look at no others."""
        self.exits.watch.signals = signals

    def take_up(self, state: State, target: np.ndarray) -> None:
        """Be in `state` since long ago, with `target` (joints,) [rad] as the last one sent.

        For a replay that begins in the middle of a log.
        """
        self.state = state
        self.fault = None
        self.maker.start_at(target)
        self._entered_at = -np.inf

    def advance(
        self, now: float, measurement: Measurement, asked: Requests, trouble: Reason | None = None
    ) -> None:
        """Make the transitions that are due: by request, by the guards, by its own condition.

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
        reason = trouble or self.envelope.check_state(measurement)
        self._listen(now, self._is_silent(measurement, trouble), reason)
        if self.over:
            return
        if fading and (asked.emergency or reason):
            self._damp_at_once(now, reason or Reason("operator", asked.emergency or ""))
        elif reason:
            self.fail(now, reason)
        else:
            self._judge(Moment(now, now - self._entered_at, measurement))

    def decide(self, now: float, measurement: Measurement, command: np.ndarray) -> Decision:
        """Return what this state sends, inside the envelope; `command` (k,) is the operator's."""
        maker = self.maker
        state = self.state
        elapsed = now - self._entered_at
        if not self.sends:
            return maker.nothing(command)
        proposal = maker.propose(state, elapsed, measurement, command)
        if state is State.DAMP and not self._fading(now):
            return maker.brake(proposal)
        if proposal.ran:
            for reason in maker.runner.warnings(proposal):
                self.warn(now, reason)
        decision, objection = maker.make(state, elapsed, measurement, proposal)
        if objection is None:
            return decision
        if state is State.DAMP:
            self._damp_at_once(now, objection)
        else:
            self.fail(now, objection)
        return maker.brake(proposal)

    def brake(self, command: np.ndarray) -> Decision:
        """Return a decision that only brakes; one that sends nothing where nothing was sent."""
        if not self.sends:
            return self.maker.nothing(command)
        return self.maker.brake(self.maker.runner.idle(self.maker.sent.target, command))

    def finish(self, now: float) -> None:
        """Say `over` when damping was sent for long enough; the tick's last act."""
        self.over = self.over or (self.state is State.DAMP and self.damping.over(now))

    def fail(self, now: float, reason: Reason) -> None:
        """Bring the robot down for `reason`; where nothing was sent yet, go back and wait."""
        if self.state is State.PREFLIGHT:
            self._change(now, Event.UNFIT, reason, Code.WAITING)
            self.announcer.waiting_for = reason.code
            self._count_failure(now, reason)
        elif self.state is State.PASSIVE:
            self.announcer.wait(now, self.state, reason)
            self._count_failure(now, reason)
        elif self.state is not State.DAMP:
            self.fault = reason
            self.damping.fault(now)
            self._change(now, Event.FAULT, reason, Code.FAULT)

    def warn(self, now: float, reason: Reason) -> None:
        """Tell something that changes nothing."""
        self.announcer.log(now, NodeEvent(Code.WARNING, self.state, reason))

    def _obey(self, now: float, asked: Requests) -> None:
        """Carry out requests; those that mean nothing in this state are forgotten."""
        awaited = self.state in (State.PREFLIGHT, State.READY)
        self._approvals.key = self._approvals.key or (asked.approval and awaited)
        if asked.taken_over and self.sends:
            self.fail(now, Reason("watchdog", asked.taken_over))
        if asked.emergency and self.state is not State.DAMP:
            self.damping.fault(now)
            self._change(now, Event.EMERGENCY, Reason("operator", asked.emergency))
        if asked.unguarded:  # nobody would damp the robot of a node that dies from here on
            self.fault = self.fault or Reason("watchdog_lost", asked.unguarded)
            self._stop(now, self.fault, Code.FAULT)
        failed = self._patience.pending if asked.time_over and not self.sends else None
        if failed:
            self._give_up(now, failed.adding("until the time was over"))
        elif asked.stop:
            self._stop(now, Reason("operator", asked.stop))
        if asked.end is not None:
            self.damping.end(now, asked.end)

    def _stop(self, now: float, reason: Reason, code: Code = Code.CHANGED) -> None:
        """Stop in order: by the table, and before anything was sent by ending the run."""
        if not self.sends:
            self.over = True
            return
        for event in (Event.STOP, Event.RELEASED):
            if leads_on(self.state, event, self.start):
                self.damping.stop(now)
                self._change(now, event, reason, code)
                return

    def _reset(self, now: float) -> None:
        """Begin anew, with every approval forgotten."""
        self._approvals.forget()
        self.over = False
        self.fault = None
        self.damping.reset()
        self._patience.begin_anew()
        self._change(now, Event.RESET, Reason("operator", "reset"))

    def _is_silent(self, measurement: Measurement, trouble: Reason | None) -> bool:
        """Return whether nothing is known of the robot; its driver may still say what is wrong."""
        if trouble is not None:
            return trouble.code != DRIVER_FAULT
        return measurement.age > self.envelope.bounds.limits.stale_after

    def _listen(self, now: float, silent: bool, reason: Reason | None) -> None:
        """Notice a robot that is not heard; in PASSIVE, end the run where that lasts too long."""
        self._silent = silent
        if not (silent and self.state is State.PASSIVE and reason):
            self._patience.heard()
        elif why := self._patience.silent(now, reason):
            self._give_up(now, why)

    def _judge(self, moment: Moment) -> None:
        """Act on the condition of this state."""
        waiting_for = self.announcer.waiting_for
        judgement = self.exits.judge(self.state, moment, self._approvals, waiting_for)
        if judgement is None:
            return
        now = moment.now
        if judgement.passed:
            self._patience.passed()
        if judgement.event:
            self._go_on(moment, judgement.event, judgement.reason)
        elif judgement.fault:
            self.fail(now, judgement.reason)
        elif judgement.denied:
            self._deny(now, judgement)
        else:
            self.announcer.wait(now, self.state, judgement.reason)

    def _go_on(self, moment: Moment, event: Event, reason: Reason) -> None:
        """Leave the state because its own condition says so."""
        if event in RISING:
            self.maker.start_at(moment.measurement.state.joint_pos)
            self.envelope.reset()
        elif event in STARTING:
            self.maker.runner.begin()
        elif event in FADING:
            self.damping.stop(moment.now)
        self._change(moment.now, event, reason)

    def _deny(self, now: float, judgement: Judgement) -> None:
        """Say why a state is not left; an approval is used up, and each one is answered.

        Else the robot would move when the reason is gone, and nobody expects it any more.
        """
        denied = self._approvals.key
        if denied:
            self._approvals.key = False
            self.announcer.waiting_for = ""
        self.announcer.wait(now, self.state, judgement.reason, denied)
        if judgement.failed:
            self._count_failure(now, judgement.failed)

    def _count_failure(self, now: float, reason: Reason) -> None:
        """End the run where this has failed for too long; of a silent robot nothing is known."""
        if not self._silent and (why := self._patience.failed(now, reason)):
            self._give_up(now, why)

    def _give_up(self, now: float, reason: Reason) -> None:
        """End the run as for a fault, but in order; where nothing was sent, nothing is."""
        self.fault = reason
        if self.sends:
            self.damping.fault(now)
            self._change(now, Event.STOP, reason, Code.GIVING_UP)
        else:
            self.over = True
            self.announcer.log(now, NodeEvent(Code.GIVING_UP, self.state, reason))

    def _change(self, now: float, event: Event, reason: Reason, code: Code = Code.CHANGED) -> None:
        """Change state; what was sent last is where targets and gains fade from."""
        state = next_state(self.state, event, self.start)
        self.damping.enter(event)
        self.maker.enter_state()
        self.state = state
        self._entered_at = now
        self._approvals.key = False
        self.announcer.waiting_for = ""
        held = leads_on(state, Event.RELEASED, self.start)
        self.announcer.log(now, NodeEvent(code, state, reason, event, held))

    def _fading(self, now: float) -> bool:
        """Return whether position gains are still on their way to zero, after a stop."""
        return self.damping.fading(now - self._entered_at)

    def _damp_at_once(self, now: float, reason: Reason) -> None:
        """End the fade."""
        self.damping.at_once()
        self.announcer.log(now, NodeEvent(Code.AT_ONCE, self.state, reason))
