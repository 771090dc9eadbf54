"""The event `punch`: a force that begins at an interval, lasts, ends, and survives a checkpoint."""

import env_helpers as helpers
import msgspec
import numpy as np
import pytest

from robot_ppo import config
from robot_ppo.envs import serialization
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo_export.errors import InputError

N = 8
PUNCH = {"interval": [0.3, 0.6], "force": [20.0, 40.0]}


def environment(**punch):
    task = helpers.quiet(terminations=helpers.ENDLESS)
    events = msgspec.structs.replace(task.events, interval={"punch": PUNCH | punch})
    task = msgspec.structs.replace(task, events=events)
    env = RobotEnv(task, helpers.robot(), N, threads=1, seed=0)
    env.reset(seed=1)
    return env


def forces(env, ticks=100):
    """The force on each base in the physics of each tick, (ticks, n, 2) [N]."""
    found = []
    for _ in range(ticks):
        found.append(env.engine._forces[:, env.engine._base, :2].copy())
        env.step(np.zeros((N, helpers.JOINTS), np.float32))
    return np.array(found)


def lasting(pulled):
    """How many ticks in a row each punch lasted that began and ended meanwhile."""
    lengths = []
    for row in pulled.T.astype(int):
        changes = np.diff(row)
        begins = np.flatnonzero(changes == 1)
        ends = np.flatnonzero(changes == -1)
        lengths += [int(ends[ends > b][0] - b) for b in begins if (ends > b).any()]
    return set(lengths)


@pytest.mark.parametrize(("seconds", "ticks"), [({}, 5), ({"seconds": 0.04}, 2)])
def test_it_lasts_a_tenth_of_a_second_or_as_the_task_says(seconds, ticks):
    pulled = forces(environment(**seconds))
    size = np.linalg.norm(pulled, axis=2)
    assert lasting(size > 0) == {ticks}
    there = size[size > 0]
    assert there.min() >= 20.0 and there.max() <= 40.0 and there.std() > 2.0
    angle = np.arctan2(pulled[..., 1], pulled[..., 0])[size > 0]
    assert angle.min() < -2 and angle.max() > 2  # to any side


def test_it_moves_the_robot():
    """Beside the same robots without it: along the force by what it is worth, less the feet."""
    free = RobotEnv(helpers.quiet(terminations=helpers.ENDLESS), helpers.robot(), N, 1, 0)
    free.reset(seed=1)
    env = environment(interval=[0.4, 0.4], force=[60.0, 60.0])
    for _ in range(20):
        before = env.engine._forces[:, env.engine._base, :2].copy()
        for one in (env, free):
            one.step(np.zeros((N, helpers.JOINTS), np.float32))
    assert not before.any() and np.array_equal(env.engine.qpos, free.engine.qpos)
    force = env.engine._forces[:, env.engine._base, :2].copy()
    for _ in range(5):
        for one in (env, free):
            one.step(np.zeros((N, helpers.JOINTS), np.float32))
    gained = (env.engine.qvel - free.engine.qvel)[:, :2]
    along = (gained * force).sum(axis=1) / 60.0
    most = 60.0 * 0.1 / float(env.engine.model.body_mass.sum())
    assert (along > 0.2 * most).all() and (along < 1.2 * most).all()


def test_a_reset_ends_it():
    env = environment(interval=[0.1, 0.1], seconds=10.0)
    forces(env, 20)
    assert env.engine._forces.any()
    env.reset(seed=2)
    assert not env.engine._forces.any()


def test_an_environment_goes_on_in_the_middle_of_a_punch_bit_for_bit():
    def middle(env):
        """Go on until half of a punch is over somewhere."""
        for _ in range(100):
            env.step(np.zeros((N, helpers.JOINTS), np.float32))
            if (env.clocks.ticks_left["punch_end"] == 3).any():
                return
        raise AssertionError("no punch")

    env = environment()
    middle(env)
    state = serialization.copy(env._rows())
    expected = forces(env, 20)
    other = environment()
    serialization.fill(other._rows(), state)
    other.engine.derive()
    assert np.array_equal(forces(other, 3), expected[:3])  # before the next is drawn
    assert expected[:3].any() and (expected[2] == 0).any()


def test_a_wrong_punch_is_told_with_its_key():
    task = config.load("go2_walk", overrides=["task.events.interval.punch={force: [1, 2]}"]).task
    with pytest.raises(InputError, match=r"task.events.interval.punch`: lacks interval"):
        RobotEnv(task, helpers.robot(), 1)
