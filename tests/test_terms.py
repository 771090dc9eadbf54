"""The actor's terms: closed forms, declared inputs, and bits that do not depend on n."""

import copy
import dataclasses
import math

import numpy as np
import pytest
from contract_helpers import FEET, JOINTS, random_inputs, robot, rows_of, same_bits
from hypothesis import given
from hypothesis import strategies as st

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.command import STANDING_BELOW, TWIST, is_moving
from robot_ppo_export.contract.state import (
    BASIC,
    SIGNALS,
    MissingSignalError,
    RobotState,
    zeros,
)
from robot_ppo_export.contract.terms import (
    NUMBERS,
    TERMS,
    Inputs,
    gait_phase,
)

NAMES = tuple(TERMS.functions)
WALK = {
    "base_ang_vel",
    "projected_gravity",
    "command",
    "joint_pos_error",
    "joint_vel",
    "last_action",
    "gait_clock",
}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def compute(name, inputs):
    return TERMS.functions[name](inputs)


def width(name, joints=JOINTS):
    sizes = {"joints": joints, "actions": joints, "command": TWIST.size}
    numbers = NUMBERS[name]
    return sizes.get(numbers.size) or len(numbers.named(TERMS.defaults(name)))


def unknown_but(inputs: Inputs, known) -> Inputs:
    """The inputs with every signal that is not in `known` replaced by NaN."""
    signals = dict(inputs.state)
    nothing = {name: np.full_like(v, np.nan) for name, v in signals.items() if name not in known}
    state = RobotState(**(signals | nothing))
    return dataclasses.replace(inputs, state=state)


def test_a_robot_has_the_terms_of_a_walk_and_a_scan_and_no_linear_velocity():
    assert set(NAMES) == WALK | {"height_scan"}
    assert not any("lin_vel" in name for name in (*NAMES, *BASIC))


def test_a_state_holds_what_it_was_given_and_names_what_it_lacks():
    state = zeros((), JOINTS, FEET, ("base_quat", "joint_pos"))
    assert tuple(state) == ("base_quat", "joint_pos") and "joint_vel" not in state
    assert state["joint_pos"] is state.joint_pos
    with pytest.raises(MissingSignalError, match="'joint_vel', it holds base_quat, joint_pos"):
        _ = state.joint_vel
    assert not hasattr(state, "foot_force")
    for make in (lambda: RobotState(jont_pos=1), lambda: setattr(state, "jont_pos", 1)):
        with pytest.raises(ValueError, match="no signal is called jont_pos"):
            make()
    same = copy.deepcopy(state)
    same.joint_pos += 1
    assert not state.joint_pos.any() and same.joint_pos.all()


def test_the_signals_of_old_files_and_frames_are_the_seven_of_the_first_edition():
    seven = ("joint_pos", "joint_vel", "joint_torque", "base_quat", "base_ang_vel")
    assert (*seven, "base_lin_acc", "foot_force") == BASIC


@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3)])
def test_zeros_is_a_robot_at_rest_with_the_identity_orientation(lead):
    state = zeros(lead, JOINTS, FEET)
    assert {getattr(state, s).shape[:-1] for s in BASIC} == {lead}
    assert np.array_equal(state.base_quat, np.broadcast_to([1, 0, 0, 0], (*lead, 4)))
    rest = [s for s in BASIC if s != "base_quat"]
    assert not any(getattr(state, s).any() for s in rest)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("joints", [JOINTS, 2])
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3)])
def test_a_term_has_its_declared_size_and_is_float32(name, joints, lead, random):
    value = compute(name, random_inputs(random, lead, joints))
    assert value.shape == (*lead, width(name, joints))
    assert value.dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_term_reads_the_signals_that_it_declares_and_no_others(name, random):
    inputs = random_inputs(random, (64,))
    reads = NUMBERS[name].reads
    assert set(reads) <= set(SIGNALS)
    value = compute(name, inputs)
    assert same_bits(compute(name, unknown_but(inputs, reads)), value)
    for signal in reads:  # and each of them really
        others = set(inputs.state) - {signal}
        assert np.isnan(compute(name, unknown_but(inputs, others))).any()


@pytest.mark.numeric
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 7, 4096])
def test_one_robot_and_n_simulations_give_equal_bits(name, n, random):
    inputs = random_inputs(random, (n,))
    many = compute(name, inputs)
    for i in range(n):
        assert same_bits(compute(name, rows_of(inputs, i)), many[i])


@pytest.mark.numeric
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_how_the_memory_lies(name, random):
    inputs = random_inputs(random, (64,))
    every_third = slice(None, None, 3)
    strided = rows_of(inputs, every_third)
    packed = rows_of(inputs, np.arange(0, 64, 3))
    assert not strided.state.base_quat.flags.c_contiguous
    assert same_bits(compute(name, strided), compute(name, packed))


