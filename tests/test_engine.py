"""The engine against a plain loop over MjData, bit for bit, and the laws of its delays."""

import env_helpers as helpers
import mujoco
import numpy as np
import pytest

from robot_ppo.envs.robot.randomization import Ids, Randomizer

N = 4
TICKS = 12
EVERYONE = np.arange(N)


def randomized_start(engine, seed=0):
    """Reset every simulation, every randomization and both delays on; two of them in the air."""
    rng = np.random.default_rng(seed)
    ids = Ids.of(engine.model, helpers.robot())
    given = {name: helpers.resolved(name) for name in helpers.EXTREMES}
    randomizer = Randomizer(helpers.EXTREMES, ids, parameters=given)
    rows = engine.nominal(helpers.FIELDS, engine.n)
    randomizer.apply(rows, engine.n, rng)
    qpos = np.tile(engine.model.key("home").qpos, (engine.n, 1))
    qpos[:, engine.joint_qpos] += rng.uniform(-0.2, 0.2, (engine.n, helpers.JOINTS))
    qpos[::2, 2] += 0.1
    qvel = rng.uniform(-0.5, 0.5, (engine.n, engine.model.nv))
    engine.reset(np.arange(engine.n), qpos, qvel, rows)


def random_targets(ticks, n, seed=1):
    rng = np.random.default_rng(seed)
    default = helpers.robot().vector("default")
    return default + rng.uniform(-0.3, 0.3, (ticks, n, helpers.JOINTS))


def sensor_columns(model, kind):
    return [model.sensor(f"{name}_{kind}").adr[0] for name in helpers.robot().joint_names]


class PlainLoop:
    """What the engine claims to be: one MjModel and one MjData per simulation, and mj_step."""

    def __init__(self, engine):
        self.substeps = engine.substeps
        self.models = [engine.batch.get_model(i) for i in range(engine.n)]
        self.datas = [engine.batch.get_data(i) for i in range(engine.n)]
        self.before_last = [d.qpos.copy() for d in self.datas]

    def step(self, targets):
        for i, (model, data) in enumerate(zip(self.models, self.datas, strict=True)):
            data.ctrl[:] = targets[i]
            for _ in range(self.substeps):
                self.before_last[i] = data.qpos.copy()
                mujoco.mj_step(model, data)

    def stack(self, field):
        return np.stack([getattr(d, field) for d in self.datas])


# -- the plain loop -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_stepping_equals_a_plain_loop_bit_for_bit(threads):
    engine = helpers.engine(N, threads)
    randomized_start(engine)
    plain = PlainLoop(engine)
    assert (engine._fields["sensor_delay"].max(axis=1) > 0).any()
    assert (engine._fields["actuator_delay"].max(axis=1) > 0).any()
    for targets in random_targets(TICKS, N):
        assert not engine.step(targets).size
        plain.step(targets)
        assert np.array_equal(engine.qpos, plain.stack("qpos"))
        assert np.array_equal(engine.qvel, plain.stack("qvel"))
        assert np.array_equal(engine.sensordata, plain.stack("sensordata"))
        assert np.array_equal(engine._geom_xpos, plain.stack("geom_xpos"))


def test_each_simulation_has_its_own_model():
    """Negative control: with the nominal model the plain loop goes another way."""
    engine = helpers.engine(N)
    randomized_start(engine)
    plain = PlainLoop(engine)
    plain.models = [engine.model] * N
    targets = random_targets(1, N)[0]
    engine.step(targets)
    plain.step(targets)
    assert (np.abs(engine.qpos - plain.stack("qpos")).max(axis=1) > 1e-9).all()


def test_constants_follow_the_fields_that_they_are_derived_from():
    engine = helpers.engine(N)
    randomized_start(engine)
    for i in EVERYONE:
        model = engine.batch.get_model(i)
        assert model.body_mass.sum() != engine.model.body_mass.sum()
        assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum(), rel=1e-12)
        derived = model.dof_M0.copy()
        mujoco.mj_setConst(model, mujoco.MjData(model))
        assert np.array_equal(derived, model.dof_M0)


