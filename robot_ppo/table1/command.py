"""`robot-ppo bench table1`: plan, train what is missing, report."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_ppo.table1 import report
from robot_ppo.table1.protocol import SETTINGS, TASKS, chosen, plan
from robot_ppo.table1.results import Folder
from robot_ppo.table1.sweep import Sweep
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically


def run(
    *,
    out: Path = Path("runs/table1"),
    steps: int = 1_000_000,
    seeds: int = 3,
    workers: int | None = None,
    tasks: Sequence[str] | None = None,
    settings: Sequence[str] | None = None,
    minutes: float | None = None,
    json_path: Path | None = None,
) -> int:
    """Return the exit code: 0 all done, 1 a run failed, 130 interrupted.

    Args:
        out: folder of the sweep; what is finished there is not done again.
        steps: environment steps of every run.
        seeds: 1..seeds of every setting and task.
        workers: processes; None: one per CPU that this process may use.
        tasks: of `TASKS`; None: all.
        settings: of `SETTINGS`; None: all.
        minutes: no run starts after so long; None: all start.
        json_path: where to write every figure.
    """
    workers = len(os.sched_getaffinity(0)) if workers is None else workers
    for name, value in (("--steps", steps), ("--seeds", seeds), ("--workers", workers)):
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    runs = plan(chosen(settings, SETTINGS, "setting"), chosen(tasks, TASKS, "task"), seeds)
    with Folder(out, steps) as folder:
        sweep = Sweep(folder, runs, steps, minutes)
        sweep.train(workers)
        figures = report.write(folder, runs, steps)
    if json_path:
        _write_json(json_path, figures, workers)
    return _say_what_is_missing(sweep)


def _say_what_is_missing(sweep: Sweep) -> int:
    """Print what was not done; return the exit code."""
    for run in sweep.failed:
        print(f"failed: {run}")
    missing = sum(run not in sweep.folder.results for run in sweep.runs)
    if missing:
        print(f"{missing} of {len(sweep.runs)} runs are missing; the same command goes on")
    return 130 if sweep.interrupted else int(bool(sweep.failed))


def _write_json(path: Path, figures: dict[str, Any], workers: int) -> None:
    from robot_ppo.bench import machine  # loads torch, which only the other processes need

    data = {"machine": machine(), "bench": "table1", "workers": workers, **figures}
    write_atomically(path, json.dumps(data, indent=2).encode() + b"\n")
