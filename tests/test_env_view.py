"""Environments that are looked at: `render_mode`, windows, and films of Gymnasium's tasks."""

import contextlib
import re
import sys
import types
from typing import ClassVar

import av
import gymnasium
import msgspec
import numpy as np
import pytest
from gymnasium.spaces import Box

from robot_ppo import cli, config
from robot_ppo.envs import registration, view
from robot_ppo.playback import gym_play
from robot_ppo.rendering import picture
from robot_ppo.training import run_folder
from robot_ppo_export.errors import InputError

SMALL = {"width": 64, "height": 48}


@pytest.fixture(scope="module", autouse=True)
def opengl():
    import mujoco

    registration.register()
    try:
        picture.Picture(mujoco.MjModel.from_xml_string("<mujoco/>"), 16, 16).close()
    except InputError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("id", ["Go2Walk-v0", "HalfCheetah-v5", "Reacher-v5"])
def test_one_and_many_give_pictures_that_move(id):
    env = gymnasium.make(f"robot_ppo/{id}", render_mode="rgb_array", **SMALL)
    envs = gymnasium.make_vec(f"robot_ppo/{id}", num_envs=2, render_mode="rgb_array", **SMALL)
    assert env.render_mode == envs.render_mode == "rgb_array"
    assert env.metadata["render_fps"] == envs.metadata["render_fps"] > 0
    env.reset(seed=1)
    envs.reset(seed=1)
    one = env.render()
    many = envs.render()
    assert one.shape == (48, 64, 3) and one.dtype == np.uint8 and np.ptp(one) > 60
    assert [picture.shape for picture in many] == [one.shape] * 2
    assert not np.array_equal(many[1], many[0])
    for _ in range(10):
        env.step(env.action_space.high.clip(-1, 1))
    assert not np.array_equal(env.render(), one)
    env.close()
    envs.close()


def test_the_picture_after_the_last_step_is_that_of_the_last_state():
    env = gymnasium.make("robot_ppo/InvertedPendulum-v5", render_mode="rgb_array").unwrapped
    env.reset(seed=3)
    observation = np.zeros(4)
    fell = False
    while not fell:
        observation, _, fell, _, _ = env.step(np.full(1, 3.0, np.float32))
    qpos = observation[:2]
    assert np.array_equal(env.render(), env._vector._draw(qpos))
    assert not np.array_equal(env._vector.render()[0], env.render())  # the next episode's start
    env.reset()
    assert not np.array_equal(env.render(), env._vector._draw(qpos))
    env.close()


def test_pictures_take_no_part_in_the_simulation():
    plain = gymnasium.make_vec("robot_ppo/HalfCheetah-v5", num_envs=2)
    seen = gymnasium.make_vec("robot_ppo/HalfCheetah-v5", num_envs=2, render_mode="rgb_array")
    a = plain.reset(seed=5)[0]
    b = seen.reset(seed=5)[0]
    for _ in range(3):
        seen.render()
        action = np.full((2, 6), 0.3, np.float32)
        a = plain.step(action)[0]
        b = seen.step(action)[0]
    assert np.array_equal(a, b)
    seen.close()


@pytest.mark.parametrize("vector", [False, True])
def test_gymnasiums_video_recorder_works_past_the_end_of_episodes(tmp_path, vector):
    pytest.importorskip("moviepy", reason="Gymnasium's RecordVideo needs moviepy")
    if vector:
        from gymnasium.wrappers.vector import RecordVideo

        envs = gymnasium.make_vec("robot_ppo/Reacher-v5", 2, render_mode="rgb_array", **SMALL)
        env = RecordVideo(envs, str(tmp_path), record_first_only=False, episode_trigger=bool)
        action = np.zeros((2, 2), np.float32)
    else:
        from gymnasium.wrappers import RecordVideo

        one = gymnasium.make("robot_ppo/Reacher-v5", render_mode="rgb_array", **SMALL)
        env = RecordVideo(one, str(tmp_path), episode_trigger=lambda i: True)
        action = np.zeros(2, np.float32)
    env.reset(seed=0)
    for _ in range(110):
        *_, cut, _ = env.step(action)
        if not vector and cut:
            env.reset()
    env.close()
    assert list(tmp_path.glob("*.mp4"))


def test_a_mode_that_does_not_exist_and_a_window_without_a_display_are_sentences(monkeypatch):
    env = types.SimpleNamespace()
    with pytest.raises(InputError, match="rgb_array, human"):
        view.Rendered(env, "ansi")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(InputError, match="no display"):
        gymnasium.make("robot_ppo/HalfCheetah-v5", render_mode="human")


