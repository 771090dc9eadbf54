"""A run that was killed and resumed is the unbroken run, bit for bit, and needs all it saved."""

import functools
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from node_helpers import ROOT
from test_train import Quiet, log

from robot_ppo import cli, config
from robot_ppo.diagnostics import doctor
from robot_ppo.diagnostics.checks import record
from robot_ppo.training.checkpoint import EPISODES, Checkpoint, Checkpoints
from robot_ppo.training.logger import Logger
from robot_ppo.training.train import Trainer

TRPO = "ppo.objective=trpo"
BATCH = ROBOTS * ROLLOUT
ITERATIONS = 6
SAVED = 3
LIVELY = (
    "task.episode_length=0.4",
    "task.events.interval.push.interval=[0.1, 0.3]",
    "task.commands.twist.resample=[0.1, 0.4]",
    "save_every=0",
)
"""Episodes, pushes and commands of a few steps, a checkpoint at every iteration."""

OBJECTIVES = {
    "clip": ("ppo.objective=clip",),
    "kl_adaptive": ("ppo.objective=kl_adaptive", "ppo.normalize_returns=true"),
    "kl_dual": ("ppo.objective=kl_dual", "networks.std=state"),
    "trpo": ("ppo.objective=trpo", "ppo.entropy_end=0"),
    "memory": (
        "networks.actor_memory={cell: gru, units: 8}",
        "networks.critic_memory={cell: lstm, units: 6}",
    ),
    "groups": ("ppo.estimator=group_relative", "ppo.group_size=4"),
}


class Killed(Exception):
    """The end of a process that cannot save once more."""


class Told(Quiet):
    """Keeps what the log would hear and does not depend on the clock; may be killed."""

    def __init__(self, killed_at=None):
        self.rows = []
        super().__init__()
        self.killed_at = killed_at
        self.log = self.listen

    def listen(self, trainer, figures, _):
        row = figures | trainer.statistics.means() | trainer.env.metrics.behaviour()
        self.rows.append({name: repr(value) for name, value in row.items()})  # NaN equals NaN
        if trainer.iteration == self.killed_at:
            raise Killed


def lively(*overrides):
    return tiny_config(*LIVELY, *overrides, steps=ITERATIONS * BATCH, threads=1)


def digest(checkpoint):
    """A hash of everything in a checkpoint but the clock and the settings."""
    sha = hashlib.sha256()

    def add(value):
        if isinstance(value, dict):
            for name, part in value.items():
                sha.update(name.encode())
                add(part)
        elif isinstance(value, list):
            for part in value:
                add(part)
        elif isinstance(value, np.ndarray | torch.Tensor):
            sha.update(np.ascontiguousarray(value).tobytes())
        else:
            sha.update(repr(value).encode())

    add({k: v for k, v in asdict(checkpoint).items() if k not in ("seconds", "settings")})
    return sha.hexdigest()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Settings -> the last checkpoint's hash, and what the log was told."""

    @functools.cache
    def train(*settings):
        folder = tmp_path_factory.mktemp("unbroken")
        told = Told()
        Trainer(lively(*settings), folder).run(told)
        return digest(Checkpoints(folder).newest()), told.rows

    return train


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Settings -> a run that was killed an iteration past a checkpoint; its rows till there."""

    @functools.cache
    def train(*settings):
        folder = tmp_path_factory.mktemp("broken")
        told = Told(killed_at=SAVED + 1)
        with pytest.raises(Killed):
            Trainer(lively(*settings), folder).run(told)
        return folder, told.rows[:SAVED]

    return train


@pytest.mark.numeric
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_killed_and_resumed_training_is_the_unbroken_one(objective, unbroken, broken, tmp_path):
    """Weights, optimizers, random streams, simulations and the log's figures."""
    settings = OBJECTIVES[objective]
    folder, before = broken(*settings)
    run = shutil.copytree(folder, tmp_path / "run")
    told = Told()
    trainer = Trainer(lively(*settings, "threads=2"), run, resume=True)
    assert trainer.iteration == SAVED
    trainer.run(told)
    assert (digest(Checkpoints(run).newest()), before + told.rows) == unbroken(*settings)


