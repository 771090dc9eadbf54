"""The envelope: small guards over what the robot measures and over what it is told to do.

A guard looks at one `Situation` and says pass, clamp or damp, with the value that it judged and
its limit. State guards run first, then the network, then target guards, which may move the target
in place. The first `damp` ends the tick: the node goes to damping and names the guard.

    envelope = Envelope(contract.robot)
    reason = envelope.check_state(situation)      # None, or a sentence
    reason = envelope.check_target(situation)     # situation.target is now inside the envelope

Everything here is arithmetic on a dozen numbers: no clock, no input or output.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.node.drivers.base import Measured

VELOCITY_FACTOR = 1.5
"""Measured joint velocity over the motor's limit that is a fault. The limit is the no-load speed:
a full battery adds some 15 percent and a landing leg is back-driven for a moment, but no motor
gets a joint to half as much again; that is a broken encoder or a broken transmission."""
QUATERNION_TOLERANCE = 0.05
"""Deviation of an orientation's norm from one. All zeros would look upright to `tilt`."""


class Outcome(enum.IntEnum):
    """What a guard says."""

    PASS = 0
    CLAMP = 1
    DAMP = 2


class Verdict(NamedTuple):
    """What one guard found."""

    outcome: Outcome
    value: float
    limit: float
    where: int = -1
    """The joint, or the number in the flat state; -1 for the robot as a whole."""


@dataclass(slots=True)
class Situation:
    """All that the guards look at; vectors are (joints,) float32 in the contract's order."""

    measured: Measured
    target: np.ndarray
    """[rad] what the state machine wants; target guards change it in place"""
    previous: np.ndarray
    """[rad] what was sent last"""
    action: np.ndarray
    """The network's raw output, zeros while it does not run."""
    kp: np.ndarray
    """[N m/rad] to be sent with the target"""
    kd: np.ndarray
    """[N m s/rad]"""
    age: float = 0.0
    """Age of the newest state [s]."""
    repeats: int = 0
    """New states in a row with the same bits as the one before."""
    missed: int = 0
    """Deadlines missed in a row."""


@dataclass(frozen=True)
class Guard:
    """One entry of the table."""

    name: str
    check: Callable[["Envelope", Situation], Verdict]
    unit: str
    places: str
    """What `Verdict.where` counts: "joint", "state" or ""."""
    text: str
    """What it watches, for the documentation."""


class Envelope:
    """One robot's limits, and the count of what the guards did."""

    def __init__(self, robot: RobotSpec) -> None:
        """Take the limits from the contract."""
        self.limits = robot.safety
        self.joint_names = robot.joint_names
        bounds = robot.vector("range")
        self.low = (bounds[:, 0] + robot.safety.joint_range_margin).astype(np.float32)
        self.high = (bounds[:, 1] - robot.safety.joint_range_margin).astype(np.float32)
        self.torque = robot.vector("torque_limit").astype(np.float32)
        self.velocity = (VELOCITY_FACTOR * robot.vector("velocity_limit")).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.counts = [[0] * len(Outcome) for _ in GUARDS]
        """How often each guard came to each outcome."""
        self.last: list[Verdict | None] = [None] * len(GUARDS)
        """The last verdict of each guard."""
        self.fired = 0
        """Bit i: guard i clamped or damped in this tick."""

    def check_state(self, situation: Situation) -> str | None:
        """Return why the robot must be damped, or None; begins the tick's count."""
        self.fired = 0
        return self._check(STATE_GUARDS, 0, situation)

    def check_target(self, situation: Situation) -> str | None:
        """Bring the target inside the envelope; return why the robot must be damped, or None."""
        return self._check(TARGET_GUARDS, len(STATE_GUARDS), situation)

    def fired_counts(self) -> dict[str, int]:
        """Return how often each guard clamped or damped, those that did."""
        fired = (
            (g.name, sum(n[Outcome.CLAMP :])) for g, n in zip(GUARDS, self.counts, strict=True)
        )
        return {name: n for name, n in fired if n}

    def _check(self, guards: tuple[Guard, ...], first: int, situation: Situation) -> str | None:
        for i, guard in enumerate(guards, first):
            verdict = guard.check(self, situation)
            self.last[i] = verdict
            self.counts[i][verdict.outcome] += 1
            if verdict.outcome is not Outcome.PASS:
                self.fired |= 1 << i
                if verdict.outcome is Outcome.DAMP:
                    return self._explain(guard, verdict, situation)
        return None

    def _explain(self, guard: Guard, verdict: Verdict, situation: Situation) -> str:
        """Return a verdict as a sentence: guard, place, value, limit."""
        place = ""
        if guard.places == "joint":
            place = f" at {self.joint_names[verdict.where]}"
        elif guard.places == "state":
            place = f" at {situation.measured.places[verdict.where]}"
        unit = f" {guard.unit}" if guard.unit else ""
        return f"{guard.name}{place}: {verdict.value:.4g}{unit}, limit {verdict.limit:.4g}{unit}"


