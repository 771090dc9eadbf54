"""Wall-clock from `robot-ppo train` to a Go2 that walks, in seconds and in raw engine steps."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.engine_ratio import TASK, raw_steps_per_second
from robot_ppo.envs.robot import trials
from robot_ppo.evaluation import evaluate, scorecard
from robot_ppo.training.checkpoint import Checkpoints, load
from robot_ppo_export.errors import InputError

RUNS = Path("runs/bench")
"""The trainings stay here."""
TRAIN = (sys.executable, "-m", "robot_ppo.cli", "train")
BY_AUTOGRAD = """
import sys
from robot_ppo import cli
from robot_ppo.ppo import mlp
mlp.layers = lambda network: []
sys.exit(cli.main(["train", *sys.argv[1:]]))
"""
"""Trains as if no network could be differentiated by hand."""


def bench_walk(seeds: int = 3, autograd: bool = False) -> dict[str, Any]:
    """Return the wall-clock from `train` to walking, default preset, for each seed.

    A training saves a checkpoint every few seconds; afterwards each is scored on the nominal 45
    commands, oldest first. The clock starts with the process and stops when the first checkpoint
    that walks is on disk.

    Seconds depend on the machine. `walk_raw_steps` does so less: it is the number of raw
    environment steps that this machine would have done meanwhile, at the mean of the speeds before
    and after the training.

    Args:
        seeds: trainings, one after the other, with seeds 1 to N.
        autograd: differentiate all networks by autograd, none by hand (ppo/mlp.py).
    """
    train = (sys.executable, "-c", BY_AUTOGRAD) if autograd else TRAIN
    runs = []
    before = raw_steps_per_second()
    for seed in range(1, seeds + 1):
        run = time_to_walking(RUNS / f"walk_seed{seed}", seed, train=train)
        after = raw_steps_per_second()
        runs.append(run | raw_equivalent(run["seconds_to_walking"], before, after))
        before = after
        print(f"seed {seed}: {runs[-1]}", flush=True)
    return summary(runs)


def raw_equivalent(seconds: float | None, before: float, after: float) -> dict[str, int | None]:
    """Return the raw steps/s around a training, and `seconds` in raw steps."""
    speed = (before + after) / 2
    return {
        "raw_steps_per_second": round(speed),
        "walk_raw_steps": None if seconds is None else round(seconds * speed),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of the slowest seed; None where one seed never walks."""
    return {
        **{name: _slowest(runs, name) for name in ("seconds_to_walking", "walk_raw_steps")},
        "peak_mb": max(run["peak_mb"] for run in runs),
        "seeds": runs,
    }


def _slowest(runs: list[dict[str, Any]], name: str) -> float | None:
    values = [run[name] for run in runs]
    return None if None in values else max(values)


def time_to_walking(
    out: Path, seed: int, overrides: Sequence[str] = (), train: Sequence[str] = TRAIN
) -> dict[str, Any]:
    """Train from nothing, then find the first checkpoint that walks.

    Args:
        out: run folder; what is there is deleted.
        seed: of the training.
        overrides: changes to the task and the default preset, as for `--set`.
        train: the command that trains, without its arguments.
    """
    command = [*train, TASK, "--out", str(out)]
    command += ["--seed", str(seed), "--set", "save_every=6", "--set", "keep=0"]
    command += ["--overwrite", *(word for text in overrides for word in ("--set", text))]
    began = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"the training of seed {seed} ended with code {process.returncode}")
    result: dict[str, Any] = {
        "seed": seed,
        "seconds_to_walking": None,
        "seconds": round(time.time() - began, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }
    checkpoints = Checkpoints(out)
    for path in checkpoints.paths():
        checkpoint = load(path)
        scored = scorecard.from_checkpoint(checkpoints.settings(checkpoint), checkpoint)
        card = evaluate.evaluate(*scored, trials.CONDITIONS[:1])
        result |= {name: round(value, 4) for name, value in card.overall().items()}
        if card.walking:
            result["seconds_to_walking"] = round(path.stat().st_mtime - began, 1)
            result["steps_to_walking"] = checkpoint.steps
            break
    return result
