"""The PD law of the motors, against its closed form."""

import numpy as np
import pytest

from robot_ppo import project
from robot_ppo.sim.motors import PdMotors

TIMESTEP = 0.002
N = 3


@pytest.fixture
def robot():
    return project.load_robot("go2")


def motors(robot, **kwargs):
    return PdMotors(robot, N, TIMESTEP, **kwargs)


def random_vectors(robot, seed=0, size=0.1):
    random = np.random.default_rng(seed)
    default = robot.vector("default")
    target = default + random.uniform(-size, size, (N, len(default)))
    pos = default + random.uniform(-size, size, (N, len(default)))
    return target, pos, random.uniform(-1, 1, (N, len(default)))


def test_torque_is_the_pd_law(robot):
    target, pos, vel = random_vectors(robot)
    expected = robot.vector("kp") * (target - pos) - robot.vector("kd") * vel
    assert (np.abs(expected) < robot.vector("torque_limit")).all()  # else the clip would hide it
    assert np.array_equal(motors(robot).torque(target, pos, vel), expected)


@pytest.mark.parametrize("steps", [0, 1, 4, 10])
def test_a_target_takes_effect_after_exactly_its_delay(robot, steps):
    m = motors(robot, delay=steps * TIMESTEP)
    default = np.tile(robot.vector("default"), (N, 1))
    rest = np.zeros_like(default)
    torques = [m.torque(default + 0.1, default, rest) for _ in range(steps + 2)]
    for torque in torques[:steps]:
        assert np.array_equal(torque, rest)  # still holding the default pose of the start
    for torque in torques[steps:]:
        assert np.allclose(torque, 0.1 * robot.vector("kp"), rtol=1e-12)


def test_each_robot_has_its_own_delay(robot):
    m = motors(robot)
    m.set_delay(np.array([0, 1, 3]) * TIMESTEP)
    default = np.tile(robot.vector("default"), (N, 1))
    moved = [
        (m.torque(default + 0.1, default, 0 * default) != 0).all(axis=1).tolist() for _ in range(4)
    ]
    assert moved == [
        [True, False, False],
        [True, True, False],
        [True, True, False],
        [True, True, True],
    ]


def test_each_joint_may_have_its_own_delay(robot):
    m = motors(robot)
    joints = len(robot.joints)
    steps = np.arange(N * joints).reshape(N, joints) % 4
    m.set_delay(steps * TIMESTEP)
    default = np.tile(robot.vector("default"), (N, 1))
    for tick in range(4):
        moved = m.torque(default + 0.1, default, 0 * default) != 0
        assert np.array_equal(moved, steps <= tick)


def test_an_implicit_robot_is_told_its_delayed_target_and_the_others_their_torque(robot):
    target, pos, vel = random_vectors(robot)
    m = motors(robot)
    plain = motors(robot)
    m.implicit[1] = True
    m.offset[1] = 0.02
    got = m.torque(target, pos, vel)
    assert np.array_equal(got[1], target[1] - 0.02)
    expected = plain.torque(target, pos, vel)
    assert np.array_equal(got[[0, 2]], expected[[0, 2]])
    assert np.array_equal(m.power_sum[[0, 2]], plain.power_sum[[0, 2]])
    assert m.power_sum[1] > 0


def test_a_sequence_of_targets_comes_out_shifted(robot):
    m = motors(robot, delay=3 * TIMESTEP)
    steps = 3
    random = np.random.default_rng(1)
    default = robot.vector("default")
    targets = default + random.uniform(-0.1, 0.1, (9, N, len(default)))
    pos = np.tile(default, (N, 1))
    got = [m.torque(t, pos, 0 * pos) for t in targets]
    for t in range(steps, len(targets)):
        assert np.array_equal(got[t], robot.vector("kp") * (targets[t - steps] - pos))


def test_torque_saturates_at_the_limit_and_says_so(robot):
    m = motors(robot)
    _, pos, vel = random_vectors(robot)
    limit = robot.vector("torque_limit")
    for sign in (1, -1):
        torque = m.torque(pos + sign * 10, pos, 0 * vel)
        assert np.array_equal(torque, np.tile(sign * limit, (N, 1)))
        assert np.array_equal(m.saturated(torque), np.ones(N))
    assert np.array_equal(m.saturated(m.torque(pos, pos, 0 * vel)), np.zeros(N))


def test_strength_scales_after_the_clip(robot):
    m = motors(robot)
    _, pos, vel = random_vectors(robot)
    m.strength[:] = [[0.5], [1.0], [1.2]]
    torque = m.torque(pos + 10, pos, 0 * vel)
    assert np.allclose(torque, m.strength * robot.vector("torque_limit"), rtol=1e-12)
    assert np.array_equal(m.saturated(torque), np.ones(N))


def test_an_encoder_offset_shifts_the_angle_that_the_motor_believes(robot):
    m = motors(robot)
    shifted = motors(robot)
    target, pos, vel = random_vectors(robot)
    shifted.offset[:] = 0.02
    expected = m.torque(target, pos + 0.02, vel)
    assert np.allclose(shifted.torque(target, pos, vel), expected, rtol=0, atol=1e-12)


def test_without_a_position_gain_only_damping_is_left(robot):
    m = motors(robot)
    target, pos, vel = random_vectors(robot)
    m.kp[:], m.kd[:] = 0, robot.damping.kd
    assert np.array_equal(m.torque(target, pos, vel), 0 * pos - robot.damping.kd * vel)
