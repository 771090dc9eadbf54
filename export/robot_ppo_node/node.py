"""The node: one state machine, one tick, one loop.

    node = Node(policy, driver, MonotonicClock(), FixedCommand((0.5, 0, 0)), arm=True)
    node.prepare()                 # golden traces, guards, driver, compatibility, warm-up
    node.run(seconds=10)           # check, stand up, run the policy, sit down, damp
    node.fault                     # None, or the reason

A tick reads a frozen measurement, decides, and sends what the envelope let through. It reads no
clock but its own, prints nothing and installs no signal handler, so that the same object runs on a
robot, in lockstep with a simulation, and again from its own log.
`arm`, `stop`, `damp`, `reset` and `end` may be called at any time, from a signal handler too:
they take effect at the next tick.
"""

import contextlib
import math
from collections.abc import Callable, Mapping

import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Difference, Policy
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.commands.base import CommandSource
from robot_ppo_node.control.announcer import Listener
from robot_ppo_node.control.command_writer import CommandWriter
from robot_ppo_node.control.events import NodeEvent
from robot_ppo_node.control.inputs import NodeInputs
from robot_ppo_node.control.operated_node import OperatedNode
from robot_ppo_node.control.patience import FAIL_AFTER, SILENT_AFTER
from robot_ppo_node.control.requests import Requests
from robot_ppo_node.control.settings import DAMP_SECONDS, Settings
from robot_ppo_node.control.state_machine import StateMachine
from robot_ppo_node.control.states import RUNNING, State
from robot_ppo_node.drivers.base import Driver, Polls
from robot_ppo_node.host.realtime import quiet_gc
from robot_ppo_node.log.recorder import Recorder
from robot_ppo_node.log.tick_log import append_tick
from robot_ppo_node.safety import self_test
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.reason import Reason
from robot_ppo_node.safety.watchdog import Handover, Watchdog
from robot_ppo_node.startup.comparison import Row
from robot_ppo_node.startup.compatibility import check_compatibility
from robot_ppo_node.startup.warm_up import warm_up