PARTS = [
    ("steps",),
    ("rng",),
    *(("learner", name) for name in ("actor", "critic", "learning_rate", "beta", "generators")),
    *(("learner", f"{name}_optimizer") for name in ("actor", "critic")),
    *(("episodes", name) for name in ("env", "observations", "statistics")),
]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """What a run of another seed would save at its beginning."""
    folder = tmp_path_factory.mktemp("other")
    trainer = Trainer(lively(*OBJECTIVES["kl_adaptive"], "seed=9"), folder)
    trainer._start_episodes()
    return trainer.snapshot()


@pytest.mark.parametrize("path", PARTS, ids=".".join)
def test_with_any_one_part_of_another_run_it_is_not(path, unbroken, broken, other, tmp_path):
    settings = OBJECTIVES["kl_adaptive"]
    folder, before = broken(*settings)
    mixed = asdict(Checkpoints(folder).newest())
    theirs = asdict(other)
    for name in path[:-1]:
        ours = mixed[name]
        theirs = theirs[name]
    (ours if len(path) > 1 else mixed)[path[-1]] = theirs[path[-1]]
    trainer = Trainer(lively(*settings), tmp_path)
    told = Told()
    trainer._restore(Checkpoint(**mixed))
    trainer.run(told)
    assert (digest(Checkpoints(tmp_path).newest()), before + told.rows) != unbroken(*settings)


@pytest.mark.parametrize("network", ["actor", "critic"])
def test_without_the_memory_of_one_network_it_is_not(network, unbroken, broken, tmp_path):
    settings = OBJECTIVES["memory"]
    folder, before = broken(*settings)
    saved = asdict(Checkpoints(folder).newest())
    memory = saved["episodes"]["memory"]
    assert np.abs(memory[network]).max() > 0
    memory[network] = np.zeros_like(memory[network])
    trainer = Trainer(lively(*settings), tmp_path)
    told = Told()
    trainer._restore(Checkpoint(**saved))
    trainer.run(told)
    assert (digest(Checkpoints(tmp_path).newest()), before + told.rows) != unbroken(*settings)


def test_the_clock_has_no_say(unbroken, tmp_path, monkeypatch):
    """Neither by when checkpoints are written nor by how far a budget of minutes is spent."""
    settings = ("ppo.learning_rate_schedule=linear", "ppo.entropy_end=0")
    slow = Trainer(lively(*settings, "save_every=5", "minutes=1"), tmp_path)
    looks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: 0.1 * next(looks))
    slow.run(told := Told())
    assert 15 < slow.seconds < 60
    assert len(Checkpoints(tmp_path).paths()) < ITERATIONS
    assert (digest(Checkpoints(tmp_path).newest()), told.rows) == unbroken(*settings)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_from_its_beginning(
    tmp_path, capsys
):
    whole = tmp_path / "whole"
    run = tmp_path / "run"
    assert cli.main(train_arguments(whole)) == 0
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints")
    assert "no checkpoint yet" not in capsys.readouterr().out
    assert cli.main(train_arguments(run, "--resume")) == 0
    assert "no checkpoint yet: the run starts from its beginning" in capsys.readouterr().out
    assert digest(Checkpoints(run).newest()) == digest(Checkpoints(whole).newest())
    assert clockless(log(run)) == clockless(log(whole))


# -- what is not exact is said --------------------------------------------------------------------


def warned(trainer, caplog, why):
    (said,) = [r.getMessage() for r in caplog.records if "the running episodes" in r.getMessage()]
    assert f"cannot go on ({why}" in said
    assert "new ones start, so from here on the weights are not those of an unbroken run" in said
    trainer.run(Told())
    assert trainer.iteration == ITERATIONS
    return trainer


def test_a_checkpoint_from_before_there_were_episodes_starts_new_ones_and_says_so(
    unbroken, broken, tmp_path, caplog
):
    """Its weights and optimizers are taken up."""
    folder, _ = broken()
    saved = vars(Checkpoints(folder).newest())
    old = {name: value for name, value in saved.items() if name not in ("episodes", "settings")}
    old["env_rng"] = saved["episodes"]["env"]["rng"]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(config.to_yaml(saved["settings"]))
    torch.save(old, tmp_path / "checkpoints" / f"{old['steps']:012d}.pt")
    trainer = Trainer(lively(), tmp_path, resume=True)
    for name, weight in trainer.learner.actor.state_dict().items():
        assert torch.equal(weight, saved["learner"]["actor"][name])
    warned(trainer, caplog, "the checkpoint is without them")
    assert digest(Checkpoints(tmp_path).newest()) != unbroken()[0]


