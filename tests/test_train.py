"""A whole training, small: what it writes, how it goes on, and how it stops."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import env_helpers as helpers
import numpy as np
import pytest
import torch
from env_helpers import ROBOTS, ROLLOUT, tiny_config, train_arguments
from fork_server import workstation

from robot_ppo import cli, config, export
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo.training.logger import SHOWN, Logger
from robot_ppo.training.threads import single_threaded
from robot_ppo.training.train import Trainer
from robot_ppo_export.errors import InputError

BATCH = ROBOTS * ROLLOUT


def side_by_side(observations, groups=("actor", "critic")):
    """What a network that reads these groups is given."""
    return np.concatenate([observations[name] for name in groups], axis=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two iterations; copy it before changing it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(train_arguments(out)) == 0
    return out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def log(run):
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(run, name):
    return [float(row[name]) for row in log(run)]


def same_weights(a, b):
    return all(
        torch.equal(a.learner[part][key], b.learner[part][key])
        for part in ("actor", "critic")
        for key in a.learner[part]
    )


def result(out, *more, **kwargs):
    assert cli.main(train_arguments(out, *more, **kwargs)) == 0
    return Checkpoints(out).newest()


# -- what it writes -----------------------------------------------------------------------------


def test_a_run_holds_its_settings_its_log_and_its_checkpoint(trained):
    assert config.load_run(trained) == tiny_config(steps=2 * BATCH, threads=1)
    checkpoint = Checkpoints(trained).newest()
    assert (checkpoint.steps, checkpoint.iteration) == (2 * BATCH, 2)
    assert checkpoint.seconds > 0
    assert list((trained / "tensorboard").glob("events.*"))
    assert column(trained, "iteration") == [1, 2]
    assert column(trained, "steps") == [BATCH, 2 * BATCH]


def test_the_log_has_every_reward_and_every_figure_that_is_shown(trained):
    columns = set(log(trained)[0])
    rewards = {f"reward_{name}" for name in (*helpers.shipped().task.rewards, "termination")}
    assert rewards <= columns
    assert {name for name, _, _ in SHOWN} - {"episode_steps", "imitation_error"} <= columns
    assert "episode_steps" not in columns  # of Gymnasium's tasks
    assert {"steps_per_second", "time_physics", "time_learn", "diverged"} <= columns
    for name in ("kl", "entropy", "std", "learning_rate", "velocity_error", "value_loss"):
        assert np.isfinite(column(trained, name)).all(), name


def test_the_normalizers_have_seen_every_rollout_and_one_before_learning(trained):
    learner = Checkpoints(trained).newest().learner
    for part in ("actor", "critic"):
        assert learner[part]["normalizer.count"] == 3 * BATCH


def test_it_says_what_it_trains_with_before_it_does(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(train_arguments(out, "--minutes", "9")) == 0
    said = capsys.readouterr().out
    of = f"{BATCH * 2} steps or 9 min, {ROBOTS} simulations"
    assert said.startswith(f"go2_walk (robot go2), preset default: {of}\n")
    assert cli.main(train_arguments(out, "--resume", steps=3 * BATCH)) == 0
    of = f"{BATCH * 3} steps or 9 min"
    assert f"go2_walk (robot go2), from {2 * BATCH} steps on: {of}, " in capsys.readouterr().out


def test_it_says_what_to_do_next(tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main(train_arguments(out)) == 0
    said = capsys.readouterr().out
    assert "it=1" in said and "kl=" in said  # plain lines, where there is no terminal
    assert f"done after {2 * BATCH} steps" in said
    assert f"robot-ppo eval {out}" in said and f"robot-ppo export {out} -o go2_walk.onnx" in said


@pytest.mark.numeric
def test_one_seed_gives_one_policy_at_any_number_of_threads(trained, tmp_path):
    first = Checkpoints(trained).newest()
    assert same_weights(first, result(tmp_path / "again"))
    assert same_weights(first, result(tmp_path / "two threads", "--threads", "2"))
    assert not same_weights(first, result(tmp_path / "seed", "--seed", "2"))


@pytest.mark.numeric
def test_the_first_weights_are_the_same_on_any_machine(tmp_path):
    """Torch takes as many threads as there are CPUs, and its QR rounds differently with them."""
    settings = config.load("InvertedPendulum-v5", "ppo_paper")
    first = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with single_threaded():
            first.append(list(Trainer(settings, tmp_path).learner.actor.parameters()))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*first, strict=True))


@pytest.mark.parametrize(("steps", "iterations"), [(1, 1), (BATCH, 1), (BATCH + 1, 2)])
def test_a_budget_of_steps_is_spent_in_whole_iterations(steps, iterations, tmp_path):
    assert result(tmp_path / "run", steps=steps).iteration == iterations


def test_a_budget_of_minutes_ends_a_training(tmp_path):
    checkpoint = result(tmp_path / "run", "--minutes", "0.005", steps=10**9)
    assert 0.3 <= checkpoint.seconds < 10


# -- going on -----------------------------------------------------------------------------------


def test_resume_continues_the_counters_and_the_log(run):
    assert cli.main(train_arguments(run, "--resume", steps=4 * BATCH)) == 0
    checkpoint = Checkpoints(run).newest()
    assert (checkpoint.steps, checkpoint.iteration) == (4 * BATCH, 4)
    assert column(run, "iteration") == [1, 2, 3, 4]
    assert column(run, "steps") == [BATCH, 2 * BATCH, 3 * BATCH, 4 * BATCH]
    seconds = column(run, "seconds")
    assert seconds == sorted(seconds)
    assert checkpoint.learner["actor"]["normalizer.count"] == 5 * BATCH


def test_resume_takes_up_weights_optimizers_and_random_streams(run):
    saved = Checkpoints(run).newest()
    trainer = Trainer(config.load_run(run), run, resume=True)
    state = trainer.learner.state_dict()
    assert same_weights(saved, SimpleNamespace(learner=state))
    for part in ("actor_optimizer", "critic_optimizer"):
        assert saved.learner[part] and str(state[part]) == str(saved.learner[part])
    assert state["learning_rate"] == saved.learner["learning_rate"]
    assert trainer.rng.bit_generator.state == saved.rng
    fresh = Trainer(config.load_run(run), run)
    assert not same_weights(saved, SimpleNamespace(learner=fresh.learner.state_dict()))


def test_a_truncated_newest_checkpoint_means_the_one_before_it(run, caplog):
    assert cli.main(train_arguments(run, "--resume", steps=4 * BATCH)) == 0
    newest = Checkpoints(run).paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    trainer = Trainer(config.load_run(run), run, resume=True)
    assert trainer.steps == 2 * BATCH
    assert f"{newest}: not a whole checkpoint" in caplog.text
    assert "using the one before it" in caplog.text


def test_resume_needs_no_more_than_the_words_that_ctrl_c_prints(run):
    """The settings of a run are those that it was started with."""
    words = ["train", "go2_walk", "--out", str(run), "--resume", "--steps", str(4 * BATCH)]
    assert cli.main(words) == 0
    assert Checkpoints(run).newest().iteration == 4


# -- the folder ---------------------------------------------------------------------------------


def refused(arguments, capsys):
    """The one sentence with which a command line is refused."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("robot-ppo: ") and "\n" not in said and "Traceback" not in said
    return said


