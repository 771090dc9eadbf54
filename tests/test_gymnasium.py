"""Gymnasium finds the tasks both ways, and its own checker has nothing to say."""

import subprocess
import sys

import env_helpers as helpers
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from node_helpers import ROOT

import robot_ppo
from robot_ppo import project
from robot_ppo.envs import registration
from robot_ppo.envs.gymnasium.gym_tasks import TASKS
from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo.envs.robot.robot_env import RobotEnv

ID = "robot_ppo/Go2Walk-v0"


@pytest.fixture(scope="module")
def many():
    return gymnasium.make_vec(ID, num_envs=4)


@pytest.fixture(scope="module")
def single():
    return gymnasium.make(ID)


def test_importing_the_package_registers_every_shipped_task():
    assert robot_ppo.__version__
    assert registration.env_id("go2_walk") == ID
    for task in project.task_names():
        assert registration.env_id(task) in gymnasium.registry


def test_registering_twice_is_no_warning(recwarn):
    registration.register()
    assert not recwarn.list


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, robot_ppo;"
        "heavy = {'torch', 'mujoco', 'onnx', 'rich', 'av'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    path = f"{ROOT}:{ROOT / 'export'}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_make_vec_is_the_vector_environment(many):
    assert isinstance(many.unwrapped, RobotEnv)
    assert many.num_envs == 4
    assert many.unwrapped.task.name == "go2_walk"


def test_make_vec_passes_keywords_on():
    a, b = (gymnasium.make_vec(ID, num_envs=3, threads=1, seed=s) for s in (1, 1))
    action = np.zeros((3, 12), np.float32)
    assert np.array_equal(a.step(action)[0], b.step(action)[0])


@pytest.mark.filterwarnings("ignore:.*(recommend using a symmetric|value is -?infinity)")
def test_a_single_environment_passes_gymnasiums_checker(single):
    check_env(single.unwrapped, skip_render_check=True)


def test_vector_spaces_hold_what_comes_back(many):
    observation, info = many.reset(seed=0)
    size = many.unwrapped.layout.size
    joints = 12
    assert many.observation_space.shape == (4, size)
    assert many.action_space.shape == (4, joints)
    assert many.single_observation_space.shape == (size,)
    assert many.single_action_space.shape == (joints,)
    assert many.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    many.action_space.seed(0)
    for _ in range(3):
        assert observation in many.observation_space
        action = many.action_space.sample()
        observation, reward, terminated, truncated, info = many.step(action)
        assert reward.shape == terminated.shape == truncated.shape == (4,)
        assert reward.dtype == np.float32
        assert terminated.dtype == truncated.dtype == bool
        assert info["observations"]["critic"].shape[0] == 4


def test_actions_beyond_the_space_are_clipped_by_the_contract(many):
    action = np.full((4, 12), many.single_action_space.high[0], np.float32)
    map_ = many.unwrapped.actions
    assert np.array_equal(map_.target(action), map_.target(10 * action))


@pytest.mark.parametrize("id", [ID, "robot_ppo/Reacher-v5"])
def test_gymnasiums_vector_wrappers_go_on_past_the_ends_of_episodes(id):
    """Their statistics are ours, in every episode; each list entry has only what is its own."""
    env = gymnasium.make_vec(id, num_envs=3, threads=1)
    vector = gymnasium.wrappers.vector
    wrapped = vector.DictInfoToList(vector.RecordEpisodeStatistics(env))
    wrapped.reset(seed=0)
    inner = env.unwrapped
    last = inner.max_ticks if id == ID else inner.task.max_steps
    action = np.zeros(env.action_space.shape, np.float32)
    ends = np.zeros(3, int)
    for _ in range(2):
        inner.ticks[:2] = last - np.array([1, 2])  # two of the three end, one after the other
        for _ in range(2):
            _, _, failed, cut, infos = wrapped.step(action)
            for i, (end, info) in enumerate(zip(failed | cut, infos, strict=True)):
                assert ("episode" in info) == ("episode_metrics" in info) == end
                assert ("final_obs" in info) == end
                assert info["observations"]["actor"].shape == env.single_observation_space.shape
                if end:
                    ends[i] += 1
                    total = info["episode"]["r"]
                    assert info["episode_metrics"]["return"] == pytest.approx(total, rel=1e-5)
    assert ends.tolist() == [2, 2, 0]


def test_the_figures_of_an_episode_stand_in_the_row_of_its_simulation():
    env = gymnasium.make_vec("robot_ppo/Reacher-v5", num_envs=3, threads=1)
    env.reset(seed=0)
    env.unwrapped.ticks[1] = env.unwrapped.task.max_steps - 1
    *_, info = env.step(np.zeros((3, 2), np.float32))
    assert info["_episode_metrics"].tolist() == [False, True, False]
    assert all(rows.shape == (3,) for rows in info["episode_metrics"].values())
    assert info["episode_metrics"]["episode_steps"].tolist() == [0, 1, 0]


