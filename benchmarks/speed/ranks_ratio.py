"""Two processes of one thread beside one process of two threads, and what ranks cost each other."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rank_runs import Cost, Setting, measure
from benchmarks.rank_worker import TASK
from robot_ppo_export.errors import InputError

FORMS = ("float32", "int8")
PATIENCE = 60.0
"""Seconds that a training has to start, and to end after one of its ranks has died."""


def bench_ranks(rounds: int = 4, iterations: int = 20) -> dict[str, Any]:
    """Return training steps/s of 2 ranks x 1 thread over 1 rank x 2 threads, and their costs.

    The ways take turns, some seconds each, because a noisy machine disturbs all alike; figures are
    medians over the rounds.
    """
    ways = {"alone": Setting()} | {
        form: Setting(ranks=2, overrides=(f"ppo.reduction={form}",)) for form in FORMS
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, setting in ways.items():
            costs[name].append(measure(setting, iterations))
    four = measure(Setting(ranks=4), 5)
    return figures(costs, four) | {"seconds_from_death_to_end": seconds_to_the_end()}


def figures(costs: dict[str, list[Cost]], four: Cost) -> dict[str, Any]:
    """Return the published figures of the costs of every way, and of four ranks."""
    speed = {
        name: median(cost.steps / cost.seconds for cost in found) for name, found in costs.items()
    }
    result: dict[str, Any] = {"one_process_steps_per_second": round(speed["alone"])}
    for form in FORMS:
        found = costs[form]
        pairs = zip(costs["alone"], found, strict=True)
        result |= {
            f"{form}_two_ranks_steps_per_second": round(speed[form]),
            f"{form}_ranks_ratio": round(median(a.seconds / b.seconds for a, b in pairs), 3),
            f"{form}_bytes_per_step": round(median(c.sent / c.steps for c in found), 1),
            f"{form}_waiting_share": round(median(c.waited / c.seconds for c in found), 4),
        }
    return result | {"four_ranks_memory_mb": round(four.memory_mb)}


def seconds_to_the_end() -> float:
    """Return how long after the death of one of two ranks torchrun ends, all ranks with it."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "robot_ppo", "train"]
        process = subprocess.Popen(
            [sys.executable, *words, TASK, "--out", str(out), "--set", "num_envs=64"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            _wait_for(out / "log.csv", process)
            os.kill(_ranks_of(process.pid)[1], signal.SIGKILL)
            began = time.monotonic()
            said, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        seconds = time.monotonic() - began
    if not re.search(r"rank.*1|SIGKILL|Signal 9", said):
        raise InputError(f"nothing was said of the rank that died: {said[-300:]}")
    return round(seconds, 1)


def _wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Return when iterations are logged."""
    until = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text().count("\n") > 3):
        if process.poll() is not None or time.monotonic() > until:
            raise InputError("the training whose rank is to be killed did not start")
        time.sleep(0.05)


def _ranks_of(pid: int) -> list[int]:
    """Return the processes that torchrun started, oldest first."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return sorted(int(child) for child in path.read_text().split())
