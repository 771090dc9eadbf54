"""The node: one state machine, one tick, one loop.

    node = Node(policy, driver, MonotonicClock(), FixedCommand((0.5, 0, 0)), arm=True)
    node.prepare()                 # golden traces, guards, driver, negotiation, warm-up
    node.run(seconds=10)           # check, stand up, run the policy, sit down, damp
    node.fault                     # None, or the reason

The tick reads no clock but its own, prints nothing and installs no signal handler, so that the
same object runs on a robot, in lockstep with a simulation, and again from its own log.
`arm`, `stop`, `damp`, `reset` and `end` may be called at any time, from a signal handler too:
they take effect at the next tick.
"""

import contextlib
import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.policy import Policy
from robot_ppo_node.clock import Clock, Pacer
from robot_ppo_node.commands import CommandSource
from robot_ppo_node.control.command_writer import Output
from robot_ppo_node.control.inputs import Senses
from robot_ppo_node.control.requests import NOTHING
from robot_ppo_node.control.state_machine import FAIL_AFTER, SILENT_AFTER, Machine
from robot_ppo_node.control.states import RUNNING, State
from robot_ppo_node.drivers.base import (
    Driver,
    DriverFault,
    MotorCommand,
    Skims,
    held_signals,
    mounting_of,
)
from robot_ppo_node.host.realtime import quiet_gc
from robot_ppo_node.log import recorder as record
from robot_ppo_node.log.recorder import Recorder
from robot_ppo_node.safety import self_test
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.tick_state import blank
from robot_ppo_node.startup.compatibility import negotiate
from robot_ppo_node.startup.joint_check import Wiggle
from robot_ppo_node.startup.preflight import SECONDS, Watch

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
        wiggle: bool = False,
        limits: Limits | None = None,
        signals: Mapping[str, int] | None = None,
        fail_after: float = FAIL_AFTER,
        silent_after: float = SILENT_AFTER,
        on_event: Callable[[float, str], None] | None = None,
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
            wiggle: whether to try every joint before standing up; see wiggle.py.
            limits: of the envelope, by default those of the policy file; see limits.py.
            signals: what is held of a measurement and the width of each, by default what policy,
                guards and checks read; a replay holds what its log does.
            fail_after: how long a guard or check may fail before anything moves [s]; then the run
                ends with it as the fault.
            silent_after: the same of a robot that is not heard [s].
            on_event: called with (time [s], text) at every transition; must not block.
        """
        robot = policy.contract.robot
        self.policy, self.driver, self.clock, self.recorder = policy, driver, clock, recorder
        self.on_event = on_event
        self.period = policy.contract.control_period
        self.limits = limits or robot.safety
        held = signals or held_signals(policy.contract)
        self.situation = s = blank(len(robot.joints), held, policy.layout.size)
        self.senses = Senses(policy.contract, driver, commands, s)
        watch = Watch(policy.contract, ticks=round(SECONDS / self.period))
        bounds = (fail_after, silent_after)
        self.machine = Machine(policy, s, self.limits, watch, self._tell, *bounds)
        self.machine.may_stand, self.machine.armed = stand or arm, arm
        if wiggle:
            kp, kd = self.machine.motion.gains[State.WIGGLE]
            self.machine.wiggle = Wiggle(policy.contract, float(kp[0]), float(kd[0]))
        if recorder:
            limits_as_data = msgspec.to_builtins(self.limits)
            recorder.meta |= {"stand": stand or arm, "armed": arm, "wiggle": wiggle}
            recorder.meta |= {"limits": limits_as_data}
            recorder.meta |= {"fail_after": fail_after, "silent_after": silent_after}
        self.output = Output(driver, clock, s, self.period)
        self._skims = driver if isinstance(driver, Skims) else None
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
        return self.machine.state

    @property
    def fault(self) -> str | None:
        """Why a guard or an error brought the robot down, or None."""
        return self.machine.fault

    @property
    def over(self) -> bool:
        """Nothing more is to be sent."""
        return self.machine.over

    @property
    def events(self) -> list[tuple[float, str]]:
        """(time [s], text) of every transition."""
        return self.machine.events

    @property
    def envelope(self) -> Envelope:
        """The guards, and what they counted."""
        return self.machine.envelope

    @property
    def command(self) -> np.ndarray:
        """What the policy is asked for, (k,) in the units of the contract's command."""
        return self.senses.command

    def arm(self) -> None:
        """Say a person's word: stand up from PREFLIGHT, or run the policy from READY."""
        self.machine.requests.go = True

    def stop(self, reason: str) -> None:
        """Sit down, then damp; not a fault."""
        self.machine.requests.stop = reason

    def damp(self, reason: str) -> None:
        """Damp at once; not a fault."""
        self.machine.requests.emergency = reason

    def reset(self) -> None:
        """Leave DAMP for PASSIVE, with every permission forgotten. Only a person says so."""
        self.machine.requests.reset = True

    def end(self, after: float = 0.0) -> None:
        """Damp at once, and have done with it `after` seconds from the next tick at the latest."""
        if self.machine.sends:
            self.damp("ended")
        else:
            self.stop("ended")
        self.machine.requests.end = after

    def prepare(self) -> None:
        """Prove traces and guards, open the driver, negotiate, warm up; or `RefusedError`."""
        contract = self.policy.contract
        self.worst = self.policy.check_golden()
        self_test.prove(self.policy, self.limits)
        robot, measured = contract.robot, self.situation.measured
        self.driver.open(robot.joint_names, robot.feet, measured.widths)
        self.compared = negotiate(contract, self.driver, self.output.rate)
        self.machine.watch.signals = self.driver.signals
        measured.expect(self.driver.signals, mounting_of(contract.robot, self.driver))
        self._warm_up()
        self.prepared = True

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
                    missed = pacer.wait(self._make_ready)
                    if self.clock.now() >= ends:
                        self.stop(f"the {seconds:g} s are over")
                        ends = math.inf
                    self.tick(missed, pacer.late)
                    if on_tick:
                        on_tick()
                    if self.machine.sends and not self.over:
                        self.output.publish(pacer)
            except BaseException:
                self._last_words()
                raise

    def tick(self, missed: int = 0, late: float = 0.0) -> None:
        """Do the work of one control period: read, decide, send, record. Never raises.

        Args:
            missed: deadlines missed just before.
            late: time since the deadline [s], for the log.
        """
        now, machine = self.clock.now(), self.machine
        self.output.heed(machine, now - (self._last or now))
        asked = machine.requests.take()
        if asked is not NOTHING:
            self._flags |= (
                record.ARM * asked.go
                | record.STOP * bool(asked.stop)
                | record.EMERGENCY * bool(asked.emergency)
                | record.RESET * asked.reset
                | record.TAKEN_OVER * bool(asked.taken_over)
            )
        trouble = self._sense(now, missed)
        try:
            machine.advance(now, asked, trouble)
            machine.decide(now, self.command)
        except Exception as error:  # an error of ours, too, must end in damping
            machine.fail(now, f"internal error: {type(error).__name__}: {error}")
            machine.motion.damp(self.situation)
        if machine.sends:
            self.output.write()
        if text := self.output.news():
            machine.note(now, text)
        machine.finish(now)
        self.output.beat(machine)
        duration = self.clock.now() - now
        self.durations[self.ticks % len(self.durations)] = duration
        self.ticks += 1
        self._flags |= record.WRITE_FAILED if self.output.failed else 0
        if self.recorder:
            self._record(self.recorder, now, missed, late, duration)
        self._flags = 0

    def tick_quantile(self, q: float) -> float:
        """Return a quantile of the last ticks' durations [s]."""
        count = min(self.ticks, len(self.durations))
        return float(np.quantile(self.durations[:count], q)) if count else 0.0

    def _sense(self, now: float, missed: int) -> str | None:
        """Take in the newest measurement and the command; return what is wrong with the driver."""
        s = self.situation
        s.step = 0.0 if self._last is None else now - self._last
        self._last = now
        self.missed += missed
        s.missed = s.missed + missed if missed else 0
        self.senses.read_command(now)
        try:
            self.senses.read_robot(now)
        except Exception as error:
            self._flags |= record.READ_FAILED
            if isinstance(error, DriverFault):
                return f"driver {self.driver.name}: {error}"
            return f"the driver cannot read: {type(error).__name__}: {error}"
        self._flags |= record.FRESH if s.fresh else 0
        if self.output.failed:
            self.output.failed = False
            return "the driver could not send the previous command"
        return None

    def _make_ready(self) -> None:
        """Do before the deadline what need not wait for it; its trouble is met in the tick.

        The driver takes in most of what the tick will read; the policy is in the caches then.
        """
        with contextlib.suppress(Exception):
            if self._skims:
                self._skims.skim()
            if self.state in RUNNING:
                self.policy.warm_up(self.situation.measured.state, self.command)

    def _last_words(self) -> None:
        """Damp once more when the loop itself is torn down; the watchdog then goes on."""
        if self.machine.sends:
            self.machine.motion.damp(self.situation)
            self.output.write()

    def _warm_up(self) -> None:
        """Run everything a few times on a robot that stands still; then forget it."""
        s, machine = self.situation, self.machine
        s.age = 0.0
        state = s.measured.state
        state.joint_pos[:] = s.previous[:] = machine.motion.default
        for _ in range(WARM_UP_TICKS):
            machine.envelope.check_state(s)
            s.target[:] = self.policy.tick(state, self.command)
            machine.envelope.check_target(s)
        self.policy.reset()
        machine.envelope.reset()
        s.age = math.inf

    def _tell(self, now: float, text: str) -> None:
        """Pass an event on: to the log, and to whoever listens."""
        if self.recorder:
            self.recorder.event(now, text)
        if self.on_event:
            self.on_event(now, text)

    def _record(
        self, recorder: Recorder, now: float, missed: int, late: float, duration: float
    ) -> None:
        """Append this tick to the log; `late` and `duration` [s] are for its timing columns."""
        s, senses, machine = self.situation, self.senses, self.machine
        sent = self.output.sent if machine.sends else self._nothing
        recorder.append(
            time=now,
            node_state=machine.state,
            flags=self._flags,
            missed=missed,
            sequence=senses.sequence,
            sample_time=s.sample_time,
            measured=s.measured.flat,
            health=s.health.flat,
            others=s.others,
            source=senses.commands.name,
            wanted=senses.wanted[0],
            wanted_age=senses.wanted[1],
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
