"""What can be looked at while a run trains: histograms, scores, films, wandb."""

import json
import logging
import subprocess
import sys
import time

import av
import msgspec
import numpy as np
import pytest
from env_helpers import ROBOTS, train_arguments
from PIL import Image
from test_train import BATCH, result

from robot_ppo import cli, project, snapshot
from robot_ppo.evaluation import recorded
from robot_ppo.playback import clip
from robot_ppo.playback.video import Video
from robot_ppo.training import companion, wandb_writer
from robot_ppo.training.companion import Companion, Plan, Snapshot
from robot_ppo.training.tensorboard_writer import TensorBoardWriter

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def events(folder):
    return accumulator.EventAccumulator(str(folder)).Reload()


# -- histograms -----------------------------------------------------------------------------------


def test_a_training_writes_histograms_of_what_the_policy_sees_and_does(tmp_path):
    result(tmp_path / "run")
    shown = events(tmp_path / "run" / "tensorboard")
    tags = set(shown.Tags()["histograms"])
    joints = project.load_robot("go2").joint_names
    assert {f"actions/{name}" for name in joints} <= tags
    assert {"observations/command", "observations/joint_vel"} <= tags
    (event,) = shown.Histograms(f"actions/{joints[0]}")
    assert (event.step, event.histogram_value.num) == (BATCH, ROBOTS)


# -- the process beside a training ---------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A folder with a first checkpoint."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "000000000100.pt").touch()
    return tmp_path / "run"


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Let the process be a script that runs this line."""

    def answers(line):
        (tmp_path / "looks.py").write_text(f"import json, sys, time\n{line}\n")
        monkeypatch.setattr(companion, "MODULE", "looks")
        monkeypatch.syspath_prepend(str(tmp_path))

    return answers


ECHO = "print(json.dumps({'steps': 100, 'figures': {'asked': len(sys.argv[2:])}}))"


def awaited(looks, now):
    """What `poll` returns once the process has ended."""
    ends = time.monotonic() + 30
    while looks._process and time.monotonic() < ends:
        if found := looks.poll(now):
            return found
        time.sleep(0.02)
    return None


def test_a_checkpoint_is_looked_at_when_it_is_time_and_never_twice(run, answers):
    answers(ECHO)
    looks = Companion(run, Plan(score_every=1.0, film_every=3.0))
    for now in (0.0, 59.0):
        assert looks.poll(now) is None and looks._process is None
    assert looks.poll(61.0) is None and looks._process is not None
    assert awaited(looks, 61.0) == Snapshot(100, {"asked": 1})
    looks.poll(130.0)  # the same checkpoint
    assert looks._process is None
    (run / "checkpoints" / "000000000200.pt").touch()
    looks.poll(185.0)  # the film is due, too
    assert awaited(looks, 185.0) == Snapshot(100, {"asked": 2})


def test_the_last_checkpoint_is_looked_at_where_others_were(run, answers):
    answers(ECHO)
    looks = Companion(run, Plan(score_every=1.0))
    looks.poll(0.0)
    assert looks.finish() == []
    looks.poll(61.0)
    (run / "checkpoints" / "000000000200.pt").touch()
    assert looks.finish() == [Snapshot(100, {"asked": 1})] * 2


def test_what_fails_is_said_once_and_not_tried_again(run, answers, caplog):
    answers("sys.exit('the disk is full')")
    looks = Companion(run, Plan(score_every=1.0))
    looks.poll(0.0)
    looks.poll(61.0)
    assert awaited(looks, 61.0) is None
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == "the run is not scored or filmed from here on: the disk is full"
    (run / "checkpoints" / "000000000200.pt").touch()
    looks.poll(200.0)
    assert looks._process is None and looks.finish() == []


def test_without_a_plan_and_before_a_checkpoint_nothing_starts(run, tmp_path):
    for looks in (Companion(run, Plan()), Companion(tmp_path, Plan(score_every=1.0))):
        looks.poll(0.0)
        looks.poll(1e6)
        assert looks._process is None


def test_a_process_ends_with_its_training(run, answers):
    answers("time.sleep(100)")
    looks = Companion(run, Plan(score_every=1.0))
    looks.poll(0.0)
    looks.poll(61.0)
    process = looks._process
    looks.close()
    assert process.poll() is not None


def test_scores_are_points_at_the_steps_of_their_checkpoint(tmp_path, answers):
    """The clock of a training as small as this one counts in thousandths of a second."""
    answers("print(json.dumps({'steps': 64, 'figures': {'velocity_error': 0.25}}))")
    out = tmp_path / "run"
    more = ["--score-every", "1e-9", "--set", "save_every=0"]
    result(out, *more, steps=4 * BATCH)
    points = events(out / "tensorboard").Scalars("score/velocity_error")
    assert {(p.step, p.value) for p in points} == {(64, 0.25)}


def test_a_run_of_gymnasium_is_scored_by_its_return(tmp_path):
    words = ["train", "InvertedPendulum-v5", "--out", str(tmp_path / "run"), "--steps", "64"]
    tiny = ("num_envs=4", "rollout=8", "networks.actor=[8]", "networks.critic=[8]")
    assert cli.main([*words, *(word for key in tiny for word in ("--set", key))]) == 0
    found = snapshot.take(tmp_path / "run", ["score"])
    assert found.steps == 64 and list(found.figures) == ["return"] and found.film == ""


@pytest.mark.slow
def test_a_checkpoint_is_scored_and_filmed(tmp_path):
    out = tmp_path / "run"
    checkpoint = result(out)
    words = [sys.executable, "-m", companion.MODULE, str(out), "score", "film"]
    done = subprocess.run(words, capture_output=True, text=True)
    if "needs OpenGL" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Snapshot)
    assert found.steps == checkpoint.steps
    assert {"velocity_error", "falls"} <= found.figures.keys()
    film = out / "films" / f"{checkpoint.steps:012d}.mp4"
    assert found.film == str(film) and film.exists() and film.with_suffix(".gif").exists()


def test_an_evaluation_is_a_point_beside_the_training(tmp_path):
    figures = {"nominal": {"falls": 2.0}, "friction 0.3": {"falls": 3.0}}
    recorded.record(tmp_path, 500, figures)
    shown = events(tmp_path / "tensorboard" / "eval")
    for tag, value in (("score/falls", 2.0), ("score_friction_0.3/falls", 3.0)):
        assert [(p.step, p.value) for p in shown.Scalars(tag)] == [(500, value)]


# -- films ----------------------------------------------------------------------------------------


def test_a_film_is_a_moving_picture_in_tensorboard(tmp_path):
    path = tmp_path / "film.mp4"
    with Video(path, 25, 64, 48) as video:
        for i in range(10):
            video.add(np.full((48, 64, 3), 25 * i, np.uint8))
    clip.to_gif(path, path.with_suffix(".gif"), width=32, fps=5)
    with TensorBoardWriter(tmp_path / "tensorboard") as writer:
        writer.add_film("film", path, 300)
    (event,) = events(tmp_path / "tensorboard").Images("film")
    assert (event.step, event.width, event.height) == (300, 32, 24)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == 2
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames == 10


# -- wandb ----------------------------------------------------------------------------------------

WANDB = """
calls = []

