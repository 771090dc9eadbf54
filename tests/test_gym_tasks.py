"""Gymnasium's MuJoCo tasks on the native engine: the same numbers, to the last bit."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from robot_ppo import project
from robot_ppo.envs.gymnasium.gym_tasks import TASKS
from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo_export.errors import InputError

pytest.importorskip("imageio", reason="gymnasium's own MuJoCo tasks import it")

STEPS = 250
"""Of every simulation; the registered limit is shortened to it, so that each episode ends."""
TOLERANCE = {"InvertedDoublePendulum-v5": 1e-10}
"""Of rewards, where not 0: the original squares numbers with `pow`, which may round otherwise."""
every_task = pytest.mark.parametrize("task", TASKS)


def test_the_names_that_the_configuration_knows_are_those_of_the_table():
    assert tuple(TASKS) == project.GYM_TASKS


class Original:
    """Gymnasium's own environment, started where a simulation of ours starts."""

    def __init__(self, task, limit=None):
        self.env = gymnasium.make(task, max_episode_steps=limit)
        self.env.reset()

    def start(self, ours, i):
        """Return the observation of a start at positions and velocities of simulation i."""
        self.env.reset()  # the wrappers' clocks
        inner = self.env.unwrapped
        mujoco.mj_resetData(inner.model, inner.data)
        inner.set_state(ours.batch.qpos[i].copy(), ours.batch.qvel[i].copy())
        return inner._get_obs()


