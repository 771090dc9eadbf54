"""Gymnasium's tasks from end to end: train, resume, score; and any other id through make_vec."""

import csv
import json

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode

from robot_ppo import cli, config, envs
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo.evaluation import gym_evaluation
from robot_ppo.ppo.networks import Actor
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.errors import InputError

NATIVE = "InvertedPendulum-v5"
FOREIGN = "gym:Pendulum-v1"
TINY = ("num_envs=4", "rollout=16", "ppo.epochs=2", "ppo.minibatches=2", "threads=1")
BATCH = 4 * 16


def arguments(task, out, *more, steps=2 * BATCH):
    sets = [word for key in TINY for word in ("--set", key)]
    return ["train", task, "--out", str(out), "--steps", str(steps), *sets, *more]


@pytest.fixture(scope="module", params=[NATIVE, FOREIGN])
def run(request, tmp_path_factory):
    """A run of two iterations, of either kind; and its task."""
    out = tmp_path_factory.mktemp("gym") / "run"
    assert cli.main(arguments(request.param, out)) == 0
    return out, request.param


def refused(words, capsys):
    assert cli.main([str(word) for word in words]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("robot-ppo: ")
    return said


# -- training -----------------------------------------------------------------------------------


def test_a_run_has_the_columns_of_its_task_and_no_others(run):
    out, task = run
    with (out / "log.csv").open(newline="") as file:
        columns = set(next(csv.reader(file)))
    assert {"return", "episode_steps", "failed", "kl", "entropy"} <= columns
    assert not columns & {"length", "velocity_error", "yaw_error"}
    parts = {name for name in columns if name.startswith("reward_")}
    assert parts == ({"reward_survive"} if task == NATIVE else set())
    assert config.load_run(out).task == config.GymTask(name=task)
    assert Checkpoints(out).newest().steps == 2 * BATCH


def test_the_preset_depends_on_the_kind_of_task():
    assert config.load(NATIVE) == config.load(NATIVE, "gym")
    assert config.load(FOREIGN).networks == config.load(NATIVE).networks
    assert config.load("go2_walk") == config.load("go2_walk", "default")
    assert config.load(NATIVE).num_envs != config.load("go2_walk").num_envs


@pytest.mark.parametrize(
    ("task", "differs"),
    [
        ("Ant-v5", ["ppo.minibatches=8"]),
        ("Hopper-v5", ["networks.init_std=1.0"]),
        (
            "InvertedDoublePendulum-v5",
            ["networks.init_std=1.0", "networks.log_std_range=[-2.0,1.0]"],
        ),
    ],
)
def test_a_preset_of_the_tasks_name_is_its_preset_and_says_all_of_the_common_one(task, differs):
    own, common = (config.load(task, *preset) for preset in ((), ("gym",)))
    assert own == config.load(task, task) != common
    assert own == config.load(task, "gym", overrides=differs)


@pytest.mark.numeric
def test_one_seed_gives_one_policy(tmp_path):
    def weights(name, *more):
        assert cli.main(arguments(NATIVE, tmp_path / name, *more)) == 0
        return Checkpoints(tmp_path / name).newest().learner["actor"]["mlp.0.weight"]

    first = weights("a", "--seed", "3")
    assert torch.equal(first, weights("b", "--seed", "3", "--threads", "2"))
    assert not torch.equal(first, weights("c", "--seed", "4"))


@pytest.mark.numeric
@pytest.mark.parametrize("task", [NATIVE, "Ant-v5", FOREIGN])
def test_a_resumed_run_is_the_unbroken_one_where_episodes_can_be_saved(task, tmp_path, caplog):
    """To the last bit for native tasks; for foreign ones new episodes start, and that is said."""
    more = ("--set", "ppo.learning_rate_schedule=constant")  # the others depend on the budget
    broken = tmp_path / "broken"
    unbroken = tmp_path / "unbroken"
    assert cli.main(arguments(task, unbroken, *more, steps=4 * BATCH)) == 0
    assert cli.main(arguments(task, broken, *more)) == 0
    assert cli.main(arguments(task, broken, *more, "--resume", steps=4 * BATCH)) == 0
    last = [Checkpoints(out).newest() for out in (broken, unbroken)]
    assert [checkpoint.iteration for checkpoint in last] == [4, 4]
    weights = [checkpoint.learner["actor"]["mlp.0.weight"] for checkpoint in last]
    assert torch.equal(*weights) == (task != FOREIGN)
    assert ("the running episodes cannot go on" in caplog.text) == (task == FOREIGN)


def test_what_cannot_be_trained_leaves_every_folder_as_it_was(tmp_path, capsys):
    out = tmp_path / "run"
    assert "Discrete" in refused(["train", "gym:CartPole-v1", "--out", out], capsys)
    assert not out.exists()
    assert cli.main(arguments(NATIVE, out)) == 0
    before = (out / "log.csv").read_bytes()
    refused(["train", "gym:CartPole-v1", "--out", out, "--overwrite"], capsys)
    assert (out / "log.csv").read_bytes() == before


def test_the_run_folder_has_no_colon_and_no_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = arguments("gym:robot_ppo/Reacher-v5", tmp_path)
    assert cli.main([*words[:2], *words[4:]]) == 0
    assert (tmp_path / "runs" / "gym-robot_ppo-Reacher-v5" / "config.yaml").is_file()


# -- scoring ------------------------------------------------------------------------------------


def test_eval_writes_mean_and_deviation_of_whole_episodes(run, tmp_path, capsys):
    out, task = run
    path = tmp_path / "score.json"
    assert cli.main(["eval", str(out), "--json", str(path)]) == 0
    score = json.loads(path.read_text())
    assert score["task"] == task and score["episodes"] == len(score["returns"]) == 20
    assert score["return_mean"] == pytest.approx(np.mean(score["returns"]))
    assert score["return_std"] == pytest.approx(np.std(score["returns"]))
    assert score["source"]["steps"] == 2 * BATCH
    assert f"{task}: return {score['return_mean']:.1f}" in capsys.readouterr().out


def test_the_score_is_that_of_a_plain_loop_over_episodes():
    """One environment, one episode after the other, without exploration."""
    settings = config.load(NATIVE)
    torch.manual_seed(0)
    actor = Actor(4, 1, config.Networks(last_gain=1.0)).eval()
    score = gym_evaluation.evaluate(settings, actor, episodes=6, seed=5)
    starts = envs.make(settings, 6, gym_evaluation.FRESH + 5)
    starts.reset()
    single = MujocoVectorEnv(NATIVE, 1)
    for i in range(6):
        single.reset()
        single.batch.qpos[0], single.batch.qvel[0] = starts.batch.qpos[i], starts.batch.qvel[i]
        single.place(np.array([0]))
        total = 0.0
        steps = 0
        done = False
        observation = np.hstack((single.batch.qpos, single.batch.qvel))
        while not done:
            with torch.inference_mode():
                action = actor(torch.from_numpy(observation).float()).numpy()
            observation, reward, failed, cut, _ = single.step(action)
            total = total + reward[0]
            steps = steps + 1
            done = (failed | cut)[0]
        assert (total, steps) == (score.returns[i], score.lengths[i])
    assert len(set(score.lengths)) > 1  # episodes that end early stop counting early


def test_an_episode_without_end_is_said():
    actor = Actor(17, 6, config.Networks())
    with pytest.raises(InputError, match="HalfCheetah-v5: an episode has no end after 10 steps"):
        gym_evaluation.evaluate(config.load("HalfCheetah-v5"), actor, episodes=1, longest=10)


def test_what_is_for_robots_says_so(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, task = run
    said = refused(["export", out, "-o", "x.onnx"], capsys)
    assert f"is for robots, and {task} is a task of Gymnasium; `robot-ppo eval RUN`" in said
    assert not list(tmp_path.iterdir())


def test_a_heat_map_of_commands_is_refused(run, capsys):
    said = refused(["eval", run[0], "--plot", "x.png"], capsys)
    assert "a run of a Gymnasium task; --plot is for robots" in said


def test_a_quick_score_has_fewer_episodes(run):
    assert (
        len(gym_evaluation.run(run[0], None, quick=True).returns)
        == gym_evaluation.QUICK
        < gym_evaluation.EPISODES
    )


def test_the_actor_of_a_checkpoint_has_its_sizes(run):
    out, task = run
    actor = load_actor(config.load_run(out), Checkpoints(out).newest())
    assert actor.mlp[0].in_features == {NATIVE: 4, FOREIGN: 3}[task]


# -- any other id -------------------------------------------------------------------------------


class Counter(gymnasium.Env):
    """Observes its clock, as a (2, 1) picture; pays the action; ends after five steps."""

    observation_space = Box(0, 255, (2, 1), np.uint8)
    action_space = Box(-1.0, np.array([[0.5, 2.0]], np.float32), dtype=np.float32)

    def __init__(self, cut=False):
        self.cut = cut

    def reset(self, *, seed=None, options=None):
        self.clock = 0
        return self._see(), {}

    def step(self, action):
        assert action in self.action_space
        self.clock += 1
        end = self.clock == 5
        return self._see(), float(action.sum()), end and not self.cut, end and self.cut, {}

    def _see(self):
        return np.full((2, 1), self.clock, np.uint8)


class Wild(Counter):
    action_space = Discrete(3)


@pytest.fixture(autouse=True)
def ids():
    before = dict(gymnasium.registry)
    gymnasium.register("Counter-v0", entry_point=Counter)
    gymnasium.register("Cut-v0", entry_point=Counter, kwargs={"cut": True})
    gymnasium.register("Wild-v0", entry_point=Wild)
    gymnasium.register("Broken-v0", entry_point="no_such_module:Env")
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.parametrize(("id", "fails"), [("Counter-v0", True), ("Cut-v0", False)])
def test_a_foreign_episode_ends_on_its_true_last_observation(id, fails):
    env = ForeignVectorEnv(id, 3)
    observation, info = env.reset()
    assert observation.tolist() == [[0, 0]] * 3 and observation.dtype == np.float32
    assert env.observation_groups == {"actor": 2}
    assert info["observations"]["actor"] is observation
    for clock in range(1, 6):
        observation, reward, failed, cut, info = env.step(np.full((3, 2), 9, np.float32))
        assert reward.tolist() == [2.5] * 3  # 0.5 + 2.0: clipped to the space, in its shape
        shown = observation if clock < 5 else info["final_obs"]
        assert shown.tolist() == [[clock, clock]] * 3
        assert info["observations"]["actor"] is observation
    assert failed.tolist() == [fails] * 3 and cut.tolist() == [not fails] * 3
    assert observation.tolist() == [[0, 0]] * 3 and info["_final_obs"].all()
    assert info["final_observations"]["actor"] is info["final_obs"]
    assert info["episode_metrics"]["return"].tolist() == [12.5] * 3
    assert info["episode_metrics"]["episode_steps"].tolist() == [5.0] * 3


@pytest.mark.parametrize(
    ("id", "text"),
    [
        ("Wild-v0", "its action space is Discrete; only continuous tasks can be trained"),
        ("Countr-v0", "no environment 'Countr-v0'; did you mean 'Counter-v0'?"),
        ("Broken-v0", "Gymnasium cannot make it (No module named 'no_such_module')"),
    ],
)
def test_what_cannot_be_trained_is_said(id, text):
    with pytest.raises(InputError) as error:
        ForeignVectorEnv(id)
    assert str(error.value).startswith(f"gym:{id}: ") and text in str(error.value)


def test_a_foreign_environment_cannot_be_saved():
    env = ForeignVectorEnv("Counter-v0")
    with pytest.raises(InputError, match="cannot be saved"):
        env.load_state_dict(env.state_dict())


def test_a_foreign_mujoco_task_is_the_native_one_in_slow():
    pytest.importorskip("imageio")
    native = MujocoVectorEnv("HalfCheetah-v5", 2)
    foreign = ForeignVectorEnv("HalfCheetah-v5", 2)
    assert foreign.single_action_space == native.single_action_space
    assert foreign.single_observation_space.shape == native.single_observation_space.shape
    assert foreign._envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