def test_resetting_some_leaves_the_others_alone():
    engine, untouched = helpers.engine(N), helpers.engine(N)
    for e in (engine, untouched):
        randomized_start(e)
    first, second = random_targets(2, N)
    for e in (engine, untouched):
        e.step(first)
    before = {name: values[[0, 2]].copy() for name, values in engine._fields.items()}
    ids = np.array([1, 3])
    helpers.start(engine, ids, engine.nominal(helpers.FIELDS, 2))
    for name, values in engine._fields.items():
        assert np.array_equal(values[[0, 2]], before[name]), name
    for e in (engine, untouched):
        e.step(second)
    assert np.array_equal(engine.qpos[[0, 2]], untouched.qpos[[0, 2]])
    assert not np.array_equal(engine.qpos[ids], untouched.qpos[ids])


def test_a_reset_simulation_has_no_memory():
    """What was before the reset, delays and warm starts included, leaves no trace."""
    used = helpers.engine(N)
    new = helpers.engine(N)
    randomized_start(used, seed=5)
    for targets in random_targets(5, N, seed=6):
        used.step(targets)
    for e in (used, new):
        randomized_start(e)
    for targets in random_targets(5, N):
        for e in (used, new):
            e.step(targets)
    assert np.array_equal(used.batch.state, new.batch.state)
    assert np.array_equal(used.sensordata, new.sensordata)


# -- age of what is measured --------------------------------------------------------------------


def test_sensors_are_one_physics_step_old():
    engine = helpers.engine(N, fields=())
    helpers.start(engine, EVERYONE, height=0.05)
    plain = PlainLoop(engine)
    for targets in random_targets(3, N):
        engine.step(targets)
        plain.step(targets)
        old = np.stack(plain.before_last)[:, engine.joint_qpos]
        columns = sensor_columns(engine.model, "pos")
        assert np.array_equal(engine.sensordata[:, columns], old)
        assert np.array_equal(engine.measure().joint_pos, old.astype(np.float32))
        assert not np.array_equal(old, engine.qpos[:, engine.joint_qpos])


DELAYED = ("base_quat", "base_ang_vel", "joint_pos", "joint_vel")


def readings(steps, delay):
    """Measurements after reset and after each physics step, [s] late; and the present angles."""
    engine = helpers.engine(1, substeps=1, fields=("sensor_delay",))
    rows = engine.nominal(("sensor_delay",), 1)
    rows["sensor_delay"][:, Ids.of(engine.model, helpers.robot()).delayed] = delay
    helpers.start(engine, [0], rows, height=0.1, lean=0.05)
    states = [engine.measure()]
    for targets in random_targets(steps, 1):
        engine.step(targets)
        states.append(engine.measure())
    return {name: np.stack([getattr(s, name)[0] for s in states]) for name in DELAYED}, engine


@pytest.mark.parametrize("k", [1, 3])
def test_a_sensor_delay_of_k_physics_steps_shifts_by_k(k):
    present, _ = readings(10, delay=0.0)
    late, engine = readings(10, delay=k * 0.01)
    for name in DELAYED:
        # [0] is the reset and [1] the same state, read by the first step.
        assert np.allclose(late[name][1 + k :], present[name][1:-k], rtol=0, atol=1e-6), name
        assert np.allclose(late[name][: 1 + k], present[name][0], rtol=0, atol=1e-6), name
        assert not np.allclose(late[name], present[name], rtol=0, atol=1e-3), name
    assert engine.model.sensor_history[:, 0].any()


def test_beyond_one_physics_step_a_delay_is_interpolated():
    present, _ = readings(8, delay=0.0)
    late, _ = readings(8, delay=0.015)
    middle = 0.5 * (present["joint_pos"][1:-2] + present["joint_pos"][2:-1])
    assert np.allclose(late["joint_pos"][3:], middle, rtol=0, atol=1e-6)


