"""A sweep over processes: what is kept, what a crash, a kill or Ctrl-C leaves."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from contract_helpers import ROOT
from table1_helpers import CHEETAH, CURVE, HOPPER, PENDULUM, STEPS, pretend, result

from robot_ppo import cli
from robot_ppo.table1 import protocol, sweep
from robot_ppo.table1.protocol import RANDOM, Run
from robot_ppo.table1.results import Folder
from robot_ppo_export.errors import InputError

# -- the folder ---------------------------------------------------------------------------------


def test_what_is_kept_comes_back(tmp_path):
    one = result("clip_0.2", CHEETAH, -12.25)
    two = result("trpo_0.01", PENDULUM, math.nan, seed=3, episodes=0, ended="diverged")
    with Folder(tmp_path, STEPS) as folder:
        folder.add(one, CURVE)
        folder.add(two, [])
    with Folder(tmp_path, STEPS) as folder:
        assert folder.results[one.run] == one and len(folder.results) == 2
        assert math.isnan(folder.results[two.run].score)
        np.testing.assert_array_equal(folder.curve(one.run), CURVE)
        assert folder.curve(two.run) == []


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_half_written_last_row_is_dropped_and_its_run_done_again(tmp_path, cut):
    runs = [result("clip_0.2", CHEETAH, 1.0, seed=seed) for seed in (1, 2, 3)]
    with Folder(tmp_path, STEPS) as folder:
        for one in runs:
            folder.add(one, CURVE)
    path = tmp_path / "runs.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Folder(tmp_path, STEPS) as folder:
        assert list(folder.results) == [one.run for one in runs[:2]]
        folder.add(runs[2], CURVE)
    assert path.read_bytes() == whole


def test_a_row_whose_curve_is_missing_does_not_count(tmp_path):
    one = result("clip_0.2", CHEETAH, 1.0)
    with Folder(tmp_path, STEPS) as folder:
        folder.add(one, CURVE)
    (curve,) = (tmp_path / "curves").iterdir()
    curve.unlink()
    with Folder(tmp_path, STEPS) as folder:
        assert not folder.results
        folder.add(one, CURVE)
    with Folder(tmp_path, STEPS) as folder:
        assert folder.results == {one.run: one}


def test_runs_of_another_length_do_not_mix(tmp_path):
    Folder(tmp_path, STEPS).__exit__()
    with pytest.raises(InputError, match=r"table1\.yaml: the runs in this folder had other"):
        Folder(tmp_path, 2 * STEPS)
    Folder(tmp_path, STEPS).__exit__()


def test_two_sweeps_do_not_write_in_one_folder(tmp_path):
    with Folder(tmp_path, STEPS), pytest.raises(InputError, match="another sweep writes here"):
        Folder(tmp_path, STEPS)
    Folder(tmp_path, STEPS).__exit__()  # and the refused one left no lock behind


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda text: text.replace("score", "points"), "has other columns"),
        (lambda text: text.replace(",4096,", ",many,"), r"runs\.csv, line 2: .*delete the line"),
        (lambda text: text.replace(",4096,", ","), r"runs\.csv, line 2: .*delete the line"),
    ],
)
def test_rows_that_make_no_sense_are_named(tmp_path, damage, said):
    with Folder(tmp_path, STEPS) as folder:
        folder.add(result("clip_0.2", CHEETAH, 1.0), CURVE)
    path = tmp_path / "runs.csv"
    path.write_text(damage(path.read_text()))
    for _ in range(2):  # the lock is free again
        with pytest.raises(InputError, match=said):
            Folder(tmp_path, STEPS)


# -- the sweep, with processes that only pretend to train ----------------------------------------


def pretended(monkeypatch, folder, settings, minutes=None, workers=2):
    monkeypatch.setattr(sweep, "serve", pretend)
    runs = protocol.plan(settings, [PENDULUM], seeds=1)
    one = sweep.Sweep(folder, runs, STEPS, minutes)
    one.train(workers)
    return one


def test_a_run_that_fails_or_kills_its_process_is_named_and_the_others_are_done(
    tmp_path, monkeypatch, capsys
):
    with Folder(tmp_path, STEPS) as folder:
        names = ["unclipped", "clip_0.1", "clip_0.2", "clip_0.3", "trpo_0.01"]
        done = pretended(monkeypatch, folder, names)
        assert {r.setting for r in folder.results} == {RANDOM, "unclipped", "clip_0.2", "trpo_0.01"}
        assert {run.setting for run in done.failed} == {"clip_0.1", "clip_0.3"}
        out = capsys.readouterr().out
        assert f"clip_0.1 {PENDULUM} seed 1: failed: its process died (exit code 3)" in out
        assert "ValueError: no" in out
        # The same again: what is done stays as it is, what failed is tried once more.
        rows = (tmp_path / "runs.csv").read_bytes()
        again = pretended(monkeypatch, folder, names)
        assert set(again.failed) == set(done.failed)
        assert (tmp_path / "runs.csv").read_bytes() == rows


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path, monkeypatch):
    began = time.monotonic()
    started = []

    class Watched(sweep.Worker):
        def __init__(self, steps):
            super().__init__(steps)
            started.append(self.process)

    def interrupt(self, one):
        if one.setting == "clip_0.2":
            raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "Worker", Watched)
    monkeypatch.setattr(sweep.Sweep, "_say", interrupt)
    with Folder(tmp_path, STEPS) as folder:
        stopped = pretended(monkeypatch, folder, ["kl_dual_0.01", "clip_0.2", "trpo_0.01"])
    assert stopped.interrupted and not stopped.failed
    assert {run.setting for run in folder.results} == {RANDOM, "clip_0.2"}
    assert started and not any(process.is_alive() for process in started)
    assert time.monotonic() - began < 50  # nobody waited for the run of 60 s


def test_a_process_that_died_before_it_was_given_a_run_costs_that_run_only(tmp_path, monkeypatch):
    """Its pipe is broken when the run is sent."""

    class Dying(sweep.Worker):
        deaths = iter([True])

        def give(self, run):
            if run.setting == "clip_0.2" and next(self.deaths, False):
                self.process.kill()
                self.process.join()
            super().give(run)

    monkeypatch.setattr(sweep, "Worker", Dying)
    with Folder(tmp_path, STEPS) as folder:
        done = pretended(monkeypatch, folder, ["clip_0.2", "trpo_0.01"], workers=1)
    assert {run.setting for run in done.failed} == {"clip_0.2"}
    assert {run.setting for run in folder.results} == {RANDOM, "trpo_0.01"}


IGNORING = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does with what it runs in the background
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from table1_helpers import PENDULUM, STEPS, pretend
from robot_ppo.table1 import protocol, sweep
from robot_ppo.table1.results import Folder
if __name__ == "__main__":
    sweep.serve = pretend
    with Folder(Path(sys.argv[2]), STEPS) as folder:
        runs = protocol.plan(["clip_0.2", "kl_dual_0.01"], [PENDULUM], seeds=1)
        one = sweep.Sweep(folder, runs, STEPS, None)
        one.train(1)
        sys.exit(130 if one.interrupted else 0)
"""