def test_the_single_environment_is_the_vector_one_with_one_robot(single):
    vector = gymnasium.make_vec(ID, num_envs=1, threads=1)
    first, info = single.reset(seed=7)
    expected, expected_info = vector.reset(seed=7)
    assert np.array_equal(first, expected[0])
    assert set(info["observations"]) == {"actor", "critic"}
    for name, rows in info["observations"].items():
        assert np.array_equal(rows, expected_info["observations"][name][0])
    for action in helpers.random_actions(5, 1, size=0.1):
        observation, reward, terminated, truncated, _ = single.step(action[0])
        others = vector.step(action)
        assert np.array_equal(observation, others[0][0])
        assert reward == others[1][0]
        assert (terminated, truncated) == (others[2][0], others[3][0])


def test_the_single_environment_ends_on_the_true_last_observation(single):
    single.reset(seed=7)
    inner = single.unwrapped._vector
    inner.ticks[:] = inner.max_ticks - 1
    action = helpers.random_actions(1, 1)[0, 0]
    observation, _, terminated, truncated, info = single.step(action)
    assert truncated and not terminated
    last = inner.layout.slices["last_action"]
    assert np.array_equal(observation[last], action)  # not the zeros of a new episode
    assert observation in single.observation_space
    assert np.array_equal(info["observations"]["actor"], observation)
    assert info["observations"]["critic"].ndim == 1


# -- Gymnasium's own MuJoCo tasks on the native engine --------------------------------------------

every_task = pytest.mark.parametrize("task", TASKS)


@every_task
def test_a_task_of_gymnasium_is_found_both_ways(task):
    id = f"robot_ppo/{task}"
    many = gymnasium.make_vec(id, num_envs=3)
    single = gymnasium.make(id)
    assert isinstance(many.unwrapped, MujocoVectorEnv) and many.num_envs == 3
    assert single.observation_space == many.single_observation_space
    assert single.action_space == many.single_action_space
    assert registration.env_id(task) == id


@every_task
@pytest.mark.filterwarnings("ignore:.*(recommend using a symmetric|value is -?infinity)")
def test_a_single_task_of_gymnasium_passes_gymnasiums_checker(task):
    check_env(gymnasium.make(f"robot_ppo/{task}").unwrapped, skip_render_check=True)


@every_task
def test_vector_spaces_of_a_task_of_gymnasium_hold_what_comes_back(task):
    env = gymnasium.make_vec(f"robot_ppo/{task}", num_envs=3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, info = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(3):
        assert observation in env.observation_space
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert reward.shape == terminated.shape == truncated.shape == (3,)
        assert reward.dtype == np.float64
        assert terminated.dtype == truncated.dtype == bool
        assert list(info["observations"]) == ["actor"]
        assert info["observations"]["actor"] is observation


def test_a_seed_starts_the_same_episodes_again():
    env = gymnasium.make_vec("robot_ppo/Hopper-v5", num_envs=3)
    first = env.reset(seed=5)[0]
    assert np.array_equal(first, env.reset(seed=[5, 6, 7])[0])
    assert not np.array_equal(first, env.reset()[0])


def test_a_single_task_of_gymnasium_ends_on_its_last_observation():
    env = gymnasium.make("robot_ppo/Reacher-v5")
    env.reset(seed=1)
    for step in range(50):
        observation, _, terminated, truncated, _ = env.step(np.ones(2, np.float32))
        assert not terminated and truncated == (step == 49)
    assert np.abs(observation[6:8]).max() > 1.0  # joint velocities: a start has none like that


@pytest.mark.parametrize("id", [ID, "robot_ppo/Reacher-v5"])
def test_max_episode_steps_shortens_the_episodes_of_one_and_of_many(id):
    env = gymnasium.make_vec(id, num_envs=2, threads=1, max_episode_steps=3)
    env.reset(seed=1)
    action = np.zeros(env.action_space.shape, np.float32)
    cuts = [env.step(action)[3].tolist() for _ in range(4)]
    assert cuts == [[False, False], [False, False], [True, True], [False, False]]
    single = gymnasium.make(id, max_episode_steps=3)
    single.reset(seed=1)
    assert [single.step(action[0])[3] for _ in range(3)] == [False, False, True]
    longer = gymnasium.make_vec(id, num_envs=2, threads=1, max_episode_steps=10**6).unwrapped
    assert longer.max_ticks == gymnasium.make_vec(id, threads=1).unwrapped.max_ticks


@pytest.mark.parametrize("steps", [0, -7, 2.5, "7"])
def test_a_time_limit_that_is_none_is_refused(steps):
    with pytest.raises(ValueError, match=r"max_episode_steps=.*must be an int from 1 on"):
        gymnasium.make_vec("robot_ppo/Reacher-v5", num_envs=2, max_episode_steps=steps)


def test_a_single_environment_takes_a_list(single):
    single.reset(seed=1)
    assert single.unwrapped.step([0.0] * 12)[0] in single.observation_space