def finite_state(envelope: Envelope, s: Situation) -> Verdict:
    """A measured number that is not finite is a broken sensor."""
    flat = s.measured.flat
    if _finite(flat):
        return Verdict(Outcome.PASS, 0.0, 0.0)
    where = int(np.argmin(np.isfinite(flat)))
    return Verdict(Outcome.DAMP, float(flat[where]), math.inf, where)


def stale_state(envelope: Envelope, s: Situation) -> Verdict:
    """No new measurement for too long."""
    return _damp_above(s.age, envelope.limits.stale_after)


def frozen_state(envelope: Envelope, s: Situation) -> Verdict:
    """New measurements that carry the same bits: real sensors have noise, a hung one has none."""
    limit = envelope.limits.frozen_ticks
    outcome = Outcome.DAMP if s.repeats + 1 >= limit else Outcome.PASS
    return Verdict(outcome, s.repeats + 1, limit)


def orientation(envelope: Envelope, s: Situation) -> Verdict:
    """An orientation that is not a unit quaternion says nothing about tilt."""
    w, x, y, z = s.measured.state.base_quat.tolist()
    return _damp_above(abs(math.sqrt(w * w + x * x + y * y + z * z) - 1), QUATERNION_TOLERANCE)


def tilt(envelope: Envelope, s: Situation) -> Verdict:
    """The angle between body z and world z: beyond it the robot is falling, not walking."""
    _, x, y, _ = s.measured.state.base_quat.tolist()
    angle = math.acos(min(max(1 - 2 * (x * x + y * y), -1.0), 1.0))
    return _damp_above(angle, envelope.limits.max_tilt)


def angular_rate(envelope: Envelope, s: Situation) -> Verdict:
    """The norm of the base's angular velocity."""
    x, y, z = s.measured.state.base_ang_vel.tolist()
    return _damp_above(math.sqrt(x * x + y * y + z * z), envelope.limits.max_angular_rate)


def joint_velocity(envelope: Envelope, s: Situation) -> Verdict:
    """A joint faster than its motor could ever turn it (`VELOCITY_FACTOR`)."""
    speed = np.abs(s.measured.state.joint_vel)
    i = int((speed / envelope.velocity).argmax())
    value, limit = float(speed[i]), float(envelope.velocity[i])
    return Verdict(Outcome.DAMP if value > limit else Outcome.PASS, value, limit, i)


def missed_deadlines(envelope: Envelope, s: Situation) -> Verdict:
    """The computer is too slow or too busy to hold the control period."""
    limit = envelope.limits.max_missed_deadlines
    return Verdict(Outcome.DAMP if s.missed >= limit else Outcome.PASS, s.missed, limit)


def finite_action(envelope: Envelope, s: Situation) -> Verdict:
    """A network output or target that is not finite: nothing sensible can be sent."""
    for vector in (s.action, s.target):
        if not _finite(vector):
            where = int(np.argmin(np.isfinite(vector)))
            return Verdict(Outcome.DAMP, float(vector[where]), math.inf, where)
    return Verdict(Outcome.PASS, 0.0, 0.0, 0)


