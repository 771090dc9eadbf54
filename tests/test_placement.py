"""Simulations on tiles: where they start, when they leave, and what becomes of their levels."""

import json
from pathlib import Path

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo import config
from robot_ppo.config import Terrain
from robot_ppo.envs.robot import grounds
from robot_ppo.envs.robot.placement import Placement
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

N = 40
KINDS = {"flat": {"share": 1}, "waves": {"share": 3}, "stairs_up": {"share": 1}}
SECTION = Terrain(kinds=KINDS, levels=4, columns=10, size=4.0, start=0.4)
EVERYONE = np.arange(N)
NOBODY = np.zeros(N, bool)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def placement(rising=True):
    tiles = grounds.tiles(SECTION, helpers.robot())
    return Placement(tiles, SECTION.start, N, 0.02, rising)


@pytest.fixture
def begun(rng):
    made = placement()
    made.begin(EVERYONE, rng, anew=True)
    return made


def ended(made, ids, crossed=False, failed=False):
    """Let the episodes `ids` end, and the curriculum act."""
    ids = np.atleast_1d(ids)
    made.end(ids, np.full(N, crossed), np.full(N, failed))
    made.change_levels(0.5)


def test_kinds_are_shared_out_as_the_columns_are(begun):
    assert np.bincount(begun.kind).tolist() == [8, 24, 8]
    assert (begun.tiles.kinds[begun.column] == begun.kind).all()


@pytest.mark.parametrize("few", [1, 3])
def test_few_simulations_get_kinds_as_often_as_there_are_columns(few, rng):
    """Before, one alone was always on the first kind."""
    counts = np.zeros(3)
    for _ in range(300):
        made = placement()
        made.begin(np.arange(few), rng, anew=True)
        counts += np.bincount(made.kind[:few], minlength=3)
    # Standard deviation of a share: at most sqrt(0.6 * 0.4 / 300) = 0.028.
    assert counts / counts.sum() == pytest.approx([0.2, 0.6, 0.2], abs=0.1)


def test_first_levels_go_up_to_where_they_start(begun):
    assert set(begun.row) == {0, 1}  # of 4 levels those up to 0.4 of the way


def test_an_episode_begins_in_the_middle_of_its_tile(begun, rng):
    places = begun.begin(EVERYONE, rng)
    assert np.array_equal(places, begun.tiles.centre(begun.row, begun.column))
    assert not begun.left(places).any()
    assert len(np.unique(places, axis=0)) > 10


@pytest.mark.parametrize("offset, out", [(1.99, False), (2.01, True)])
def test_who_is_beyond_the_border_has_left(begun, offset, out):
    places = begun.centres(EVERYONE)
    for axis in (0, 1):
        for side in (-1, 1):
            moved = places.copy()
            moved[0, axis] += side * offset
            assert begun.left(moved).tolist() == [out] + [False] * (N - 1)


def test_who_crosses_goes_up_and_who_falls_goes_down(begun):
    begun.row[:] = 1
    ended(begun, [0, 1], crossed=True)
    ended(begun, [2], failed=True)
    assert begun.row.tolist() == [2, 2, 0] + [1] * (N - 3)
    assert begun.level() == pytest.approx((2 * 0.75 + 0.25 + 37 * 0.5) / 40)


def test_who_falls_while_leaving_has_fallen(begun):
    begun.row[:] = 1
    ended(begun, 0, crossed=True, failed=True)
    assert begun.row[0] == 0


def test_levels_end_at_the_lowest(begun):
    begun.row[:] = 0
    ended(begun, 0, failed=True)
    assert begun.row[0] == 0


def test_who_leaves_the_hardest_gets_any(begun, rng):
    begun.row[:] = 3
    seen = set()
    for _ in range(40):
        ended(begun, 0, crossed=True)
        assert begun.figures()["level_waves"] == 1.0  # until its next episode begins
        begun.begin(np.zeros(1, int), rng)
        seen.add(int(begun.row[0]))
        begun.row[0] = 3
    assert seen == {0, 1, 2, 3}


