"""Every guard of the safety envelope: one function and one line in a table for each.

A guard passes with None, or says clamp or damp with the value that it judged and its limit. State
guards judge a measurement, before the network runs; target guards judge the decision that came of
it, and may change what it sends in place. They are arithmetic on a dozen numbers: no clock, no
input or output.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.verdict import Outcome, Verdict

QUATERNION_TOLERANCE = 0.05
"""Deviation of an orientation's norm from one. All zeros would look upright to `tilt`."""

CLAMP = Outcome.CLAMP
DAMP = Outcome.DAMP


@dataclass(frozen=True)
class Guard:
    """One entry of the table."""

    name: str
    check: "_Check"
    unit: str
    places: str
    """Kind of `Verdict.where`: "joint", "state", "entry" or ""."""
    outcome: Outcome
    """Its outcome where it does not pass."""
    text: str
    """The quantity that it watches, for the documentation."""
    limit: str
    """The source of its limit, for the documentation."""


_Check = Callable[..., Verdict | None]
"""f(bounds, measurement) of a state guard, f(bounds, measurement, decision) of a target guard."""
_found: dict[str, list[Guard]] = {"state": [], "target": []}


def _guard(stage: str) -> Callable[..., Callable[[_Check], _Check]]:
    """Return the decorator of a stage. A guard's name in the log is that of its function."""

    def decorate(outcome: Outcome, unit: str, places: str, text: str, limit: str) -> Callable:
        def register(check: _Check) -> _Check:
            _found[stage].append(Guard(check.__name__, check, unit, places, outcome, text, limit))
            return check

        return register

    return decorate


_state = _guard("state")
_target = _guard("target")

# -- what the robot measures --------------------------------------------------------------------


