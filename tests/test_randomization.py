"""Every randomization: it writes what it declares and nothing else, and it matters."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo.envs.robot.randomization import RANDOMIZATIONS, WRITES, Randomizer
from robot_ppo.robot_model import symmetry
from robot_ppo.sim.fields import MEASUREMENT_FIELDS, PACKET_FIELDS, Ids
from robot_ppo_export.contract import frames
from robot_ppo_export.errors import InputError

SEEN_ONLY = ("imu_bias", "imu_mounting", "sensor_delay")
"""These change what is measured; the physics alone does not feel them."""
ON_THE_WAY = ("packet_loss", "packet_delay")
"""These change when a measurement arrives (test_packets.py)."""
FELT = [name for name in WRITES if name not in ON_THE_WAY]


@pytest.fixture(scope="module")
def engine():
    return helpers.engine(2)


@pytest.fixture(scope="module")
def ids(engine):
    return Ids.of(engine.model, helpers.robot())


def with_value(name, value, engine, ids, m=1):
    """Nominal rows (m, ...) of all fields, to which `name` was applied with one value."""
    rows = engine.nominal(helpers.FIELDS, m)
    parameters = helpers.resolved(name)
    draws = np.full((m, WRITES[name].size(ids, **parameters)), value, np.float64)
    RANDOMIZATIONS.functions[name](rows, draws, ids, **parameters)
    return rows


def one_of(name, ids):
    """A randomizer of one entry, over its extremes."""
    ranges = {name: helpers.EXTREMES[name]}
    return Randomizer(ranges, ids, parameters={name: helpers.resolved(name)})


def joined(*rows):
    return {name: np.concatenate([r[name] for r in rows]) for name in rows[0]}


def test_every_randomization_of_the_table_is_tested_here_and_shipped():
    assert set(helpers.EXTREMES) == set(WRITES)
    assert set(helpers.shipped().task.randomization) <= set(WRITES)


# -- laws of every entry ------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITES)
def test_it_writes_the_fields_that_it_declares_and_no_others(name, engine, ids):
    rows = engine.nominal(helpers.FIELDS, 3)
    before = {field: values.copy() for field, values in rows.items()}
    one_of(name, ids).apply(rows, 3, np.random.default_rng(0))
    written = {f for f in rows if not np.array_equal(rows[f], before[f])}
    assert written == set(WRITES[name].fields)


@pytest.mark.parametrize("name", WRITES)
def test_it_draws_every_simulation_by_itself_within_the_range(name, engine, ids):
    low, high = helpers.EXTREMES[name]
    randomizer = one_of(name, ids)
    m = 400
    draws = []

    def recorder(rows, draw, given):
        draws.append(draw.copy())

    randomizer.functions = [recorder]
    units = randomizer.apply(engine.nominal(helpers.FIELDS, m), m, np.random.default_rng(0))
    (draw,) = draws
    assert draw.shape == units.shape == (m, randomizer.size)
    assert randomizer.size == WRITES[name].size(ids, **helpers.resolved(name))
    assert units.dtype == np.float32
    assert (np.abs(units) <= 1).all() and (draw >= low).all() and (draw <= high).all()
    assert np.allclose(draw, (low + high) / 2 + units * (high - low) / 2, rtol=0, atol=1e-5)
    # Uniform: nearly all of the range is used, and the mean is its middle.
    assert units.min() < -0.97 and units.max() > 0.97 and abs(units.mean()) < 0.15
    assert len(np.unique(units)) == units.size


def feedback(engine, tick):
    """Targets of a gait that also answers to everything that is measured."""
    state = engine.measure()
    gravity = frames.projected_gravity(state.base_quat)
    swing = 0.15 * np.sin(0.3 * tick + np.arange(helpers.JOINTS))
    reflex = 0.05 * gravity[:, :1] + 0.02 * state.base_ang_vel[:, 2:]
    reflex = reflex + 0.1 * (state.joint_pos - engine.model.key("home").qpos[7:])
    return engine.model.key("home").qpos[7:] + swing + reflex + 0.001 * state.joint_vel


def differences(engine, rows, ticks=50, act=feedback):
    """|qpos of simulation 1 - qpos of simulation 0| after `ticks` from the same state."""
    helpers.start(engine, [0, 1], rows, height=0.01)
    for tick in range(ticks):
        engine.step(act(engine, tick))
    return np.abs(engine.qpos[1] - engine.qpos[0]).max()


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("name", FELT)
def test_its_extremes_change_what_happens(name, end, engine, ids):
    value = helpers.EXTREMES[name][end]
    rows = joined(engine.nominal(helpers.FIELDS, 1), with_value(name, value, engine, ids))
    same = all(np.array_equal(values[0], values[1]) for values in rows.values())
    assert (differences(engine, rows) > 1e-9) != same
    assert not same or value == 0.0  # no delay is the nominal one


def test_equal_rows_give_equal_bits(engine):
    """Negative control of the test above."""
    assert differences(engine, engine.nominal(helpers.FIELDS, 2)) == 0.0


@pytest.mark.parametrize("name", SEEN_ONLY)
def test_what_changes_the_measurement_only_leaves_an_open_loop_alone(name, engine, ids):
    rows = joined(
        engine.nominal(helpers.FIELDS, 1),
        with_value(name, helpers.EXTREMES[name][1], engine, ids),
    )
    home = engine.model.key("home").qpos[7:]
    assert differences(engine, rows, act=lambda engine, tick: home + 0.1 * np.sin(tick)) == 0.0


# -- what single entries mean -------------------------------------------------------------------


def test_link_mass_keeps_every_link_physical(engine, ids):
    rows = engine.nominal(helpers.FIELDS, 50)
    Randomizer({"link_mass": (0.5, 2.0)}, ids).apply(rows, 50, np.random.default_rng(0))
    mass = rows["body_mass"][:, ids.links]
    inertia = rows["body_inertia"][:, ids.links]
    assert (mass > 0).all() and (inertia > 0).all()
    # Principal moments of a rigid body obey the triangle inequality; a density scales them all.
    assert (2 * inertia.max(axis=2) <= inertia.sum(axis=2) * (1 + 1e-6)).all()
    nominal = engine.model.body_inertia[ids.links] / engine.model.body_mass[ids.links, None]
    assert np.allclose(inertia / mass[:, :, None], nominal, rtol=1e-12)
    assert (mass.std(axis=0) > 0).all()
    assert (rows["body_mass"][:, 0] == 0).all()  # the world has no mass


def test_payload_adds_its_mass_to_the_base_and_to_nothing_else(engine, ids):
    rows = with_value("payload", 2.5, engine, ids)
    added = rows["body_mass"][0] - engine.model.body_mass
    assert added[ids.base] == pytest.approx(2.5)
    assert np.count_nonzero(added) == 1


def test_friction_is_that_of_the_feet(engine, ids):
    rows = with_value("friction", 0.33, engine, ids)
    assert (rows["geom_friction"][0, ids.feet, 0] == 0.33).all()
    # The contact takes the feet's friction, whatever the floor's is.
    floor = engine.model.geom("floor").id
    assert (engine.model.geom_priority[ids.feet] > engine.model.geom_priority[floor]).all()


HOLD = 0.2
"""Height [m] at which the feet are in the air, so that only the motors act."""


def held_torque(engine, rows, lean=0.0):
    """Torques [N m] of the first physics step at the default pose + `lean`, told to hold it."""
    helpers.start(engine, [0, 1], rows, height=HOLD, lean=lean)
    engine.ctrl[:] = engine.model.key("home").qpos[7:]
    engine.batch.step()
    return engine.measure()


def test_with_an_encoder_offset_the_motor_holds_the_measured_angle(engine, ids):
    """True angle = target - offset: no torque, and the policy reads the target."""
    offset = 0.03
    rows = with_value("encoder_offset", offset, engine, ids, m=2)
    state = held_torque(engine, rows, lean=-offset)
    assert np.allclose(state.joint_torque, 0.0, atol=1e-6)
    assert np.allclose(state.joint_pos, engine.model.key("home").qpos[7:], atol=1e-6)
    # Negative control: at the true target the motor pulls by kp times the offset.
    state = held_torque(engine, rows)
    assert np.allclose(state.joint_torque, -helpers.robot().vector("kp") * offset, atol=1e-5)


def test_an_encoder_offset_is_held_whatever_the_gains_and_the_strength(engine, ids):
    rows = engine.nominal(helpers.FIELDS, 2)
    ranges = {n: helpers.EXTREMES[n] for n in ("encoder_offset", "kp", "kd", "motor_strength")}
    Randomizer(ranges, ids).apply(rows, 2, np.random.default_rng(0))
    assert np.abs(rows["encoder_offset"]).min() > 0
    helpers.start(engine, [0, 1], rows, height=HOLD)
    engine.qpos[:, 7:] -= rows["encoder_offset"]
    engine.batch.step()
    assert np.allclose(engine.measure().joint_torque, 0.0, atol=1e-6)


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_motor_strength_scales_torque_and_limit(factor, engine, ids):
    rows = joined(
        engine.nominal(helpers.FIELDS, 1), with_value("motor_strength", factor, engine, ids)
    )
    weak = held_torque(engine, rows, lean=0.1).joint_torque
    assert np.allclose(weak[1], factor * weak[0], rtol=1e-5)
    assert np.allclose(weak[0], -0.1 * helpers.robot().vector("kp"), rtol=1e-5)
    saturated = held_torque(engine, rows, lean=3.0).joint_torque
    limit = helpers.robot().vector("torque_limit")
    assert np.allclose(saturated, -np.outer([1.0, factor], limit), rtol=1e-6)


@pytest.mark.parametrize(("name", "gain"), [("kp", "kp"), ("kd", "kd")])
def test_a_gain_scales_its_part_of_the_pd_law(name, gain, engine, ids):
    robot = helpers.robot()
    factor = 1.2
    gains = {"kp": robot.vector("kp"), "kd": robot.vector("kd")}
    gains[gain] = factor * gains[gain]
    helpers.start(engine, [0, 1], with_value(name, factor, engine, ids, m=2), height=HOLD)
    engine.qvel[:, 6:] = 0.5
    engine.ctrl[:] = engine.qpos[:, 7:] + 0.1
    engine.batch.step()
    expected = 0.1 * gains["kp"] - 0.5 * gains["kd"]
    assert np.allclose(engine.measure().joint_torque, expected, rtol=0, atol=1e-5)


def test_imu_bias_is_added_to_the_gyroscope(engine, ids):
    rows = joined(engine.nominal(helpers.FIELDS, 1), with_value("imu_bias", 0.07, engine, ids))
    helpers.start(engine, [0, 1], rows, height=HOLD)
    rates = engine.measure().base_ang_vel
    assert np.allclose(rates[1] - rates[0], 0.07, atol=1e-6)


def test_an_imu_that_is_mounted_askew_turns_orientation_and_rates(engine, ids):
    vector = np.array([0.05, -0.02, 0.03])
    rows = engine.nominal(helpers.FIELDS, 2)
    RANDOMIZATIONS.functions["imu_mounting"](rows, np.stack((0 * vector, vector)), ids)
    helpers.start(engine, [0, 1], rows, height=HOLD)
    engine.qvel[:, 3:6] = rate = np.array([0.3, -0.2, 0.4])
    engine.batch.forward()
    state = engine.measure()
    mounting = frames.from_rotation_vector(vector)
    assert np.allclose(state.base_quat[0], [1, 0, 0, 0], atol=1e-6)
    assert np.allclose(state.base_quat[1], mounting, atol=1e-6)
    assert np.allclose(state.base_ang_vel[0], rate, atol=1e-6)
    assert np.allclose(state.base_ang_vel[1], frames.to_body(mounting, rate), atol=1e-6)


def test_the_joints_of_a_group_share_a_delay_beside_that_of_all(engine, ids):
    rows = engine.nominal(helpers.FIELDS, 50)
    ranges = {"actuator_delay": (20.0, 20.0), "group_delay": (0.0, 10.0)}
    parameters = {"group_delay": helpers.resolved("group_delay")}
    Randomizer(ranges, ids, parameters=parameters).apply(rows, 50, np.random.default_rng(0))
    delay = rows["actuator_delay"].reshape(50, 4, 3)  # leg by leg
    assert (delay == delay[:, :, :1]).all()
    extra = delay[:, :, 0] - 0.02
    assert (extra >= 0).all() and (extra <= 0.01).all() and extra.std(axis=0).min() > 0.002
    assert np.abs(np.corrcoef(extra.T) - np.eye(4)).max() < 0.5  # each leg by itself


def test_groups_that_have_no_mirror_image_are_refused(ids, engine):
    mirror = symmetry.find(helpers.robot(), engine.model)
    legs = helpers.resolved("group_delay")["groups"]
    swapped = WRITES["group_delay"].mirror(ids, mirror, groups=legs)
    assert swapped.index.tolist() == [1, 0, 3, 2]  # right and left
    torn = legs.copy()
    torn[0] = 2.0  # one joint of the front right leg goes with the left one
    with pytest.raises(InputError, match="group_delay have no mirror image"):
        WRITES["group_delay"].mirror(ids, mirror, groups=torn)


def test_delays_are_given_in_milliseconds(engine, ids):
    assert (with_value("actuator_delay", 12.0, engine, ids)["actuator_delay"] == 0.012).all()
    # A measurement of 25 ms: MuJoCo's own step of 10 ms, and 15 ms more.
    late = with_value("sensor_delay", 25.0, engine, ids)["sensor_delay"][0]
    assert set(np.flatnonzero(late)) == set(ids.delayed)
    assert np.allclose(late[ids.delayed], 0.015, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("age", "native"), [(4.0, 0.0), (6.0, 0.01), (10.0, 0.01), (13.0, 0.013)])
def test_a_draw_below_one_physics_step_goes_to_the_nearer_delay_that_exists(
    age, native, engine, ids
):
    rows = with_value("actuator_delay", age, engine, ids)
    assert np.allclose(rows["actuator_delay"], native, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("age", "native"), [(0.0, 0.0), (2.5, 0.0), (5.0, 0.0), (10.0, 0.0), (12.0, 10.0), (15.0, 10.0)]
)
def test_up_to_two_physics_steps_a_measurement_is_interpolated_with_the_present(
    age, native, engine, ids
):
    """MuJoCo renders an age of one step (10 ms), or with its delay one of two steps or more."""
    rows = with_value("sensor_delay", age, engine, ids)
    assert np.allclose(rows["sensor_delay"][:, ids.delayed], native / 1e3, rtol=0, atol=1e-12)
    stalest = with_value("sensor_delay", native + 10.0, engine, ids)  # what MuJoCo alone says
    assert (stalest["freshness"] == 0).all()
    both = joined(stalest, rows)
    helpers.start(engine, [0, 1], both, height=0.1)
    home = engine.model.key("home").qpos[7:]
    for tick in range(3):
        engine.step(home + 0.3 * np.sin(tick + np.arange(helpers.JOINTS)))
    stale = engine.measure([0])
    ours = engine.measure([1])
    present = {"joint_pos": engine.qpos[1, 7:], "base_ang_vel": engine.qvel[1, 3:6]}
    present |= {"joint_vel": engine.qvel[1, 6:], "base_quat": engine.qpos[1, 3:7]}
    for name, now in present.items():
        then = getattr(stale, name)[0]
        wanted = then + (1 - age / (native + 10.0)) * (now - then)
        if name == "base_quat":
            wanted /= np.linalg.norm(wanted)
        assert np.allclose(getattr(ours, name)[0], wanted, rtol=0, atol=2e-5), name
    assert not np.allclose(stale.joint_vel[0], present["joint_vel"], rtol=0, atol=1e-2)


def test_all_that_an_actor_reads_is_delayed_and_what_only_a_simulator_knows_is_not(engine, ids):
    names = {engine.model.sensor(i).name for i in ids.delayed}
    joints = helpers.robot().joint_names
    seen = {f"{j}_{k}" for j in joints for k in ("pos", "vel")} | {"imu_quat", "imu_gyro"}
    assert names == seen


# -- the randomizer -----------------------------------------------------------------------------


def test_the_order_is_that_of_the_table_not_of_the_yaml(engine, ids):
    ranges = dict(reversed(helpers.EXTREMES.items()))
    results = []
    for given in (helpers.EXTREMES, ranges):
        rows = engine.nominal(helpers.FIELDS, 4)
        taken = {name: helpers.resolved(name) for name in given}
        units = Randomizer(given, ids, parameters=taken).apply(rows, 4, np.random.default_rng(0))
        results.append((rows, units))
    (rows, units), (again, same) = results
    assert np.array_equal(units, same)
    assert all(np.array_equal(rows[f], again[f]) for f in helpers.FIELDS)


def test_the_middle_of_a_symmetric_factor_is_nominal(engine, ids):
    rows = engine.nominal(helpers.FIELDS, 2)
    names = ("link_mass", "joint_damping", "friction_loss", "armature", "kp", "kd")
    Randomizer({n: (1.0, 1.0) for n in names}, ids).apply(rows, 2, np.random.default_rng(0))
    nominal = engine.nominal(helpers.FIELDS, 2)
    assert all(np.array_equal(rows[f], nominal[f]) for f in helpers.FIELDS)


def test_without_randomization_nothing_is_drawn(ids):
    randomizer = Randomizer({}, ids)
    assert randomizer.fields == () and randomizer.size == 0
    assert randomizer.apply({}, 5, np.random.default_rng(0)).shape == (5, 0)


def test_measurement_fields_are_not_mujocos(engine):
    for field in helpers.FIELDS:
        ours = MEASUREMENT_FIELDS + PACKET_FIELDS
        assert hasattr(engine.model, field) != (field in ours), field


def test_what_is_drawn_at_the_start_stays_and_the_rest_does_not():
    """Kept draws are the same in every episode, in the model's fields too."""
    kept = {"link_mass": {"range": [0.8, 1.2]}}
    task = helpers.quiet(randomization={"payload": (-1.0, 3.0)})
    events = helpers.replace(task.events, start=kept)
    env = helpers.environment(helpers.replace(task, events=events), n=3)
    base = env.engine.model.body("base_link").id

    def drawn():
        mass = env.engine._fields["body_mass"]
        return mass[:, base + 1 :].copy(), mass[:, base].copy()

    links, payload = drawn()
    env._begin(np.arange(3))
    again, other = drawn()
    assert np.array_equal(links, again) and not (payload == other).any()
    env.reset()
    assert np.array_equal(links, drawn()[0])
    env.reset(seed=2)
    assert not (links == drawn()[0]).all(axis=1).any()  # a start is another draw