def test_who_went_less_than_half_of_its_way_goes_down(begun):
    begun.row[:] = 2
    world = helpers.world(N)
    world.command[:] = (0.0, 0.5, 0.0)
    world.base_lin_vel[:] = (1.0, 0.2, 0.0)  # along the command, 0.4 of it
    world.base_lin_vel[1] = (0.0, 0.3, 0.0)
    for _ in range(50):
        begun.advance(world)
    assert begun.asked[:2] == pytest.approx([0.5, 0.5])
    assert begun.covered[:2] == pytest.approx([0.2, 0.3])
    ended(begun, [0, 1])
    assert begun.row[:2].tolist() == [1, 2]


def test_who_is_told_to_stand_fails_nothing(begun):
    begun.row[:] = 2
    world = helpers.world(N)
    world.command[:] = 0
    begun.advance(world)
    ended(begun, [0])
    assert begun.row[0] == 2 and begun.asked[0] == 0


def test_without_a_curriculum_every_episode_has_any_level(rng):
    made = placement(rising=False)
    made.begin(EVERYONE, rng, anew=True)
    assert set(made.row) == {0, 1, 2, 3}
    before = made.row.copy()
    made.begin(EVERYONE, rng)
    assert (made.row != before).any()
    made.advance(helpers.world(N))
    assert not made.asked.any()  # no level follows from the way


# -- in the environment -------------------------------------------------------------------------


def task(**changes):
    rising = {"terrain": SECTION, "curriculum": {"terrain_level": {}}}
    return helpers.quiet(**(rising | changes))


@pytest.fixture(scope="module")
def env():
    return helpers.environment(task(), N)


def still(env):
    return np.zeros((env.num_envs, helpers.JOINTS), np.float32)


def test_robots_stand_on_their_tiles(env):
    env.reset(seed=1)
    x, y, z = env.engine.qpos[:, :3].T
    assert np.abs(np.stack((x, y), 1) - env.placement.centres(EVERYONE)).max() < 1e-9
    above = env.engine.base_heights(env.engine.qpos)
    assert above == pytest.approx(helpers.robot().base.height + 0.03, abs=1e-5)
    assert np.ptp(z) > 0.3  # pits among them
    for _ in range(25):
        env.step(still(env))
    feet = env.engine.foot_heights()
    assert np.abs(feet).max() < 0.01
    # The level square is where they stand, and the critic is told so.
    world, _ = env._read()
    assert world.base_height == pytest.approx(0.24, abs=0.02)  # its knees give by 5 cm
    assert world.foot_contact.mean() > 0.9


def test_who_leaves_its_tile_is_cut_off_and_placed_anew_one_level_up(env):
    env.reset(seed=1)
    env.placement.row[:] = 1
    env.engine.qpos[:, :2] = env.placement.centres(EVERYONE)
    env.engine.qpos[3, 0] += 2.1
    env.engine.qpos[3, 2] = 2.0
    _, _, terminated, truncated, info = env.step(still(env))
    assert np.flatnonzero(truncated).tolist() == [3] and not terminated.any()
    assert info["_final_obs"].sum() == 1
    assert env.placement.row[3] == 2
    place = env.engine.qpos[3, :2]
    assert np.abs(place - env.placement.centres(np.array([3]))).max() < 0.01


def test_the_log_has_the_mean_level_of_every_kind(env):
    env.reset(seed=1)
    env.step(still(env))
    logged = env.metrics.behaviour()
    assert {"level_flat", "level_waves", "level_stairs_up"} <= logged.keys()
    assert all(0.25 <= logged[f"level_{name}"] <= 0.5 for name in KINDS)
    true = env.placement.tiles.levels[env.placement.row].mean()
    assert logged["curriculum_terrain_level"] == pytest.approx(true)


