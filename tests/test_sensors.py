"""`sensordata` -> `RobotState`, and its noise."""

import env_helpers as helpers
import mujoco
import numpy as np
import pytest

from robot_ppo.sim import sensors
from robot_ppo.sim.sensors import SensorMap
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.state import BASIC, zeros
from robot_ppo_export.errors import InputError


@pytest.fixture(scope="module")
def model():
    return helpers.train_model()


@pytest.fixture(scope="module")
def sensor_map(model):
    return SensorMap(model, helpers.robot())


@pytest.fixture
def moving(model):
    """A robot in the air, in a random pose, moving at random."""
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    data.qpos[:] = model.key("home").qpos
    data.qpos[2] = 1.0
    data.qpos[3:7] = frames.from_rotation_vector(np.array([0.3, -0.4, 0.8]))
    data.qpos[7:] += rng.uniform(-0.2, 0.2, 12)
    data.qvel[:] = rng.normal(0, 1, model.nv)
    mujoco.mj_forward(model, data)
    return data


def test_signals_are_the_simulations_own_quantities(sensor_map, moving):
    state = sensor_map.read(moving.sensordata)
    assert np.allclose(state.joint_pos, moving.qpos[7:], atol=1e-6)
    assert np.allclose(state.joint_vel, moving.qvel[6:], atol=1e-6)
    assert np.allclose(state.base_quat, moving.qpos[3:7], atol=1e-6)
    assert np.allclose(state.base_ang_vel, moving.qvel[3:6], atol=1e-6)
    assert np.allclose(state.joint_torque, moving.qfrc_actuator[6:], atol=1e-5)
    assert not state.foot_force.any()  # in the air
    for name in BASIC:
        assert getattr(state, name).dtype == np.float32, name


def test_a_robot_at_rest_feels_gravity_and_its_feet_carry_it(model, sensor_map):
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    for _ in range(200):
        data.ctrl[:] = model.key("home").qpos[7:]
        mujoco.mj_step(model, data)
    state = sensor_map.read(data.sensordata)
    assert np.linalg.norm(state.base_lin_acc) == pytest.approx(9.81, rel=0.01)
    assert state.base_lin_acc[2] > 9.0  # specific force: up, not down
    weight = model.body_mass.sum() * 9.81
    assert state.foot_force.sum() == pytest.approx(weight, rel=0.02)
    assert (state.foot_force > 0.1 * weight).all()


def test_a_batch_reads_as_each_of_its_rows(sensor_map, moving):
    rows = np.stack((moving.sensordata, 0.5 * moving.sensordata + 0.1))
    together = sensor_map.read(rows)
    for i, row in enumerate(rows):
        alone = sensor_map.read(row)
        for name in BASIC:
            assert np.array_equal(getattr(together, name)[i], getattr(alone, name)), name


def test_states_are_copies(sensor_map, moving):
    state = sensor_map.read(moving.sensordata)
    before = state.joint_pos.copy()
    moving.sensordata[:] = 7.0
    assert np.array_equal(state.joint_pos, before)


def test_orientations_have_unit_length(sensor_map, moving):
    moving.sensordata[sensor_map.base_quat] *= 0.8  # as after interpolation
    state = sensor_map.read(moving.sensordata)
    assert np.allclose(state.base_quat, moving.qpos[3:7], atol=1e-6)


def test_a_missing_sensor_is_named(model):
    spec = mujoco.MjSpec.from_file(str(helpers.xml()))
    spec.delete(spec.sensor("FR_calf_joint_vel"))
    with pytest.raises(InputError, match="the MJCF has no sensor 'FR_calf_joint_vel'; add it"):
        SensorMap(spec.compile(), helpers.robot())


# -- noise --------------------------------------------------------------------------------------


def still(n=2000):
    return zeros((n,), 12, 4)


def test_noise_is_uniform_within_its_half_width_and_stays_float32():
    state = still()
    noise = {"joint_pos": 0.01, "base_ang_vel": 0.2}
    sensors.add_noise(state, noise, np.random.default_rng(0))
    for name, width in noise.items():
        value = getattr(state, name)
        assert value.dtype == np.float32
        assert np.abs(value).max() <= width and np.abs(value).max() > 0.99 * width
        assert value.mean() == pytest.approx(0, abs=0.05 * width)
        assert value.std() == pytest.approx(width / np.sqrt(3), rel=0.05)
        assert len(np.unique(value)) > 0.8 * value.size  # of the 65,536 that there are
    for name in set(BASIC) - set(noise) - {"base_quat"}:
        assert not getattr(state, name).any(), name


def test_noise_on_the_orientation_is_a_small_rotation():
    state = still()
    width = 0.05
    sensors.add_noise(state, {"base_quat": width}, np.random.default_rng(0))
    assert np.allclose(np.linalg.norm(state.base_quat, axis=1), 1, atol=1e-6)
    assert state.base_quat.dtype == np.float32
    vector = 2 * state.base_quat[:, 1:]  # of a small rotation
    assert np.abs(vector).max() <= width * 1.01 and np.abs(vector).max() > 0.98 * width
    tilt = frames.tilt(state.base_quat)
    assert tilt.max() <= width * np.sqrt(2) * 1.01 and tilt.max() > width


def test_without_noise_nothing_changes():
    state = still()
    same = still()
    sensors.add_noise(state, {}, np.random.default_rng(0))
    assert all(np.array_equal(getattr(state, n), getattr(same, n)) for n in BASIC)


def test_noise_on_an_unknown_signal_is_said_with_those_that_exist():
    with pytest.raises(InputError, match="unknown signal 'base_lin_vel'"):
        sensors.check_noise({"base_lin_vel": 0.1})
    sensors.check_noise(dict.fromkeys(BASIC, 0.1))