def test_episodes_that_start_anew_are_not_those_that_the_run_began_with(tmp_path):
    seen = []
    for iteration in (0, SAVED, SAVED):
        trainer = Trainer(lively(), tmp_path)
        trainer.iteration, trainer.steps = iteration, iteration * BATCH
        trainer._start_episodes()
        seen.append(trainer.observations["critic"])
    assert not np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[1], seen[2])


def test_episodes_of_other_settings_start_anew_and_that_is_said(broken, tmp_path, caplog):
    run = shutil.copytree(broken()[0], tmp_path / "run")
    trainer = Trainer(lively("num_envs=16", "rollout=4"), run, resume=True)
    warned(trainer, caplog, "state.ticks is int64 (8,), not int64 (16,)")


def test_episodes_that_start_anew_go_on_at_the_levels_of_the_curriculum(tmp_path, caplog):
    """Before, another number of simulations put them all back to 0, and nobody said so."""
    rough = (
        "task.terrain={kinds: {waves: {share: 1}}, levels: 5, columns: 2, size: 4.0}",
        "task.curriculum.terrain_level={}",
        "task.curriculum.command_range="
        "{reward: lin_vel_tracking, above: 0.9, step: 0.1, narrowest: 0.2}",
    )
    trainer = Trainer(lively(*rough), tmp_path)
    trainer._start_episodes()
    trainer.env.placement.row[:] = 4
    trainer.env.curriculum.levels[1] = 0.5
    trainer.iteration, trainer.steps = SAVED, SAVED * BATCH
    trainer._save()
    resumed = Trainer(lively(*rough, "num_envs=16", "rollout=4"), tmp_path, resume=True)
    assert resumed.env.commands.width == 0.2
    resumed._start_episodes()
    assert "the running episodes cannot go on" in caplog.text
    assert (resumed.env.placement.row == 4).all() and len(resumed.env.placement.row) == 16
    assert resumed.env.commands.width == pytest.approx(0.6)


def test_damaged_episodes_start_anew_and_that_is_said(broken, tmp_path, caplog):
    run = shutil.copytree(broken()[0], tmp_path / "run")
    (path,) = (run / "checkpoints").glob(f"*{EPISODES}")
    path.write_bytes(path.read_bytes()[:-100])
    warned(Trainer(lively(), run, resume=True), caplog, "the checkpoint is without them")
    assert f"{path}: not a whole checkpoint" in caplog.text


# -- the log --------------------------------------------------------------------------------------


def resumed_log(folder, text, iteration):
    (folder / "log.csv").write_text(text)
    Logger(folder, SimpleNamespace(iteration=iteration, steps=10 * iteration))._file.close()
    return (folder / "log.csv").read_text()


def test_rows_past_the_checkpoint_are_cut(tmp_path):
    rows = ["iteration,steps", "1,10", "2,20", "3,30", "4,40"]
    text = "".join(f"{row}\r\n" for row in rows)
    assert resumed_log(tmp_path, text, 2).split() == rows[:3]
    assert resumed_log(tmp_path, text, 9).split() == rows
    assert resumed_log(tmp_path, text, 0) == ""


@pytest.mark.parametrize("torn", ["", "2", "2,", "2,20"])
def test_a_row_that_was_torn_is_cut(torn, tmp_path):
    whole = "iteration,steps,kl\n1,10,0.1\n"
    assert resumed_log(tmp_path, whole + torn, 2) == whole


@pytest.mark.parametrize("text", ["", "itera", "iteration,steps"])
def test_a_log_without_a_row_begins_anew(text, tmp_path):
    assert resumed_log(tmp_path, text, 0) == ""