def contents(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(run, capsys):
    before = contents(run)
    said = refused(train_arguments(run), capsys)
    assert "is not empty; --resume goes on with that run, --overwrite deletes it" in said
    assert contents(run) == before


def test_overwrite_starts_from_nothing(run):
    (run / "note.txt").write_text("of the old run")
    assert result(run, "--overwrite", "--seed", "3").iteration == 2
    assert not (run / "note.txt").exists()
    assert config.load_run(run).seed == 3
    assert column(run, "iteration") == [1, 2]


def test_overwrite_deletes_nothing_that_is_not_a_run(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("three years of work")
    said = refused(train_arguments(tmp_path, "--overwrite"), capsys)
    assert "has no config.yaml, so it is not a run; delete it yourself" in said
    assert (tmp_path / "thesis.tex").read_text() == "three years of work"


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    assert result(tmp_path).iteration == 2


def test_a_file_in_the_way_is_said(tmp_path, capsys):
    (tmp_path / "run").write_text("")
    assert "is a file, not a folder" in refused(train_arguments(tmp_path / "run"), capsys)


def test_nothing_to_resume_is_said(tmp_path, capsys):
    said = refused(train_arguments(tmp_path / "run", "--resume"), capsys)
    assert f"{tmp_path / 'run'}: no run here; `robot-ppo train` without --resume starts one" in said
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_while_saving_keeps_the_last_good_checkpoint(run, capsys, monkeypatch):
    before = Checkpoints(run).newest()

    replace = os.replace

    def full(source, target):
        if target.parent.name == "checkpoints":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        said = refused(train_arguments(run, "--resume", steps=4 * BATCH), capsys)
    assert (
        "cannot be written (No space left on device); the last checkpoint stays, --resume" in said
    )
    after = Checkpoints(run).newest()
    assert after.steps == before.steps and same_weights(before, after)


def test_a_disk_that_fills_up_while_logging_is_said(run, capsys):
    (run / "log.csv").unlink()
    (run / "log.csv").symlink_to("/dev/full")
    said = refused(train_arguments(run, "--resume", steps=4 * BATCH), capsys)
    assert "No space left on device" in said


# -- stopping -----------------------------------------------------------------------------------


class Quiet:
    """A logger that says nothing; it may do something at each iteration."""

    def __init__(self, act=lambda trainer: None):
        self.log = lambda trainer, figures, times: act(trainer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_iteration_saves_and_restores_the_handlers(number, tmp_path):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    trainer = Trainer(tiny_config(steps=10**9, threads=1), tmp_path)
    saved = trainer.run(Quiet(lambda t: os.kill(os.getpid(), number) if t.iteration == 2 else None))
    assert trainer.interrupted
    assert saved.iteration == 2 and Checkpoints(tmp_path).newest().iteration == 2
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_ctrl_c_is_the_usual_one(tmp_path):
    trainer = Trainer(tiny_config(steps=10**9, threads=1), tmp_path)

    def twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # signals are handled between bytecodes

    with pytest.raises(KeyboardInterrupt):
        trainer.run(Quiet(twice))


def test_a_second_ctrl_c_keeps_the_last_checkpoint_and_says_how_to_go_on(run, capsys, monkeypatch):
    before = Checkpoints(run).newest()

    def impatient(logger, trainer, *_):
        if trainer.iteration == 4:
            os.kill(os.getpid(), signal.SIGINT)

    def again(self, checkpoint, keep):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # signals are handled between bytecodes

    monkeypatch.setattr(Logger, "log", impatient)
    monkeypatch.setattr(Checkpoints, "save", again)
    assert cli.main(train_arguments(run, "--resume", steps=10**9)) == 130
    said = capsys.readouterr().out
    assert (
        "not saved since the last checkpoint; go on from there with: robot-ppo train go2_" in said
    )
    assert said.strip().endswith(f"--out {run} --resume")
    assert same_weights(before, Checkpoints(run).newest())


@pytest.mark.real_time
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    words = ("-m", "robot_ppo.cli", *train_arguments(out, steps=10**9))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = workstation.start(*words, env=os.environ | {"TERM": "dumb"}, **pipes)
    try:
        ends = time.monotonic() + 60
        while not ((out / "log.csv").exists() and len(log(out)) > 2):
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        pressed = time.monotonic()
        said, complaints = process.communicate(timeout=30)
        assert time.monotonic() - pressed < 10
    finally:
        process.kill()
    assert process.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert f"go on with: robot-ppo train go2_walk --out {out} --resume" in said
    assert Checkpoints(out).newest().iteration == int(column(out, "iteration")[-1])


# -- observation groups ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "actor", "critic"),
    [
        ((), ["actor"], ["actor", "critic"]),
        (("[critic]", "[critic, actor]"), ["critic"], ["critic", "actor"]),
    ],
)
def test_networks_read_the_groups_that_they_name(groups, actor, critic, tmp_path):
    named = [
        f"networks.{who}_groups={those}"
        for who, those in zip(("actor", "critic"), groups, strict=False)
    ]
    trainer = Trainer(tiny_config(*named, steps=BATCH, threads=1), tmp_path)
    sizes = trainer.env.observation_groups
    trainer._start_episodes()
    seen = trainer.observations
    trainer._collect({"physics": 0.0})
    for names, inputs in (
        (actor, trainer.rollout.observations),
        (critic, trainer.rollout.critic_inputs),
    ):
        assert inputs.shape[-1] == sum(sizes[name] for name in names)
        assert np.array_equal(inputs[0], side_by_side(seen, names))
    assert trainer.learner.update(trainer.rollout)["kl"] >= 0


@pytest.mark.parametrize("who", ["actor", "critic"])
def test_a_group_that_the_task_lacks_is_named_with_those_it_has(who, tmp_path):
    settings = tiny_config(f"networks.{who}_groups=[actor, critc]")
    with pytest.raises(InputError, match=f"{who}_groups.*'critc'; did you mean 'critic'.*actor"):
        Trainer(settings, tmp_path)


@pytest.mark.parametrize("who", ["actor", "critic"])
def test_a_group_that_is_named_twice_is_refused(who, tmp_path):
    settings = tiny_config(f"networks.{who}_groups=[critic, actor, critic]")
    with pytest.raises(InputError, match=f"`networks.{who}_groups`: names the group 'critic' tw"):
        Trainer(settings, tmp_path)


def test_a_network_that_reads_nothing_is_refused():
    with pytest.raises(InputError, match=r"networks\.actor_groups.*at least 1"):
        tiny_config("networks.actor_groups=[]")


def test_an_actor_of_other_groups_is_not_exported(tmp_path):
    trainer = Trainer(tiny_config("networks.actor_groups=[critic]", threads=1), tmp_path)
    trainer._start_episodes()
    with pytest.raises(InputError, match=r"actor_groups.*cannot be exported"):
        export.build(trainer.config, trainer.snapshot())


# -- the rollout --------------------------------------------------------------------------------


def test_the_rollout_is_what_the_environment_returned(tmp_path, monkeypatch):
    trainer = Trainer(tiny_config(steps=BATCH, threads=1), tmp_path)
    trainer.env.max_ticks = 5  # so that every episode is cut off at least once
    trainer._start_episodes()
    first = trainer.observations["actor"].copy()
    steps = []
    step = trainer.env.step

    def spy(action):
        returned = step(action)
        steps.append((action.copy(), *returned))
        return returned

    monkeypatch.setattr(trainer.env, "step", spy)
    trainer._collect({"physics": 0.0})
    rollout = trainer.rollout
    actions, observations, rewards, failed, cut, infos = zip(*steps, strict=True)
    assert np.array_equal(rollout.observations, [first, *observations[:-1]])
    for ours, theirs in (
        (rollout.actions, actions),
        (rollout.rewards, rewards),
        (rollout.terminated, failed),
        (rollout.truncated, cut),
    ):
        assert np.array_equal(ours, theirs)
    last = side_by_side(infos[-1]["observations"])
    assert np.array_equal(rollout.last_critic_inputs, last)
    cuts = [(t, np.flatnonzero(c)) for t, c in enumerate(cut) if c.any()]
    assert sum(len(ids) for _, ids in cuts) >= ROBOTS
    for (t, ids, final), (at, rows) in zip(rollout.finals, cuts, strict=True):
        assert t == at and np.array_equal(ids, rows)
        assert np.array_equal(final, side_by_side(infos[t]["final_observations"])[rows])


def test_actions_are_the_policys_mean_and_its_deviation(tmp_path):
    config_ = tiny_config("num_envs=64", "rollout=16", steps=1, threads=1)
    trainer = Trainer(config_, tmp_path)
    with torch.no_grad():
        trainer.learner.actor.log_std[:] = torch.linspace(-2, 0, 12)
    trainer._start_episodes()
    trainer._collect({"physics": 0.0})
    rollout = trainer.rollout
    actor = trainer.learner.actor
    with torch.no_grad():
        assert torch.allclose(rollout.means, actor(rollout.observations), atol=1e-6)
        noise = (rollout.actions - rollout.means) / actor.log_std.exp()
    assert torch.allclose(noise.mean((0, 1)), torch.zeros(12), atol=0.2)
    assert torch.allclose(noise.std((0, 1)), torch.ones(12), atol=0.15)


def test_a_deviation_per_state_is_the_one_that_acts(tmp_path):
    trainer = Trainer(tiny_config("networks.std=state", steps=1, threads=1), tmp_path)
    actor = trainer.learner.actor
    rollout = trainer.rollout
    with torch.no_grad():
        actor.log_std_head.weight.mul_(100)
    trainer._start_episodes()  # counts into the normalizer; the next ones act with it
    trainer._collect({"physics": 0.0})
    with torch.no_grad():
        mean, log_std = actor.distribution(rollout.observations)
    assert torch.allclose(rollout.means, mean, atol=1e-5)
    assert torch.allclose(rollout.log_stds, log_std, atol=1e-5)
    assert rollout.log_stds.std((0, 1)).min() > 0.01


@pytest.mark.parametrize("objective", ["kl_dual", "trpo"])
def test_other_objectives_train_log_resume_and_export(objective, tmp_path, short_rollouts):
    """With all that a preset can add; what is exported is the mean alone."""
    keys = [f"ppo.objective={objective}", "networks.std=state", "networks.log_std_range=[-3, 0]"]
    keys += ["ppo.normalize_returns=true", "ppo.entropy_end=0", "networks.init=default"]
    more = [word for key in keys for word in ("--set", key)]
    one = tmp_path / "one"
    two = tmp_path / "two"
    result(one, *more, steps=4 * BATCH)
    result(two, *more)
    result(two, *more, "--resume", steps=4 * BATCH)
    assert len(log(two)) == 4
    assert all(0 <= kl <= 0.0101 for kl in column(one, "kl_after")) or objective != "trpo"
    assert ("beta" in log(one)[0]) == (objective == "kl_dual")
    assert cli.main(["export", str(one), "-o", str(tmp_path / "walk.onnx")]) == 0
