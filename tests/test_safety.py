"""Every guard fires when it should and only then; a clamped target obeys its law."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import contract, robot

from robot_ppo_export.contract import frames
from robot_ppo_node.drivers.base import Health
from robot_ppo_node.safety import state_guards, target_guards
from robot_ppo_node.safety.bounds import Bounds
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.guards import GUARDS
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.safety.verdict import Outcome

J = 12
DEFAULT = robot().vector("default").astype("f4")
KP, KD = (robot().vector(k).astype("f4") for k in ("kp", "kd"))
LIMITS = robot().safety
SIGNALS = held_signals(contract())


def standing() -> Draft:
    """A robot that stands still and is told to: nothing fires."""
    return Draft(robot(), SIGNALS, observation=71, period=0.02)


def quat(angle: float) -> np.ndarray:
    return frames.from_rotation_vector(np.array([angle, 0.0, 0.0]))


def set_to(path: str, value):
    """Return a change of numbers in the arrays of a draft, e.g. "state.joint_vel[3]"."""

    def change(d: Draft) -> None:
        exec(f"d.{path} = value", {"d": d, "value": value})

    return change


def measured(**values):
    """Return a change of what is measured beside the arrays."""
    return lambda d: d.measure(**values)


def health(path: str, value):
    """Return a change of what the robot says of its parts."""

    def change(d: Draft) -> None:
        other = Health(J)
        exec(f"other.{path} = value", {"other": other, "value": value})
        d.health.update(other)

    return change


FAULTS = {
    # guard: (outcome, value and place in the text, what fires it, what just does not)
    "finite_state": (
        Outcome.DAMP,
        "joint_vel[3]: nan",
        set_to("state.joint_vel[3]", np.nan),
        set_to("state.joint_torque[3]", 1e30),
    ),
    "stale_state": (
        Outcome.DAMP,
        "0.101 s, limit 0.1 s",
        measured(age=0.101),
        measured(age=LIMITS.stale_after),
    ),
    "frozen_state": (
        Outcome.DAMP,
        "at base_quat[0]: 5 ticks, limit 5 ticks",
        measured(imu_repeats=LIMITS.frozen_ticks - 1),
        measured(imu_repeats=LIMITS.frozen_ticks - 2),
    ),
    "orientation": (
        Outcome.DAMP,
        "1, limit 0.05",
        set_to("state.base_quat[:]", 0.0),
        set_to("state.base_quat[0]", 1.04),
    ),
    "tilt": (
        Outcome.DAMP,
        "1.01 rad, limit 1 rad",
        set_to("state.base_quat[:]", quat(1.01)),
        set_to("state.base_quat[:]", quat(-0.99)),
    ),
    "angular_rate": (
        Outcome.DAMP,
        "limit 12 rad/s",
        set_to("state.base_ang_vel[:]", [7.0, -7.0, 7.0]),
        set_to("state.base_ang_vel[:]", [6.9, -6.9, 6.9]),
    ),
    "clock_jump": (
        Outcome.DAMP,
        "-0.001 s, limit 0.5 s",
        measured(step=-0.001),
        measured(step=LIMITS.max_clock_step),
    ),
    "joint_position": (
        Outcome.DAMP,
        "at FR_calf_joint: -3.03 rad, limit -3.023 rad",
        set_to("state.joint_pos[2]", -3.03),
        set_to("state.joint_pos[2]", -3.02),
    ),
    "other_writers": (Outcome.DAMP, "1, limit 0", measured(others=1), measured(others=0)),
    "motor_temperature": (
        Outcome.DAMP,
        "at FL_hip_joint: 86 degC, limit 85 degC",
        health("motor_temperature[3]", 86),
        health("motor_temperature[3]", 85),
    ),
    "lost_motors": (
        Outcome.DAMP,
        "at FL_calf_joint: 1 motors, limit 0 motors",
        health("motor_lost[5]", 1),
        health("motor_lost[5]", 0),
    ),
    "voltage": (
        Outcome.DAMP,
        "-0.1 V, limit 0 V",
        measured(voltage=-0.1),
        measured(voltage=0.0),
    ),
    "finite_observation": (
        Outcome.DAMP,
        "at entry 70: nan",
        set_to("decision.observation[70]", np.nan),
        set_to("decision.observation[70]", 1e30),
    ),
    "finite_target": (
        Outcome.DAMP,
        "at FR_thigh_joint: nan",
        set_to("motors.target[1]", np.nan),
        set_to("motors.target[1]", DEFAULT[1] + 0.1),
    ),
    "hold": (
        Outcome.CLAMP,
        "",
        measured(missed=LIMITS.hold_after_missed),
        measured(missed=LIMITS.hold_after_missed - 1),
    ),
    "joint_velocity": (
        Outcome.DAMP,
        "at FR_calf_joint: 23.6 rad/s, limit 23.55 rad/s",
        set_to("state.joint_vel[2]", -23.6),
        set_to("state.joint_vel[2]", 23.5),
    ),
    "missed_deadlines": (
        Outcome.DAMP,
        "5, limit 5",
        measured(missed=LIMITS.max_missed_deadlines),
        measured(missed=LIMITS.max_missed_deadlines - 1),
    ),
    "finite_action": (
        Outcome.DAMP,
        "at FL_thigh_joint: inf",
        set_to("decision.action[4]", np.inf),
        set_to("decision.action[4]", 1e30),
    ),
    "joint_range": (
        Outcome.CLAMP,
        "",
        set_to("motors.target[0]", 1.0),
        set_to("motors.target[0]", 0.5),
    ),
    "target_step": (
        Outcome.CLAMP,
        "",
        set_to("decision.previous[1]", DEFAULT[1] - 1.01),
        set_to("decision.previous[1]", DEFAULT[1] - 0.99),
    ),
    "torque": (
        Outcome.CLAMP,
        "",
        set_to("state.joint_pos[0]", DEFAULT[0] + 23.8 / 35),
        set_to("state.joint_pos[0]", DEFAULT[0] + 23.6 / 35),
    ),
}


def judge(d: Draft) -> tuple[Envelope, str | None]:
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    reason = envelope.check_state(d.measurement)
    reason = reason or envelope.check_target(d.measurement, d.decision)
    return envelope, str(reason) if reason else None


def outcome(envelope: Envelope, name: str) -> Outcome:
    i = [g.name for g in GUARDS].index(name)
    verdict = envelope.last[i]
    found = verdict.outcome if verdict else Outcome.PASS
    assert envelope.fired >> i & 1 == int(found is not Outcome.PASS)
    return found


def test_every_guard_is_tested():
    assert set(FAULTS) == {guard.name for guard in GUARDS}


def test_nothing_fires_on_a_robot_that_stands_still():
    envelope, reason = judge(standing())
    assert reason is None
    assert envelope.fired == 0
    assert envelope.fired_counts() == {}


@pytest.mark.parametrize("name", FAULTS)
def test_guard_fires(name):
    wanted, text, fault, _ = FAULTS[name]
    d = standing()
    fault(d)
    envelope, reason = judge(d)
    assert outcome(envelope, name) is wanted
    assert envelope.fired_counts()[name] == 1
    if wanted is Outcome.DAMP:
        assert reason.startswith(name)
        assert text in reason
    else:
        assert reason is None


@pytest.mark.parametrize("name", FAULTS)
def test_warming_up_the_guards_counts_nothing_and_moves_nothing(name):
    d = standing()
    FAULTS[name][2](d)
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    before = [v.tobytes() for v in (d.motors.target, d.motors.kp, d.motors.kd)]
    envelope.warm_up(d.measurement, d.decision)
    assert [v.tobytes() for v in (d.motors.target, d.motors.kp, d.motors.kd)] == before
    assert envelope.fired == 0 and envelope.fired_counts() == {}
    assert envelope.last == [None] * len(GUARDS)


@pytest.mark.parametrize("name", FAULTS)
def test_guard_does_not_fire_just_inside_its_limit(name):
    *_, harmless = FAULTS[name]
    d = standing()
    harmless(d)
    envelope, reason = judge(d)
    assert reason is None
    assert outcome(envelope, name) is Outcome.PASS
    assert name not in envelope.fired_counts()


def test_a_verdict_carries_its_value_and_its_limit():
    d = standing()
    d.decision.previous[1] -= 1.5
    envelope, _ = judge(d)
    verdict = dict(zip((g.name for g in GUARDS), envelope.last, strict=True))["target_step"]
    found = msgspec.structs.astuple(verdict)
    assert found == (Outcome.CLAMP, pytest.approx(1.5, abs=1e-6), 1.0, 1)


def test_an_orientation_of_nan_is_not_upright():
    """Negative control of `_damp_above`: NaN > limit is False, and must damp nevertheless."""
    d = standing()
    d.state.base_quat[:] = np.nan
    assert (
        state_guards.orientation(Bounds(robot(), LIMITS, SIGNALS), d.measurement).outcome
        is Outcome.DAMP
    )


def test_target_step_is_measured_from_what_was_sent():
    d = standing()
    d.motors.target[1] = d.decision.previous[1] + 1.4
    d.state.joint_pos[1] = d.motors.target[1]
    judge(d)
    assert d.motors.target[1] == pytest.approx(DEFAULT[1] + LIMITS.max_target_step)


vectors = st.lists(st.floats(-1, 1, width=32), min_size=J, max_size=J).map(
    lambda v: np.array(v, "f4")
)


LOW, HIGH = robot().vector("range").T.astype("f4")
STAND = np.full(J, robot().stand.kp, "f4"), np.full(J, robot().stand.kd, "f4")
gains = st.sampled_from([(KP, KD), STAND, (0.02 * KP, KD), (0 * KP, KD), (40 * KP, KD)])
OVERRUN = LIMITS.max_joint_overrun
anywhere = st.lists(st.floats(0, 1, width=32), min_size=J, max_size=J).map(
    lambda v: (LOW - OVERRUN + np.array(v, "f4") * (HIGH - LOW + 2 * OVERRUN)).astype("f4")
)


def implied(d: Draft) -> np.ndarray:
    """[N m] What the motors are asked for."""
    state = d.state
    return d.motors.kp * (d.motors.target - state.joint_pos) - d.motors.kd * state.joint_vel


@settings(max_examples=500)
@given(gains, anywhere, vectors, vectors)
def test_torque_and_range_hold_together_wherever_the_joint_is_and_however_fast(kpd, q, dq, target):
    d = standing()
    d.motors.kp[:], d.motors.kd[:] = kpd
    before = d.motors.kp.copy(), d.motors.kd.copy()
    d.state.joint_pos[:] = q
    d.state.joint_vel[:] = 45 * dq
    d.motors.target[:] = DEFAULT + 2 * target
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    assert envelope.check_target(d.measurement, d.decision) is None
    # float32: 1400 N m/rad x 4 rad at 24 bits is 5e-4 N m
    assert (np.abs(implied(d)) <= envelope.bounds.torque + 2e-3).all()
    assert (d.motors.target >= envelope.bounds.low).all() and (
        d.motors.target <= envelope.bounds.high
    ).all()
    for new, old in zip((d.motors.kp, d.motors.kd), before, strict=True):
        assert (new >= 0).all() and (new <= old).all()


@settings(max_examples=500)
@given(gains, vectors, vectors, vectors)
def test_the_torque_guard_never_moves_a_target_past_the_joint(kpd, pos, vel, target):
    """Else a joint that contact stops within the tick is pushed the way it came from moving."""
    d = standing()
    d.motors.kp[:], d.motors.kd[:] = kpd
    q = d.state.joint_pos
    q[:] = np.clip(DEFAULT + pos, LOW + 0.05, HIGH - 0.05)
    d.state.joint_vel[:] = 45 * vel
    d.motors.target[:] = np.clip(DEFAULT + 2 * target, LOW + 0.05, HIGH - 0.05)
    wanted = d.motors.target.copy()
    target_guards.torque(Bounds(robot(), LIMITS, SIGNALS), d.measurement, d.decision)
    assert (d.motors.target >= np.minimum(wanted, q) - 1e-6).all()
    assert (d.motors.target <= np.maximum(wanted, q) + 1e-6).all()


def test_a_fast_joint_is_braked_with_all_the_motor_has_and_not_pushed():
    """Standing gains, 10 rad/s: kd dq is 50 N m of the 23.7 that there are."""
    d = standing()
    d.motors.kp[:], d.motors.kd[:] = STAND
    d.state.joint_pos[0], d.state.joint_vel[0] = 0.6, 10.0
    d.motors.target[0] = 0.6
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    envelope.check_target(d.measurement, d.decision)
    assert implied(d)[0] == pytest.approx(-23.7)
    assert d.motors.target[0] == pytest.approx(0.6)
    d.state.joint_vel[0] = 0.0  # contact stops it within the tick
    assert implied(d)[0] == pytest.approx(0.0, abs=1e-4)


@settings(max_examples=200)
@given(vectors, vectors)
def test_a_target_inside_every_limit_is_not_touched(pos, target):
    """At 0.3 rad from the default pose and at rest no guard has a reason, so no bit changes."""
    d = standing()
    d.state.joint_pos[:] = DEFAULT + 0.3 * pos
    d.motors.target[:] = DEFAULT + 0.3 * target
    before = d.motors.target.tobytes()
    judge(d)
    assert d.motors.target.tobytes() == before


@settings(max_examples=200)
@given(vectors)
def test_range_and_step_hold_for_any_target(target):
    d = standing()
    d.motors.target[:] = DEFAULT + 3 * target
    d.motors.kp[:] = 1e-3  # too soft for the torque guard to have a say
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    envelope.check_target(d.measurement, d.decision)
    assert (d.motors.target >= envelope.bounds.low).all()
    assert (d.motors.target <= envelope.bounds.high).all()
    assert np.abs(d.motors.target - d.decision.previous).max() <= LIMITS.max_target_step + 1e-6


def test_without_position_gain_the_target_stays_and_the_braking_is_what_the_motor_has():
    d = standing()
    d.motors.kp[:] = 0
    d.state.joint_vel[0] = 35.0
    before = d.motors.target.copy()
    assert (
        target_guards.torque(Bounds(robot(), LIMITS, SIGNALS), d.measurement, d.decision).outcome
        is Outcome.CLAMP
    )
    assert (d.motors.target == before).all()
    assert implied(d)[0] == pytest.approx(-23.7)


def test_a_held_target_is_the_one_that_was_sent_bit_for_bit():
    d = standing()
    d.decision.previous[:] += np.float32(0.01)
    d.measure(missed=LIMITS.hold_after_missed)
    judge(d)
    assert d.motors.target.tobytes() == d.decision.previous.tobytes()


def test_what_a_robot_does_not_say_of_its_parts_is_not_judged():
    """NaN passes the guards of health, and no others."""
    d = standing()
    other = Health(J)
    other.motor_temperature[:6] = 40.0
    d.health.update(other)
    assert judge(d)[1] is None
    assert math.isnan(d.measurement.voltage)
    assert d.health.hottest() == (0, 40.0)
    assert math.isnan(d.health.lost_motors()[1])


def test_the_report_has_the_worst_value_of_each_guard_and_its_count():
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    for torque in (25.0, 30.0, 27.0):
        d = standing()
        d.state.joint_pos[0] -= torque / KP[0]
        envelope.check_target(d.measurement, d.decision)
    (line,) = envelope.report()
    assert line == "3 x torque at FR_hip_joint: 30 N m, limit 23.7 N m"


@pytest.mark.parametrize("beyond", [False, True])
def test_the_step_is_compared_with_the_limit_itself(beyond):
    """0.3 is a little more as a float32, and the guard compares with 0.3 itself."""
    limits = msgspec.structs.replace(LIMITS, max_target_step=0.3)
    envelope = Envelope(robot(), limits, SIGNALS)
    d = standing()
    d.motors.target[0] = d.decision.previous[0] = 0.0
    step = np.float32(0.3)
    d.motors.target[0] = step if beyond else np.nextafter(step, np.float32(0))
    d.state.joint_pos[0] = d.motors.target[0]
    envelope.check_target(d.measurement, d.decision)
    assert bool(envelope.fired) is beyond