@pytest.mark.parametrize("delay", [0.001, 0.005, 0.009])
def test_a_delay_within_one_physics_step_acts_as_a_whole_one(delay):
    """MuJoCo reads its buffer before the present sample is in it, and holds the newest."""
    late = readings(6, delay)[0]
    whole = readings(6, 0.01)[0]
    targets = random_targets(6, 1)
    assert np.array_equal(late["joint_pos"], whole["joint_pos"])
    assert np.array_equal(angles(targets, delay), angles(targets, 0.01))


@pytest.fixture
def delayed_engine():
    engine = helpers.engine(N, fields=("sensor_delay", "actuator_delay"))
    rows = engine.nominal(("sensor_delay", "actuator_delay"), N)
    rows["sensor_delay"][:, Ids.of(engine.model, helpers.robot()).delayed] = 0.015
    rows["actuator_delay"][:] = 0.015
    return engine, rows


def test_the_first_measurement_after_reset_is_the_present_pose(delayed_engine):
    engine, rows = delayed_engine
    qpos = helpers.start(engine, EVERYONE, rows, height=0.1, lean=0.07)
    state = engine.measure()
    assert np.array_equal(state.joint_pos, qpos[:, 7:].astype(np.float32))
    assert np.allclose(state.base_quat, qpos[:, 3:7], atol=1e-6)
    engine.step(qpos[:, engine.joint_qpos])
    assert np.allclose(engine.measure().joint_pos, qpos[:, 7:], atol=2e-3)


def test_without_filling_the_history_a_measurement_is_wrong(delayed_engine, monkeypatch):
    """Negative control of the test above."""
    engine, rows = delayed_engine
    monkeypatch.setattr(engine, "_fill_history", lambda ids: None)
    qpos = helpers.start(engine, EVERYONE, rows, height=0.1, lean=0.07)
    engine.step(qpos[:, engine.joint_qpos])
    assert np.abs(engine.measure().joint_pos - qpos[:, 7:]).max() > 0.5


def test_a_reset_leaves_the_delays_as_they_are(delayed_engine):
    engine, rows = delayed_engine
    helpers.start(engine, EVERYONE, rows)
    for name in ("sensor_delay", "actuator_delay"):
        assert np.array_equal(engine._fields[name], rows[name])


def test_a_reset_equals_mujocos_own_bit_for_bit():
    """A row of the default state is what `mj_resetData` leaves, and `mj_forward` sees the pose."""
    engine = helpers.engine(N, fields=())
    for targets in random_targets(3, N):
        engine.step(targets)
    qpos = helpers.start(engine, EVERYONE, height=0.1, lean=0.07)
    data = mujoco.MjData(engine.model)
    data.qpos[:], data.ctrl[:] = qpos[2], qpos[2, engine.joint_qpos]
    mujoco.mj_forward(engine.model, data)
    assert np.array_equal(engine.sensordata[2], data.sensordata)
    assert np.array_equal(engine.batch.bind("qacc_warmstart")[2], data.qacc_warmstart)


# -- age of what is commanded -------------------------------------------------------------------


def angles(targets, delay):
    """Joint angles after each physics step under `targets`, which take effect `delay` [s] late."""
    engine = helpers.engine(1, substeps=1, fields=("actuator_delay",))
    rows = engine.nominal(("actuator_delay",), 1)
    rows["actuator_delay"][:] = delay
    helpers.start(engine, [0], rows, height=0.5)
    out = []
    for target in targets:
        engine.step(target)
        out.append(engine.qpos[0].copy())
    return np.stack(out)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_an_actuator_delay_of_k_physics_steps_shifts_the_targets_by_k(k):
    targets = random_targets(12, 1)
    # Until the first target arrives, the motors hold the pose of the reset.
    hold = np.tile(helpers.robot().vector("default"), (k, 1, 1))
    shifted = np.concatenate((hold, targets[:-k]))
    late = angles(targets, k * 0.01)
    assert np.allclose(late, angles(shifted, 0.0), rtol=0, atol=1e-9)
    assert not np.allclose(late, angles(targets, 0.0), rtol=0, atol=1e-3)


