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
from ppo_paper_helpers import CHEETAH, CURVE, PENDULUM, PRETEND, STEPS, result

from benchmarks.ppo_paper import command, protocol, sweep
from benchmarks.ppo_paper.protocol import RANDOM
from benchmarks.ppo_paper.results import Folder, write
from robot_ppo import lock
from robot_ppo_export.errors import InputError

# -- the folder ---------------------------------------------------------------------------------


def test_what_is_kept_comes_back(tmp_path):
    one = result("clip_0.2", CHEETAH, -12.25)
    two = result("trpo_0.01", PENDULUM, math.nan, seed=3, episodes=0, ended="diverged")
    folder = Folder(tmp_path, STEPS)
    for kept, curve in ((one, CURVE), (two, [])):
        write(folder.file(kept.run), kept, curve)
    folder = Folder(tmp_path, STEPS)
    assert folder.results[one.run] == one and len(folder.results) == 2
    assert math.isnan(folder.results[two.run].score)
    np.testing.assert_array_equal(folder.curve(one.run), CURVE)
    assert folder.curve(two.run) == []


def test_runs_of_another_length_do_not_mix(tmp_path):
    Folder(tmp_path, STEPS)
    with pytest.raises(InputError, match=r"ppo_paper\.yaml: the runs in this folder had other"):
        Folder(tmp_path, 2 * STEPS)
    Folder(tmp_path, STEPS)


def test_a_folder_that_has_lost_its_settings_is_refused(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match=r"ppo_paper\.yaml: missing; give --out a new folder"):
        Folder(tmp_path, STEPS)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("score", "points"),
        lambda text: text.replace(":4096,", ': "many",').replace(": 4096,", ': "many",'),
        lambda text: text.replace("curve", "line"),
        lambda text: text[:-20],
        lambda text: "[]",
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path, damage):
    folder = Folder(tmp_path, STEPS)
    one = result("clip_0.2", CHEETAH, 1.0)
    path = folder.file(one.run)
    write(path, one, CURVE)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=r"clip_0\.2_HalfCheetah-v5_1\.json: .*delete it and"):
        Folder(tmp_path, STEPS)


# -- the sweep, with processes that only pretend to train ----------------------------------------


def pretended(monkeypatch, folder, settings, minutes=None, workers=2):
    monkeypatch.setattr(sweep, "COMMAND", PRETEND)
    runs = protocol.plan(settings, [PENDULUM], seeds=1)
    one = sweep.Sweep(folder, runs, STEPS, minutes)
    one.train(workers)
    return one


def test_a_run_that_fails_or_kills_its_process_is_named_and_the_others_are_done(
    tmp_path, monkeypatch, capsys
):
    folder = Folder(tmp_path, STEPS)
    names = ["unclipped", "clip_0.1", "clip_0.2", "clip_0.3", "trpo_0.01"]
    done = pretended(monkeypatch, folder, names)
    assert {r.setting for r in folder.results} == {RANDOM, "unclipped", "clip_0.2", "trpo_0.01"}
    assert {run.setting for run in done.failed} == {"clip_0.1", "clip_0.3"}
    out = capsys.readouterr().out
    assert f"clip_0.1 {PENDULUM} seed 1: failed: its process died (exit code 3)" in out
    assert "ValueError: no" in out
    # The same again: what is done stays as it is, what failed is tried once more.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    again = pretended(monkeypatch, Folder(tmp_path, STEPS), names)
    assert set(again.failed) == set(done.failed)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}


SWEEP = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does with its background commands
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from ppo_paper_helpers import PENDULUM, PRETEND, STEPS
from benchmarks.ppo_paper import protocol, sweep
from benchmarks.ppo_paper.results import Folder
sweep.COMMAND = PRETEND
runs = protocol.plan(["clip_0.2", "kl_dual_0.01", "trpo_0.01"], [PENDULUM], seeds=1)
one = sweep.Sweep(Folder(Path(sys.argv[2]), STEPS), runs, STEPS, None)
one.train(1)
sys.exit(130 if one.interrupted else 0)
"""


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.real_time
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path, number):
    """In the background of a shell too, and in the middle of a run of 60 s."""
    script = tmp_path / "sweep.py"
    out = tmp_path / "out"
    script.write_text(SWEEP)
    places = ":".join(map(str, (ROOT, ROOT / "export", ROOT / "tests")))
    words = [sys.executable, str(script), places, str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        pid = out / "runs" / f"kl_dual_0.01_{PENDULUM}_1.pid"
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        trains = int(pid.read_text())
        assert is_alive(trains)
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert not is_alive(trains)
    assert {run.setting for run in Folder(out, STEPS).results} == {RANDOM, "clip_0.2"}


def test_no_run_starts_when_the_time_is_up(tmp_path, monkeypatch):
    folder = Folder(tmp_path, STEPS)
    late = pretended(monkeypatch, folder, ["clip_0.2"], minutes=0.0)
    assert not folder.results and not late.failed and not late.interrupted


# -- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, said",
    [
        (("--tasks", "Ant-v5"), "unknown task 'Ant-v5'"),
        (("--settings", "clip"), "unknown setting 'clip'"),
    ],
)
def test_wrong_names_are_one_sentence(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--steps", "--seeds", "--workers"])
def test_numbers_below_one_are_refused(option, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([option, "0"])
    assert end.value.code == 2
    assert f"{option}: 0 must be at least 1" in capsys.readouterr().err


def test_two_sweeps_do_not_write_in_one_folder(tmp_path, capsys):
    with lock.alone(tmp_path / ".lock", "held"):
        assert command.main(["--out", str(tmp_path)]) == 2
    assert "another sweep writes here" in capsys.readouterr().err


def sweep_words(out, *more):
    words = ["--out", str(out), "--steps", str(STEPS), "--workers", "2"]
    return [*words, "--tasks", PENDULUM, "Reacher-v5", *more]


def rows_of(out):
    with (out / "runs.csv").open(newline="") as file:
        return {(r["setting"], r["task"], r["seed"]): r["score"] for r in csv.DictReader(file)}


@pytest.mark.slow
def test_a_sweep_that_was_killed_or_interrupted_ends_as_an_unbroken_one(tmp_path):
    names = ["unclipped", "clip_0.2", "trpo_0.01"]
    more = ("--seeds", "2", "--settings", *names)
    unbroken = tmp_path / "unbroken"
    broken = tmp_path / "broken"
    assert command.main([*sweep_words(unbroken, *more), "--json", str(tmp_path / "t.json")]) == 0
    assert len(rows_of(unbroken)) == 2 + 2 * 3 * 2
    figures = json.loads((tmp_path / "t.json").read_text())
    assert [row["setting"] for row in figures["settings"]] == names
    assert figures["machine"]["cores"] and figures["workers"] == 2

    path = os.pathsep.join([str(ROOT), str(ROOT / "export")])
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ppo_paper", *sweep_words(broken, *more)],
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
    assert command.main(sweep_words(broken, *more)) == 0
    assert rows_of(broken) == rows_of(unbroken)
    assert (broken / "ppo_paper.md").is_file() and (broken / "curves.png").is_file()