def joint_range(envelope: Envelope, s: Situation) -> Verdict:
    """The target stays inside the joint's range, less the margin."""
    excess = np.maximum(envelope.low - s.target, s.target - envelope.high)
    i = int(excess.argmax())
    value = float(s.target[i])
    limit = float(envelope.low[i] if value < envelope.low[i] else envelope.high[i])
    if excess[i] <= 0:
        return Verdict(Outcome.PASS, value, limit, i)
    np.maximum(s.target, envelope.low, out=s.target)
    np.minimum(s.target, envelope.high, out=s.target)
    return Verdict(Outcome.CLAMP, value, limit, i)


def target_step(envelope: Envelope, s: Situation) -> Verdict:
    """The target moves by no more than this in one tick."""
    limit = envelope.limits.max_target_step
    step = s.target - s.previous
    size = np.abs(step)
    i = int(size.argmax())
    value = float(size[i])
    if value <= limit:
        return Verdict(Outcome.PASS, value, limit, i)
    np.minimum(step, np.float32(limit), out=step)
    np.maximum(step, np.float32(-limit), out=step)
    np.add(s.previous, step, out=s.target)
    return Verdict(Outcome.CLAMP, value, limit, i)


def torque(envelope: Envelope, s: Situation) -> Verdict:
    """The target is moved so that |kp (target - q) - kd dq| stays within the motor's torque.

    It comes last and wins: where kd dq alone exceeds the torque, the target leaves the range
    rather than ask for a braking torque that the motor does not have.
    """
    state = s.measured.state
    damping = s.kd * state.joint_vel
    wanted = s.kp * (s.target - state.joint_pos) - damping
    size = np.abs(wanted)
    ratio = size / envelope.torque
    i = int(ratio.argmax())
    value, limit = float(size[i]), float(envelope.torque[i])
    if value <= limit:
        return Verdict(Outcome.PASS, value, limit, i)
    over = (ratio > 1) & (s.kp > 0)
    allowed = np.copysign(envelope.torque, wanted)
    np.copyto(s.target, state.joint_pos + (allowed + damping) / np.maximum(s.kp, 1e-6), where=over)
    return Verdict(Outcome.CLAMP, value, limit, i)


def _finite(vector: np.ndarray) -> bool:
    """Return whether all numbers are finite; `reduce` is the short way to what `all` does."""
    return bool(np.logical_and.reduce(np.isfinite(vector)))


def _damp_above(value: float, limit: float) -> Verdict:
    """Return a verdict that damps unless `value` <= `limit`, so that NaN damps too."""
    return Verdict(Outcome.PASS if value <= limit else Outcome.DAMP, value, limit)


STATE_GUARDS = (
    Guard("finite_state", finite_state, "", "state", "every measured number is finite"),
    Guard("stale_state", stale_state, "s", "", "age of the newest state"),
    Guard("frozen_state", frozen_state, "ticks", "", "new states with identical bits in a row"),
    Guard("orientation", orientation, "", "", "deviation of the quaternion's norm from one"),
    Guard("tilt", tilt, "rad", "", "angle between body z and world z"),
    Guard("angular_rate", angular_rate, "rad/s", "", "norm of the body's angular velocity"),
    Guard("joint_velocity", joint_velocity, "rad/s", "joint", "measured joint velocity"),
    Guard("missed_deadlines", missed_deadlines, "", "", "deadlines missed in a row"),
)
TARGET_GUARDS = (
    Guard("finite_action", finite_action, "", "joint", "network output and target are finite"),
    Guard("joint_range", joint_range, "rad", "joint", "target inside the range and its margin"),
    Guard("target_step", target_step, "rad", "joint", "change of the target in one tick"),
    Guard("torque", torque, "N m", "joint", "size of kp (target - q) - kd dq"),
)
GUARDS = STATE_GUARDS + TARGET_GUARDS
"""In the order in which they run; bit i of the log's `guards` is entry i."""
