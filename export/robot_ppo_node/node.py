"""The node: one state machine, one tick, one loop.

    node = Node(policy, driver, MonotonicClock(), FixedCommand((0.5, 0, 0)), arm=True)
    node.prepare()                 # golden traces, guards, driver, compatibility, warm-up
    node.run(seconds=10)           # check, stand up, run the policy, sit down, damp
    node.fault                     # None, or the reason

The tick reads no clock but its own, prints nothing and installs no signal handler, so that the
same object runs on a robot, in lockstep with a simulation, and again from its own log.
`arm`, `stop`, `damp`, `reset` and `end` may be called at any time, from a signal handler too:
they take effect at the next tick.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Policy
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.commands.base import CommandSource
from robot_ppo_node.control.command_writer import CommandWriter
from robot_ppo_node.control.events import NodeEvent
from robot_ppo_node.control.inputs import NodeInputs
from robot_ppo_node.control.patience import FAIL_AFTER, SILENT_AFTER
from robot_ppo_node.control.requests import NOTHING
from robot_ppo_node.control.state_machine import DAMP_SECONDS, Settings, StateMachine
from robot_ppo_node.control.states import RUNNING, State
from robot_ppo_node.drivers.base import (
    Driver,
    DriverFault,
    HandsOver,
    MotorCommand,
    Polls,
    held_signals,
    mounting_of,
)
from robot_ppo_node.host.realtime import quiet_gc
from robot_ppo_node.log import recorder as record
from robot_ppo_node.log.recorder import Recorder
from robot_ppo_node.safety import self_test
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.tick_state import blank
from robot_ppo_node.safety.watchdog import Handover, Watchdog
from robot_ppo_node.startup.compatibility import negotiate
from robot_ppo_node.startup.preflight import SECONDS, Check, Watch

WARM_UP_TICKS = 60
"""Dummy ticks before the first real one: the first runs allocate and are many times slower."""


class Node:
    """One policy on one robot."""

    def __init__(
        self,
        policy: Policy,
        driver: Driver,
        clock: Clock,
        commands: CommandSource,
        recorder: Recorder | None = None,
        *,
        stand: bool = False,
        arm: bool = False,
        joint_check: bool = False,
        limits: Limits | None = None,
        signals: Mapping[str, int] | None = None,
        fail_after: float = FAIL_AFTER,
        silent_after: float = SILENT_AFTER,
        damp_after_stop: float = DAMP_SECONDS,
        damp_after_fault: float = DAMP_SECONDS,
        publish_rate: float | None = None,
        watchdog: Callable[[Handover], Watchdog] | None = None,
        on_event: Callable[[float, NodeEvent], None] | None = None,
    ) -> None:
        """Be PASSIVE; nothing is opened and nothing is sent before `prepare` and `tick`.

        Args:
            policy: the verified policy file.
            driver: the robot, not yet open.
            clock: the only time that the node knows.
            commands: what the operator wants.
            recorder: where ticks go; see `recorder.for_policy`.
            stand: whether the robot may stand up once it has passed its checks. Only a person
                says so.
            arm: whether it may, and the policy may start as soon as it stands.
            joint_check: whether to try every joint before standing up; see joint_check.py.
            limits: of the envelope, by default those of the policy file; see limits.py.
            signals: what is held of a measurement and the width of each, by default what policy,
                guards and checks read; a replay holds what its log does.
            fail_after: how long a guard or check may fail before anything moves [s]; then the run
                ends with it as the fault.
            silent_after: the same of a robot that is not heard [s].
            damp_after_stop: how long damping is sent after a stop [s].
            damp_after_fault: the same after a fault or an emergency stop [s].
            publish_rate: commands per second [Hz], a multiple of the policy's rate, by default it.
            watchdog: starts the process that damps when this one cannot; called by `prepare` where
                the driver can hand its robot over.
            on_event: called with the time [s] and the event; must not block.
        """
        robot = policy.contract.robot
        self.policy, self.driver, self.clock, self.recorder = policy, driver, clock, recorder
        self.on_event = on_event
        self.period = policy.contract.control_period
        self.limits = limits or robot.safety
        held = signals or held_signals(policy.contract)
        self.tick_state = s = blank(len(robot.joints), held, policy.layout.size)
        self.inputs = NodeInputs(policy.contract, driver, commands, s)
        settings = Settings(
            limits=self.limits,
            stand=stand or arm,
            arm=arm,
            joint_check=joint_check,
            fail_after=fail_after,
            silent_after=silent_after,
            damp_after_stop=damp_after_stop,
            damp_after_fault=damp_after_fault,
        )
        watch = Watch(policy.contract, ticks=round(SECONDS / self.period))
        self.state_machine = StateMachine(policy, s, watch, settings, self._log)
        if recorder:
            recorder.meta |= _as_data(settings)
        self.command_writer = CommandWriter(driver, clock, s, self.period)
        if publish_rate is not None:
            self.command_writer.publish_at(publish_rate)
        self._start_watchdog = watchdog
        self._polls = driver if isinstance(driver, Polls) else None
        self.prepared = False
        self.ticks = 0
        self.missed = 0
        """Deadlines missed since the start."""
        self.durations = np.zeros(512)
        """The last ticks' durations [s], a ring."""
        self._nothing = MotorCommand(*(np.zeros_like(s.target) for _ in range(3)))
        self._last: float | None = None
        self._flags = 0

    @property
    def state(self) -> State:
        """What the node is doing."""
        return self.state_machine.state

    @property
    def fault(self) -> str | None:
        """Why a guard or an error brought the robot down, or None."""
        return str(self.state_machine.fault) if self.state_machine.fault else None

    @property
    def fault_code(self) -> str | None:
        """Which guard, check or error that was, or None."""
        return self.state_machine.fault.code if self.state_machine.fault else None

    @property
    def sends(self) -> bool:
        """Whether this state sends something."""
        return self.state_machine.sends

    @property
    def endless(self) -> bool:
        """Whether damping, once begun, goes on until somebody ends it."""
        return self.state_machine.endless

    @property
    def checks(self) -> list[Check]:
        """What PREFLIGHT and the joint check found last."""
        return self.state_machine.checks

    @property
    def over(self) -> bool:
        """Nothing more is to be sent."""
        return self.state_machine.over

    @property
    def events(self) -> list[tuple[float, NodeEvent]]:
        """Everything that happened, with its time [s]; `str` makes a sentence of an event."""
        return self.state_machine.events

    @property
    def envelope(self) -> Envelope:
        """The guards, and what they counted."""
        return self.state_machine.envelope

    @property
    def command(self) -> np.ndarray:
        """What the policy is asked for, (k,) in the units of the contract's command."""
        return self.inputs.command

    def arm(self) -> None:
        """Approve, as the operator: stand up from PREFLIGHT, or run the policy from READY."""
        self.state_machine.requests.approval = True

    def stop(self, reason: str) -> None:
        """Sit down, or stand still and be held, then damp; not a fault. Again: let go of it."""
        self.state_machine.requests.stop = reason

    def damp(self, reason: str) -> None:
        """Damp at once; not a fault."""
        self.state_machine.requests.emergency = reason

    def reset(self) -> None:
        """Leave DAMP for PASSIVE, with every approval forgotten. Only a person says so."""
        self.state_machine.requests.reset = True

    def shorten_damping(self, seconds: float) -> None:
        """Send damping for so long [s] after a stop, whatever the constructor was told."""
        self.state_machine.shorten_damping(seconds)

    def taken_over(self, text: str) -> None:
        """Take in that the watchdog has the robot, as `text` says."""
        self.state_machine.requests.taken_over = text

    def end(self, after: float = 0.0) -> None:
        """Damp at once, and stop damping at most `after` [s] after the next tick."""
        if self.state_machine.sends:
            self.damp("ended")
        else:
            self.stop("ended")
        self.state_machine.requests.end = after

    def prepare(self) -> None:
        """Prove traces and guards, open the driver, compare, warm up; or `RefusedError`."""
        contract = self.policy.contract
        self.worst = self.policy.check_golden()
        self_test.prove(self.policy, self.limits)
        robot, measured = contract.robot, self.tick_state.measured
        self.driver.open(robot.joint_names, robot.feet, measured.widths)
        self.compared = negotiate(contract, self.driver, self.command_writer.rate)
        self.state_machine.watch.signals = self.driver.signals
        measured.expect(self.driver.signals, mounting_of(contract.robot, self.driver))
        self._warm_up()
        self.prepared = True
        if self._start_watchdog and isinstance(self.driver, HandsOver):
            handover = self.driver.damping_sender(self.state_machine.setpoints.damping)
            start = functools.partial(self._start_watchdog, handover)
            self.command_writer.start_watchdog = start
            self.command_writer.watchdog = start()

    def run(self, seconds: float | None = None, on_tick: Callable[[], None] | None = None) -> None:
        """Tick at the control period until there is nothing more to send; stop after `seconds`.

        Args:
            seconds: from the first tick, standing up included; None runs until `stop`.
            on_tick: called after every tick; must be quick.
        """
        if not self.prepared:
            self.prepare()
        # numpy's warnings would be printed by the tick; what is not finite, guards judge.
        with quiet_gc(), np.errstate(all="ignore"):
            pacer = Pacer(self.clock, self.period)
            ends = math.inf if seconds is None else self.clock.now() + seconds
            try:
                while not self.over:
                    missed = pacer.wait(self._prepare_tick)
                    if self.clock.now() >= ends:
                        self.stop(f"the {seconds:g} s are over")
                        ends = math.inf
                    self.tick(missed, pacer.late)
                    if on_tick:
                        on_tick()
                    if self.state_machine.sends and not self.over:
                        self.command_writer.publish(pacer)
            except BaseException:
                self._damp_once_more()
                raise

    def tick(self, missed: int = 0, late: float = 0.0) -> None:
        """Do the work of one control period: read, decide, send, record. Never raises.

        Args:
            missed: deadlines missed just before.
            late: time since the deadline [s], for the log.
        """
        now, machine, writer = self.clock.now(), self.state_machine, self.command_writer
        writer.poll_watchdog(machine.requests, machine.state, now - (self._last or now))
        asked = machine.requests.take()
        if asked is not NOTHING:
            self._flags |= (
                record.ARM * asked.approval
                | record.STOP * bool(asked.stop or asked.unguarded)
                | record.EMERGENCY * bool(asked.emergency)
                | record.RESET * asked.reset
                | record.TAKEN_OVER * bool(asked.taken_over)
            )
        trouble = self._read(now, missed)
        try:
            machine.advance(now, asked, trouble)
            machine.decide(now, self.command)
        except Exception as error:  # an error of ours, too, must end in damping
            text = f"internal error: {type(error).__name__}: {error}"
            machine.fail(now, Reason("internal_error", text))
            machine.setpoints.damp(self.tick_state)
        if machine.sends:
            writer.write()
        if warning := writer.pending_warning():
            machine.warn(now, warning)
        machine.finish(now)
        writer.heartbeat(machine.sends and not machine.over)
        duration = self.clock.now() - now
        self.durations[self.ticks % len(self.durations)] = duration
        self.ticks += 1
        self._flags |= record.WRITE_FAILED if writer.failed else 0
        if self.recorder:
            self._record(self.recorder, now, missed, late, duration)
        self._flags = 0

    def tick_quantile(self, q: float) -> float:
        """Return a quantile of the last ticks' durations [s]."""
        count = min(self.ticks, len(self.durations))
        return float(np.quantile(self.durations[:count], q)) if count else 0.0

    def _read(self, now: float, missed: int) -> Reason | None:
        """Take in the newest measurement and the command; return what is wrong with the driver."""
        s = self.tick_state
        s.step = 0.0 if self._last is None else now - self._last
        self._last = now
        self.missed += missed
        s.missed = s.missed + missed if missed else 0
        self.inputs.read_command(now)
        try:
            self.inputs.read_robot(now)
        except Exception as error:
            self._flags |= record.READ_FAILED
            if isinstance(error, DriverFault):
                return Reason("driver", f"driver {self.driver.name}: {error}")
            text = f"the driver cannot read: {type(error).__name__}: {error}"
            return Reason("read_failed", text)
        self._flags |= record.FRESH if s.fresh else 0
        if self.command_writer.failed:
            self.command_writer.failed = False
            return Reason("write_failed", "the driver could not send the previous command")
        return None

    def _prepare_tick(self) -> None:
        """Do before the deadline what need not wait for it; its trouble is met in the tick.

        The driver takes in most of what the tick will read; the policy is in the caches then.
        """
        with contextlib.suppress(Exception):
            if self._polls:
                self._polls.poll()
            if self.state in RUNNING:
                self.policy.warm_up(self.tick_state.measured.state, self.command)

    def _damp_once_more(self) -> None:
        """Damp once more when the loop itself is torn down; the watchdog then goes on."""
        if self.state_machine.sends:
            self.state_machine.setpoints.damp(self.tick_state)
            self.command_writer.write()

    def _warm_up(self) -> None:
        """Run everything a few times on a robot that stands still; then forget it."""
        s, machine = self.tick_state, self.state_machine
        s.age = 0.0
        state = s.measured.state
        state.joint_pos[:] = s.previous[:] = machine.setpoints.default
        for _ in range(WARM_UP_TICKS):
            machine.envelope.check_state(s)
            s.target[:] = self.policy.tick(state, self.command)
            machine.envelope.check_target(s)
        self.policy.reset()
        machine.envelope.reset()
        s.age = math.inf

    def _log(self, now: float, event: NodeEvent) -> None:
        """Pass an event on: to the log, and to whoever listens."""
        if self.recorder:
            self.recorder.event(now, str(event))
        if self.on_event:
            self.on_event(now, event)

    def _record(
        self, recorder: Recorder, now: float, missed: int, late: float, duration: float
    ) -> None:
        """Append this tick to the log; `late` and `duration` [s] are for its timing columns."""
        s, inputs, machine = self.tick_state, self.inputs, self.state_machine
        sent = self.command_writer.sent if machine.sends else self._nothing
        recorder.append(
            time=now,
            node_state=machine.state,
            flags=self._flags,
            missed=missed,
            sequence=inputs.sequence,
            sample_time=s.sample_time,
            measured=s.measured.flat,
            health=s.health.flat,
            others=s.others,
            source=inputs.commands.name,
            wanted=inputs.wanted[0],
            wanted_age=inputs.wanted[1],
            command=self.command,
            policy_tick=self.policy.ticks - 1 if machine.ran else -1,
            observation=s.observation,
            action=s.action,
            target=sent.target,
            kp=sent.kp,
            kd=sent.kd,
            guards=machine.envelope.fired,
            outside=machine.monitor.outside,
            late=late,
            duration=duration,
        )


def _as_data(settings: Settings) -> dict[str, Any]:
    """Return what a replay must know of the settings, as plain data."""
    return {
        "stand": settings.stand,
        "armed": settings.arm,
        "joint_check": settings.joint_check,
        "limits": msgspec.to_builtins(settings.limits),
        "fail_after": settings.fail_after,
        "silent_after": settings.silent_after,
    }
