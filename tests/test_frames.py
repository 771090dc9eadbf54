"""Rotations: group laws, closed forms, and MuJoCo as the yardstick. Quaternions are wxyz."""

import math

import mujoco
import numpy as np
import pytest
from contract_helpers import random_quat, same_bits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_ppo_export.contract import frames

N = 200
TIGHT = 1e-14  # a few roundings of float64 at length one


def vectors(low=-10.0, high=10.0):
    return hnp.arrays(np.float64, 3, elements=st.floats(low, high))


@st.composite
def quats(draw):
    q = draw(hnp.arrays(np.float64, 4, elements=st.floats(-1, 1)))
    if np.linalg.norm(q) < 1e-3:
        q = np.array([1.0, 0, 0, 0])
    return q / np.linalg.norm(q)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def about(axis, angle):
    """The quaternion of a turn by `angle` about coordinate axis 0, 1 or 2."""
    q = np.zeros(4)
    q[0], q[1 + axis] = math.cos(angle / 2), math.sin(angle / 2)
    return q


def mujoco_rotate(quat, vector):
    out = np.empty(3)
    mujoco.mju_rotVecQuat(out, vector, quat)
    return out


# Against MuJoCo


def test_to_world_is_mujocos_rotation(random):
    quat = random_quat(random, (N,), np.float64)
    vector = random.normal(size=(N, 3))
    expected = [mujoco_rotate(q, v) for q, v in zip(quat, vector, strict=True)]
    assert np.allclose(frames.to_world(quat, vector), expected, rtol=0, atol=TIGHT)


def test_multiply_is_mujocos_product(random):
    p = random_quat(random, (N,), np.float64)
    q = random_quat(random, (N,), np.float64)
    expected = np.empty((N, 4))
    for i in range(N):
        mujoco.mju_mulQuat(expected[i], p[i], q[i])
    assert np.allclose(frames.multiply(p, q), expected, rtol=0, atol=TIGHT)


def test_multiply_in_the_other_order_is_not_mujocos_product(random):
    """Negative control: the comparison would notice swapped factors."""
    p = random_quat(random, dtype=np.float64)
    q = random_quat(random, dtype=np.float64)
    expected = np.empty(4)
    mujoco.mju_mulQuat(expected, p, q)
    assert not np.allclose(frames.multiply(q, p), expected, atol=1e-3)


def test_from_rotation_vector_is_mujocos_axis_angle(random):
    vector = random.normal(size=(N, 3))
    expected = np.empty((N, 4))
    for i in range(N):
        angle = np.linalg.norm(vector[i])
        mujoco.mju_axisAngle2Quat(expected[i], vector[i] / angle, angle)
    assert np.allclose(frames.from_rotation_vector(vector), expected, rtol=0, atol=TIGHT)


def test_cross_is_numpys(random):
    a = random.normal(size=(N, 3))
    b = random.normal(size=(N, 3))
    assert np.array_equal(frames.cross(a, b), np.cross(a, b))


# Laws


@given(quats(), vectors())
def test_to_body_undoes_to_world(quat, vector):
    back = frames.to_body(quat, frames.to_world(quat, vector))
    assert np.allclose(back, vector, rtol=0, atol=1e-12)


@given(quats(), vectors())
def test_a_rotation_keeps_lengths(quat, vector):
    turned = frames.to_world(quat, vector)
    assert np.isclose(np.linalg.norm(turned), np.linalg.norm(vector), rtol=1e-12, atol=1e-14)


@given(quats(), quats(), vectors())
def test_a_product_turns_by_its_right_factor_first(p, q, vector):
    one_by_one = frames.to_world(p, frames.to_world(q, vector))
    assert np.allclose(frames.to_world(frames.multiply(p, q), vector), one_by_one, atol=1e-12)


@given(quats(), quats(), quats())
def test_multiply_is_associative(p, q, r):
    left = frames.multiply(frames.multiply(p, q), r)
    assert np.allclose(left, frames.multiply(p, frames.multiply(q, r)), rtol=0, atol=TIGHT)


@given(quats(), vectors())
def test_a_quaternion_and_its_negative_are_one_rotation(quat, vector):
    assert np.array_equal(frames.to_world(-quat, vector), frames.to_world(quat, vector))
    assert np.array_equal(frames.projected_gravity(-quat), frames.projected_gravity(quat))
    assert frames.tilt(-quat) == frames.tilt(quat)
    assert frames.yaw(-quat) == frames.yaw(quat)


@given(quats())
def test_projected_gravity_is_down_seen_from_the_body(quat):
    down = frames.to_body(quat, np.array([0.0, 0.0, -1.0]))
    assert np.allclose(frames.projected_gravity(quat), down, rtol=0, atol=TIGHT)


@given(quats())
def test_projected_gravity_turns_with_heading_not_at_all(quat):
    turned = frames.multiply(about(2, 1.234), quat)  # a turn about world z
    expected = frames.projected_gravity(quat)
    assert np.allclose(frames.projected_gravity(turned), expected, rtol=0, atol=TIGHT)


