"""The node: one state machine, one tick, one loop.

    node = Node(policy, driver, MonotonicClock(), FixedCommand((0.5, 0, 0)), arm=True)
    node.prepare()                 # golden traces, driver, negotiation, warm-up; or RefusedError
    node.run(seconds=10)           # stand up, run the policy, damp; returns when damping is over
    node.fault                     # None, or the reason

The tick reads no clock but its own, prints nothing and installs no signal handler, so that the
same object runs on a robot, in lockstep with a simulation, and again from its own log.
`arm`, `stop` and `end` may be called at any time, from a signal handler too: they take effect at
the next tick.
"""

import contextlib
import math
from collections.abc import Callable

import numpy as np

from robot_ppo_export.node import recorder as record
from robot_ppo_export.node.clock import Clock, Pacer
from robot_ppo_export.node.commands import CommandSource
from robot_ppo_export.node.drivers.base import Driver, DriverFault, MotorCommand, negotiate
from robot_ppo_export.node.monitor import Monitor
from robot_ppo_export.node.motion import Motion
from robot_ppo_export.node.realtime import quiet_gc
from robot_ppo_export.node.recorder import Recorder
from robot_ppo_export.node.safety import Envelope, Situation
from robot_ppo_export.node.senses import Senses
from robot_ppo_export.node.states import State, check_edge
from robot_ppo_export.policy import Policy

