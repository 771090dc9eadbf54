"""Every guard of the safety envelope: one function and one line in a table for each.

A guard looks at one `TickState` and says pass, clamp or damp, with the value that it judged and
its limit. State guards run before the network, target guards after it; a target guard may move
the target in place. They are arithmetic on a dozen numbers: no clock, no input or output.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo_node.safety.tick_state import Bounds, Outcome, TickState, Verdict

QUATERNION_TOLERANCE = 0.05
"""Deviation of an orientation's norm from one. All zeros would look upright to `tilt`."""

PASS, CLAMP, DAMP = Outcome.PASS, Outcome.CLAMP, Outcome.DAMP


@dataclass(frozen=True)
class Guard:
    """One entry of the table."""

    name: str
    check: "_Check"
    unit: str
    places: str
    """What `Verdict.where` counts: "joint", "state", "entry" or ""."""
    outcome: Outcome
    """What it says when it does not pass."""
    text: str
    """What it watches, for the documentation."""
    limit: str
    """Where its limit comes from, for the documentation."""


_Check = Callable[[Bounds, TickState], Verdict]
_found: dict[str, list[Guard]] = {"state": [], "target": []}


def _guard(stage: str) -> Callable[..., Callable[[_Check], _Check]]:
    """Return the decorator of a stage. A guard's name in the log is that of its function."""

    def decorate(outcome: Outcome, unit: str, places: str, text: str, limit: str) -> Callable:
        def register(check: _Check) -> _Check:
            _found[stage].append(Guard(check.__name__, check, unit, places, outcome, text, limit))
            return check

        return register

    return decorate


_state, _target = _guard("state"), _guard("target")

# -- what the robot measures --------------------------------------------------------------------


@_state(DAMP, "s", "", "time since the tick before, not below 0", "`max_clock_step`")
def clock_jump(bounds: Bounds, s: TickState) -> Verdict:
    """A clock that ran backwards or leapt, or a node that was stopped and goes on."""
    limit = bounds.limits.max_clock_step
    return Verdict(PASS if 0 <= s.step <= limit else DAMP, s.step, limit)


@_state(DAMP, "", "state", "every measured number is finite", "none")
def finite_state(bounds: Bounds, s: TickState) -> Verdict:
    """A measured number that is not finite is a broken sensor."""
    return _finite(s.measured.flat)


@_state(DAMP, "s", "", "age of the newest state", "`stale_after`")
def stale_state(bounds: Bounds, s: TickState) -> Verdict:
    """No new measurement for too long."""
    return _damp_above(s.age, bounds.limits.stale_after)


@_state(
    DAMP,
    "ticks",
    "state",
    "new states in a row with identical bits of the IMU, or of all joints while told to move",
    "`frozen_ticks`",
)
def frozen_state(bounds: Bounds, s: TickState) -> Verdict:
    """New measurements that carry the same bits: real sensors have noise, a hung one has none."""
    limit, joints = bounds.limits.frozen_ticks, s.joint_repeats > s.imu_repeats
    ticks = (s.joint_repeats if joints else s.imu_repeats) + 1
    where = 0 if joints else bounds.first_of_imu
    return Verdict(DAMP if ticks >= limit else PASS, ticks, limit, where)


@_state(DAMP, "", "", "deadlines missed in a row", "`max_missed_deadlines`")
def missed_deadlines(bounds: Bounds, s: TickState) -> Verdict:
    """The computer is too slow or too busy to hold the control period."""
    limit = bounds.limits.max_missed_deadlines
    return Verdict(DAMP if s.missed >= limit else PASS, s.missed, limit)


@_state(DAMP, "", "", "deviation of the quaternion's norm from one", "0.05")
def orientation(bounds: Bounds, s: TickState) -> Verdict:
    """An orientation that is not a unit quaternion says nothing about tilt."""
    w, x, y, z = s.measured.state.base_quat.tolist()
    return _damp_above(abs(math.sqrt(w * w + x * x + y * y + z * z) - 1), QUATERNION_TOLERANCE)


@_state(DAMP, "rad", "", "angle between body z and world z", "`max_tilt`")
def tilt(bounds: Bounds, s: TickState) -> Verdict:
    """The angle between body z and world z: beyond it the robot is falling, not walking."""
    _, x, y, _ = s.measured.state.base_quat.tolist()
    angle = math.acos(min(max(1 - 2 * (x * x + y * y), -1.0), 1.0))
    return _damp_above(angle, bounds.limits.max_tilt)


