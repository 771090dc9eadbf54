"""The comparison of objectives: what is compared, the numbers of the table, the report."""

import csv
import json
import math

import msgspec
import numpy as np
import pytest
from node_helpers import ROOT
from ppo_paper_helpers import CHEETAH, CURVE, HOPPER, PENDULUM, STEPS, result

from benchmarks.ppo_paper import protocol, report, scores
from benchmarks.ppo_paper.protocol import RANDOM, SETTINGS, TASKS, Run
from benchmarks.ppo_paper.results import Folder, Result, write
from robot_ppo_export.errors import InputError

# -- what is compared ---------------------------------------------------------------------------


def test_the_settings_are_the_papers_and_two_more():
    assert len(SETTINGS) == 13 and len(TASKS) == 7
    extra = {name for name, setting in SETTINGS.items() if setting.paper is None}
    assert extra == {"kl_dual_0.01", "trpo_0.01"}
    assert max(SETTINGS.values(), key=lambda s: s.paper or -1).name == "clip_0.2"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_its_objective_and_nothing_of_the_protocol(name):
    config = Run(name, CHEETAH, 7).config(STEPS)
    setting = SETTINGS[name]
    ppo = config.ppo
    assert ppo.objective == setting.objective and config.seed == 7 and config.steps == STEPS
    assert setting.key is None or getattr(ppo, setting.key) == setting.value
    batch = config.num_envs * config.rollout
    assert (batch, batch // ppo.minibatches, ppo.epochs) == (2048, 64, 10)
    assert (ppo.gamma, ppo.gae_lambda, ppo.learning_rate, ppo.entropy) == (0.99, 0.95, 3e-4, 0)
    assert ppo.learning_rate_schedule == "constant" and config.networks.actor == (64, 64)
    assert config.threads == 1


def test_every_beginning_of_a_plan_is_balanced():
    settings = ["clip_0.2", "trpo_0.01", "unclipped"]
    tasks = [CHEETAH, PENDULUM]
    runs = protocol.plan(settings, tasks, seeds=3)
    assert runs[:2] == [Run(RANDOM, CHEETAH, 1), Run(RANDOM, PENDULUM, 1)]
    assert len(set(runs)) == len(runs) == 2 + 3 * 2 * 3
    for end in range(2, len(runs) + 1):
        counts = [sum(r[:2] == (s, t) for r in runs[2:end]) for s in settings for t in tasks]
        assert max(counts) - min(counts) <= 1
        # And no task is begun before all settings of the one before it are there.
        begun = [sum(r.task == t for r in runs[2:end]) % 3 for t in tasks]
        assert sum(count > 0 for count in begun) <= 1


def test_a_name_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown setting 'clip_0.4'.*clip_0\.[123]"):
        protocol.chosen(["clip_0.4"], SETTINGS, "setting")
    assert protocol.chosen([PENDULUM, CHEETAH], TASKS, "task") == [CHEETAH, PENDULUM]
    assert protocol.chosen(None, TASKS, "task") == list(TASKS)


# -- scores -------------------------------------------------------------------------------------


def test_the_table_by_hand():
    """Cheetah: zero -100, best 900 (mean of 800 and 1000). Pendulum: zero 10, best 1010."""
    rows = scores.table(
        [
            result(RANDOM, CHEETAH, -100.0),
            result(RANDOM, PENDULUM, 10.0),
            result("clip_0.2", CHEETAH, 800.0, seed=1),
            result("clip_0.2", CHEETAH, 1000.0, seed=2),
            result("clip_0.2", PENDULUM, 510.0),
            result("unclipped", CHEETAH, -600.0, ended="diverged", steps=2048),
            result("unclipped", PENDULUM, 1010.0),
        ],
        SETTINGS,
    )
    bad, good = rows  # in the order of the settings
    assert good.setting == "clip_0.2" and good.raw == {CHEETAH: 900.0, PENDULUM: 510.0}
    assert good.normalized == {CHEETAH: 1.0, PENDULUM: 0.5} and good.score == 0.75
    assert bad.normalized == {CHEETAH: -0.5, PENDULUM: 1.0} and bad.score == 0.25
    assert (good.runs, good.diverged, bad.runs, bad.diverged) == (3, 0, 2, 1)
    assert good.steps_per_second == pytest.approx(STEPS / 3)
    assert good.collect_us == pytest.approx(2e6 / STEPS)
    assert bad.learn_us == pytest.approx(2e6 / (STEPS + 2048))


def test_normalized_scores_do_not_depend_on_the_unit_of_a_tasks_reward():
    rng = np.random.default_rng(0)
    names = [RANDOM, "clip_0.1", "kl_fixed_3", "trpo_0.01"]
    values = np.sort(rng.normal(size=(len(names), 2)), axis=0)

    def normalized(scale, shift):
        results = [
            result(name, task, scale * value[i] + shift)
            for name, value in zip(names, values, strict=True)
            for i, task in enumerate((CHEETAH, HOPPER))
        ]
        return [row.score for row in scores.table(results, SETTINGS)]

    assert normalized(37.0, -1200.0) == pytest.approx(normalized(1.0, 0.0))
    assert normalized(-1.0, 0.0) != pytest.approx(normalized(1.0, 0.0))  # but on its sign


def test_a_scale_that_would_be_upside_down_is_none():
    """Where nothing beats the untrained policy there is no 1."""
    assert math.isnan(scores.normalize(-300.0, zero=-100.0, best=-200.0))
    assert math.isnan(scores.normalize(5.0, zero=5.0, best=5.0))
    worse = [result(RANDOM, CHEETAH, -100.0), result("clip_0.2", CHEETAH, -200.0)]
    fine = [result(RANDOM, HOPPER, 0.0), result("clip_0.2", HOPPER, 50.0)]
    (row,) = scores.table([*worse, *fine], SETTINGS)
    assert row.score == 1.0 and math.isnan(row.normalized[CHEETAH])


def test_a_task_without_its_zero_and_a_run_without_an_episode_do_not_count():
    (row,) = scores.table(
        [
            result(RANDOM, HOPPER, 0.0),
            result("clip_0.2", HOPPER, 50.0),
            result("clip_0.2", HOPPER, math.nan, seed=2, episodes=0),
            result("clip_0.2", CHEETAH, 7.0),
        ],
        SETTINGS,
    )
    assert row.normalized == {HOPPER: 1.0} and row.raw == {HOPPER: 50.0} and row.runs == 3


def test_a_run_that_diverged_keeps_its_last_value_in_the_mean_of_its_seeds():
    steps, values = scores.mean_curve([[(1, 2.0), (2, 4.0), (3, 6.0)], [(2, 1.0)]])
    assert steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(values, [[2.0, 4.0, 6.0], [math.nan, 1.0, 1.0]])


# -- the report ---------------------------------------------------------------------------------


def test_the_report_of_a_part_of_the_runs(tmp_path, capsys):
    names = ["unclipped", "clip_0.2"]
    runs = protocol.plan(names, [CHEETAH, PENDULUM], seeds=2)
    folder = Folder(tmp_path, STEPS)
    assert report.write(folder, runs, STEPS) == {}
    assert "no run has ended" in capsys.readouterr().out
    for run in runs[:5]:  # both zeros, all of the cheetah, one of the pendulum
        write(folder.file(run), result(*run[:2], float(len(run.setting)), run.seed), CURVE)
    figures = report.write(Folder(tmp_path, STEPS), runs, STEPS)
    text = (tmp_path / "ppo_paper.md").read_text()
    assert f"| unclipped | -0.39 | {figures['settings'][0]['score']:.2f} | 2 | 0 |" in text
    assert "5 of 10 runs" in text and "| clip_0.2 | 8.0 | - |" in text
    assert "not every setting has a run of: InvertedPendulum-v5" in text
    assert json.loads(json.dumps(figures))["runs_planned"] == 10
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = [msgspec.convert(row, Result, strict=False) for row in csv.DictReader(file)]
    assert rows == [Folder(tmp_path, STEPS).results[run] for run in runs[:5]]
    for name in ("scores.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_whole_table_fits_on_a_screen_without_a_number_cut(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs = protocol.plan([*SETTINGS], protocol.TASKS, seeds=1)
    folder = Folder(tmp_path, STEPS)
    for run in runs:
        write(folder.file(run), result(run.setting, run.task, -9876.54, run.seed), CURVE)
    report.write(Folder(tmp_path, STEPS), runs, STEPS)
    out = capsys.readouterr().out
    assert "…" not in out
    assert out.count("-9,877") == len(runs)


def test_the_published_table_is_what_its_rows_say():
    with (ROOT / "docs" / "ppo_paper" / "runs.csv").open() as file:
        done = [msgspec.convert(row, Result, strict=False) for row in csv.DictReader(file)]
    text = (ROOT / "docs" / "results.md").read_text()
    rows = scores.table(done, SETTINGS)
    assert len(rows) == len(SETTINGS) and all(len(row.raw) == len(TASKS) for row in rows)
    for row in rows:
        paper = SETTINGS[row.setting].paper
        said = ["-" if paper is None else f"{paper:.2f}", f"{row.score:.2f}"]
        said += [f"{value:,.{0 if abs(value) >= 100 else 1}f}" for value in row.raw.values()]
        assert f"| `{row.setting}` | {' | '.join(said)} |" in text