def test_columns_that_appear_on_resume_get_their_place_and_those_that_are_gone_stay_empty(tmp_path):
    (tmp_path / "log.csv").write_text("steps,iteration,old\r\n1,1,3\r\n")
    with Logger(tmp_path, SimpleNamespace(iteration=1, steps=1)) as logger:
        logger._write({"iteration": 2, "steps": 5, "new": 7})
        logger._write({"iteration": 3, "steps": 9, "old": np.nan, "newer": 8})
        assert len(log(tmp_path)) == 3  # while it is written
    wanted = ["steps,iteration,old,new,newer", "1,1,3,,", "5,2,,7,", "9,3,nan,,8"]
    assert (tmp_path / "log.csv").read_text().splitlines() == wanted
    assert resumed_log(tmp_path, (tmp_path / "log.csv").read_text(), 2).splitlines() == wanted[:3]


def test_a_run_that_goes_on_with_another_objective_logs_its_figures_and_is_not_ill(tmp_path):
    """Figures that were not logged are not figures that are no number."""
    run = tmp_path / "run"
    steps = 10 * BATCH
    assert cli.main(train_arguments(run, steps=steps)) == 0
    dual = ("--set", "ppo.objective=kl_dual")
    assert cli.main(train_arguments(run, "--resume", *dual, steps=2 * steps)) == 0
    assert cli.main(train_arguments(run, "--resume", "--set", TRPO, steps=3 * steps)) == 0
    groups = [
        word for key in ("ppo.objective=clip", *OBJECTIVES["groups"]) for word in ("--set", key)
    ]
    assert cli.main(train_arguments(run, "--resume", *groups, steps=4 * steps)) == 0
    rows = log(run)
    assert {row["beta"] == "" for row in rows[:10]} == {row["beta"] != "" for row in rows[10:20]}
    assert all(row["kl_after"] for row in rows[10:30])
    assert all(row["backtracks"] for row in rows[20:30])
    assert {row["value_loss"] == "" for row in rows[30:]} == {True}  # there is no critic any more
    one = record.load(run)
    assert len(one) >= doctor.ENOUGH
    assert np.isnan(one["beta"][:10]).all() and np.isnan(one["learning_rate"][20:30]).all()
    assert "not_finite" not in {finding.name for finding in doctor.examine(one)}


# -- a process that is killed ---------------------------------------------------------------------

CLOCK = ("seconds", "steps_per_second")


def clockless(rows):
    return [
        {k: v for k, v in row.items() if k not in CLOCK and not k.startswith("time_")}
        for row in rows
    ]


def rows(run):
    return len(log(run)) if (run / "log.csv").exists() else 0


def killed_in_time(run, arguments, learning):
    """Start a training in the folder `run` and kill it with SIGKILL at a random moment.

    `learning`: after some iterations, else a few seconds after its start. Returns False if it
    ended before.
    """
    goal = rows(run) + 3 if learning else 0
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_ppo.cli", *arguments],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'export'}", "TERM": "dumb"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and rows(run) < goal:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 1.0 if learning else 5.0))
        return process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["clip", "kl_adaptive"])
def test_kill_9_at_random_moments_and_resume_gives_the_unbroken_run(objective, tmp_path):
    """At any moment: while importing, before the first checkpoint, while writing one."""
    sets = [word for key in (*LIVELY, *OBJECTIVES[objective]) for word in ("--set", key)]
    whole = tmp_path / "whole"
    run = tmp_path / "run"
    steps = 200 * BATCH
    assert cli.main(train_arguments(whole, *sets, steps=steps)) == 0
    words = train_arguments(run, *sets, steps=steps)
    kills = []
    while len(kills) < 8:
        resume = ["--resume"] if (run / "config.yaml").exists() else []
        if not killed_in_time(run, [*words, *resume], learning=len(kills) % 2 == 1):
            break
        kills.append(rows(run))
    print("rows in the log when killed:", kills)
    assert len(set(kills) - {0}) > 1
    saved = Checkpoints(run)
    if not saved.paths() or saved.newest().steps < steps:  # else the last one was not killed
        assert cli.main([*words, "--resume"]) == 0
    assert digest(Checkpoints(run).newest()) == digest(Checkpoints(whole).newest())
    assert clockless(log(run)) == clockless(log(whole))
    assert len(log(run)) == 200
    left = {path.suffix for path in (run / "checkpoints").iterdir()}
    assert left == {".pt", EPISODES}