@_state(DAMP, "rad/s", "", "norm of the body's angular velocity", "`max_angular_rate`")
def angular_rate(bounds: Bounds, s: TickState) -> Verdict:
    """The norm of the base's angular velocity."""
    x, y, z = s.measured.state.base_ang_vel.tolist()
    return _damp_above(math.sqrt(x * x + y * y + z * z), bounds.limits.max_angular_rate)


@_state(
    DAMP,
    "rad",
    "joint",
    "measured joint angle",
    "the joint's `range`, and `max_joint_overrun` beyond",
)
def joint_position(bounds: Bounds, s: TickState) -> Verdict:
    """A joint outside its mechanical range: no joint gets there, so the encoder is wrong."""
    position = s.measured.state.joint_pos
    excess = np.maximum(bounds.lowest - position, position - bounds.highest)
    i = int(excess.argmax())
    value = float(position[i])
    limit = bounds.lowest if value < bounds.lowest[i] else bounds.highest
    return Verdict(DAMP if excess[i] > 0 else PASS, value, float(limit[i]), i)


@_state(
    DAMP,
    "rad/s",
    "joint",
    "measured joint velocity",
    "`max_velocity_fraction` x the joint's `velocity_limit`",
)
def joint_velocity(bounds: Bounds, s: TickState) -> Verdict:
    """A joint faster than its motor could ever turn it."""
    speed = np.abs(s.measured.state.joint_vel)
    i = int((speed / bounds.velocity).argmax())
    value, limit = float(speed[i]), float(bounds.velocity[i])
    return Verdict(DAMP if value > limit else PASS, value, limit, i)


@_state(DAMP, "", "", "others that command the robot or play it, if the driver can tell", "none")
def other_writers(bounds: Bounds, s: TickState) -> Verdict:
    """Two controllers on one robot fight each other, at the motors' expense."""
    return Verdict(DAMP if s.others else PASS, s.others, 0)


# Of a robot's health, what a robot does not measure is NaN, and passes: NaN > limit is False.


@_state(DAMP, "degC", "joint", "hottest motor, if the robot measures it", "`max_motor_temperature`")
def motor_temperature(bounds: Bounds, s: TickState) -> Verdict:
    """A motor about to lose its magnets or to switch itself off."""
    limit = bounds.limits.max_motor_temperature
    i, value = s.health.hottest()
    return Verdict(DAMP if value > limit else PASS, value, limit, i)


@_state(
    DAMP, "motors", "joint", "motors that are silent, if the robot says so", "`max_lost_motors`"
)
def lost_motors(bounds: Bounds, s: TickState) -> Verdict:
    """Motors that no longer answer the robot's own controller."""
    limit = bounds.limits.max_lost_motors
    i, value = s.health.lost_motors()
    return Verdict(DAMP if value > limit else PASS, value, limit, i)


@_state(
    DAMP,
    "V",
    "",
    "battery, its highest over the last second, if the robot measures it",
    "`min_voltage`",
)
def voltage(bounds: Bounds, s: TickState) -> Verdict:
    """A battery that is about to give up: the robot brakes down while there is power to brake."""
    limit = bounds.limits.min_voltage
    return Verdict(DAMP if s.voltage < limit else PASS, s.voltage, limit)


# -- what it is told to do ----------------------------------------------------------------------


@_target(DAMP, "", "entry", "every number of the observation is finite", "none")
def finite_observation(bounds: Bounds, s: TickState) -> Verdict:
    """A number of the observation that is not finite, whatever the network made of it."""
    return _finite(s.observation)


@_target(DAMP, "", "joint", "every output of the network is finite", "none")
def finite_action(bounds: Bounds, s: TickState) -> Verdict:
    """A network output that is not finite: nothing sensible can be sent."""
    return _finite(s.action)


@_target(DAMP, "", "joint", "every target is finite", "none")
def finite_target(bounds: Bounds, s: TickState) -> Verdict:
    """A target that is not finite, from whatever state it comes."""
    return _finite(s.target)


@_target(CLAMP, "missed", "", "deadlines missed in a row: the target stays", "`hold_after_missed`")
def hold(bounds: Bounds, s: TickState) -> Verdict:
    """Deadlines are being missed: the last target stays until a tick is in time again."""
    limit = bounds.limits.hold_after_missed
    if s.missed < limit:
        return Verdict(PASS, s.missed, limit)
    s.target[:] = s.previous
    return Verdict(CLAMP, s.missed, limit)


