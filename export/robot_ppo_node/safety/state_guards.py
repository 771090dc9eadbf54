"""The state guards: each judges one measurement, before the network runs."""

import math

import numpy as np

from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.guard import Guard, finite, guard_of
from robot_ppo_node.safety.measurement import Measurement
from robot_ppo_node.safety.verdict import Outcome, Verdict

QUATERNION_TOLERANCE = 0.05
"""Deviation of an orientation's norm from one. All zeros would look upright to `tilt`."""

SCAN_TICKS = 25
"""States with the same height scan on a robot that moves: maps come ten times per second or less,
and one that is half a second old is of other ground."""

DAMP = Outcome.DAMP
_found: list[Guard] = []
_state = guard_of(_found)


@_state(DAMP, "s", "", "time since the tick before, not below 0", "`max_clock_step`")
def clock_jump(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A clock that ran backwards or leapt, or a node that was stopped and goes on."""
    limit = bounds.limits.max_clock_step
    return None if 0 <= m.step <= limit else Verdict(DAMP, m.step, limit)


@_state(DAMP, "", "state", "every measured number is finite", "none")
def finite_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """A measured number that is not finite is a broken sensor."""
    return finite(m.flat)


@_state(DAMP, "s", "", "age of the newest state", "`stale_after`")
def stale_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """No new measurement for too long."""
    return _damp_above(m.age, bounds.limits.stale_after)


@_state(
    DAMP,
    "ticks",
    "state",
    "new states in a row with identical bits of the IMU, or, while told to move, of all joints or "
    "of the height scan",
    "`frozen_ticks`; 25 for the scan",
)
def frozen_state(bounds: Bounds, m: Measurement) -> Verdict | None:
    """New measurements that carry the same bits: real sensors have noise, a hung one has none."""
    limit = bounds.limits.frozen_ticks
    joints = m.joint_repeats > m.imu_repeats
    ticks = (m.joint_repeats if joints else m.imu_repeats) + 1
    if m.scan_repeats >= SCAN_TICKS:
        return Verdict(DAMP, m.scan_repeats, SCAN_TICKS, bounds.first_of_scan)
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


def _damp_above(value: float, limit: float) -> Verdict | None:
    """Return a verdict that damps unless `value` <= `limit`, so that NaN damps too."""
    return None if value <= limit else Verdict(DAMP, value, limit)


STATE_GUARDS = tuple(_found)
"""In the order in which they run."""
