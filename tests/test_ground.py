"""Heights of the ground: as MuJoCo's own rays meet it, and as what every term measures from."""

import dataclasses

import env_helpers as helpers
import mujoco
import numpy as np
import pytest
from node_helpers import ROOT

from robot_ppo import config, envs
from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.robot_model import variants
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.sim.batch_engine import BatchEngine
from robot_ppo.sim.ground import Field, Plane, RayGround, of
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

RAISED = 0.5


@pytest.fixture
def random():
    return np.random.default_rng(0)


def engine_on(field, n=1) -> RobotEngine:
    physics = helpers.shipped().task.physics
    model = variants.train_model(helpers.robot(), helpers.xml(), physics, 0.02, field)
    return RobotEngine(model, helpers.robot(), n)


def bumps(random) -> HeightField:
    return HeightField(random.uniform(-0.3, 0.7, (31, 41)), 0.1, (-1.0, -2.0))


def test_it_is_the_height_at_which_a_ray_meets_the_field(random):
    engine = engine_on(bumps(random))
    engine.qpos[:, :2] = 100.0
    x = random.uniform(-0.99, 2.99, (50, 7))
    y = random.uniform(-1.99, 0.99, (50, 7))
    by_rays = RayGround(engine, (0,)).height(x, y)
    assert np.abs(engine.ground.height(x, y) - by_rays).max() < 2e-6
    assert np.ptp(by_rays) > 0.5


def test_it_is_the_height_of_every_grid_point(random):
    field = bumps(random)
    made = engine_on(field).ground
    x, y = np.meshgrid(np.linspace(-1, 3, 41), np.linspace(-2, 1, 31))
    assert np.abs(made.height(x, y) - field.heights).max() < 1e-5


def test_beyond_its_border_it_goes_on_as_it_ends(random):
    made = engine_on(HeightField(np.tile(np.arange(5.0), (5, 1)), 1.0, (0.0, 0.0))).ground
    assert made.height(np.array([-1.0, 6.0]), np.array([2.0, 9.0])).tolist() == [-1.0, 6.0]


def test_many_points_are_as_one(random):
    made = engine_on(bumps(random)).ground
    x, y = random.uniform(-0.9, 0.9, (2, 300, 187))
    together = made.height(x, y)
    assert together.dtype == np.float32
    for i in (0, 150, 299):
        assert np.array_equal(together[i], made.height(x[i], y[i]))


def test_on_a_plane_heights_are_what_they_were(random):
    engine = engine_on(None, 3)
    assert isinstance(engine.ground, Plane)
    qpos = engine.qpos.astype(np.float32)
    qpos[:, 2] = -0.0, 0.3, -2.5
    assert engine.base_heights(qpos).tobytes() == qpos[:, 2].tobytes()
    assert RayGround(engine, (0,)).height(np.array([5.0]), np.array([7.0])) == 0


def test_rays_say_where_there_is_no_ground():
    engine = engine_on(HeightField(np.zeros((3, 3)), 1.0, (0.0, 0.0)))
    assert RayGround(engine, (0,)).height(np.array([50.0]), np.array([0.0])) == -np.inf


def test_a_level_field_is_touched_where_it_is_said_to_be():
    """A robot that stands on it for a while stands where one does on the plane."""
    level = HeightField(np.full((9, 9), RAISED), 1.0, (-4.0, -4.0))
    robots = [SimulatedRobot(helpers.robot(), field=field) for field in (None, level)]
    for robot in robots:
        robot.reset("home")
        robot.drive(helpers.robot().vector("default"), *helpers.robot().stand_gains())
        robot.advance(0.5)
    plane, raised = robots
    assert isinstance(raised.ground, Field)
    assert raised.height() == pytest.approx(plane.height(), abs=2e-4)
    assert raised.position_w()[2] == pytest.approx(plane.position_w()[2] + RAISED, abs=2e-4)


BOXES = """
<mujoco><worldbody>
  <geom name="floor" type="box" size="2 2 .1" pos="0 0 .2" euler="0 10 0" group="{ground}"/>
  <geom type="box" size=".5 .5 .5" pos="5 0 0" group="{ground}"/>
  <body pos="0 0 3"><freejoint/><geom size="1.5" group="{robot}"/></body>
</worldbody></mujoco>
"""


@pytest.mark.parametrize("engine", [lambda m: BatchEngine(m, 1), SingleEngine])
def test_ground_of_other_geoms_is_asked_by_rays_that_the_robot_is_not_in_the_way_of(engine):
    model = mujoco.MjModel.from_xml_string(BOXES.format(ground=3, robot=0))
    made = of(engine(model))
    assert isinstance(made, RayGround)
    across = np.sqrt(0.5) * np.array([-1.0, 0.0, 1.0])
    slope = np.tan(np.radians(10.0))
    top = 0.2 + 0.1 / np.cos(np.radians(10.0)) - slope * across
    assert made.height(across, np.zeros(3)) == pytest.approx(top, abs=1e-5)
    assert made.height(np.array([5.0]), np.array([0.0])) == pytest.approx(0.5)


