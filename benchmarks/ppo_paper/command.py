"""`python -m benchmarks.ppo_paper`: plan the runs, train those that are missing, report."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import machine, write_json
from benchmarks.ppo_paper import report
from benchmarks.ppo_paper.protocol import SETTINGS, TASKS, chosen, plan
from benchmarks.ppo_paper.results import Folder
from benchmarks.ppo_paper.sweep import Sweep
from robot_ppo import arguments, lock
from robot_ppo.cli import exit_code

EXAMPLES = """examples:
  python -m benchmarks.ppo_paper
  python -m benchmarks.ppo_paper --steps 300000 --seeds 2 --minutes 45 --out runs/ppo_paper_300k

exit codes: 0 all done; 1 a run failed; 2 wrong input; 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train and report; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.ppo_paper", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.ppo_paper",
        description="Compare PPO's objectives. The same command goes on where it stopped.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    positive = arguments.at_least(1)
    out = Path("runs/ppo_paper")
    cpus = len(os.sched_getaffinity(0))
    add = top.add_argument
    add("--out", type=Path, default=out, metavar="DIR", help=f"folder (default: {out})")
    add("--steps", type=positive, default=1_000_000, metavar="N", help="environment steps of a run")
    add("--seeds", type=positive, default=3, metavar="N", help="of every setting and task")
    add("--tasks", nargs="+", metavar="TASK", help="(default: the paper's seven)")
    add("--settings", nargs="+", metavar="NAME", help="e.g. clip_0.2 trpo_0.01 (default: all)")
    add("--workers", type=positive, default=cpus, metavar="N", help="processes (default: CPUs)")
    add("--minutes", type=float, metavar="M", help="start no run after so much time")
    add("--json", type=Path, metavar="FILE", help="write every figure")
    return top


def run(args: argparse.Namespace) -> int:
    """Return the exit code: 0 all done, 1 a run failed, 130 interrupted."""
    settings = chosen(args.settings, SETTINGS, "setting")
    runs = plan(settings, chosen(args.tasks, TASKS, "task"), args.seeds)
    refusal = f"{args.out}: another sweep writes here; wait for it, or give another --out"
    with lock.alone(args.out / ".lock", refusal):
        folder = Folder(args.out, args.steps)
        sweep = Sweep(folder, runs, args.steps, args.minutes)
        sweep.train(args.workers)
        figures = report.write(folder, runs, args.steps)
    about = {"machine": machine(), "bench": "ppo_paper", "workers": args.workers}
    write_json(args.json, {**about, **figures})
    return _report_missing(sweep)


def _report_missing(sweep: Sweep) -> int:
    """Print what was not done; return the exit code."""
    for failed in sweep.failed:
        print(f"failed: {failed}")
    missing = sum(one not in sweep.folder.results for one in sweep.runs)
    if missing:
        print(f"{missing} of {len(sweep.runs)} runs are missing; the same command goes on")
    return 130 if sweep.interrupted else int(bool(sweep.failed))
