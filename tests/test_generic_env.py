"""Environments of a user's own: found in a module, with scaled actions and finite numbers."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from robot_ppo import cli, config
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.evaluation import gym_evaluation
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo_export.errors import InputError

MODULE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box

class Push(gymnasium.Env):
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1, 2)
        return self.x.copy(), {}

    def step(self, action):
        self.x[0] += float(action[0])
        return self.x.copy(), -abs(self.x[0]), False, False, {}

gymnasium.register("OfMine/Push-v0", entry_point=Push, max_episode_steps=8)
gymnasium.register("OfMine/ByName-v0", entry_point=__name__ + ":Push", max_episode_steps=8)
"""
TINY = ("num_envs=4", "rollout=8", "ppo.epochs=2", "ppo.minibatches=2", "threads=1")


def arguments(task, out, *more, steps=64):
    sets = [word for key in TINY for word in ("--set", key)]
    return ["train", task, "--out", str(out), "--steps", str(steps), *sets, *more]


@pytest.fixture(autouse=True)
def registry():
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.fixture
def write(tmp_path, monkeypatch, request):
    """A function that writes a module of a new name and returns the name."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(source):
        name = f"mine_{abs(hash((request.node.name, source)))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return module


def refused(id):
    with pytest.raises(InputError) as error:
        ForeignVectorEnv(id)
    said = str(error.value)
    assert said.startswith(f"gym:{id}: ") and "\n" not in said
    return said


# -- gym:MODULE:ID ------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["OfMine/Push-v0", "OfMine/ByName-v0"])
def test_an_id_of_a_module_trains_resumes_and_is_scored(id, write, tmp_path):
    task = f"gym:{write(MODULE)}:{id}"
    out = tmp_path / "run"
    assert cli.main(arguments(task, out)) == 0
    assert cli.main(arguments(task, out, "--resume", steps=128)) == 0
    assert Checkpoints(out).newest().steps == 128
    assert config.load_run(out).task == config.GymTask(name=task)
    assert gym_evaluation.run(out, None, quick=True).lengths.tolist() == [8] * 5


def test_a_typing_error_in_the_id_is_answered_with_those_of_the_module(write):
    name = write(MODULE)
    said = refused(f"{name}:OfMine/Pusch-v0")
    assert f"the module {name!r} registers no environment 'OfMine/Pusch-v0'" in said
    assert "did you mean 'OfMine/Push-v0'?" in said
    assert "CartPole" not in said


def test_a_module_that_registers_nothing_is_said():
    assert "the module 'json' registers no environment" in refused("json:Push-v0")


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.inner"])
def test_a_missing_module_is_named(name):
    said = refused(f"{name}:Push-v0")
    assert f"there is no module {name.partition('.')[0]!r}; put its folder on PYTHONPATH" in said


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("x = 1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: "),
        ("raise SystemExit(3)", "ends the program (3)"),
    ],
)
def test_an_error_inside_the_module_is_said(source, text, write):
    name = write(source)
    said = refused(f"{name}:Push-v0")
    assert f"importing {name!r} " in said and text in said


def test_an_error_inside_the_environment_is_said_with_its_place(write):
    name = write(
        MODULE.replace("    def reset(", "    def __init__(self): self.y\n\n    def reset(")
    )
    said = refused(f"{name}:OfMine/Push-v0")
    assert "AttributeError" in said and f"{name}.py, line " in said


# -- actions ------------------------------------------------------------------------------------


class Echo(gymnasium.Env):
    """Observes the action that it got."""

    def __init__(self, low, high, dtype):
        self.action_space = Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)
        self.observation_space = Box(-np.inf, np.inf, (len(low),), np.float64)

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.action_space.shape), {}

    def step(self, action):
        assert action in self.action_space and action.dtype == self.action_space.dtype
        return action.astype(np.float64), 0.0, False, False, {}


def echo(low, high, dtype=np.float32, n=1):
    kwargs = {"low": low, "high": high, "dtype": dtype}
    gymnasium.registry.pop("Echo-v0", None)
    gymnasium.register("Echo-v0", entry_point=Echo, kwargs=kwargs)
    env = ForeignVectorEnv("Echo-v0", n)
    env.reset()
    return env


LOW = [0, -2, -np.inf, 3, -np.inf, 0]
HIGH = [100, 2, np.inf, 1e30, -4, 5e6]


def applied(*action, low=LOW, high=HIGH, dtype=np.float32):
    return echo(low, high, dtype).step(np.array([action], np.float32))[0][0].tolist()


def test_actions_are_scaled_to_their_bounds_and_left_alone_without():
    assert applied(-1, -1, -1, -1, -1, -1) == [0, -2, -1, 3, -6, 0]
    assert applied(0.2, 0.5, 7, 0.5, 0, 0.2) == pytest.approx([60, 1, 7, 4.5, -5, 3e6])
    assert applied(1, 1, 1, 6, 1, 1) == [100, 2, 1, 10, -4, 5e6]


def test_actions_beyond_the_bounds_are_clipped():
    assert applied(-9, 9, -9, -9, 9, -9) == [0, 2, -9, 3, -4, 0]


def test_the_space_says_what_is_scaled():
    space = echo(LOW, HIGH).single_action_space
    assert space.low.tolist() == [-1, -1, -np.inf, -1, -np.inf, -1]
    assert space.high.tolist() == [1, 1, np.inf, np.inf, 1, 1]


@pytest.mark.parametrize("largest", [np.finfo(np.float32).max, 1e30, np.inf])
def test_a_bound_near_the_largest_number_is_none(largest):
    assert applied(0.25, low=[-largest], high=[largest]) == [0.25]


def test_actions_of_float64_are_within_its_bounds():
    assert applied(1, low=[-0.1], high=[0.1], dtype=np.float64) == pytest.approx([0.1])
    assert applied(2, low=[-1e300], high=[1e300], dtype=np.float64) == [2]


@pytest.mark.parametrize(
    ("low", "high", "dtype", "values"),
    [
        (-1, 1, np.int64, [-1, 0, 1]),
        (0, 4, np.int32, [0, 1, 2, 3, 4]),
        (250, 255, np.uint8, [250, 251, 252, 253, 254, 255]),
        (np.iinfo(np.int64).min, np.iinfo(np.int64).max, np.int64, [-1, 0, 1]),
        (3, np.iinfo(np.int32).max, np.int32, [3, 4, 5]),
    ],
)
def test_every_integer_has_an_equal_share_of_the_actions(low, high, dtype, values):
    n = 1200
    env = echo([low], [high], dtype, n)
    action = ((np.arange(n) + 0.5) / n * 2 - 1).astype(np.float32)
    got = env.step(action[:, None])[0][:, 0]
    assert {value: int((got == value).sum()) for value in values} == pytest.approx(
        dict.fromkeys(values, n / len(values)), abs=1
    )


# -- what is not finite -------------------------------------------------------------------------


class Faulty(gymnasium.Env):
    """Its third step has `value` in the reward or in entry 1 of an observation."""

    observation_space = Box(-np.inf, np.inf, (3,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, where, value):
        self.where = where
        self.value = value

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self._observation("start"), {}

    def step(self, action):
        self.clock += 1
        due = self.clock == 3
        reward = self.value if due and self.where == "reward" else 0.0
        observation = self._observation(("observation", "last") if due else ())
        return observation, reward, due and self.where == "last", False, {}

    def _observation(self, faulty):
        observation = np.zeros(3)
        if self.where in faulty:
            observation[1] = self.value
        return observation


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("reward", "the reward is {}"),
        ("observation", "entry 1 of the observation is {}"),
        ("last", "entry 1 of the observation is {}"),
    ],
)
def test_what_is_not_finite_ends_a_training_before_it_is_learned(
    where, names, value, tmp_path, capsys
):
    kwargs = {"where": where, "value": value}
    gymnasium.register("Faulty-v0", entry_point=Faulty, kwargs=kwargs)
    assert cli.main(arguments("gym:Faulty-v0", tmp_path / "run")) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert names.format(value) in said
    assert "gym:Faulty-v0: " in said and "in simulation 0, step 3 of its episode" in said


def test_a_start_that_is_not_finite_is_named():
    gymnasium.register("Faulty-v0", entry_point=Faulty, kwargs={"where": "start", "value": np.nan})
    env = ForeignVectorEnv("Faulty-v0", 2)
    with pytest.raises(InputError, match=r"entry 1 of the observation is nan in simulation 0"):
        env.reset()


def test_the_last_checkpoint_stays(tmp_path):
    """A run that was good until then can go on once the environment is mended."""
    healthy = {"where": "nowhere", "value": 0.0}
    gymnasium.register("Faulty-v0", entry_point=Faulty, kwargs=healthy, max_episode_steps=5)
    out = tmp_path / "run"
    assert cli.main(arguments("gym:Faulty-v0", out)) == 0
    sick = healthy | {"where": "reward", "value": np.nan}
    del gymnasium.registry["Faulty-v0"]
    gymnasium.register("Faulty-v0", entry_point=Faulty, kwargs=sick, max_episode_steps=5)
    assert cli.main(arguments("gym:Faulty-v0", out, "--resume", steps=128)) == 2
    assert Checkpoints(out).newest().steps == 64


def test_a_finite_reward_beyond_float32_is_too_large():
    kwargs = {"where": "reward", "value": -1e39}
    gymnasium.register("Faulty-v0", entry_point=Faulty, kwargs=kwargs)
    env = ForeignVectorEnv("Faulty-v0", 2)
    env.reset()
    for _ in range(2):
        env.step(np.zeros((2, 1), np.float32))
    with pytest.raises(InputError, match=r"reward is -1e\+39, too large for .* 0, step 3 of its"):
        env.step(np.zeros((2, 1), np.float32))
