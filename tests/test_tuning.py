"""`robot-ppo tune`: the space, what a trial is worth, studies that end and go on."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from env_helpers import SHORT_TRIALS
from fork_server import workstation

from robot_ppo import cli, config
from robot_ppo.training.train import DivergedError, Trainer
from robot_ppo.tuning import judge, report, space, study
from robot_ppo.tuning.judge import Verdict
from robot_ppo_export.errors import InputError

TASK = "InvertedDoublePendulum-v5"
SMALL = ["num_envs=8", "rollout=16", "steps=1024", "ppo.recompute_advantages=false"]
SPACE = "ppo.gamma: {low: 0.9, high: 0.99}\nppo.epochs: {low: 1, high: 3}\n"


def load(more):
    return config.load(TASK, overrides=SMALL, drawn=more)


def write(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return path


def search(tmp_path, text=SPACE, **changes):
    own = {"objective": "return", "seeds": 1, "checks": 2, "out": tmp_path / "out"}
    return study.Search(space.read(write(tmp_path, text), load), load, **(own | changes))


# -- the space ----------------------------------------------------------------------------------


def test_every_kind_of_range_is_drawn_from(tmp_path):
    text = (
        "ppo.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n"
        "ppo.epochs: {low: 2, high: 8, step: 2}\n"
        "ppo.gamma: {low: 0.9, high: 0.99}\n"
        "networks.activation: {choices: [elu, tanh]}\n"
        "ppo.stop_kl: {choices: [null, 0.05]}\n"
    )
    one = space.read(write(tmp_path, text), load)
    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    draws = [one.draw(found.ask()) for _ in range(40)]
    rates = np.log10([draw["ppo.learning_rate"] for draw in draws])
    assert rates.min() < -3.5 and rates.max() > -2.5  # of a linear range nearly all are above
    assert {draw["ppo.epochs"] for draw in draws} == {2, 4, 6, 8}
    assert {draw["networks.activation"] for draw in draws} == {"elu", "tanh"}
    assert {draw["ppo.stop_kl"] for draw in draws} == {None, 0.05}
    settings = load(one.overrides(draws[0]))
    assert settings.ppo.learning_rate == draws[0]["ppo.learning_rate"]
    assert settings.ppo.stop_kl == draws[0]["ppo.stop_kl"]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "no key to try"),
        ("ppo.gama: {low: 0.9, high: 0.99}", "unknown key 'ppo.gama'; did you mean ppo.gamma?"),
        ("ppo.gamma: 0.9", "ppo.gamma: write it as"),
        ("ppo.gamma: {low: 0.9}", "high"),
        ("ppo.gamma: {low: 0.99, high: 0.9}", "low 0.99 must be below high 0.9"),
        ("ppo.gamma: {low: 0.9, high: 1.5}", "a run refuses 1.5"),
        ("ppo.gamma: {low: 0, high: 1, log: true}", "must be above 0"),
        ("ppo.gamma: {low: 0.1, high: 1.0, log: true, step: 0.1}", "has no step"),
        ("ppo.epochs: {low: 1, high: 4, step: 0}", "step 0 must be above 0"),
        ("networks.activation: {choices: [elu]}", "fewer than two"),
        ("networks.activation: {choices: [elu, sine]}", "a run refuses sine"),
        ("ppo.gamma: {low: 0.9, high: 0.99, lag: true}", "lag"),
    ],
)
def test_a_space_that_is_none_is_refused_in_a_sentence(tmp_path, text, sentence, capsys):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        space.read(path, load)
    assert sentence in str(error.value) and str(path) in str(error.value)


# -- what a policy is worth ---------------------------------------------------------------------


def test_the_worst_figure_counts_in_units_of_its_limit():
    limits = {"velocity_error": 0.2, "yaw_error": 0.1, "falls": 0}
    good = {"velocity_error": 0.1, "yaw_error": 0.08, "falls": 0.0}
    assert judge.worst(good, limits) == pytest.approx(0.8)
    assert judge.worst(good | {"falls": 3.0}, limits) == 4.0
    with pytest.raises(InputError, match="limits"):
        judge.worst(good, {})


@pytest.mark.parametrize("task, objective", [(TASK, "scorecard"), ("go2_walk", "return")])
def test_a_task_is_judged_by_what_it_has(task, objective):
    with pytest.raises(InputError, match=f"--objective {objective}"):
        judge.check(objective, config.load(task))
    judge.check(judge.default_objective(config.load(task)), config.load(task))


def test_a_robot_is_judged_by_its_scorecard(tmp_path):
    settings = config.load("go2_walk", overrides=["num_envs=4", "steps=24", *SHORT_TRIALS])
    trainer = Trainer(settings, tmp_path)

    class Log:
        def log(self, *_):
            pass

    verdict = judge.judge(settings, trainer.run(Log()))
    limits = settings.task.evaluation.limits
    assert verdict.value == judge.worst(verdict.figures, limits) > 1 and not verdict.passed


# -- trials -------------------------------------------------------------------------------------


def judged(monkeypatch, values, passed=False):
    """Let successive policies be worth `values`, the last one from then on."""
    left = list(values)

    def of(settings, checkpoint):
        value = left.pop(0) if len(left) > 1 else left[0]
        return Verdict(value, passed, {"return": value})

    monkeypatch.setattr(judge, "judge", of)


def test_the_mean_over_the_seeds_counts(tmp_path, monkeypatch):
    judged(monkeypatch, [1.0, 2.0, 10.0, 20.0])  # a check and the end, twice
    one = search(tmp_path, seeds=2)
    found = study.open_study(one, "s", None, 0)
    study.run(found, one, 1, lambda _: None)
    (trial,) = found.trials
    assert trial.value == 11.0
    assert trial.intermediate_values == {0: 1.0, 2: (2.0 + 10.0) / 2}
    folders = sorted((tmp_path / "out" / "trial_0000").iterdir())
    assert [config.load_run(f).seed for f in folders] == [1, 2]


def test_what_is_worse_than_the_median_is_ended_early(tmp_path, monkeypatch):
    one = search(tmp_path)
    found = study.open_study(one, "s", None, 0)
    judged(monkeypatch, [5.0])
    study.run(found, one, study.WARM_UP, lambda _: None)
    judged(monkeypatch, [1.0])
    study.run(found, one, study.WARM_UP + 1, lambda _: None)
    assert found.trials[-1].state is optuna.trial.TrialState.PRUNED
    judged(monkeypatch, [9.0])
    study.run(found, one, study.WARM_UP + 2, lambda _: None)
    assert found.best_trial.number == study.WARM_UP + 1


def test_seconds_until_it_passes(tmp_path, monkeypatch):
    judged(monkeypatch, [0.5], passed=True)
    one = search(tmp_path, objective="seconds", checks=4)
    found = study.open_study(one, "s", None, 0)
    study.run(found, one, 1, lambda _: None)
    assert 0 < found.best_value < 60
    assert list(found.trials[0].intermediate_values) == [0]  # it ended where it passed
    judged(monkeypatch, [3.0])
    study.run(found, one, 2, lambda _: None)
    assert found.trials[1].value > found.trials[0].value  # never: longer than it trained


def test_a_training_that_diverges_is_a_bad_trial_and_no_end(tmp_path, monkeypatch):
    def run(self, logger):
        raise DivergedError("the policy's output is no longer finite")

    monkeypatch.setattr(Trainer, "run", run)
    one = search(tmp_path)
    found = study.open_study(one, "s", None, 0)
    study.run(found, one, 2, lambda _: None)
    assert [t.state for t in found.trials] == [optuna.trial.TrialState.PRUNED] * 2
    assert "no longer finite" in found.trials[0].user_attrs["ended"]


def test_a_study_about_something_else_is_refused(tmp_path):
    study.open_study(search(tmp_path), "s", None, 0)
    study.open_study(search(tmp_path), "s", None, 5)  # the same: joins
    with pytest.raises(InputError, match="another seeds"):
        study.open_study(search(tmp_path, seeds=2), "s", None, 0)
    with pytest.raises(InputError, match=r"another space\.ppo\.gamma"):
        study.open_study(search(tmp_path, "ppo.gamma: {low: 0.8, high: 0.99}"), "s", None, 0)


def test_a_database_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="--storage"):
        study.open_study(search(tmp_path), "s", "sqlite:////no/such/folder/studies.db", 0)
    with pytest.raises(InputError, match="--storage"):
        study.open_study(search(tmp_path), "s", "nonsense", 0)


# -- the command --------------------------------------------------------------------------------


def tune(tmp_path, trials, *more):
    arguments = ["tune", TASK, "--space", str(write(tmp_path, SPACE)), "--trials", str(trials)]
    arguments += ["--seeds", "1", "--checks", "1", "--out", str(tmp_path / "out"), "--seed", "1"]
    for text in SMALL:
        arguments += ["--set", text]
    return [*arguments, *more]


def test_the_command_finds_settings_that_train_reads(tmp_path, capsys):
    assert cli.main(tune(tmp_path, 3)) == 0
    said = capsys.readouterr().out
    assert "trial 2:" in said and "3 trials" in said
    best = yaml.safe_load((tmp_path / "out" / "best_preset.yaml").read_text())
    assert best["extends"] == TASK and 0.9 <= best["ppo"]["gamma"] <= 0.99
    assert (tmp_path / "out" / "study.png").stat().st_size > 1000
    assert cli.main(tune(tmp_path, 4)) == 0  # the same study goes on
    said = capsys.readouterr().out
    assert "trial 3:" in said and "trial 2:" not in said
    drawn = [json.dumps(t.params, sort_keys=True) for t in opened(tmp_path).trials]
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("objective", ["clip", "kl_dual"])
def test_what_the_best_trial_had_for_nothing_is_not_in_its_preset(objective, tmp_path):
    """A search may draw the objective and what only one of them reads."""
    text = "ppo.objective: {choices: [clip, kl_dual]}\nppo.kl_bound: {low: 0.01, high: 0.02}\n"
    one = search(tmp_path, text)
    one.out.mkdir()
    found = optuna.create_study(direction="maximize")
    params = {"ppo.objective": objective, "ppo.kl_bound": 0.015}
    found.add_trial(
        optuna.trial.create_trial(params=params, distributions=one.space.distributions, value=1.0)
    )
    (path,) = report.write(found, one, TASK, TASK)
    wanted = {"objective": objective} | ({"kl_bound": 0.015} if objective == "kl_dual" else {})
    assert yaml.safe_load(path.read_text())["ppo"] == wanted
    assert config.load(TASK, str(path)).ppo.objective == objective


def opened(tmp_path):
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "journal.log"))
    return optuna.load_study(study_name=TASK, storage=optuna.storages.JournalStorage(file))


def test_a_killed_search_goes_on(tmp_path):
    process = workstation.start("-m", "robot_ppo.cli", *tune(tmp_path, 50), stdout=subprocess.PIPE)
    assert process.stdout.readline().startswith("trial 0:")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert cli.main(tune(tmp_path, 2)) == 0
    states = [trial.state.name for trial in opened(tmp_path).trials]
    assert states.count("COMPLETE") >= 2


def test_ctrl_c_ends_it_with_what_was_found(tmp_path):
    process = workstation.start("-m", "robot_ppo.cli", *tune(tmp_path, 500), stdout=subprocess.PIPE)
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    said = process.stdout.read()
    assert process.wait() == 130 and time.monotonic() - began < 60
    assert "best_preset.yaml" in said


def test_ctrl_c_at_a_lock_ends_it_as_elsewhere(monkeypatch):
    """Before, optuna's failure to give the lock back was said, and what was found was not."""

    def interrupted(*_, **__):
        try:
            raise KeyboardInterrupt
        finally:
            Path("/none/lock").unlink()

    one = optuna.create_study()
    monkeypatch.setattr(one, "optimize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study.run(one, None, 1, lambda _: None)
    monkeypatch.setattr(one, "optimize", lambda *_, **__: Path("/none/lock").unlink())
    with pytest.raises(FileNotFoundError):
        study.run(one, None, 1, lambda _: None)


def test_without_a_complete_trial_nothing_is_written(tmp_path):
    one = search(tmp_path)
    assert report.write(study.open_study(one, "s", None, 0), one, TASK, TASK) == []


def test_a_derived_task_is_searched_for_a_robot(tmp_path, capsys):
    path = write(tmp_path, "task.gait.frequency: {low: 1.5, high: 2.5}\n")
    arguments = ["tune", "walk", "--robot", "go2", "--space", str(path), "--trials", "1"]
    arguments += ["--seeds", "1", "--checks", "1", "--out", str(tmp_path / "out"), "--seed", "1"]
    for text in ("num_envs=4", "steps=24", *SHORT_TRIALS):
        arguments += ["--set", text]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "next: robot-ppo train walk --robot go2 --set task.gait.frequency=" in said
    assert not list((tmp_path / "out").glob("best_*.yaml"))