def random_actions(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    space = env.single_action_space
    return rng.uniform(space.low, space.high, (steps, env.num_envs, *space.shape)).astype("f4")


@every_task
def test_hundreds_of_random_actions_give_the_same_bits(task):
    """Observations, rewards (but see `TOLERANCE`), terminations, time limits, starts."""
    n = 2
    ours = MujocoVectorEnv(task, n, seed=1)
    ours.max_ticks = min(ours.max_ticks, STEPS)
    originals = [Original(task, ours.max_ticks) for _ in range(n)]
    assert ours.single_observation_space == originals[0].env.observation_space
    assert ours.single_action_space == originals[0].env.action_space
    observation, _ = ours.reset()
    for i, original in enumerate(originals):
        assert np.array_equal(observation[i], original.start(ours, i))
    ends = 0
    for action in random_actions(ours, STEPS):
        observation, reward, failed, cut, info = ours.step(action)
        for i, original in enumerate(originals):
            wanted = original.env.step(action[i])
            done = failed[i] or cut[i]
            seen = info["final_obs"][i] if done else observation[i]
            assert np.array_equal(seen, wanted[0])
            assert abs(reward[i] - wanted[1]) <= TOLERANCE.get(task, 0.0)
            assert (failed[i], cut[i]) == wanted[2:4]
            if done:
                ends += 1
                assert info["_final_obs"][i]
                assert np.array_equal(observation[i], original.start(ours, i))
    assert ends >= n  # every task has ended and started anew at least once


@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Humanoid-v5"])
def test_another_physics_step_is_noticed(task):
    """Negative control for the test above."""
    ours = MujocoVectorEnv(task, 1, seed=1)
    original = Original(task)
    original.start(ours, 0)
    original.env.unwrapped.model.opt.gravity[2] *= 1 + 1e-9
    (action,) = random_actions(ours, 1)
    assert not np.array_equal(ours.step(action)[0][0], original.env.step(action[0])[0])


@every_task
def test_starts_have_the_distribution_of_the_original(task):
    """Mean, deviation and bounds of positions and velocities, within the error of sampling."""
    n = 4000
    m = 400
    ours = MujocoVectorEnv(task, n, threads=1, seed=3)
    original = gymnasium.make(task)
    mine = np.hstack((ours.batch.qpos, ours.batch.qvel))
    theirs = np.zeros((m, mine.shape[1]))
    for i in range(m):
        original.reset(seed=i)
        theirs[i] = original.unwrapped.state_vector()
    mean = theirs.mean(0)
    deviation = theirs.std(0)
    assert np.allclose(mine.std(0), deviation, rtol=0.15, atol=1e-12)
    assert (np.abs(mine.mean(0) - mean) <= 5 * deviation * np.sqrt(1 / m + 1 / n) + 1e-12).all()
    bounded = mine.max(0) < mean + 3 * deviation  # a normal sample of this size goes beyond
    assert bounded.sum() >= ours.model.nq - 4  # a free joint's quaternion is no plain sum
    for a, b in ((mine.max(0), theirs.max(0)), (mine.min(0), theirs.min(0))):
        assert np.allclose(a[bounded], b[bounded], atol=0.2 * deviation.max(), rtol=0.05)


@every_task
def test_the_time_limit_is_the_registered_one(task):
    assert TASKS[task].max_steps == gymnasium.spec(task).max_episode_steps


def test_time_that_is_cut_off_is_no_failure_and_shows_the_last_observation():
    env, other = (MujocoVectorEnv("HalfCheetah-v5", 3, seed=1) for _ in range(2))
    env.ticks[1] = 999
    (action,) = random_actions(env, 1)
    observation, _, failed, cut, info = env.step(action)
    unbroken = other.step(action)[0]
    assert cut.tolist() == [False, True, False] and not failed.any()
    assert np.array_equal(info["final_obs"][1], unbroken[1])
    assert not np.array_equal(observation[1], unbroken[1])
    assert np.array_equal(observation[[0, 2]], unbroken[[0, 2]])
    assert env.ticks.tolist() == [1, 0, 1]
    assert info["episode_metrics"]["episode_steps"].tolist() == [0.0, 1.0, 0.0]


def test_actions_beyond_the_space_are_clipped():
    a, b = (MujocoVectorEnv("Humanoid-v5", 2, seed=1) for _ in range(2))
    high = np.broadcast_to(a.single_action_space.high, a.action_space.shape)
    for mine, other in zip(a.step(7 * high)[:4], b.step(high)[:4], strict=True):
        assert np.array_equal(mine, other)


@pytest.mark.numeric
@pytest.mark.parametrize("task", ["HalfCheetah-v5", "Ant-v5"])
def test_any_number_of_threads_gives_the_same_bits(task):
    one, two = (MujocoVectorEnv(task, 5, threads=t, seed=1) for t in (1, 2))
    for action in random_actions(one, 60):
        assert np.array_equal(one.step(action)[0], two.step(action)[0])


def test_a_simulation_that_diverges_fails_alone_and_starts_anew(caplog):
    env, other = (MujocoVectorEnv("Hopper-v5", 3, seed=1) for _ in range(2))
    env.batch.qvel[1] = np.nan
    (action,) = random_actions(env, 1)
    observation, reward, failed, _, info = env.step(action)
    unbroken = other.step(action)
    assert failed.tolist() == [False, True, False] and env.diverged == 1
    assert np.isfinite(observation).all() and np.isfinite(info["final_obs"]).all()
    assert reward[1] == 0.0
    figures = info["episode_metrics"]
    parts = [rows[1] for name, rows in figures.items() if name.startswith("reward_")]
    assert len(parts) > 1 and figures["return"][1] == sum(parts) == 0.0
    assert np.array_equal(observation[[0, 2]], unbroken[0][[0, 2]])
    assert "simulations [1] diverged" in caplog.text


@pytest.mark.numeric
@every_task
def test_a_saved_state_goes_on_with_the_same_bits(task):
    env = MujocoVectorEnv(task, 3, seed=1)
    env.reset(options={"spread_episodes": True})
    actions = random_actions(env, 130)
    for action in actions[:10]:
        env.step(action)
    state = env.state_dict()
    again = MujocoVectorEnv(task, 3, seed=9)
    again.load_state_dict(state)
    for action in actions[10:]:
        mine = env.step(action)
        other = again.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(mine[:4], other[:4], strict=True))
        for name, values in mine[4].get("episode_metrics", {}).items():
            assert np.array_equal(values, other[4]["episode_metrics"][name])


def test_a_state_of_other_simulations_is_refused():
    state = MujocoVectorEnv("Hopper-v5", 3).state_dict()
    with pytest.raises(InputError, match=r"ticks is int64 \(3,\), not int64 \(4,\)"):
        MujocoVectorEnv("Hopper-v5", 4).load_state_dict(state)


def test_the_parts_of_the_reward_add_up():
    for task in TASKS:
        env = MujocoVectorEnv(task, 2, seed=1)
        for action in random_actions(env, 5):
            env.step(action)
        assert np.allclose(env.metrics.sums[0], env.metrics.sums[1:].sum(axis=0), rtol=1e-6), task


def test_episodes_can_start_at_different_ages():
    env = MujocoVectorEnv("Swimmer-v5", 64, seed=1)
    env.reset(options={"spread_episodes": True})
    assert len(set(env.ticks)) > 40 and env.ticks.max() < 1000
    env.reset()
    assert not env.ticks.any()


def test_it_says_that_episodes_end_and_start_in_one_step():
    assert MujocoVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
