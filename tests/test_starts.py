"""Where episodes start: blocks that follow from a key, and hand out each row once."""

import numpy as np
import pytest

from robot_ppo.envs.robot.starts import BLOCK, Starts
from tests import env_helpers as helpers


@pytest.fixture(scope="module")
def env():
    return helpers.environment(helpers.loud(), 2)


def starts(env):
    return Starts(env.events, env.randomizer, env.engine)


def equal(one, other):
    mine = one.rows
    theirs = other.rows
    return (
        np.array_equal(one.qpos, other.qpos)
        and np.array_equal(one.qvel, other.qvel)
        and np.array_equal(one.draws, other.draws)
        and mine.keys() == theirs.keys()
        and all(np.array_equal(mine[name], theirs[name]) for name in mine)
    )


def test_every_start_is_handed_out_once(env):
    drawn = starts(env)
    rng = np.random.default_rng(0)
    draws = np.concatenate([drawn.take(m, rng).draws for m in (1, 5, BLOCK, 3, BLOCK + 1, 2)])
    assert len(np.unique(draws, axis=0)) == len(draws)


def test_a_block_is_drawn_from_one_number(env):
    drawn = starts(env)
    rng = np.random.default_rng(0)
    twin = np.random.default_rng(0)
    for _ in range(BLOCK):
        drawn.take(1, rng)
    twin.integers(2)
    assert rng.bit_generator.state["state"] == twin.bit_generator.state["state"]


def test_what_is_saved_is_three_numbers_and_goes_on_bit_for_bit(env):
    drawn = starts(env)
    other = starts(env)
    rng = np.random.default_rng(0)
    drawn.take(BLOCK - 3, rng)
    (saved,) = drawn.arrays().values()
    assert saved.shape == (3,)
    other.arrays()["place"][:] = saved
    other.restore()
    twin = np.random.default_rng(0)
    twin.bit_generator.state = rng.bit_generator.state
    for m in (2, 1, 4):
        assert equal(drawn.take(m, rng), other.take(m, twin))


def test_a_seed_decides_the_starts_whatever_was_drawn_before(env):
    first = env.reset(seed=5)[0].copy()
    env._begin(np.array([1]))
    assert np.array_equal(env.reset(seed=5)[0], first)


def test_what_is_drawn_once_is_put_into_each_start(env):
    kept = {"friction": {"range": [0.4, 1.2]}}
    task = helpers.loud()
    events = helpers.replace(
        helpers.events({"payload": (-1.0, 3.0)}, helpers.DISTURBED), start=kept
    )
    own = helpers.environment(helpers.replace(task, events=events), 3)
    (column,) = own.randomizer.kept
    before = own._randomized.copy()
    for _ in range(3):
        own._begin(np.arange(3))
    assert np.array_equal(own._randomized[:, column], before[:, column])
    assert (np.delete(own._randomized != before, column, axis=1)).all()