def test_the_log_has_the_levels_that_are_drawn(env):
    """Before, the mean was taken before the draws: 0 after a reset, 1 for who goes to any."""
    env.reset(seed=1)
    assert env.curriculum.figures()["curriculum_terrain_level"] == env.placement.level() > 0.2
    env.placement.row[:] = 3
    env.engine.qpos[:, 2] = 2.0
    env.engine.qpos[:, 0] = env.placement.centres(EVERYONE)[:, 0] + 2.1
    env.step(still(env))
    assert set(env.placement.row) == {0, 1, 2, 3}
    logged = env.metrics.behaviour()
    shares = {"flat": 8, "waves": 24, "stairs_up": 8}
    mean = sum(count * logged[f"level_{name}"] for name, count in shares.items()) / N
    assert logged["curriculum_terrain_level"] == pytest.approx(mean)


def test_a_saved_state_goes_on_bit_for_bit(env):
    env.reset(seed=2)
    actions = helpers.random_actions(20, N, size=2.0)
    for action in actions[:10]:
        env.step(action)
    state = env.state_dict()
    one = [env.step(action)[0] for action in actions[10:]]
    rows = env.placement.row.copy()
    env.reset(seed=3)
    env.load_state_dict(state)
    other = [env.step(action)[0] for action in actions[10:]]
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(rows, env.placement.row)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": 1},
        {"kinds": {"flat": {"share": 1}, "waves": {"share": 4}}},
        {"kinds": dict(reversed(KINDS.items()))},
        {"size": 6.0},
        {"seed": 1},
    ],
)
def test_a_state_on_other_ground_is_refused_and_changes_nothing(env, changes):
    """Its arrays have the same shapes: robots stood at their old places on the new heights."""
    other = helpers.environment(task(terrain=helpers.replace(SECTION, **changes)), N)
    before = other.state_dict()
    with pytest.raises(InputError, match=r"^state\.ground is another$"):
        other.load_state_dict(env.state_dict())
    assert np.array_equal(before["ticks"], other.ticks)
    assert np.array_equal(before["engine"]["simulations"], other.engine.arrays()["simulations"])


def test_a_seed_repeats_an_episode_after_the_levels_moved():
    """Without a curriculum put back, the second run began on the rows that the first had reached.

    Commands are narrow at first, too, and no episode of one run may be known to the other.
    """
    widening = {"reward": "lin_vel_tracking", "above": -1.0, "step": 1.0, "narrowest": 0.2}
    both = {"terrain_level": {}, "command_range": widening}
    env = helpers.environment(task(episode_length=0.1, curriculum=both), N)
    actions = helpers.random_actions(12, N, size=2.0)

    def played(seed):
        env.reset(seed=seed)
        begun = env.placement.row.copy(), env.commands.width, env.curriculum.levels.copy()
        return begun, [env.step(action)[0] for action in actions]

    (rows, width, levels), one = played(4)
    assert env.commands.width == 1.0 and (env.placement.row != rows).any()
    (rows_again, width_again, levels_again), other = played(4)
    assert width == width_again == 0.2
    assert np.array_equal(rows, rows_again) and np.array_equal(levels, levels_again)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_a_seed_training_goes_on():
    """Who resets after every episode, as a user of one simulation does, takes its lessons along."""
    widening = {"reward": "lin_vel_tracking", "above": -1.0, "step": 1.0, "narrowest": 0.2}
    both = {"terrain_level": {}, "command_range": widening}
    env = helpers.environment(task(episode_length=0.1, curriculum=both), N)
    kinds = env.placement.kind.copy()
    env.placement.row[:] = np.arange(N) % 4
    for action in helpers.random_actions(12, N, size=2.0):
        env.step(action)
    rows = env.placement.row.copy()
    levels = env.curriculum.levels.copy()
    env.reset()
    assert np.array_equal(rows, env.placement.row) and np.array_equal(kinds, env.placement.kind)
    assert env.commands.width == 1.0 and np.array_equal(levels, env.curriculum.levels)
    places = env.placement.centres(EVERYONE)
    assert np.abs(env.engine.qpos[:, :2] - places).max() < 1e-9
    env.reset(seed=4)
    assert set(env.placement.row) == {0, 1} and env.commands.width == 0.2


