"""Height scans: where the points are, what maps are wrong by, and who reads what."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo import cli, config, export, project
from robot_ppo.config import Condition, MapErrors, Terrain
from robot_ppo.envs.robot import mirrored, observations
from robot_ppo.evaluation import evaluate
from robot_ppo.evaluation import ground as crossings
from robot_ppo.playback.play import play
from robot_ppo.robot_model import variants
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.sim import scan as scan_map
from robot_ppo.sim import server
from robot_ppo.sim.ground import RayGround
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.sim.scan import HeightMap, Poses, scan
from robot_ppo.sim.scan import poses as poses_of
from robot_ppo.sim.simulated_robot import LockstepDriver, SimulatedRobot
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import NOTHING
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

GRID = ScanGrid(length=0.6, width=0.4, resolution=0.1, offset=0.1)
POINTS = 7 * 5
N = 50
PERIOD = 0.02
UNKNOWN = -0.3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def engine_on(heights, n=1):
    field = HeightField(heights, 0.1, (-3.0, -3.0))
    physics = helpers.shipped().task.physics
    model = variants.train_model(helpers.robot(), helpers.xml(), physics, 0.02, field)
    return RobotEngine(model, helpers.robot(), n)


@pytest.fixture(scope="module")
def engine():
    return engine_on(np.random.default_rng(1).uniform(-0.2, 0.2, (61, 61)))


def random_poses(rng, m=N):
    x, y = rng.uniform(-2, 2, (2, m))
    return Poses(x, y, rng.uniform(0.2, 0.4, m), rng.uniform(-np.pi, np.pi, m))


# -- the grid -----------------------------------------------------------------------------------


def test_points_go_from_the_rear_to_the_front_and_from_right_to_left():
    points = GRID.points()
    assert points.shape == (POINTS, 2)
    assert points[0] == pytest.approx([-0.2, -0.2]) and points[-1] == pytest.approx([0.4, 0.2])
    assert points[1] == pytest.approx([-0.2, -0.1]) and points[5] == pytest.approx([-0.1, -0.2])
    assert GRID.names()[0] == "x -0.20 y -0.20" and len(GRID.names()) == POINTS


def test_the_terms_parameters_are_its_grid_and_its_width():
    task = config.load("go2_rough_scan").task
    layout = observations.layout(task, project.load_robot("go2"))
    assert layout.scan_grid == ScanGrid(1.6, 1.0, 0.1)
    assert layout.widths["height_scan"] == 187 == layout.signal_sizes["height_scan"]
    assert observations.layout(helpers.shipped().task, helpers.robot()).scan_grid is None


# -- scans --------------------------------------------------------------------------------------


def test_a_scan_is_what_rays_meet(engine, rng):
    poses = random_poses(rng)
    engine.qpos[:, :2] = 100.0
    by_rays = scan(RayGround(engine, (0,)), GRID, poses)
    assert np.abs(scan(engine.ground, GRID, poses) - by_rays).max() < 3e-6
    assert np.ptp(by_rays) > 0.3


def test_a_scan_turns_with_the_heading_and_is_measured_from_the_base():
    """Ground that ascends along x: ahead of one robot, to the right of the other."""
    rising = engine_on(np.tile(0.1 * np.arange(61.0), (61, 1)))
    poses = Poses(*np.array([[0.0, 0.0], [0.0, 0.0], [3.5, 3.5], [0.0, np.pi / 2]]))
    along, across = scan(rising.ground, GRID, poses)
    forward, left = GRID.points().T
    assert along == pytest.approx(forward - 0.5, abs=1e-5)
    assert across == pytest.approx(-left - 0.5, abs=1e-5)


def test_on_a_plane_it_is_minus_the_height_of_the_base(rng):
    plane = helpers.engine(1).ground
    poses = random_poses(rng)
    assert scan(plane, GRID, poses) == pytest.approx(np.tile(-poses.z[:, None], (1, POINTS)))


def test_many_robots_are_scanned_as_one_is(engine, rng):
    poses = random_poses(rng, 150)
    together = scan(engine.ground, GRID, poses)
    for i in (0, 63, 64, 149):
        one = scan(engine.ground, GRID, Poses(*(values[i : i + 1] for values in poses)))
        assert np.array_equal(together[i : i + 1], one)


# -- maps ---------------------------------------------------------------------------------------


def begun(engine, rng, poses, noise=0.0, **errors):
    made = HeightMap(engine.ground, GRID, MapErrors(**errors), N, PERIOD, UNKNOWN, noise)
    made.begin(np.arange(N), poses, rng)
    return made


def test_a_map_without_errors_says_what_is_there(engine, rng):
    poses = random_poses(rng)
    made = begun(engine, rng, poses)
    assert np.array_equal(made.values, scan(engine.ground, GRID, poses))
    moved = random_poses(rng)
    made.advance(moved, rng)
    assert np.array_equal(made.values, scan(engine.ground, GRID, moved))


def test_an_offset_is_one_number_for_an_episode(engine, rng):
    poses = random_poses(rng)
    made = begun(engine, rng, poses, offset=0.1)
    first = made.values - scan(engine.ground, GRID, poses)
    assert np.ptp(first, axis=1).max() < 1e-5
    assert 0.05 < np.abs(first).max() <= 0.1 and np.ptp(first[:, 0]) > 0.1
    moved = random_poses(rng)
    made.advance(moved, rng)
    again = made.values - scan(engine.ground, GRID, moved)
    assert again == pytest.approx(first, abs=1e-5)


def test_a_map_that_drifts_slides_at_one_speed(engine, rng):
    poses = random_poses(rng)
    made = begun(engine, rng, poses, drift=0.5)
    for _ in range(10):
        made.advance(poses, rng)
    moved = made._drift * 10 * PERIOD
    assert 0.05 < np.abs(moved).max() <= 0.1
    there = Poses(poses.x + moved[:, 0], poses.y + moved[:, 1], poses.z + moved[:, 2], poses.yaw)
    assert made.values == pytest.approx(scan(engine.ground, GRID, there), abs=2e-5)


def test_a_delayed_map_says_what_was_there(engine, rng):
    path = [random_poses(rng) for _ in range(8)]
    made = begun(engine, rng, path[0], delay=(0.06, 0.06))
    for poses in path[1:]:
        made.advance(poses, rng)
    assert np.array_equal(made.values, scan(engine.ground, GRID, path[-4]))


def test_a_map_that_is_just_begun_has_no_older_past(engine, rng):
    poses = random_poses(rng)
    made = begun(engine, rng, poses, delay=(0.06, 0.06))
    assert np.array_equal(made.values, scan(engine.ground, GRID, poses))


def test_between_two_scans_the_last_one_stays_and_not_everyone_scans_at_once(engine, rng):
    made = begun(engine, rng, random_poses(rng), period=0.1)
    renewed = np.zeros((20, N), bool)
    for t in range(20):
        before = made.values.copy()
        made.advance(random_poses(rng), rng)
        renewed[t] = (made.values != before).any(axis=1)
    assert (renewed.sum(axis=0) == 4).all()
    assert renewed.any(axis=1).all()


def test_noise_belongs_to_a_scan_and_stays_as_long_as_it_does(engine, rng):
    """Before, it was drawn in every control step, also on a scan that was held or frozen."""
    poses = random_poses(rng)
    made = begun(engine, rng, poses, noise=0.05, period=0.1, frozen=0.2, freeze=(0.2, 0.4))
    true = scan(engine.ground, GRID, poses)
    renewed = 0
    for _ in range(50):
        off = np.abs(made.values - true)
        assert 0.045 < off.max() <= 0.05 + 1e-6
        before = made.values.copy()
        made.advance(poses, rng)
        changed = made.values != before
        assert (changed.mean(axis=1) > 0.9)[changed.any(axis=1)].all()
        renewed += changed.any(axis=1).mean()
    assert renewed / 50 == pytest.approx(0.2 * 0.8, abs=0.03)


def test_what_a_map_does_not_know_has_no_noise(engine, rng):
    made = begun(engine, rng, random_poses(rng), noise=0.05, missing=0.2, patch=0.4)
    assert (made.values == np.float32(UNKNOWN)).mean() == pytest.approx(0.2, abs=0.1)


def test_missing_points_lie_in_patches_and_say_what_level_ground_would(engine, rng):
    poses = random_poses(rng)
    made = begun(engine, rng, poses, missing=0.1, patch=0.2)
    fractions = []
    for _ in range(200):
        made.advance(poses, rng)
        missing = made.values == np.float32(UNKNOWN)
        fractions.append(missing.mean())
        assert missing.sum(axis=1).max() <= 9
    assert np.mean(fractions) == pytest.approx(0.1, abs=0.03)
    known = made.values[~missing]
    assert np.isin(known, scan(engine.ground, GRID, poses)).all()


def test_a_map_is_frozen_so_much_of_the_time(engine, rng):
    made = begun(engine, rng, random_poses(rng), frozen=0.25, freeze=(0.2, 0.4))
    still = []
    for _ in range(600):
        before = made.values.copy()
        made.advance(random_poses(rng), rng)
        still.append((made.values == before).all(axis=1).mean())
    assert np.mean(still) == pytest.approx(0.25, abs=0.04)


def test_a_saved_map_goes_on_bit_for_bit(engine, rng):
    errors = {"offset": 0.1, "drift": 0.1, "delay": (0.0, 0.1), "missing": 0.1, "frozen": 0.2}
    path = [random_poses(rng) for _ in range(20)]
    made = begun(engine, rng, path[0], period=0.04, **errors)
    for poses in path[:10]:
        made.advance(poses, np.random.default_rng(5))
    other = begun(engine, rng, path[3], period=0.04, **errors)
    for name, values in made.arrays().items():
        other.arrays()[name][:] = values
    for poses in path[10:]:
        made.advance(poses, np.random.default_rng(6))
        other.advance(poses, np.random.default_rng(6))
        assert np.array_equal(made.values, other.values)


# -- in the environment, and on the simulated robot ---------------------------------------------

BUMPS = Terrain(kinds={"random_rough": {"share": 1}}, levels=2, columns=2, size=6.0)
SCANS = {"length": 0.6, "width": 0.4, "offset": 0.1}


def task(actor=SCANS, critic=SCANS, **changes):
    groups = helpers.shipped().task.observations
    read = {
        "actor": groups["actor"] | ({"height_scan": actor} if actor is not None else {}),
        "critic": {"height_scan_true": critic} if critic is not None else groups["critic"],
    }
    return helpers.quiet(**({"observations": read, "terrain": BUMPS} | changes))


def test_the_actor_reads_the_map_and_the_critic_the_truth():
    errors = MapErrors(offset=0.1)
    env = helpers.environment(task(map=errors, noise={"height_scan": 0.01}), 16)
    _, info = env.reset(seed=0)
    place = env.layout.slices["height_scan"]
    told = info["observations"]["actor"][:, place]
    true = info["observations"]["critic"]
    assert np.abs(told - env.map.values).max() <= 0.01
    assert np.ptp(told - true, axis=1).max() <= 0.02 + 1e-5  # white noise on one offset
    assert np.abs((told - true).mean(axis=1)).max() > 0.05
    actions = np.zeros((16, 12), np.float32)
    for _ in range(5):
        _, _, _, _, info = env.step(actions)
    poses = [env.engine.base_heights(env.engine.qpos)]
    middle = info["observations"]["critic"].reshape(16, 7, 5)[:, 2, 2]
    assert middle == pytest.approx(-poses[0], abs=1e-5)


def scored(errors, noise=NOTHING):
    """What robots of a scorecard are told in a tick, true scans, and what they are told next."""
    shipped = config.load("go2_rough_scan")
    task = helpers.replace(shipped.task, map=errors, noise=dict(noise))
    contract = helpers.contract_of(helpers.replace(shipped, task=task))
    field = crossings.field_of(("blocks",), 0.4)
    run = evaluate.Run(contract, [Condition("nominal")], 1, 0, field=field)
    run.tick(lambda seen: np.zeros((len(seen), 12), np.float32), scored=False)
    true = scan(run.engine.ground, run.map.grid, poses_of(run.engine))
    return run._inputs().state.height_scan, true, run._inputs().state.height_scan


def test_the_scorecard_looks_through_maps_that_are_as_wrong_as_in_training():
    told, true, _ = scored(MapErrors())
    assert np.array_equal(told, true)
    told, true, _ = scored(MapErrors(offset=0.1))
    off = told - true
    assert np.ptp(off, axis=1).max() < 1e-5 < 0.05 < np.abs(off).max() <= 0.1 + 1e-5


def test_a_scan_that_is_held_is_told_alike_in_training_and_in_the_scorecard():
    held = MapErrors(period=100.0)
    env = helpers.environment(task(map=held, noise={"height_scan": 0.02, "joint_vel": 0.5}), 4)
    place = env.layout.slices["height_scan"]
    first = env.reset(seed=0)[0]
    env.map._ticks[:] = 0
    second = env.step(np.zeros((4, 12), np.float32))[0]
    assert np.array_equal(first[:, place], second[:, place])
    assert (first != second).any()
    told, true, later = scored(held, noise={"height_scan": 0.02})
    assert np.ptp(told - true, axis=1).min() > 0.03  # by what all points moved since, and noise
    assert np.array_equal(told, later)


def test_who_starts_anew_sees_its_new_place():
    env = helpers.environment(task(map=MapErrors(delay=(0.1, 0.1))), 4)
    env.reset(seed=0)
    env.engine.qpos[:, 0] += 1.5  # off the level square in the middle
    for _ in range(7):
        env.step(np.zeros((4, 12), np.float32))
    env.ticks[:] = env.max_ticks - 1
    observation, _, _, truncated, info = env.step(np.zeros((4, 12), np.float32))
    assert truncated.all()
    place = env.layout.slices["height_scan"]
    assert np.array_equal(observation[:, place], info["observations"]["critic"])
    assert not np.array_equal(info["final_obs"][:, place], observation[:, place])


def test_a_scan_has_its_mirror_image():
    env = helpers.environment(task(), 2)
    groups = mirrored.symmetry(env).groups
    forward_left = GRID.points()
    for name, place in (("actor", env.layout.slices["height_scan"]), ("critic", slice(0, POINTS))):
        index = groups[name].index[place] - place.start
        assert (groups[name].sign[place] == 1).all()
        assert forward_left[index] == pytest.approx(forward_left * [1, -1], abs=1e-6)


def test_a_scan_that_cannot_be_is_refused_in_a_sentence():
    other = {"critic": {"height_scan": {"length": 1.0}}}
    both = task().observations | other
    with pytest.raises(SettingError, match=r"height_scan has other parameters in another group"):
        helpers.environment(task(observations=both), 1)
    with pytest.raises(
        SettingError, match=r"noise\.height_scan`: no observation reads that signal"
    ):
        helpers.environment(task(actor=None, noise={"height_scan": 0.1}), 1)


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        ({"missing": 0.2, "patch": 0.2}, r"`: 0\.2 of the points, and one patch of 0\.2 m covers"),
        ({"missing": 0.21}, r"covers 0\.202 of this scan: make `task\.map\.patch` 0\.5 m or more"),
        ({"missing": 0.99}, r"`task\.map\.patch` 1\.3 m or more, or take less"),
    ],
)
def test_more_missing_than_a_patch_covers_is_refused_with_the_patch_that_does(errors, text):
    """Before, it was cut to what one patch covers, and nobody was told."""
    with pytest.raises(SettingError, match=rf"^`task\.map\.missing.*{text}"):
        helpers.environment(task(map=MapErrors(**errors)), 1)


def test_the_shipped_maps_miss_what_they_say():
    shipped = config.load("go2_rough_scan").task
    scan_map.check_missing(shipped.map, ScanGrid(1.6, 1.0, 0.1), "task.map")
    scan_map.check_missing(MapErrors(missing=0.04), ScanGrid(1.6, 1.0, 0.1), "task.map")


def test_the_simulated_robot_measures_the_scan_that_it_is_asked_for():
    heights = np.random.default_rng(3).uniform(-0.02, 0.02, (61, 61))
    field = HeightField(heights, 0.1, (-3.0, -3.0))
    robot = SimulatedRobot(helpers.robot(), field=field, scan_grid=GRID)
    measured = robot.state().height_scan
    x, y, z = robot.position_w()[:, None]
    assert np.array_equal(measured, scan(robot.ground, GRID, Poses(x, y, z, np.zeros(1)))[0])
    assert LockstepDriver(robot).signals == {*BASIC, "height_scan"}
    assert "height_scan" not in SimulatedRobot(helpers.robot()).state()


def test_the_robot_over_udp_offers_the_scan_and_the_others_refuse_it():
    end, _, _ = server.TRANSPORTS["udp"](
        SimulatedRobot(helpers.robot(), scan_grid=GRID), server.Place(port=0)
    )
    end.close()
    assert end.hello.optional == {"height_scan": POINTS}
    with pytest.raises(InputError, match="over unitree the simulated robot gives no height scan"):
        server.serve("go2", server.Place("unitree"), scan_grid=GRID)


def test_golden_traces_are_recorded_on_tiles_that_nobody_leaves_meanwhile():
    small = task(terrain=helpers.replace(BUMPS, size=2.0))
    endless = export._endless(small)
    assert endless.terrain.size == 12.0 and not endless.terminations
    assert export._endless(helpers.quiet()).terrain is None


@pytest.mark.slow
def test_a_policy_that_scans_goes_from_its_training_to_rough_ground(tmp_path):
    """Train, export, prove, play: the node reads the scan of the ground that it walks on."""
    words = ["train", "go2_rough_scan", *helpers.train_arguments(tmp_path / "run")[2:]]
    assert cli.main(words) == 0
    file = tmp_path / "scan.onnx"
    assert export.export(tmp_path / "run", file).value < 1e-5
    policy = Policy(file)
    assert policy.contract.signal_sizes == {"height_scan": 187}
    assert np.ptp(policy.golden.inputs["height_scan"]) > 0.01
    plot = tmp_path / "scan.png"
    summary = play(file, terrain="stepping_stones:0.2", plot=plot, seconds=0.5, say=lambda _: None)
    assert summary.seconds == pytest.approx(0.5, abs=0.05) and not summary.broken
