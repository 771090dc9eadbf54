"""Every guard fires when it should and only then; a clamped target obeys its law."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import contract, robot

from robot_ppo_export.contract import frames
from robot_ppo_node.drivers.base import Health, held_signals
from robot_ppo_node.safety import guards
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.guards import GUARDS
from robot_ppo_node.safety.tick_state import Bounds, Outcome, TickState, blank

J = 12
DEFAULT = robot().vector("default").astype("f4")
KP, KD = (robot().vector(k).astype("f4") for k in ("kp", "kd"))
LIMITS = robot().safety
SIGNALS = held_signals(contract())


def calm() -> TickState:
    """A robot that stands still and is told to: nothing fires."""
    s = blank(J, SIGNALS, 71)
    s.measured.state.joint_pos[:] = s.target[:] = s.previous[:] = DEFAULT
    s.kp[:], s.kd[:] = KP, KD
    s.age, s.step = 0.0, 0.02
    return s


def quat(angle: float) -> np.ndarray:
    return frames.from_rotation_vector(np.array([angle, 0.0, 0.0]))


def set_to(path: str, value):
    """Return a change of one entry of a situation, e.g. "measured.state.joint_vel[3]"."""

    def change(s: TickState) -> None:
        exec(f"s.{path} = value", {"s": s, "value": value})

    return change


def health(path: str, value):
    """Return a change of what the robot says of its parts."""

    def change(s: TickState) -> None:
        other = Health(J)
        exec(f"other.{path} = value", {"other": other, "value": value})
        s.health.update(other)

    return change


FAULTS = {
    # guard: (outcome, value and place in the text, what fires it, what just does not)
    "finite_state": (
        Outcome.DAMP,
        "joint_vel[3]: nan",
        set_to("measured.state.joint_vel[3]", np.nan),
        set_to("measured.state.joint_torque[3]", 1e30),
    ),
    "stale_state": (
        Outcome.DAMP,
        "0.101 s, limit 0.1 s",
        set_to("age", 0.101),
        set_to("age", LIMITS.stale_after),
    ),
    "frozen_state": (
        Outcome.DAMP,
        "at base_quat[0]: 5 ticks, limit 5 ticks",
        set_to("imu_repeats", LIMITS.frozen_ticks - 1),
        set_to("imu_repeats", LIMITS.frozen_ticks - 2),
    ),
    "orientation": (
        Outcome.DAMP,
        "1, limit 0.05",
        set_to("measured.state.base_quat[:]", 0.0),
        set_to("measured.state.base_quat[0]", 1.04),
    ),
    "tilt": (
        Outcome.DAMP,
        "1.01 rad, limit 1 rad",
        set_to("measured.state.base_quat[:]", quat(1.01)),
        set_to("measured.state.base_quat[:]", quat(-0.99)),
    ),
    "angular_rate": (
        Outcome.DAMP,
        "limit 12 rad/s",
        set_to("measured.state.base_ang_vel[:]", [7.0, -7.0, 7.0]),
        set_to("measured.state.base_ang_vel[:]", [6.9, -6.9, 6.9]),
    ),
    "clock_jump": (
        Outcome.DAMP,
        "-0.001 s, limit 0.5 s",
        set_to("step", -0.001),
        set_to("step", LIMITS.max_clock_step),
    ),
    "joint_position": (
        Outcome.DAMP,
        "at FR_calf_joint: -3.03 rad, limit -3.023 rad",
        set_to("measured.state.joint_pos[2]", -3.03),
        set_to("measured.state.joint_pos[2]", -3.02),
    ),
    "other_writers": (Outcome.DAMP, "1, limit 0", set_to("others", 1), set_to("others", 0)),
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
        set_to("voltage", -0.1),
        set_to("voltage", 0.0),
    ),
    "finite_observation": (
        Outcome.DAMP,
        "at entry 70: nan",
        set_to("observation[70]", np.nan),
        set_to("observation[70]", 1e30),
    ),
    "finite_target": (
        Outcome.DAMP,
        "at FR_thigh_joint: nan",
        set_to("target[1]", np.nan),
        set_to("target[1]", DEFAULT[1] + 0.1),
    ),
    "hold": (
        Outcome.CLAMP,
        "",
        set_to("missed", LIMITS.hold_after_missed),
        set_to("missed", LIMITS.hold_after_missed - 1),
    ),
    "joint_velocity": (
        Outcome.DAMP,
        "at FR_calf_joint: 23.6 rad/s, limit 23.55 rad/s",
        set_to("measured.state.joint_vel[2]", -23.6),
        set_to("measured.state.joint_vel[2]", 23.5),
    ),
    "missed_deadlines": (
        Outcome.DAMP,
        "5, limit 5",
        set_to("missed", LIMITS.max_missed_deadlines),
        set_to("missed", LIMITS.max_missed_deadlines - 1),
    ),
    "finite_action": (
        Outcome.DAMP,
        "at FL_thigh_joint: inf",
        set_to("action[4]", np.inf),
        set_to("action[4]", 1e30),
    ),
    "joint_range": (
        Outcome.CLAMP,
        "",
        set_to("target[0]", 1.0),
        set_to("target[0]", 0.5),
    ),
    "target_step": (
        Outcome.CLAMP,
        "",
        set_to("previous[1]", DEFAULT[1] - 1.01),
        set_to("previous[1]", DEFAULT[1] - 0.99),
    ),
    "torque": (
        Outcome.CLAMP,
        "",
        set_to("measured.state.joint_pos[0]", DEFAULT[0] + 23.8 / 35),
        set_to("measured.state.joint_pos[0]", DEFAULT[0] + 23.6 / 35),
    ),
}


def judge(s: TickState) -> tuple[Envelope, str | None]:
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    reason = envelope.check_state(s) or envelope.check_target(s)
    return envelope, str(reason) if reason else None


def outcome(envelope: Envelope, name: str) -> Outcome:
    i = [g.name for g in GUARDS].index(name)
    verdict = envelope.last[i]
    found = verdict.outcome if verdict else Outcome.PASS  # another one ended the tick
    assert envelope.fired >> i & 1 == int(found is not Outcome.PASS)
    return found


def test_every_guard_is_tested():
    assert set(FAULTS) == {guard.name for guard in GUARDS}


def test_nothing_fires_on_a_calm_robot():
    envelope, reason = judge(calm())
    assert reason is None
    assert envelope.fired == 0
    assert envelope.fired_counts() == {}


@pytest.mark.parametrize("name", FAULTS)
def test_guard_fires(name):
    wanted, text, fault, _ = FAULTS[name]
    s = calm()
    fault(s)
    envelope, reason = judge(s)
    assert outcome(envelope, name) is wanted
    assert envelope.fired_counts()[name] == 1
    if wanted is Outcome.DAMP:
        assert reason.startswith(name)
        assert text in reason
    else:
        assert reason is None


@pytest.mark.parametrize("name", FAULTS)
def test_guard_does_not_fire_just_inside_its_limit(name):
    *_, harmless = FAULTS[name]
    s = calm()
    harmless(s)
    envelope, reason = judge(s)
    assert reason is None
    assert outcome(envelope, name) is Outcome.PASS
    assert name not in envelope.fired_counts()


def test_a_verdict_carries_its_value_and_its_limit():
    s = calm()
    s.previous[1] -= 1.5
    envelope, _ = judge(s)
    verdict = dict(zip((g.name for g in GUARDS), envelope.last, strict=True))["target_step"]
    found = msgspec.structs.astuple(verdict)
    assert found == (Outcome.CLAMP, pytest.approx(1.5, abs=1e-6), 1.0, 1)


def test_an_orientation_of_nan_is_not_upright():
    """Negative control of `_damp_above`: NaN > limit is False, and must damp nevertheless."""
    s = calm()
    s.measured.state.base_quat[:] = np.nan
    assert guards.orientation(Bounds(robot(), LIMITS, SIGNALS), s).outcome is Outcome.DAMP


def test_target_step_is_measured_from_what_was_sent():
    s = calm()
    s.target[1] = s.previous[1] + 1.4
    s.measured.state.joint_pos[1] = s.target[1]
    judge(s)
    assert s.target[1] == pytest.approx(DEFAULT[1] + LIMITS.max_target_step)


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


def implied(s: TickState) -> np.ndarray:
    """[N m] What the motors are asked for."""
    state = s.measured.state
    return s.kp * (s.target - state.joint_pos) - s.kd * state.joint_vel


@settings(max_examples=500)
@given(gains, anywhere, vectors, vectors)
def test_torque_and_range_hold_together_wherever_the_joint_is_and_however_fast(kpd, q, dq, target):
    s = calm()
    s.kp[:], s.kd[:] = kpd
    before = s.kp.copy(), s.kd.copy()
    s.measured.state.joint_pos[:] = q
    s.measured.state.joint_vel[:] = 45 * dq
    s.target[:] = DEFAULT + 2 * target
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    assert envelope.check_target(s) is None
    # float32: 1400 N m/rad x 4 rad at 24 bits is 5e-4 N m
    assert (np.abs(implied(s)) <= envelope.bounds.torque + 2e-3).all()
    assert (s.target >= envelope.bounds.low).all() and (s.target <= envelope.bounds.high).all()
    for new, old in zip((s.kp, s.kd), before, strict=True):
        assert (new >= 0).all() and (new <= old).all()


@settings(max_examples=500)
@given(gains, vectors, vectors, vectors)
def test_the_torque_guard_never_moves_a_target_past_the_joint(kpd, pos, vel, target):
    """Else a joint that contact stops within the tick is pushed the way it came from moving."""
    s = calm()
    s.kp[:], s.kd[:] = kpd
    q = s.measured.state.joint_pos
    q[:] = np.clip(DEFAULT + pos, LOW + 0.05, HIGH - 0.05)
    s.measured.state.joint_vel[:] = 45 * vel
    s.target[:] = np.clip(DEFAULT + 2 * target, LOW + 0.05, HIGH - 0.05)
    wanted = s.target.copy()
    guards.torque(Bounds(robot(), LIMITS, SIGNALS), s)
    assert (s.target >= np.minimum(wanted, q) - 1e-6).all()
    assert (s.target <= np.maximum(wanted, q) + 1e-6).all()


def test_a_fast_joint_is_braked_with_all_the_motor_has_and_not_pushed():
    """Standing gains, 10 rad/s: kd dq is 50 N m of the 23.7 that there are."""
    s = calm()
    s.kp[:], s.kd[:] = STAND
    s.measured.state.joint_pos[0], s.measured.state.joint_vel[0] = 0.6, 10.0
    s.target[0] = 0.6
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    envelope.check_target(s)
    assert implied(s)[0] == pytest.approx(-23.7)
    assert s.target[0] == pytest.approx(0.6)
    s.measured.state.joint_vel[0] = 0.0  # contact stops it within the tick
    assert implied(s)[0] == pytest.approx(0.0, abs=1e-4)


@settings(max_examples=200)
@given(vectors, vectors)
def test_a_target_inside_every_limit_is_not_touched(pos, target):
    """At 0.3 rad from the default pose and at rest no guard has a reason, so no bit changes."""
    s = calm()
    s.measured.state.joint_pos[:] = DEFAULT + 0.3 * pos
    s.target[:] = DEFAULT + 0.3 * target
    before = s.target.tobytes()
    judge(s)
    assert s.target.tobytes() == before


@settings(max_examples=200)
@given(vectors)
def test_range_and_step_hold_for_any_target(target):
    s = calm()
    s.target[:] = DEFAULT + 3 * target
    s.kp[:] = 1e-3  # too soft for the torque guard to have a say
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    envelope.check_target(s)
    assert (s.target >= envelope.bounds.low).all()
    assert (s.target <= envelope.bounds.high).all()
    assert np.abs(s.target - s.previous).max() <= LIMITS.max_target_step + 1e-6


def test_without_position_gain_the_target_stays_and_the_braking_is_what_the_motor_has():
    s = calm()
    s.kp[:] = 0
    s.measured.state.joint_vel[0] = 35.0
    before = s.target.copy()
    assert guards.torque(Bounds(robot(), LIMITS, SIGNALS), s).outcome is Outcome.CLAMP
    assert (s.target == before).all()
    assert implied(s)[0] == pytest.approx(-23.7)


def test_a_held_target_is_the_one_that_was_sent_bit_for_bit():
    s = calm()
    s.previous += np.float32(0.01)
    s.missed = LIMITS.hold_after_missed
    judge(s)
    assert s.target.tobytes() == s.previous.tobytes()


def test_what_a_robot_does_not_say_of_its_parts_is_not_judged():
    """NaN passes the guards of health, and no others."""
    s = calm()
    other = Health(J)
    other.motor_temperature[:6] = 40.0
    s.health.update(other)
    assert judge(s)[1] is None
    assert math.isnan(s.voltage)
    assert s.health.hottest() == (0, 40.0)
    assert math.isnan(s.health.lost_motors()[1])


def test_the_report_has_the_worst_value_of_each_guard_and_its_count():
    envelope = Envelope(robot(), LIMITS, SIGNALS)
    for torque in (25.0, 30.0, 27.0):
        s = calm()
        s.measured.state.joint_pos[0] -= torque / KP[0]
        envelope.check_target(s)
    (line,) = envelope.report(s)
    assert line == "3 x torque at FR_hip_joint: 30 N m, limit 23.7 N m"


@pytest.mark.parametrize("beyond", [False, True])
def test_the_step_is_compared_with_the_limit_itself(beyond):
    """0.3 is a little more as a float32, and the guard compares with 0.3 itself."""
    limits = msgspec.structs.replace(LIMITS, max_target_step=0.3)
    envelope = Envelope(robot(), limits, SIGNALS)
    s = calm()
    s.target[0] = s.previous[0] = 0.0
    step = np.float32(0.3)
    s.target[0] = step if beyond else np.nextafter(step, np.float32(0))
    s.measured.state.joint_pos[0] = s.target[0]
    envelope.check_target(s)
    assert bool(envelope.fired) is beyond