@pytest.mark.parametrize("levels, n", [(4, 3 * N), (4, N // 4), (8, N), (2, N)])
def test_levels_are_taken_up_by_other_simulations_on_other_rows(begun, levels, n, rng):
    begun.row[:] = np.arange(N) % 2 + 2 * (begun.kind == 1)  # waves: half 3, half 4 of 4
    section = helpers.replace(SECTION, levels=levels, kinds={**KINDS, "blocks": {"share": 1}})
    made = Placement(grounds.tiles(section, helpers.robot()), 0.0, n, 0.02, True)
    made.begin(np.arange(n), rng, anew=True)
    made.take_up(begun.counts(), rng)
    assert not made.row[made.kind == 3].any()  # of which nothing is known
    places = {4: [0, 1, 2, 3], 8: [1, 3, 5, 7], 2: [0, 0, 1, 1]}[levels]
    waves = made.row[made.kind == 1]
    assert set(waves) <= set(places[2:])
    if len(waves) >= 24:  # as many of each as there were, but for those that do not divide
        counts = [(waves == row).sum() for row in set(places[2:])]
        assert max(counts) - min(counts) <= 12
    assert set(made.row[made.kind == 0]) <= set(places[:2])


def test_what_was_reached_is_plain_and_goes_on_in_the_next_episodes(env):
    env.reset(seed=1)
    env.placement.row[:] = 3
    reached = env.reached()
    assert reached["grounds"]["waves"] == [0, 0, 0, 24]
    assert json.loads(json.dumps(reached)) == reached
    env.reset(seed=2)
    assert env.placement.row.max() == 1
    env.go_on_from(reached)
    env.reset(options={"spread_episodes": True})
    assert (env.placement.row == 3).all()
    places = env.placement.centres(EVERYONE)
    assert np.abs(env.engine.qpos[:, :2] - places).max() < 1e-9
    env.go_on_from({})
    assert (env.placement.row == 3).all()


def test_levels_need_ground_and_ground_room():
    with pytest.raises(SettingError, match=r"terrain_level`: needs `task.terrain`"):
        helpers.environment(helpers.quiet(curriculum={"terrain_level": {}}), 1)
    with pytest.raises(SettingError, match=r"terrain_level`: needs `task.commands.twist`"):
        rising = {"terrain": SECTION, "curriculum": {"terrain_level": {}}}
        helpers.environment(helpers.replace(config.load("go2_joint_hold").task, **rising), 1)
    small = helpers.replace(SECTION, platform=0.3)
    with pytest.raises(SettingError, match=r"terrain.platform`: 0\.3 m, and go2 stands on 0\.\d\d"):
        helpers.environment(task(terrain=small), 1)


@pytest.mark.slow
def test_levels_rise_where_a_policy_crosses_and_nowhere_else():
    """The shipped walk under the curriculum: it crosses level ground, and no stairs of 15 cm."""
    kinds = {"flat": {"share": 1}, "stairs_down": {"share": 1, "rise": [0.15, 0.20]}}
    section = helpers.replace(SECTION, kinds=kinds, columns=2, levels=5, start=0.0)
    ahead = helpers.commands(vx=(0.8, 0.8), vy=(0.0, 0.0), yaw_rate=(0.0, 0.0), standing_fraction=0)
    walking = task(terrain=section, commands=ahead, episode_length=8.0)
    env = helpers.environment(walking, 32, threads=2)
    act = Policy(Path(__file__).parent / "golden" / "go2_walk.onnx").for_many()
    observation, _ = env.reset(seed=0)
    for _ in range(600):
        observation = env.step(act(observation))[0]
    logged = env.metrics.behaviour()
    assert logged["level_flat"] > 0.4  # of 0.2 at first; who leaves the highest goes to any
    assert logged["level_stairs_down"] < 0.3
