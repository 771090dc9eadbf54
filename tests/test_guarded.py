"""What environments of other people do wrong, and what is made of it."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from robot_ppo import cli
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.evaluation import gym_evaluation
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo_export.errors import InputError

SETTINGS = ("num_envs=4", "rollout=8", "ppo.minibatches=2", "threads=1", "save_every=0.001")
TINY = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.fixture(autouse=True)
def registry():
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


class Usual(gymnasium.Env):
    """A clock; its subclasses do what Gymnasium does not want."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.clock = 0
        return self.see(), {}

    def step(self, action):
        self.clock += 1
        return self.see(), 0.0, False, False, self.told()

    def see(self):
        return np.full(2, self.clock, np.float32)

    def told(self):
        return {}


def after(*steps, kind, n=2, limit=4):
    """What the last of so many steps returns."""
    gymnasium.register("Odd-v0", entry_point=kind, max_episode_steps=limit)
    env = ForeignVectorEnv("Odd-v0", n)
    env.reset()
    told = [env.step(np.full((n, 1), action, np.float32)) for action in steps]
    return told[-1]


def test_the_last_observation_of_an_array_that_is_written_in_place_is_not_the_next_start():
    class InPlace(Usual):
        state = None

        def see(self):
            self.state = np.zeros(2, np.float32) if self.state is None else self.state
            self.state[:] = self.clock
            return self.state

    *_, cut, info = after(0, 0, 0, 0, kind=InPlace)
    assert cut.all()
    assert info["final_obs"].tolist() == [[4, 4], [4, 4]]
    assert info["observations"]["actor"].tolist() == [[0, 0], [0, 0]]


def test_infos_of_any_shape_are_left_alone():
    class Ragged(Usual):
        made = 0

        def __init__(self):
            Ragged.made += 1
            self.number = Ragged.made

        def told(self):
            shapes = {"contacts": np.zeros(self.number), "k": "text" if self.number == 1 else 1}
            return shapes | {"final_obs": 7}

    *_, info = after(0, 0, 0, 0, kind=Ragged)
    assert info["final_obs"].tolist() == [[4, 4], [4, 4]]


class Raises(Usual):
    episodes = 0

    def reset(self, **given):
        self.episodes += 1
        return super().reset(**given)

    def step(self, action):
        if (self.episodes, self.clock) == (2, 1):
            raise RuntimeError("motor 3\nis broken")
        return super().step(action)


class RaisesInReset(Usual):
    episodes = 0

    def reset(self, **given):
        self.episodes += 1
        if self.episodes == 2:
            raise FileNotFoundError("no level 2")
        return super().reset(**given)


class Exits(Usual):
    def step(self, action):
        raise SystemExit("viewer closed")


class OldReset(Usual):
    def reset(self):
        return super().reset()[0]


class OldStep(Usual):
    def step(self, action):
        return self.see(), 0.0, False, {}


class NoInfo(Usual):
    def told(self):
        return None


def paid(reward):
    def step(self, action):
        return np.zeros(2, np.float32), reward, False, False, {}

    return type("Paid", (Usual,), {"step": step})


def seen(start, later, space=Usual.observation_space):
    def see(self):
        return later if self.clock else start

    return type("Seen", (Usual,), {"see": see, "observation_space": space})