def test_ground_that_the_robot_hides_from_rays_is_refused_in_a_sentence():
    model = mujoco.MjModel.from_xml_string(BOXES.format(ground=0, robot=0))
    with pytest.raises(InputError, match="in group 0: give the ground a geom group of its own"):
        of(BatchEngine(model, 1))


# -- every term ---------------------------------------------------------------------------------

TABLES = {
    "reward": REWARDS,
    "termination": TERMINATIONS,
    "metric": METRICS,
    "observation": OBSERVATIONS,
}
ALL = [(kind, name) for kind, table in TABLES.items() for name in table.functions]
PARAMETERS = {"joints": np.arange(12, dtype=np.float32)}
"""Values of parameters that are no positive number; every other one gets 0.5."""
N = 6
EVERYTHING = frozenset(f for t in TABLES.values() for fields in t.reads.values() for f in fields)
"""The fields of a world that are read for terms that say so."""


def world_on(field):
    """Worlds of robots near the ground of an environment; some of their feet are on it."""
    env = helpers.environment(helpers.quiet(), N)
    if field is not None:
        env.engine = env.reader.engine = engine_on(field, N)
    env.reader._grids = (ScanGrid(0.5, 0.5, 0.5, 0.5),)
    engine = env.engine
    env.reader.watch(EVERYTHING)
    rng = np.random.default_rng(1)
    qpos = np.tile(engine.model.key("home").qpos, (N, 1))
    qpos[:, engine.joint_qpos] += rng.uniform(-0.2, 0.2, (N, 12))
    qpos[:, :2] += rng.uniform(-3, 3, (N, 2))
    qpos[:, 2] += rng.uniform(0.0, 0.1, N) + (0.0 if field is None else RAISED)
    engine.reset(np.arange(N), qpos, rng.uniform(-0.5, 0.5, (N, engine.model.nv)), {})
    world, state = env._read()
    world.inputs = env._measured(world, state, ...)
    return world


@pytest.fixture(scope="module")
def plane_and_raised():
    return world_on(None), world_on(HeightField(np.full((17, 17), RAISED), 1.0, (-8.0, -8.0)))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_term_on_a_raised_field_is_what_it_is_on_the_plane(kind, name, plane_and_raised):
    table = TABLES[kind]
    given = {key: PARAMETERS.get(key, 0.5) for key in table.parameters(name)}
    if "commands.joint_pos" in table.needs[name]:
        worlds = [dataclasses.replace(w, command=w.joint_pos + 0.1) for w in plane_and_raised]
    else:
        worlds = plane_and_raised
    plane, raised = (np.asarray(table.functions[name](w, **given), np.float64) for w in worlds)
    assert raised == pytest.approx(plane, abs=1e-5)


def test_heights_over_z_0_would_be_noticed(plane_and_raised):
    plane, raised = plane_and_raised
    higher = dataclasses.replace(raised, base_height=raised.base_height + RAISED)
    one, other = (REWARDS.functions["base_height"](w, target=0.3) for w in (plane, higher))
    assert not np.allclose(one, other, atol=0.01)
    assert plane.foot_contact.any() and not plane.foot_contact.all()


# -- its contacts ---------------------------------------------------------------------------------


def worst_of_solver(name, *overrides):
    """Largest error of a joint velocity [rad/s] where a task's solver stops, of robots that walk.

    Beside the same physics step with a solver that goes on until it has converged.
    """
    env = envs.make(config.load(name, overrides=overrides), 24, 1)
    act = Policy(ROOT / "tests" / "golden" / f"{name}.onnx").for_many()
    random = np.random.default_rng(0)
    observation, _ = env.reset(seed=1)
    batch = env.engine.batch
    models = [batch.get_model(i) for i in range(env.num_envs)]
    worst = 0.0
    for _ in range(25):
        noise = random.normal(0, 0.13, (env.num_envs, env.actions.size))
        observation, *_ = env.step((act(observation) + noise).astype(np.float32))
        for i, model in enumerate(models):
            velocities = []
            for iterations in (env.task.physics.iterations, 100):
                model.opt.iterations = iterations
                data = batch.get_data(i)
                mujoco.mj_step(model, data)
                velocities.append(data.qvel[env.engine.joint_qvel].copy())
            worst = max(worst, np.abs(velocities[0] - velocities[1]).max())
    return worst


@pytest.mark.parametrize(
    ("name", "small"),
    [("go2_walk", ()), ("go2_rough", ("task.terrain.levels=2", "task.terrain.columns=10"))],
)
def test_the_solver_of_a_task_converges(name, small):
    """With 3 iterations Go2 fell four times as often on the plane, and 15 on level tiles."""
    assert worst_of_solver(name, *small) < 0.1
    assert worst_of_solver(name, *small, "task.physics.iterations=3") > 5  # negative control
