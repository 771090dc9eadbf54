"""Shows that every guard that is on fires: injects a fault, and lets the envelope judge it.

    results = run(policy, limits)        # one Result per guard
    prove(policy, limits)                # RefusedError if one did not fire; done at every start

The guards are those of this file and this robot, with its limits: "it would have fired" is then a
measurement and not a hope. A guard without an injection is a guard that failed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.spec import Limits
from robot_ppo_export.errors import RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.guard import Guard
from robot_ppo_node.safety.guards import GUARDS
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.safety.state_guards import QUATERNION_TOLERANCE, STATE_GUARDS
from robot_ppo_node.safety.verdict import Outcome

BEYOND = 1.01
"""A fault is a hundredth beyond its limit: a guard with the wrong limit passes it."""

Injection = Callable[[Bounds, Draft], None]


@dataclass(frozen=True)
class Result:
    """The result of one guard's fault."""

    guard: Guard
    value: float
    limit: float
    fired: Outcome
    off: bool = False
    """Its limit switches it off, so there is nothing to show."""

    @property
    def good(self) -> bool:
        """Whether the guard did what its table says."""
        return self.off or self.fired is self.guard.outcome


def run(policy: Policy, limits: Limits) -> list[Result]:
    """Inject its fault into every guard; return the results."""
    signals = held_signals(policy.contract)
    return [_inject(policy, limits, signals, i, guard) for i, guard in enumerate(GUARDS)]


def prove(policy: Policy, limits: Limits) -> None:
    """Raise `RefusedError` unless every guard fires, and none of them without a fault."""
    silent = [r.guard.name for r in run(policy, limits) if not r.good]
    if silent:
        raise RefusedError(
            f"{policy.path}: the guards {', '.join(silent)} do not fire on a fault: see "
            "robot-ppo-node selftest"
        )
    envelope, draft = _standing(policy, limits, held_signals(policy.contract))
    reason = envelope.check_state(draft.measurement)
    reason = reason or envelope.check_target(draft.measurement, draft.decision)
    if reason or envelope.fired:
        raise RefusedError(
            f"{policy.path}: the envelope does not let the robot stand in its default pose: "
            f"{reason or envelope.report()[0]}"
        )


def _inject(
    policy: Policy, limits: Limits, signals: Mapping[str, int], i: int, guard: Guard
) -> Result:
    envelope, draft = _standing(policy, limits, signals)
    if guard.name == "voltage" and not limits.min_voltage:
        return Result(guard, math.nan, limits.min_voltage, Outcome.PASS, off=True)
    injection = INJECTIONS.get(guard.name)
    if injection is None:
        return Result(guard, math.nan, math.nan, Outcome.PASS)
    injection(envelope.bounds, draft)
    if guard in STATE_GUARDS:
        envelope.check_state(draft.measurement)
    else:
        envelope.check_target(draft.measurement, draft.decision)
    verdict = envelope.last[i]
    if verdict is None:  # another guard before it took the blame
        return Result(guard, math.nan, math.nan, Outcome.PASS)
    return Result(guard, verdict.value, verdict.limit, verdict.outcome)


def _standing(policy: Policy, limits: Limits, signals: Mapping[str, int]) -> tuple[Envelope, Draft]:
    """Return the envelope, and a robot that stands still in the default pose.

    `signals` are those that the node holds: to find them resolves every term of the observation.
    """
    contract = policy.contract
    draft = Draft(contract.robot, signals, policy.layout.size, contract.control_period)
    return Envelope(contract.robot, limits, signals), draft


def _clock_jump(bounds: Bounds, d: Draft) -> None:
    d.measure(step=BEYOND * bounds.limits.max_clock_step)


def _finite_state(bounds: Bounds, d: Draft) -> None:
    d.state.joint_vel[0] = np.nan


def _stale_state(bounds: Bounds, d: Draft) -> None:
    d.measure(age=BEYOND * bounds.limits.stale_after)


def _frozen_state(bounds: Bounds, d: Draft) -> None:
    d.measure(imu_repeats=bounds.limits.frozen_ticks - 1)


def _missed_deadlines(bounds: Bounds, d: Draft) -> None:
    d.measure(missed=bounds.limits.max_missed_deadlines)


def _orientation(bounds: Bounds, d: Draft) -> None:
    d.state.base_quat[0] = 1 + BEYOND * QUATERNION_TOLERANCE


def _tilt(bounds: Bounds, d: Draft) -> None:
    angle = min(BEYOND * bounds.limits.max_tilt, math.pi)
    d.state.base_quat[:] = frames.from_rotation_vector(np.array([angle, 0.0, 0.0]))


def _angular_rate(bounds: Bounds, d: Draft) -> None:
    d.state.base_ang_vel[2] = -BEYOND * bounds.limits.max_angular_rate


def _joint_position(bounds: Bounds, d: Draft) -> None:
    d.state.joint_pos[0] = bounds.highest[0] + 0.01


def _joint_velocity(bounds: Bounds, d: Draft) -> None:
    d.state.joint_vel[0] = -BEYOND * bounds.velocity[0]


def _other_writers(bounds: Bounds, d: Draft) -> None:
    d.measure(others=1)


def _motor_temperature(bounds: Bounds, d: Draft) -> None:
    d.health.motor_temperature[0] = BEYOND * bounds.limits.max_motor_temperature
    d.health.unsaid = False


def _lost_motors(bounds: Bounds, d: Draft) -> None:
    d.health.motor_lost[:] = 0
    d.health.motor_lost[: bounds.limits.max_lost_motors + 1] = 1
    d.health.unsaid = False


def _voltage(bounds: Bounds, d: Draft) -> None:
    low = bounds.limits.min_voltage - 0.01
    d.measure(voltage=low)
    d.health.voltage = low
    d.health.unsaid = False


def _finite_observation(bounds: Bounds, d: Draft) -> None:
    d.decision.observation[0] = np.inf


def _finite_action(bounds: Bounds, d: Draft) -> None:
    d.decision.action[0] = np.nan


def _finite_target(bounds: Bounds, d: Draft) -> None:
    d.motors.target[0] = np.nan


def _hold(bounds: Bounds, d: Draft) -> None:
    d.measure(missed=bounds.limits.hold_after_missed)


def _joint_range(bounds: Bounds, d: Draft) -> None:
    d.motors.target[0] = bounds.high[0] + 0.01


def _target_step(bounds: Bounds, d: Draft) -> None:
    d.decision.previous[0] = d.motors.target[0] - BEYOND * bounds.limits.max_target_step


def _torque(bounds: Bounds, d: Draft) -> None:
    d.motors.kp[0] = 1e3 * bounds.torque[0]  # a hundredth of a radian is ten times the torque
    d.state.joint_pos[0] = d.motors.target[0] + 0.01


INJECTIONS: dict[str, Injection] = {
    function.__name__[1:]: function
    for function in (
        *(_clock_jump, _finite_state, _stale_state, _frozen_state, _missed_deadlines),
        *(_orientation, _tilt, _angular_rate, _joint_position, _joint_velocity, _other_writers),
        *(_motor_temperature, _lost_motors, _voltage, _finite_observation, _finite_action),
        *(_finite_target, _hold, _joint_range, _target_step, _torque),
    )
}
"""Guard -> the fault that it must see, just beyond its limit."""
