"""Fields of a world that are read on demand: for every kind of term that says that it reads one."""

import env_helpers as helpers
import mujoco
import numpy as np
import pytest

from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.robot_model import geometry, variants
from robot_ppo.robot_model.base_geometry import BaseGeometry
from robot_ppo_export.contract import frames
from robot_ppo_export.errors import InputError

KINDS = {
    "rewards": (REWARDS, {"weight": 1.0}, lambda level: level.mean(axis=-1)),
    "terminations": (TERMINATIONS, {}, lambda level: level.mean(axis=-1) < 0),
    "metrics": (METRICS, {}, lambda level: level.mean(axis=-1)),
    "observations": (OBSERVATIONS, {}, lambda level: level),
}
"""Kind -> table, what the YAML gives a term, and a value of the field."""


def task_with(monkeypatch, kind, field, seen):
    """The quiet task with a term of one's own, which appends what it reads to `seen`."""
    table, given, value = KINDS[kind]

    def own_term(world):
        seen.append(getattr(world, field))
        return value(seen[-1])

    monkeypatch.setattr(table, "functions", dict(table.functions))
    monkeypatch.setattr(table, "needs", dict(table.needs))
    monkeypatch.setattr(table, "reads", dict(table.reads))
    table.add(reads=(field,))(own_term)
    there = getattr(helpers.shipped().task, kind)
    terms = {"own_term": given}
    if kind == "observations":
        return helpers.quiet(observations={**there, "critic": {**there["critic"], **terms}})
    return helpers.quiet(**{kind: {**there, **terms}})


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_read_for_a_term_of_ones_own_that_says_so(monkeypatch, kind):
    seen = []
    env = helpers.environment(task_with(monkeypatch, kind, "sole_level", seen), 2)
    env.step(np.zeros((2, helpers.JOINTS), np.float32))
    assert seen and all(level.shape[-1] == helpers.FEET for level in seen)


def test_a_task_whose_terms_say_nothing_pays_nothing():
    world, _ = helpers.environment(helpers.quiet(), 2)._read()
    assert world.sole_level is None and world.foot_gap is None
    assert world.air_time is None and world.base_clearance is None


def test_air_time_is_that_since_a_foot_left_the_ground_and_a_flights_in_the_step_of_its_landing():
    rewards = {"feet_air_time": {"weight": 1.0, "threshold": 0.1}}
    env = helpers.environment(helpers.quiet(rewards=rewards), 3)
    reader = env.reader
    dt = env.task.control_period
    reader.begin(np.arange(3), np.zeros((3, helpers.JOINTS), np.float32))
    world = helpers.world(3)
    told = []
    for down in ([0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]):
        world.foot_contact = np.tile(np.array(down, bool), (3, 1))
        told.append(reader._air_time(world, ...)[1] / dt)
    assert np.allclose(told, [[1, 1, 0, 0], [2, 1, 0, 1], [2, 0, 1, 2], [0, 1, 1, 2]])
    world.foot_contact = np.zeros((1, 4), bool)
    reader.begin(np.array([2]), np.zeros((1, helpers.JOINTS), np.float32))
    assert np.allclose(reader._air_time(world, np.array([2])) / dt, 1)  # a new episode's own
    assert np.array_equal(env.state_dict()["aloft"], [[0, 1, 0, 0]] * 2 + [[1, 1, 1, 1]])


@pytest.mark.parametrize("ids", [..., np.array([1, 3])], ids=["all", "some"])
def test_base_clearance_is_that_of_the_whole_models_contacts(ids):
    """Where the base is by MuJoCo's own frames, in a model in which it collides."""
    env = helpers.environment(helpers.quiet(terminations={"base_contact": {}}), 4)
    rng = np.random.default_rng(2)
    turns = frames.from_rotation_vector(rng.normal(0, 1, (4, 3)).astype(np.float32))
    engine = env.engine
    qpos = np.tile(engine.model.key("home").qpos, (4, 1))
    qpos[:, 2] = [0.5, 0.05, -0.1, 0.3]
    qpos[:, 3:7] = turns
    engine.reset(np.arange(4), qpos, np.zeros((4, engine.model.nv)), {})
    model = variants.eval_model(helpers.robot(), helpers.xml())
    base = [g for g in range(model.ngeom) if model.geom_bodyid[g] == model.body("base_link").id]
    data = mujoco.MjData(model)
    expected = []
    for row in qpos:
        data.qpos[:] = row
        mujoco.mj_kinematics(model, data)
        expected.append(geometry.lowest_points(model, data)[base].min())
    world, _ = env._read(ids)
    assert np.allclose(world.base_clearance, np.array(expected)[ids], atol=1e-5)
    assert (world.base_clearance < 0).any() and (world.base_clearance > 0).any()


def test_a_base_that_can_touch_nothing_is_refused():
    spec = mujoco.MjSpec.from_file(str(helpers.xml()))
    for geom in spec.body("base_link").geoms:
        geom.contype = geom.conaffinity = 0
    with pytest.raises(InputError, match="base 'base_link' has no geom that can touch something"):
        BaseGeometry(spec.compile(), helpers.robot())


def test_a_field_that_nobody_reads_on_demand_is_refused(monkeypatch):
    task = task_with(monkeypatch, "rewards", "sole_levels", [])
    with pytest.raises(InputError, match=r"reads='sole_levels'; .* on demand is sole_level"):
        helpers.environment(task)