POSE_GATE = 0.5
"""Largest distance [rad] of a joint to the default pose at which the policy may start."""
DAMP_SECONDS = 1.0
"""How long damping is sent after a stop, where nobody is there to end it [s]."""
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
        arm: bool = False,
        on_event: Callable[[float, str], None] | None = None,
    ) -> None:
        """Be PASSIVE; nothing is opened and nothing is sent before `prepare` and `tick`.

        Args:
            policy: the verified policy file.
            driver: the robot, not yet open.
            clock: the only time that the node knows.
            commands: what the operator wants.
            recorder: where ticks go; see `recorder.for_policy`.
            arm: whether the policy may start as soon as the robot stands. Only a person says so.
            on_event: called with (time [s], text) at every transition; must not block.
        """
        joints = len(policy.contract.robot.joints)
        self.policy, self.driver, self.clock = policy, driver, clock
        self.recorder, self.on_event = recorder, on_event
        self.period = policy.contract.control_period
        self.envelope = Envelope(policy.contract.robot)
        self.senses = Senses(policy.contract, driver, commands)
        self.motion = Motion(policy)
        self.monitor = Monitor(policy.contract)
        self.situation = Situation(
            self.senses.measured, *(np.zeros(joints, np.float32) for _ in range(5)), age=math.inf
        )
        self.state = State.PASSIVE
        self.events: list[tuple[float, str]] = []
        self.fault: str | None = None
        """Why a guard or an error brought the robot down; the first reason stays."""
        self.over = False
        """Damping has been sent for long enough."""
        self.armed = arm
        if recorder:
            recorder.meta["armed"] = arm
        self.prepared = False
        self.damp_after_stop = DAMP_SECONDS
        """How long damping is sent after a stop [s]; infinite: until `end`."""
        self.damp_after_fault = DAMP_SECONDS
        self.ticks = 0
        self.missed = 0
        """Deadlines missed since the start."""
        self.durations = np.zeros(512)
        """The last ticks' durations [s], a ring."""
        self._idle = np.zeros(joints, np.float32)
        self._blind = np.zeros(policy.layout.size, np.float32)
        self._entered_at = 0.0
        self._damp_until = math.inf
        self._flags = 0
        self._ran = False
        self._waiting_for = ""
        self._arm_asked = False
        self._stop_asked: str | None = None
        self._end_asked: float | None = None

    @property
    def command(self) -> np.ndarray:
        """What the policy is asked for, (3,): vx, vy [m/s], yaw rate [rad/s]."""
        return self.senses.command

    def prepare(self) -> None:
        """Recompute the golden traces, open the driver, negotiate, warm up; or `RefusedError`."""
        self.worst = self.policy.check_golden()
        contract = self.policy.contract
        self.driver.open(contract.robot.joint_names, contract.robot.feet)
        negotiate(contract, self.driver)
        self._warm_up()
        self.prepared = True

    def arm(self) -> None:
        """Allow the policy to start as soon as the robot stands."""
        self._arm_asked = True

    def stop(self, reason: str) -> None:
        """Go to damping at the next tick; not a fault."""
        self._stop_asked = self._stop_asked or reason

    def end(self, after: float = 0.0) -> None:
        """Stop, and have done with damping `after` seconds from the next tick at the latest."""
        self.stop("ended")
        self._end_asked = after

    def run(self, seconds: float | None = None, on_tick: Callable[[], None] | None = None) -> None:
        """Tick at the control period until damping is over; stop by itself after `seconds`.

        Args:
            seconds: from the first tick, standing up included; None runs until `stop`.
            on_tick: called after every tick; must be quick.
        """
        if not self.prepared:
            self.prepare()
        with quiet_gc():
            pacer = Pacer(self.clock, self.period)
            ends = math.inf if seconds is None else self.clock.now() + seconds
            try:
                while not self.over:
                    missed = pacer.wait()
                    if self.clock.now() >= ends:
                        self.stop(f"the {seconds:g} s are over")
                    self.tick(missed, pacer.late)
                    if on_tick:
                        on_tick()
            except BaseException:
                self._last_words()
                raise

    def tick(self, missed: int = 0, late: float = 0.0) -> None:
        """Do the work of one control period: read, decide, send, record. Never raises.

        Args:
            missed: deadlines missed just before.
            late: time since the deadline [s], for the log.
        """
        now = self.clock.now()
        self._ran = False
        try:
            self._sense(now, missed)
            self._advance(now)
            self._decide(now)
        except DriverFault as fault:
            self._damp(now, f"driver {self.driver.name}: {fault}", fault=True)
        except Exception as error:  # an error of ours, too, must end in damping
            self._damp(now, f"internal error: {type(error).__name__}: {error}", fault=True)
        if self.state is State.DAMP:
            self.motion.damp(self.situation)
        if self.state is not State.PASSIVE:
            self._write()
        duration = self.clock.now() - now
        self.durations[self.ticks % len(self.durations)] = duration
        self.ticks += 1
        if self.recorder:
            self._record(self.recorder, now, missed, late, duration)
        self._flags &= record.WRITE_FAILED
        self._end_asked, ending = None, self._end_asked
        if ending is not None:
            self._damp_until = min(self._damp_until, now + ending)
        self.over = self.state is State.DAMP and now >= self._damp_until

    def take_up(self, state: State) -> None:
        """Be in `state` since long ago: for replay, which continues from the middle of a log."""
        self.state, self._entered_at = state, -math.inf

    def tick_quantile(self, q: float) -> float:
        """Return a quantile of the last ticks' durations [s]."""
        count = min(self.ticks, len(self.durations))
        return float(np.quantile(self.durations[:count], q)) if count else 0.0

    def _sense(self, now: float, missed: int) -> None:
        """Take in the newest measurement, the command and what was asked of us."""
        s = self.situation
        self.missed += missed
        s.missed = s.missed + missed if missed else 0
        self.senses.read_command(now)
        if self._arm_asked:
            self._arm_asked, self.armed = False, True
            self._flags |= record.ARM
        try:
            self._flags |= record.FRESH if self.senses.read_robot() else 0
        except Exception:
            self._flags |= record.READ_FAILED
            raise
        s.age, s.repeats = self.senses.age(now), self.senses.repeats

    def _advance(self, now: float) -> None:
        """Make the transitions that are due."""
        if self._flags & record.WRITE_FAILED:
            self._flags &= ~record.WRITE_FAILED
            raise OSError("the driver could not send the previous command")
        if self._stop_asked is not None and self.state is not State.DAMP:
            self._flags |= record.STOP
            self._damp(now, self._stop_asked, fault=False)
        if self.state is State.DAMP:
            self.envelope.fired = 0
            return
        reason = self.envelope.check_state(self.situation)
        elapsed = now - self._entered_at
        if self.state is State.PASSIVE:
            self._leave_passive(now, reason)
        elif reason:
            self._damp(now, reason, fault=True)
        elif self.state is State.STAND and elapsed >= self.policy.contract.robot.stand.duration:
            self._enter(now, State.READY, "armed" if self.armed else "waiting to be armed")
        elif self.state is State.READY and self.armed:
            self._leave_ready(now)

    def _leave_passive(self, now: float, reason: str | None) -> None:
        """Stand up from where the joints are, once the robot is fit to."""
        if reason:
            self._wait(now, reason)
            return
        self.motion.stand_from(self.senses.measured.state.joint_pos, self.situation)
        self.envelope.reset()
        self._enter(now, State.STAND, "moving to the default pose")

    def _leave_ready(self, now: float) -> None:
        """Start the policy from a fresh start, unless a joint is far from where it should be."""
        distance = np.abs(self.senses.measured.state.joint_pos - self.motion.default)
        i = int(distance.argmax())
        if distance[i] > POSE_GATE:
            name = self.policy.contract.robot.joint_names[i]
            self._wait(now, f"pose: {name} is {distance[i]:.2f} rad from the default pose")
            return
        self.policy.reset()
        self.monitor.reset()
        self._enter(now, State.POLICY, "running the policy")

    def _decide(self, now: float) -> None:
        """Fill the situation with what this state sends, inside the envelope."""
        s, state = self.situation, self.state
        if state not in self.motion.gains:
            return
        elapsed = now - self._entered_at
        s.action = self._idle
        if state is State.POLICY:
            self._ran = True
            target = self.policy.tick(self.senses.measured.state, self.command)
            s.action = self.policy.last_action
            for text in self.monitor.watch(self.policy.observation):
                self._note(now, text)
        else:
            target = self.motion.pose(state, elapsed)
        self.motion.fill(s, state, target, elapsed)
        reason = self.envelope.check_target(s)
        if reason:
            self._damp(now, reason, fault=True)

    def _damp(self, now: float, reason: str, fault: bool) -> None:
        """Enter DAMP; once there, a further reason changes nothing."""
        if self.state is State.DAMP:
            return
        if fault:
            self.fault = reason
        self._damp_until = now + (self.damp_after_fault if fault else self.damp_after_stop)
        self._enter(now, State.DAMP, f"{'FAULT: ' if fault else ''}{reason}")

    def _write(self) -> None:
        """Send the situation's target and gains, and remember the target."""
        s = self.situation
        s.previous[:] = s.target
        try:
            self.driver.write(MotorCommand(s.target, s.kp, s.kd))
        except Exception:  # noted here, and a fault at the next tick
            self._flags |= record.WRITE_FAILED

    def _enter(self, now: float, state: State, text: str) -> None:
        """Change state; what was sent last is where targets and gains fade from."""
        check_edge(self.state, state)
        self.motion.begin(self.situation)
        self.state = state
        self._entered_at = now
        self._waiting_for = ""
        self._note(now, f"{state.name}: {text}")

    def _wait(self, now: float, text: str) -> None:
        """Say why a state is not left, once per cause."""
        cause = text.partition(":")[0]
        if cause != self._waiting_for:
            self._waiting_for = cause
            self._note(now, f"{self.state.name}: waiting: {text}")

    def _note(self, now: float, text: str) -> None:
        self.events.append((now, text))
        if self.recorder:
            self.recorder.event(now, text)
        if self.on_event:
            with contextlib.suppress(Exception):  # a listener's trouble is not the robot's
                self.on_event(now, text)

    def _last_words(self) -> None:
        """Damp once more when the loop itself is torn down; the robot then damps by itself."""
        if self.state is not State.PASSIVE:
            self.motion.damp(self.situation)
            self._write()

    def _warm_up(self) -> None:
        """Run everything a few times on a robot that stands still; then forget it."""
        s = self.situation
        s.age = 0.0
        state = self.senses.measured.state
        state.joint_pos[:] = s.previous[:] = self.motion.default
        for _ in range(WARM_UP_TICKS):
            self.envelope.check_state(s)
            s.target[:] = self.policy.tick(state, self.command)
            self.envelope.check_target(s)
        self.policy.reset()
        self.envelope.reset()
        s.age = math.inf

    def _record(
        self, recorder: Recorder, now: float, missed: int, late: float, duration: float
    ) -> None:
        """Append this tick to the log; `late` and `duration` [s] are for its timing columns."""
        s, senses, ran = self.situation, self.senses, self._ran
        sends = self.state is not State.PASSIVE
        recorder.append(
            time=now,
            node_state=self.state,
            flags=self._flags,
            missed=missed,
            sequence=senses.sequence,
            sample_time=senses.sample_time,
            measured=senses.measured.flat,
            source=senses.commands.name,
            wanted=senses.wanted[0],
            wanted_age=senses.wanted[1],
            command=self.command,
            policy_tick=self.policy.ticks - 1 if ran else -1,
            observation=self.policy.observation if ran else self._blind,
            outside=self.monitor.outside,
            action=self.policy.last_action if ran else self._idle,
            target=s.target if sends else self._idle,
            kp=s.kp if sends else self._idle,
            kd=s.kd if sends else self._idle,
            guards=self.envelope.fired,
            late=late,
            duration=duration,
        )