class Run:
    def __getattr__(self, name):
        return lambda *args, **kwargs: calls.append((name, args, kwargs))

def init(**kwargs):
    calls.append(("init", (), kwargs))
    return Run()

Histogram = Html = lambda value: value
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """A module of that name which notes what is asked of it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    import wandb

    yield wandb
    sys.modules.pop("wandb")


def test_wandb_is_told_what_tensorboard_is(tmp_path, wandb):
    out = tmp_path / "run"
    result(out, "--wandb")
    (start,) = [kwargs for name, _, kwargs in wandb.calls if name == "init"]
    assert (start["project"], start["name"]) == ("robot-ppo", "run")
    logged = [args[0] for name, args, _ in wandb.calls if name == "log"]
    assert "num_envs: " in logged[0]["config"]
    curves = [values for values in logged if "main/kl" in values]
    assert [values["steps"] for values in curves] == [BATCH, 2 * BATCH]
    assert any("observations/command" in values for values in logged)
    assert wandb.calls[-1][0] == "finish"
    id = start["id"]
    result(out, "--wandb", "--resume", steps=3 * BATCH)
    assert [kwargs["id"] for name, _, kwargs in wandb.calls if name == "init"] == [id, id]


def test_wandb_that_fails_ends_no_training(tmp_path, wandb, caplog):
    def fails(*_):
        raise ConnectionError("no route to host")

    wandb.Run.log = fails
    result(tmp_path / "run", "--wandb")
    (said,) = [r.getMessage() for r in caplog.records if "wandb" in r.getMessage()]
    assert said == "nothing goes to wandb from here on (no route to host)"


def test_wandb_that_cannot_begin_is_a_sentence(tmp_path, wandb, capsys):
    def fails(**_):
        raise ValueError("api_key not configured")

    wandb.init = fails
    assert cli.main([*train_arguments(tmp_path / "run"), "--wandb"]) == 2
    assert "--wandb: api_key not configured; WANDB_MODE=offline needs no account" in (
        capsys.readouterr().err
    )


def test_without_wandb_a_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(wandb_writer, "find_spec", lambda _: None)
    assert cli.main([*train_arguments(tmp_path / "run"), "--wandb"]) == 2
    assert "pip install 'robot-ppo[wandb]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_minutes_are_numbers(tmp_path, capsys):
    for wrong in ("-1", "nan", "inf", "soon"):
        with pytest.raises(SystemExit) as error:
            cli.main([*train_arguments(tmp_path / "run"), "--score-every", wrong])
        assert error.value.code == 2
    assert json.dumps("soon").strip('"') in capsys.readouterr().err
