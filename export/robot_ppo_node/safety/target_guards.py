"""The target guards: each judges what is to be sent, and may change it in place."""

import numpy as np

from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.guard import Guard, finite, guard_of
from robot_ppo_node.safety.measurement import Decision, Measurement
from robot_ppo_node.safety.verdict import Outcome, Verdict

CLAMP = Outcome.CLAMP
DAMP = Outcome.DAMP
_found: list[Guard] = []
_target = guard_of(_found)


@_target(DAMP, "", "entry", "every number of the observation is finite", "none")
def finite_observation(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A number of the observation that is not finite, whatever the network made of it."""
    return finite(d.observation)


@_target(DAMP, "", "joint", "every output of the network is finite", "none")
def finite_action(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A network output that is not finite: nothing sensible can be sent."""
    return finite(d.action)


@_target(DAMP, "", "joint", "every target is finite", "none")
def finite_target(bounds: Bounds, m: Measurement, d: Decision) -> Verdict | None:
    """A target that is not finite, from whatever state it comes."""
    return finite(d.motors.target)


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


TARGET_GUARDS = tuple(_found)
"""In the order in which they run: what limits torque comes last."""