@_state(DAMP, "s", "", "time since the tick before, not below 0", "`max_clock_step`")
def clock_jump(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A clock that ran backwards or leapt, or a node that was stopped and goes on."""
    limit = bounds.limits.max_clock_step
    return None if 0 <= m.step <= limit else Verdict(DAMP, m.step, limit)


@_state(DAMP, "", "state", "every measured number is finite", "none")
def finite_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A measured number that is not finite is a broken sensor."""
    return _finite(m.flat)


@_state(DAMP, "s", "", "age of the newest state", "`stale_after`")
def stale_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """No new measurement for too long."""
    return _damp_above(m.age, bounds.limits.stale_after)


@_state(
    DAMP,
    "ticks",
    "state",
    "new states in a row with identical bits of the IMU, or of all joints while told to move",
    "`frozen_ticks`",
)
def frozen_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """New measurements that carry the same bits: real sensors have noise, a hung one has none."""
    limit = bounds.limits.frozen_ticks
    joints = m.joint_repeats > m.imu_repeats
    ticks = (m.joint_repeats if joints else m.imu_repeats) + 1
    if ticks < limit:
        return None
    return Verdict(DAMP, ticks, limit, 0 if joints else bounds.first_of_imu)


@_state(DAMP, "", "", "deadlines missed in a row", "`max_missed_deadlines`")
def missed_deadlines(bounds: Bounds, m: Measurement) -> Verdict | None:
    """The computer is too slow or too busy to hold the control period."""
    limit = bounds.limits.max_missed_deadlines
    return Verdict(DAMP, m.missed, limit) if m.missed >= limit else None


@_state(DAMP, "", "", "deviation of the quaternion's norm from one", "0.05")
def orientation(bounds: Bounds, m: Measurement) -> Verdict | None:
    """An orientation that is not a unit quaternion says nothing about tilt."""
    w, x, y, z = m.state.base_quat.tolist()
    return _damp_above(abs(math.sqrt(w * w + x * x + y * y + z * z) - 1), QUATERNION_TOLERANCE)


@_state(DAMP, "rad", "", "angle between body z and world z", "`max_tilt`")
def tilt(bounds: Bounds, m: Measurement) -> Verdict | None:
    """The angle between body z and world z: beyond it the robot is falling, not walking."""
    _, x, y, _ = m.state.base_quat.tolist()
    angle = math.acos(min(max(1 - 2 * (x * x + y * y), -1.0), 1.0))
    return _damp_above(angle, bounds.limits.max_tilt)


@_state(DAMP, "rad/s", "", "norm of the body's angular velocity", "`max_angular_rate`")
def angular_rate(bounds: Bounds, m: Measurement) -> Verdict | None:
    """The norm of the base's angular velocity."""
    x, y, z = m.state.base_ang_vel.tolist()
    return _damp_above(math.sqrt(x * x + y * y + z * z), bounds.limits.max_angular_rate)


@_state(
    DAMP,
    "rad",
    "joint",
    "measured joint angle",
    "the joint's `range`, and `max_joint_overrun` beyond",
)
def joint_position(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A joint outside its mechanical range: no joint gets there, so the encoder is wrong."""
    position = m.state.joint_pos
    excess = np.maximum(bounds.lowest - position, position - bounds.highest)
    i = int(excess.argmax())
    if not excess[i] > 0:
        return None
    value = float(position[i])
    limit = bounds.lowest if value < bounds.lowest[i] else bounds.highest
    return Verdict(DAMP, value, float(limit[i]), i)


@_state(
    DAMP,
    "rad/s",
    "joint",
    "measured joint velocity",
    "`max_velocity_fraction` x the joint's `velocity_limit`",
)
def joint_velocity(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A joint faster than its motor could ever turn it."""
    speed = np.abs(m.state.joint_vel)
    i = int((speed / bounds.velocity).argmax())
    value = float(speed[i])
    limit = float(bounds.velocity[i])
    return Verdict(DAMP, value, limit, i) if value > limit else None


@_state(DAMP, "", "", "others that command the robot or play it, if the driver can tell", "none")
def other_writers(bounds: Bounds, m: Measurement) -> Verdict | None:
    """Two controllers on one robot fight each other, at the motors' expense."""
    return Verdict(DAMP, m.others, 0) if m.others else None


# Of a robot's health, what a robot does not measure is NaN, and passes: NaN > limit is False.


@_state(DAMP, "degC", "joint", "hottest motor, if the robot measures it", "`max_motor_temperature`")
def motor_temperature(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A motor about to lose its magnets or to switch itself off."""
    limit = bounds.limits.max_motor_temperature
    i, value = m.health.hottest()
    return Verdict(DAMP, value, limit, i) if value > limit else None


@_state(
    DAMP, "motors", "joint", "motors that are silent, if the robot says so", "`max_lost_motors`"
)
def lost_motors(bounds: Bounds, m: Measurement) -> Verdict | None:
    """Motors that no longer answer the robot's own controller."""
    limit = bounds.limits.max_lost_motors
    i, value = m.health.lost_motors()
    return Verdict(DAMP, value, limit, i) if value > limit else None


@_state(
    DAMP,
    "V",
    "",
    "battery, its highest over the last second, if the robot measures it",
    "`min_voltage`",
)
def voltage(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A battery that is about to give up: the robot brakes down while there is power to brake."""
    limit = bounds.limits.min_voltage
    return Verdict(DAMP, m.voltage, limit) if m.voltage < limit else None


# -- what it is told to do ----------------------------------------------------------------------


@_target(DAMP, "", "entry", "every number of the observation is finite", "none")
def finite_observation(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A number of the observation that is not finite, whatever the network made of it."""
    return _finite(d.observation)


@_target(DAMP, "", "joint", "every output of the network is finite", "none")
def finite_action(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A network output that is not finite: nothing sensible can be sent."""
    return _finite(d.action)


@_target(DAMP, "", "joint", "every target is finite", "none")
def finite_target(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A target that is not finite, from whatever state it comes."""
    return _finite(d.motors.target)


@_target(CLAMP, "missed", "", "deadlines missed in a row: the target stays", "`hold_after_missed`")
def hold(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """Deadlines are being missed: the last target stays until a tick is in time again."""
    limit = bounds.limits.hold_after_missed
    if m.missed < limit:
        return None
    d.motors.target[:] = d.previous
    return Verdict(CLAMP, m.missed, limit)


@_target(
    CLAMP,
    "rad",
    "joint",
    "target inside the range",
    "the joint's `range`, less `joint_range_margin`",
)
def joint_range(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """The target stays inside the joint's range, less the margin."""
    target = d.motors.target
    excess = np.maximum(bounds.low - target, target - bounds.high)
    i = int(excess.argmax())
    if excess[i] <= 0:
        return None
    value = float(target[i])
    limit = float(bounds.low[i] if value < bounds.low[i] else bounds.high[i])
    np.maximum(target, bounds.low, out=target)
    np.minimum(target, bounds.high, out=target)
    return Verdict(CLAMP, value, limit, i)


@_target(CLAMP, "rad", "joint", "change of the target in one tick", "`max_target_step`")
def target_step(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """The target moves by no more than this in one tick."""
    limit = bounds.limits.max_target_step
    step = d.motors.target - d.previous
    size = np.abs(step)
    i = int(size.argmax())
    value = float(size[i])
    if value <= limit:
        return None
    np.minimum(step, np.float32(limit), out=step)
    np.maximum(step, np.float32(-limit), out=step)
    np.add(d.previous, step, out=d.motors.target)
    return Verdict(CLAMP, value, limit, i)


@_target(
    CLAMP,
    "N m",
    "joint",
    "size of kp (target - q) - kd dq",
    "`max_torque_fraction` x the joint's `torque_limit`",
)
def torque(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """The target is moved so that |kp (target - q) - kd dq| stays within the motor's torque.

    It comes last, and keeps the range. The target goes towards the joint and never past it: one
    beyond the joint would balance the braking while the joint moves, and push it when contact stops
    it. So where kd dq alone exceeds the torque, kd gives way.
    """
    state = m.state
    motors = d.motors
    damping = motors.kd * state.joint_vel
    wanted = motors.kp * (motors.target - state.joint_pos) - damping
    size = np.abs(wanted)
    ratio = size / bounds.torque
    i = int(ratio.argmax())
    value = float(size[i])
    limit = float(bounds.torque[i])
    if value <= limit:
        return None
    over = ratio > 1
    _limit_damping(bounds, state.joint_vel, motors, over)
    _limit_target(bounds, m, motors, wanted, damping, over)
    return Verdict(CLAMP, value, limit, i)


def _limit_damping(
    bounds: Bounds, velocity: np.ndarray, motors: MotorCommand, over: np.ndarray
) -> None:
    """Lower kd of the joints that are `over` (joints,) where kd dq alone exceeds the torque."""
    most = bounds.torque
    damping = motors.kd * velocity
    braking = _within(damping, most)
    lowered = most / np.maximum(np.abs(velocity), 1e-6)
    np.copyto(motors.kd, lowered, where=over & (braking != damping))


def _limit_target(
    bounds: Bounds,
    m: Measurement,
    motors: MotorCommand,
    wanted: np.ndarray,
    damping: np.ndarray,
    over: np.ndarray,
) -> None:
    """Move the targets of the joints that are `over` to the limit, inside the range.

    Where the joint itself is beyond its range, both gains give way.

    Args:
        bounds: the limits.
        m: where the joints are.
        motors: what is changed in place.
        wanted: kp (target - q) - kd dq (joints,) [N m].
        damping: kd dq (joints,) [N m], before kd gave way.
        over: joints that exceed their torque (joints,).
    """
    q = m.state.joint_pos
    dq = m.state.joint_vel
    most = bounds.torque
    torque = np.copysign(most, wanted) + _within(damping, most)
    target = q + torque / np.maximum(motors.kp, 1e-6)
    np.copyto(motors.target, target, where=over & (motors.kp > 0))
    inside = np.minimum(np.maximum(motors.target, bounds.low), bounds.high)
    outside = motors.target != inside
    if outside.any():
        motors.target[:] = inside
        share = most / np.maximum(np.abs(motors.kp * (inside - q) - motors.kd * dq), most)
        np.multiply(motors.kp, share, out=motors.kp, where=outside)
        np.multiply(motors.kd, share, out=motors.kd, where=outside)


def _within(values: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return `values` clipped to +-`most`, (joints,) each."""
    return np.minimum(np.maximum(values, -most), most)


def _finite(vector: np.ndarray) -> Verdict | None:
    """Damp if a number is not finite."""
    finite = np.isfinite(vector)
    where = int(finite.argmin())
    return None if finite[where] else Verdict(DAMP, float(vector[where]), math.inf, where)


def _damp_above(value: float, limit: float) -> Verdict | None:
    """Return a verdict that damps unless `value` <= `limit`, so that NaN damps too."""
    return None if value <= limit else Verdict(DAMP, value, limit)


STATE_GUARDS = tuple(_found["state"])
TARGET_GUARDS = tuple(_found["target"])
GUARDS = STATE_GUARDS + TARGET_GUARDS
"""In the order in which they run; bit i of the log's `guards` is entry i."""