def test_ctrl_c_ends_a_sweep_in_the_background_of_a_shell_too(tmp_path):
    """Also after a process of it was killed: the run of 60 s is begun in another one."""
    script = tmp_path / "sweep.py"
    script.write_text(IGNORING)
    places = ":".join(map(str, (ROOT, ROOT / "export", ROOT / "tests")))
    words = [sys.executable, str(script), places, str(tmp_path / "out")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("clip_0.2" in line for line in lines)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130


def test_no_run_starts_when_the_time_is_up(tmp_path, monkeypatch):
    with Folder(tmp_path, STEPS) as folder:
        late = pretended(monkeypatch, folder, ["clip_0.2"], minutes=0.0)
    assert not folder.results and not late.failed and len(late.left) == 2


def test_the_time_left_by_hand():
    done = [
        result("clip_0.2", CHEETAH, 1.0, seed=1, seconds=10.0),
        result("clip_0.2", CHEETAH, 1.0, seed=2, seconds=20.0),
        result("trpo_0.01", CHEETAH, 1.0, seconds=60.0),
        result("clip_0.2", HOPPER, 1.0, seconds=110.0),
        result(RANDOM, CHEETAH, 1.0, seconds=1.0),
    ]
    left = [Run("clip_0.2", CHEETAH, 3), Run("unclipped", CHEETAH, 1), Run("clip_0.2", PENDULUM, 1)]
    seconds = sweep.seconds_left({r.run: r for r in done}, left, workers=2)
    assert seconds == pytest.approx((15 + 30 + 50) / 2)
    assert sweep.seconds_left({done[-1].run: done[-1]}, left, 2) is None
    assert [sweep.clock(s) for s in (None, 59.6, 3725)] == ["?", "0:01:00", "1:02:05"]


# -- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, said",
    [
        (("table1", "--tasks", "Ant-v5"), "unknown task 'Ant-v5'"),
        (("table1", "--settings", "clip"), "unknown setting 'clip'"),
        (("table1", "--steps", "0"), "--steps 0: must be at least 1"),
        (("table1", "--seeds", "0"), "--seeds 0: must be at least 1"),
        (("env", "--steps", "5"), "bench env: --steps only belong to bench table1"),
    ],
)
def test_wrong_words_are_one_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def sweep_words(out, *more):
    words = ["bench", "table1", "--out", str(out), "--steps", str(STEPS), "--workers", "2"]
    return [*words, "--tasks", PENDULUM, "Reacher-v5", *more]


def rows_of(out):
    with (out / "runs.csv").open(newline="") as file:
        return {(r["setting"], r["task"], r["seed"]): r["score"] for r in csv.DictReader(file)}


@pytest.mark.slow
def test_a_sweep_that_was_killed_or_interrupted_ends_as_an_unbroken_one(tmp_path):
    names = ["unclipped", "clip_0.2", "trpo_0.01"]
    more = ("--seeds", "2", "--settings", *names)
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert cli.main([*sweep_words(unbroken, *more), "--json", str(tmp_path / "t.json")]) == 0
    assert len(rows_of(unbroken)) == 2 + 2 * 3 * 2
    figures = json.loads((tmp_path / "t.json").read_text())
    assert [row["setting"] for row in figures["settings"]] == names
    assert figures["machine"]["cores"] and figures["workers"] == 2

    path = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)):
        process = subprocess.Popen(
            [sys.executable, "-m", "robot_ppo.cli", *sweep_words(broken, *more)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert "steps/s" in process.stdout.readline()  # a run has ended
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        process.communicate(timeout=120)
        assert process.returncode == code
    assert 3 <= len(rows_of(broken)) < 14
    assert cli.main(sweep_words(broken, *more)) == 0
    assert rows_of(broken) == rows_of(unbroken)
    assert (broken / "table1.md").is_file() and (broken / "curves.png").is_file()