GOOD = np.zeros(2, np.float32)
BYTES = Box(0, 255, (2,), np.uint8)
WHOLE = Box(-10, 10, (2,), np.int64)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Raises, "`step` in simulation 0, step 2 of its episode 2: it fails (RuntimeError: motor"),
        (RaisesInReset, "`reset` in simulation 0, the start of its episode 2: it fails (FileNot"),
        (Exits, "SystemExit: viewer closed"),
        (OldReset, "the start of its episode 1: it fails ("),
        (OldStep, "step 1 of its episode 1: it fails ("),
        (NoInfo, "step 1 of its episode 1: it fails ("),
        (paid(np.zeros(1)), "its reward is a ndarray of shape (1,), dtype float64, and must be"),
        (paid(np.zeros(2)), "its reward is a ndarray of shape (2,), dtype float64, and must be"),
        (paid(None), "its reward is a NoneType of shape (), dtype object, and must be"),
        (seen(np.zeros(3), GOOD), "shape (3,), and its observation_space (2,)"),
        (seen(np.zeros(1), GOOD), "shape (1,), and its observation_space (2,)"),
        (seen(GOOD, np.zeros(3)), "`step` in simulation 0, step 1 of its episode 1: its obs"),
        (seen(GOOD * 1.5, GOOD + 0.5, WHOLE), "observation is float32 with values that int64"),
        (seen(np.array([-3, 300]), GOOD, BYTES), "observation is int64 with values that uint8"),
        (seen(np.array([1j, 0]), GOOD), "observation is complex128 with values that float32"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # Gymnasium has something to say, too
def test_whatever_an_environment_does_wrong_is_one_sentence_with_its_place(kind, text):
    if kind is not Exits:
        kind = type(kind.__name__, (kind,), {})  # episodes are counted in the class
    with pytest.raises(InputError) as error:
        after(*range(12), kind=kind)
    said = str(error.value)
    assert said.startswith("gym:Odd-v0: `") and "in simulation 0, " in said and text in said
    assert "\n" not in said


def test_a_training_ends_with_that_sentence_and_keeps_its_checkpoint(tmp_path, capsys):
    class Late(Usual):
        steps = 0

        def step(self, action):
            Late.steps += 1
            if Late.steps > 100:
                raise SystemExit("licence expired")
            return super().step(action)

    gymnasium.register("Odd-v0", entry_point=Late, max_episode_steps=5)
    out = tmp_path / "run"
    assert cli.main(["train", "gym:Odd-v0", "--out", str(out), "--steps", "640", *TINY]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("robot-ppo: gym:Odd-v0: `step` in simulation ")
    assert "SystemExit: licence expired" in said
    assert Checkpoints(out).newest().steps == 64


@pytest.mark.parametrize("observation", [[0.1, 0.2], np.array([1, 2]), np.zeros(2)])
def test_numbers_that_the_space_can_hold_are_taken(observation):
    *_, info = after(0, kind=seen(observation, observation))
    assert info["observations"]["actor"].tolist() == pytest.approx(np.array([observation] * 2))


@pytest.mark.parametrize(
    ("space", "text"),
    [
        ({"observation_space": Box(-1, 1, (0,))}, "its observation space has shape (0,)"),
        ({"action_space": Box(-1, 1, (2, 0))}, "its action space has shape (2, 0)"),
    ],
)
def test_a_space_without_a_number_is_refused(space, text):
    gymnasium.register("Odd-v0", entry_point=type("Empty", (Usual,), space))
    with pytest.raises(InputError) as error:
        ForeignVectorEnv("Odd-v0")
    assert str(error.value).startswith("gym:Odd-v0: ") and text in str(error.value)


def test_a_constructor_that_ends_the_program_is_said():
    def ends():
        raise SystemExit("no licence")

    gymnasium.register("Odd-v0", entry_point=ends)
    with pytest.raises(InputError, match=r"gym:Odd-v0: .* \(SystemExit: no licence; "):
        ForeignVectorEnv("Odd-v0")


@pytest.mark.parametrize("limit", [None, 5])
def test_an_id_without_a_time_limit_is_named_and_its_endless_episode_is_noticed_soon(
    limit, tmp_path, capsys, caplog, monkeypatch
):
    monkeypatch.setattr(gym_evaluation, "LONGEST_UNLIMITED", 50)
    gymnasium.register("Odd-v0", entry_point=Usual, max_episode_steps=limit)
    out = str(tmp_path / "run")
    assert cli.main(["train", "gym:Odd-v0", "--out", out, "--steps", "64", *TINY]) == 0
    assert ("gym:Odd-v0 is registered without max_episode_steps" in caplog.text) == (not limit)
    capsys.readouterr()
    assert cli.main(["eval", out, "--quick"]) == (0 if limit else 2)
    said = capsys.readouterr()
    assert ("no time limit is registered; at most 50 steps" in said.out) == (not limit)
    assert ("no end after 50 steps; register the id with max_episode_steps" in said.err) == (
        not limit
    )