def test_closed_forms(random):
    inputs = random_inputs(random, (64,))
    state = inputs.state
    pose = robot().vector("default").astype(np.float32)
    assert same_bits(compute("base_ang_vel", inputs), state.base_ang_vel)
    assert same_bits(compute("command", inputs), inputs.command)
    assert same_bits(compute("joint_vel", inputs), state.joint_vel)
    assert same_bits(compute("last_action", inputs), inputs.last_action)
    assert same_bits(compute("joint_pos_error", inputs), state.joint_pos - pose)
    gravity = frames.projected_gravity(state.base_quat)
    assert same_bits(compute("projected_gravity", inputs), gravity)


def test_in_the_default_pose_the_joint_error_is_exactly_zero(random):
    inputs = random_inputs(random)
    inputs.state.joint_pos = robot().vector("default").astype(np.float32)
    assert not compute("joint_pos_error", inputs).any()


# Standing still and the gait clock


@given(st.floats(0, 0.999), st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_the_gait_clock_is_on_the_unit_circle_when_moving_and_zero_when_standing(p, x, y, z):
    command = np.array([x, y, z], np.float32)
    inputs = Inputs(zeros((), JOINTS, FEET), command, None, np.asarray(p, np.float32), None)
    sin, cos = compute("gait_clock", inputs)
    if is_moving(command):
        assert sin == pytest.approx(math.sin(2 * math.pi * p), abs=1e-6)
        assert cos == pytest.approx(math.cos(2 * math.pi * p), abs=1e-6)
    else:
        assert (sin, cos) == (0, 0)


def test_harmonics_of_the_gait_clock_are_those_of_multiples_of_its_phase(random):
    inputs = random_inputs(random, (64,))
    first = compute("gait_clock", inputs)
    waves = TERMS.functions["gait_clock"](inputs, harmonics=3)
    moving = is_moving(inputs.command)
    assert same_bits(waves[:, :2], first)  # the first is what there is without the parameter
    for k in (1, 2, 3):
        angle = 2 * np.pi * k * inputs.phase
        wanted = moving[:, None] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
        assert np.allclose(waves[:, 2 * k - 2 : 2 * k], wanted, atol=2e-6)
    assert moving.any() and not moving.all()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_command_below_the_threshold_means_stand_still(axis, sign):
    def moving(size):
        command = np.zeros(3, np.float32)
        command[axis] = sign * size
        return bool(is_moving(command))

    assert not moving(0.0)
    assert not moving(STANDING_BELOW * 0.999)
    assert moving(STANDING_BELOW * 1.001)


def test_the_threshold_is_on_the_norm_of_all_three():
    part = STANDING_BELOW / math.sqrt(3)
    assert not is_moving(np.full(3, part * 0.99, np.float32))
    assert is_moving(np.full(3, part * 1.01, np.float32))


def test_the_gait_starts_at_phase_zero():
    assert same_bits(np.asarray(gait_phase(np.asarray(0), 0.02, 2.0)), np.float32(0))


def test_the_gait_phase_comes_back_after_every_cycle():
    """2 Hz at 50 Hz: 25 ticks. Float64 inside holds this for five hours of walking."""
    first = gait_phase(np.arange(25), 0.02, 2.0)
    assert np.allclose(first, np.arange(25) / 25, rtol=0, atol=1e-7)
    for cycle in (1, 2, 40, 36_000):
        later = gait_phase(np.arange(25) + 25 * cycle, 0.02, 2.0)
        assert np.allclose(later, first, rtol=0, atol=1e-6)


@given(st.integers(0, 10_000_000), st.sampled_from([0.005, 0.01, 0.02, 1 / 30]), st.floats(0.1, 5))
def test_the_gait_phase_is_in_the_half_open_interval(tick, period, frequency):
    phase = gait_phase(np.asarray(tick), period, frequency)
    assert phase.dtype == np.float32
    assert 0 <= phase < 1


def test_a_phase_just_below_one_is_not_rounded_up_to_it():
    """1.4 Hz at 50 Hz, tick 250: seven cycles less one rounding of float64."""
    cycles = 250 * (0.02 * 1.4)
    assert np.float32(cycles - math.floor(cycles)) == 1  # else this tests nothing
    assert gait_phase(np.asarray(250), 0.02, 1.4) == 0


@pytest.mark.numeric
@pytest.mark.parametrize("n", [1, 7, 4096])
def test_one_clock_and_n_clocks_give_equal_bits(n, random):
    ticks = random.integers(0, 100_000, n)
    many = gait_phase(ticks, 0.02, 2.0)
    for tick, phase in zip(ticks, many, strict=True):
        assert same_bits(gait_phase(np.asarray(tick), 0.02, 2.0), phase)


def test_the_phase_of_a_robot_on_its_own_is_still_an_array():
    """numpy 2.0 gives its scalars no array namespace, and the node must run on it."""
    phase = gait_phase(np.asarray(3), 0.02, 2.0)
    assert isinstance(phase, np.ndarray)
    assert phase.shape == ()