class Node(OperatedNode):
    """One policy on one robot.

    Args:
        policy: the verified policy file.
        driver: the robot, not yet open.
        clock: the only time that the node knows.
        commands: source of the operator's commands.
        recorder: takes every tick; see `recorder.for_policy`.
        stand: whether the robot may stand up once it has passed its checks. Only a person says so.
        arm: whether it may, and the policy may start as soon as it stands.
        joint_check: whether to try every joint before standing up; see joint_check.py.
        limits: of the envelope, by default those of the policy file; see limits.py.
        signals: what is held of a measurement and the width of each, by default what policy, guards
            and checks read; a replay holds what its log does.
        fail_after: how long a guard or check may fail before anything moves [s]; then the run ends
            with it as the fault.
        silent_after: the same of a robot that is not heard [s].
        damp_after_stop: how long damping is sent after a stop [s].
        damp_after_fault: the same after a fault or an emergency stop [s].
        publish_rate: commands per second [Hz], a multiple of the policy's rate, by default it.
        watchdog: starts the process that damps when this one cannot; called by `prepare` where the
            driver can hand its robot over.
        on_event: called with the time [s] and the event; must not block.
    """

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
        on_event: Listener | None = None,
    ) -> None:
        """Be PASSIVE; nothing is opened and nothing is sent before `prepare` and `tick`."""
        self.policy = policy
        self.driver = driver
        self.clock = clock
        self.recorder = recorder
        self.on_event = on_event
        self.period = policy.contract.control_period
        """Control period [s]."""
        self.limits = limits or policy.contract.robot.safety
        self.prepared = False
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
        if recorder:
            recorder.meta |= settings.for_replay()
        self._signals = signals or held_signals(policy.contract)
        machine = StateMachine(policy, self._signals, settings, self._log)
        super().__init__(
            NodeInputs(policy.contract, self._signals, driver, commands),
            machine,
            CommandWriter(driver, clock, self.period, publish_rate, watchdog),
            machine.brake(np.zeros(policy.contract.command.size, np.float32)),
        )
        self._polls = driver if isinstance(driver, Polls) else None
        self._last: float | None = None
        """Time of the last tick [s]."""

    def prepare(self) -> None:
        """Prove traces and guards, open the driver, compare, warm up; or `RefusedError`."""
        contract = self.policy.contract
        self.worst: Difference = self.policy.check_golden()
        self_test.prove(self.policy, self.limits)
        self.driver.open(contract.robot.joint_names, contract.robot.feet, self._signals)
        self.compared: list[Row] = check_compatibility(contract, self.driver, self._writer.rate)
        self._machine.expect(self.driver.signals)
        self._inputs.expect()
        warm_up(self.policy, self.envelope, self._signals)
        self.prepared = True
        self._writer.start_watchdog(self._machine.maker.setpoints.damping)

    def take_up(
        self,
        state: State,
        target: np.ndarray,
        measured: np.ndarray,
        sample_time: float = -math.inf,
        sequence: int = 0,
    ) -> None:
        """Be in `state` since long ago, for a replay that begins in the middle of a log.

        Args:
            state: of the node.
            target: sent last (joints,) [rad].
            measured: the newest measurement, as one vector.
            sample_time: when it arrived [s].
            sequence: its number.
        """
        self._machine.take_up(state, target)
        self._inputs.take_up(measured, sample_time, sequence)

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
                        self._requests.time_over = True
                        ends = math.inf
                    self.tick(missed, pacer.late)
                    if on_tick:
                        on_tick()
                    if self.sends and not self.over:
                        self._writer.publish(pacer)
            except BaseException:
                self._damp_once_more()
                raise

    def tick(self, missed: int = 0, late: float = 0.0) -> None:
        """Do the work of one control period: read, decide, send, record. Never raises.

        Args:
            missed: deadlines missed just before.
            late: time since the deadline [s], for the log.
        """
        now = self.clock.now()
        machine = self._machine
        writer = self._writer
        writer.poll_watchdog(self._requests, machine.state, now - (self._last or now))
        self._last = now
        asked = self._requests.take()
        command = self._inputs.read_command(now)
        measurement = self._inputs.measure(now, missed, machine.maker.sent.target)
        self.decision = self._decide(now, measurement, asked, command)
        if self.decision.sends:
            writer.write(self.decision.motors)
        for warning in self._inputs.warnings():
            machine.warn(now, warning)
        if warning := writer.pending_warning():
            machine.warn(now, warning)
        machine.finish(now)
        writer.heartbeat(machine.sends and not machine.over)
        duration = self.clock.now() - now
        self.durations.add(duration)
        if self.recorder:
            append_tick(
                self.recorder,
                now,
                asked,
                self._inputs,
                machine,
                self.decision,
                write_failed=writer.failed,
                missed=missed,
                late=late,
                duration=duration,
            )

    def close_watchdog(self) -> None:
        """End the watchdog, or leave it a robot that a broken loop still commands.

        The loop ends in order when nothing more is to be sent.
        """
        self._writer.close_watchdog(commands=self.sends and not self.over)

    def _decide(
        self, now: float, measurement: Measurement, asked: Requests, command: np.ndarray
    ) -> Decision:
        """Return what this tick sends; an error of ours, too, must end in damping."""
        machine = self._machine
        trouble = measurement.trouble or self._writer.failure()
        try:
            machine.advance(now, measurement, asked, trouble)
            return machine.decide(now, measurement, command)
        except Exception as error:
            text = f"internal error: {type(error).__name__}: {error}"
            machine.fail(now, Reason("internal_error", text))
            return machine.brake(command)

    def _prepare_tick(self) -> None:
        """Do before the deadline what need not wait for it; its trouble is met in the tick.

        The driver takes in most of what the tick will read; policy and guards are in the caches
        then.
        """
        with contextlib.suppress(Exception):
            if self._polls:
                self._polls.poll()
            if self.state in RUNNING:
                self.policy.warm_up(self.measurement.state, self.command)
                self.envelope.warm_up(self.measurement, self.decision)

    def _damp_once_more(self) -> None:
        """Damp once more when the loop itself is torn down; the watchdog then goes on."""
        if self.sends:
            self._writer.write(self._machine.brake(self.command).motors)

    def _log(self, now: float, event: NodeEvent) -> None:
        """Pass an event on: to the log, and to whoever listens."""
        if self.recorder:
            self.recorder.event(now, str(event))
        if self.on_event:
            self.on_event(now, event)