@pytest.mark.parametrize("delay", [0.0, 0.01])
def test_torque_is_the_pd_law_of_the_target_that_has_arrived(delay):
    engine = helpers.engine(1, substeps=1, fields=("actuator_delay",))
    rows = engine.nominal(("actuator_delay",), 1)
    rows["actuator_delay"][:] = delay
    qpos = helpers.start(engine, [0], rows, height=0.5)[:, 7:]
    engine.qvel[0, 6:] = velocity = np.linspace(-1, 1, helpers.JOINTS)
    engine.step(qpos + 0.1)
    arrived = 0.1 if delay == 0 else 0.0
    robot = helpers.robot()
    expected = robot.vector("kp") * arrived - robot.vector("kd") * velocity
    assert np.allclose(engine.measure().joint_torque[0], expected, rtol=0, atol=1e-5)


def test_torque_stops_at_the_limit():
    engine = helpers.engine(1, substeps=1, fields=())
    qpos = helpers.start(engine, [0], height=0.5)
    for sign in (1, -1):
        engine.step(qpos[:, 7:] + sign * 10)
        limit = helpers.robot().vector("torque_limit")
        assert np.allclose(engine.measure().joint_torque[0], sign * limit, rtol=1e-6)


# -- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["qpos", "qvel"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_diverged_simulation_is_named_and_the_others_go_on(field, threads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a MUJOCO_LOG.TXT where it stands
    sick = helpers.engine(N, threads)
    healthy = helpers.engine(N, threads)
    for e in (sick, healthy):
        randomized_start(e)
    getattr(sick, field)[2, 8] = np.nan
    first, second = random_targets(2, N)
    assert sick.step(first).tolist() == [2]
    assert healthy.step(first).tolist() == []
    helpers.start(sick, [2], sick.nominal(helpers.FIELDS, 1))
    assert sick.step(second).tolist() == []
    healthy.step(second)
    others = [0, 1, 3]
    assert np.array_equal(sick.qpos[others], healthy.qpos[others])
    assert np.array_equal(sick.sensordata[others], healthy.sensordata[others])
    assert np.isfinite(sick.qpos).all() and np.isfinite(sick.sensordata).all()


def test_a_state_that_is_finite_but_no_physics_has_diverged_too():
    sick = helpers.engine(N)
    randomized_start(sick)
    sick.qvel[1, 2] = 1e7
    assert sick.step(random_targets(1, N)[0]).tolist() == [1]


# -- the small verbs ----------------------------------------------------------------------------


def test_a_push_changes_the_horizontal_velocity_of_the_base_only():
    engine = helpers.engine(N, fields=())
    helpers.start(engine, EVERYONE)
    before = engine.batch.state.copy()
    velocity = engine.qvel.copy()
    engine.push(np.array([1, 3]), np.array([[0.3, -0.2], [0.1, 0.5]]))
    velocity[[1, 3], :2] += [[0.3, -0.2], [0.1, 0.5]]
    assert np.array_equal(engine.qvel, velocity)
    assert (engine.batch.state != before).sum() == 4


def test_foot_heights_are_of_the_underside():
    engine = helpers.engine(N, fields=())
    helpers.start(engine, EVERYONE, height=0.25)
    # In the default pose the feet just touch the floor.
    assert np.allclose(engine.foot_heights(), 0.25, atol=1e-3)
    assert engine.foot_heights(np.array([1])).shape == (1, helpers.FEET)


def test_foot_velocities_are_those_of_a_falling_robot():
    engine = helpers.engine(N, substeps=1, fields=())
    helpers.start(engine, EVERYONE, height=0.5)
    engine.qvel[:, :3] = [0.4, -0.3, 0.2]
    engine.step(engine.qpos[:, 7:])
    assert np.allclose(engine.foot_velocities_w(), [0.4, -0.3, 0.2], atol=1e-6)