@given(hnp.arrays(np.float64, 4, elements=st.floats(-100, 100)))
def test_normalize_keeps_the_direction_at_length_one(quat):
    length = np.linalg.norm(quat)
    if length < 1e-3:
        return
    unit = frames.normalize(quat)
    assert np.isclose(np.linalg.norm(unit), 1, rtol=0, atol=TIGHT)
    assert np.allclose(unit * length, quat, rtol=1e-12, atol=1e-12)


# Closed forms


def test_level_gravity_is_exactly_down():
    level = np.array([1, 0, 0, 0], np.float32)
    assert np.array_equal(frames.projected_gravity(level), np.array([0, 0, -1], np.float32))


@pytest.mark.parametrize("angle", [-3.0, -1.0, -0.2, 0.0, 1e-3, 0.7, 1.5, 3.1])
def test_gravity_of_a_roll_and_of_a_pitch(angle):
    sin = math.sin(angle)
    cos = math.cos(angle)
    assert np.allclose(frames.projected_gravity(about(0, angle)), (0, -sin, -cos), atol=TIGHT)
    assert np.allclose(frames.projected_gravity(about(1, angle)), (sin, 0, -cos), atol=TIGHT)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("angle", [-3.0, -1.0, -0.2, 0.0, 1e-3, 0.7, 1.5, 3.1])
def test_tilt_is_the_angle_of_a_roll_or_pitch_at_any_heading(axis, angle):
    quat = frames.multiply(about(2, 0.9), about(axis, angle))
    # The arc cosine loses half of the digits near 0 and pi.
    assert frames.tilt(quat) == pytest.approx(abs(angle), abs=1e-7)


def test_tilt_stays_a_number_where_rounding_leaves_the_domain_of_the_arc_cosine():
    upside_down = np.array([0, 1, 1e-3, 0], np.float32)  # longer than one by rounding
    assert 1 - 2 * (upside_down[1] ** 2 + upside_down[2] ** 2) < -1
    assert frames.tilt(upside_down) == np.float32(math.pi)


@pytest.mark.parametrize("angle", [-3.0, -1.0, 0.0, 1e-8, 0.7, 3.1])
def test_yaw_is_the_turn_about_z(angle):
    assert frames.yaw(about(2, angle)) == pytest.approx(angle, abs=TIGHT)


@given(st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3))
def test_yaw_is_that_of_yaw_pitch_roll_angles(yaw, pitch, roll):
    quat = frames.multiply(about(2, yaw), frames.multiply(about(1, pitch), about(0, roll)))
    assert frames.yaw(quat) == pytest.approx(yaw, abs=1e-12)


@given(quats())
def test_yaw_is_the_heading_of_body_x(quat):
    x, y, _ = frames.to_world(quat, np.array([1.0, 0.0, 0.0]))
    if math.hypot(x, y) > 1e-3:
        gap = frames.yaw(quat) - math.atan2(y, x)
        assert math.cos(gap) == pytest.approx(1, abs=1e-12)


@given(vectors(-3, 3))
def test_a_rotation_vector_and_its_negative_undo_each_other(vector):
    both = frames.multiply(
        frames.from_rotation_vector(vector), frames.from_rotation_vector(-vector)
    )
    assert np.allclose(both, (1, 0, 0, 0), rtol=0, atol=TIGHT)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e-7, 0.99e-6, 1.01e-6, 1e-5, 1e-3, 0.1, 3])
def test_a_rotation_vector_of_any_length_gives_the_sine_of_its_half(size):
    """On both sides of the threshold below which the sine is not divided by the angle."""
    axis = np.array([0.6, 0.0, -0.8])
    quat = frames.from_rotation_vector(size * axis)
    assert quat[0] == pytest.approx(math.cos(size / 2), abs=1e-15)
    assert np.allclose(quat[1:], math.sin(size / 2) * axis, rtol=1e-12, atol=0)


def test_no_rotation_is_exactly_the_identity():
    quat = frames.from_rotation_vector(np.zeros((2, 3), np.float32))
    assert same_bits(quat, np.array([[1, 0, 0, 0]] * 2, np.float32))


# What makes one robot and 4096 simulations equal


FUNCTIONS = {
    "to_world": lambda q, p, v: frames.to_world(q, v),
    "to_body": lambda q, p, v: frames.to_body(q, v),
    "projected_gravity": lambda q, p, v: frames.projected_gravity(q),
    "multiply": lambda q, p, v: frames.multiply(q, p),
    "normalize": lambda q, p, v: frames.normalize(q * 3),
    "from_rotation_vector": lambda q, p, v: frames.from_rotation_vector(v),
    "tilt": lambda q, p, v: frames.tilt(q),
    "yaw": lambda q, p, v: frames.yaw(q),
    "cross": lambda q, p, v: frames.cross(v, v[..., ::-1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_rotation_and_many_give_equal_bits_and_keep_the_dtype(name, dtype, random):
    q = random_quat(random, (4096,), dtype)
    p = random_quat(random, (4096,), dtype)
    v = random.normal(size=(4096, 3)).astype(dtype)
    function = FUNCTIONS[name]
    many = function(q, p, v)
    assert many.dtype == dtype
    for i in range(0, 4096, 37):
        assert same_bits(function(q[i], p[i], v[i]), many[i])
    assert same_bits(function(q[:7], p[:7], v[:7]), many[:7])
