"""`python -m benchmarks.speed`: measure one group of figures beside its yardstick.

Timings are medians over repeats that are interleaved with those of the yardstick in one process,
so that a noisy machine disturbs both alike: ratios mean more than absolute numbers.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.speed.engine_ratio import bench_env, bench_train
from benchmarks.speed.ground_ratio import bench_ground
from benchmarks.speed.gym_ratio import bench_gym
from benchmarks.speed.node_speed import bench_node
from benchmarks.speed.ranks_ratio import bench_ranks
from benchmarks.speed.walking import bench_walk
from benchmarks.speed.web_speed import bench_web
from robot_ppo import arguments
from robot_ppo.cli import exit_code

FIGURES: dict[str, tuple[Callable[..., dict[str, Any]], str]] = {
    "env": (bench_env, "environment steps/s over raw Batch.step; half a minute"),
    "train": (bench_train, "training steps/s over raw Batch.step; a minute"),
    "ground": (bench_ground, "steps/s on rough ground over the plane, and a scan; a minute"),
    "walk": (bench_walk, "wall-clock until the Go2 walks, for each seed; minutes each"),
    "gym": (bench_gym, "environment steps/s over gymnasium.make_vec; minutes"),
    "ranks": (bench_ranks, "2 ranks x 1 thread over 1 rank x 2 threads; four minutes"),
    "node": (bench_node, "tick, start, memory and CPU of the node; minutes"),
    "web": (bench_web, "page in a browser, report, film, --follow; four minutes, with Chromium"),
}
"""Name -> the function that measures, and its line in `--help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON if asked; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.speed", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser: a subcommand for each group of figures."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description="Measure one group of the published figures beside its yardstick.",
        epilog="example:\n  python -m benchmarks.speed env --json runs/bench/env.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    figures = top.add_subparsers(dest="what", required=True, metavar="FIGURES")
    for name, (_, text) in FIGURES.items():
        p = figures.add_parser(name, help=text, description=text)
        p.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
        if name == "walk":
            p.add_argument(
                "--seeds",
                type=arguments.at_least(1),
                default=3,
                metavar="N",
                help="trainings, one after the other, with seeds 1..N (default: 3)",
            )
            p.add_argument(
                "--autograd",
                action="store_true",
                help="differentiate all networks by autograd, none by hand",
            )
    return top


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure one group of figures, print it, and write it as JSON if asked."""
    begin = time.perf_counter()
    measure, _ = FIGURES[args.what]
    measured = measure(args.seeds, args.autograd) if args.what == "walk" else measure()
    result = {"machine": machine(), "bench": args.what, **measured}
    result["bench_seconds"] = round(time.perf_counter() - begin, 1)
    table = Table("figure", "value", title=f"benchmarks.speed {args.what}")
    for name, value in result.items():
        table.add_row(name, json.dumps(value))
    Console().print(table)
    write_json(args.json, result)
    return result