def test_a_window_shows_every_step_in_real_time(monkeypatch):
    import mujoco.viewer

    shown = []

    class Window:
        cam = mujoco.MjvCamera()
        opt = mujoco.MjvOption()

        def __init__(self, model, data, **_):
            self.data = data

        def lock(self):
            return contextlib.nullcontext()

        def sync(self):
            shown.append(self.data.qpos.copy())

        def is_running(self):
            return True

        def close(self):
            shown.append("closed")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(mujoco.viewer, "launch_passive", Window)
    waits = []
    monkeypatch.setattr(view.Pacer, "wait", lambda self: waits.append(self.period))
    env = gymnasium.make("robot_ppo/HalfCheetah-v5", render_mode="human")
    env.reset(seed=1)
    for _ in range(3):
        env.step(np.full(6, 0.5, np.float32))
    assert env.render() is None
    env.close()
    assert len(shown) == 5 and shown[-1] == "closed"
    assert not np.array_equal(shown[0], shown[3])
    assert waits == [0.05] * 4


# --- robot-ppo play


class Paint(gymnasium.Env):
    """Episodes of four steps; the picture says which step it is."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = Box(-1, 1, (2,))
        self.action_space = Box(0, 10, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.clock += 1
        return np.zeros(2, np.float32), 1.0, False, self.clock >= 4, {}

    def render(self):
        return np.full((33, 48, 3), 60 * self.clock, np.uint8)


class Blind(Paint):
    metadata: ClassVar = {"render_modes": []}

    def __init__(self):  # many environments know nothing of a render_mode
        super().__init__()


@pytest.fixture
def a_run(tmp_path, monkeypatch):
    """Train a moment on an environment of a module of one's own; return the run folder."""
    module = types.ModuleType("paintings")
    module.Paint = Paint
    module.Blind = Blind
    monkeypatch.setitem(sys.modules, "paintings", module)
    for name in ("Paint", "Blind"):
        monkeypatch.setitem(
            gymnasium.registry,
            f"{name}-v0",
            gymnasium.envs.registration.EnvSpec(f"{name}-v0", entry_point=f"paintings:{name}"),
        )

    def train(task):
        run = tmp_path / "run"
        tiny = ("num_envs=2", "rollout=8", "ppo.epochs=2", "ppo.minibatches=1", "threads=1")
        run_folder.train(task, run, None, tiny, False, False, steps=16)
        return run

    return train


def test_a_run_of_a_task_of_ones_own_is_filmed_past_the_end_of_its_episodes(a_run, tmp_path):
    said = []
    video = tmp_path / "film.mp4"
    episodes = gym_play.play(a_run("gym:Paint-v0"), video=video, seconds=0.5, say=said.append)
    assert episodes.returns == [4.0, 4.0] and episodes.running == 2.0  # ten steps
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        assert (stream.average_rate, stream.width, stream.height) == (20, 48, 32)
        grey = [int(frame.to_ndarray(format="gray").mean()) // 40 for frame in file.decode(video=0)]
    assert grey == [0, 1, 3, 4, 0, 1, 3, 4, 0, 1, 3]  # the fourth step starts the next episode
    assert re.search(r"10 steps; return .*4\.0, 4\.0", said[0])


def test_a_run_that_cannot_be_shown_is_a_sentence(a_run, tmp_path, capsys):
    run = a_run("gym:Blind-v0")
    assert cli.main(["play", str(run), "--video", str(tmp_path / "film.mp4")]) == 2
    assert "render_modes none" in capsys.readouterr().err
    assert cli.main(["play", str(run), "--plot", "a.png"]) == 2
    assert "--plot is for robots" in capsys.readouterr().err
    assert cli.main(["play", str(run), "--video", "a.gif"]) == 2
    assert "must end in .mp4" in capsys.readouterr().err


def test_an_environment_that_cannot_draw_is_a_sentence(a_run, tmp_path, monkeypatch):
    run = a_run("gym:Paint-v0")

    def broken(self):
        raise ImportError("pygame is not installed")

    monkeypatch.setattr(Paint, "render", broken)
    with pytest.raises(InputError, match=r"cannot be drawn \(pygame is not installed\)"):
        gym_play.play(run, video=tmp_path / "film.mp4", seconds=0.2)
    assert not (tmp_path / "film.mp4").exists()


def test_only_a_run_of_gymnasium_is_one(a_run, tmp_path):
    assert gym_play.is_run(a_run("gym:Paint-v0"))
    assert not gym_play.is_run(tmp_path)
    robot = tmp_path / "robot"
    robot.mkdir()
    (robot / "config.yaml").write_text(config.to_yaml(config.load("go2_walk")))
    assert not gym_play.is_run(robot)
    assert msgspec.structs.asdict(config.load_run(robot))["task"].name == "go2_walk"