@_target(
    CLAMP,
    "rad",
    "joint",
    "target inside the range",
    "the joint's `range`, less `joint_range_margin`",
)
def joint_range(bounds: Bounds, s: TickState) -> Verdict:
    """The target stays inside the joint's range, less the margin."""
    excess = np.maximum(bounds.low - s.target, s.target - bounds.high)
    i = int(excess.argmax())
    value = float(s.target[i])
    limit = float(bounds.low[i] if value < bounds.low[i] else bounds.high[i])
    if excess[i] <= 0:
        return Verdict(PASS, value, limit, i)
    np.maximum(s.target, bounds.low, out=s.target)
    np.minimum(s.target, bounds.high, out=s.target)
    return Verdict(CLAMP, value, limit, i)


@_target(CLAMP, "rad", "joint", "change of the target in one tick", "`max_target_step`")
def target_step(bounds: Bounds, s: TickState) -> Verdict:
    """The target moves by no more than this in one tick."""
    limit = bounds.limits.max_target_step
    step = s.target - s.previous
    size = np.abs(step)
    i = int(size.argmax())
    value = float(size[i])
    if value <= limit:
        return Verdict(PASS, value, limit, i)
    np.minimum(step, np.float32(limit), out=step)
    np.maximum(step, np.float32(-limit), out=step)
    np.add(s.previous, step, out=s.target)
    return Verdict(CLAMP, value, limit, i)


@_target(
    CLAMP,
    "N m",
    "joint",
    "size of kp (target - q) - kd dq",
    "`max_torque_fraction` x the joint's `torque_limit`",
)
def torque(bounds: Bounds, s: TickState) -> Verdict:
    """The target is moved so that |kp (target - q) - kd dq| stays within the motor's torque.

    It comes last, and keeps the range. The target goes towards the joint and never past it: one
    beyond the joint would balance the braking while the joint moves, and push it when contact stops
    it. So where kd dq alone exceeds the torque, kd gives way.
    """
    state = s.measured.state
    damping = s.kd * state.joint_vel
    wanted = s.kp * (s.target - state.joint_pos) - damping
    size = np.abs(wanted)
    ratio = size / bounds.torque
    i = int(ratio.argmax())
    value, limit = float(size[i]), float(bounds.torque[i])
    if value <= limit:
        return Verdict(PASS, value, limit, i)
    _hold_torque(bounds, s, damping, wanted, ratio > 1)
    return Verdict(CLAMP, value, limit, i)


def _hold_torque(
    bounds: Bounds, s: TickState, damping: np.ndarray, wanted: np.ndarray, over: np.ndarray
) -> None:
    """Bring the joints that are `over` (joints,) to the limit: kd first, then the target."""
    q, dq, most = s.measured.state.joint_pos, s.measured.state.joint_vel, bounds.torque
    braking = np.minimum(np.maximum(damping, -most), most)
    np.copyto(s.kd, most / np.maximum(np.abs(dq), 1e-6), where=over & (braking != damping))
    target = q + (np.copysign(most, wanted) + braking) / np.maximum(s.kp, 1e-6)
    np.copyto(s.target, target, where=over & (s.kp > 0))
    inside = np.minimum(np.maximum(s.target, bounds.low), bounds.high)
    outside = s.target != inside
    if outside.any():  # the joint itself is beyond the range: both gains give way
        s.target[:] = inside
        share = most / np.maximum(np.abs(s.kp * (inside - q) - s.kd * dq), most)
        np.multiply(s.kp, share, out=s.kp, where=outside)
        np.multiply(s.kd, share, out=s.kd, where=outside)


def _finite(vector: np.ndarray) -> Verdict:
    """Damp if a number is not finite; `reduce` is the short way to what `all` does."""
    finite = np.isfinite(vector)
    if np.logical_and.reduce(finite):
        return Verdict(PASS, 0.0, math.inf, 0)
    where = int(finite.argmin())
    return Verdict(DAMP, float(vector[where]), math.inf, where)


def _damp_above(value: float, limit: float) -> Verdict:
    """Return a verdict that damps unless `value` <= `limit`, so that NaN damps too."""
    return Verdict(PASS if value <= limit else DAMP, value, limit)


STATE_GUARDS, TARGET_GUARDS = tuple(_found["state"]), tuple(_found["target"])
GUARDS = STATE_GUARDS + TARGET_GUARDS
"""In the order in which they run; bit i of the log's `guards` is entry i."""
