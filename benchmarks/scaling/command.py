"""`python -m benchmarks.scaling`: measure, fit, predict held-out settings, extrapolate."""

import argparse
import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.rank_runs import Cost, measure
from benchmarks.scaling import extrapolation, network, page
from benchmarks.scaling.model import Model, fit
from benchmarks.scaling.settings import FITTED, HELD_OUT, Run
from robot_ppo import arguments
from robot_ppo.cli import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, fit and print; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.scaling", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description="Model the cost of an iteration with 1 to 4 ranks, and extrapolate it.",
        epilog="example:\n  python -m benchmarks.scaling --json runs/bench/scaling.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = top.add_argument
    at_least_one = arguments.at_least(1)
    add("--passes", type=at_least_one, default=2, metavar="N", help="over all settings (default 2)")
    add("--iterations", type=at_least_one, default=15, metavar="N", help="of a run (default 15)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    add("--doc", type=Path, metavar="PAGE.md", help="write the tables into this page")
    return top


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, fit, predict, extrapolate; print and return the figures."""
    begin = time.perf_counter()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    refusal = network.refusal()
    runs = [one for one in (*FITTED, *HELD_OUT) if refusal is None or not one.slowed]
    measured = measure_all(runs, cores, args.passes, args.iterations)
    model = fit(measured, len(cores))
    result = {
        "machine": machine(),
        "bench": "scaling",
        "network": refusal or "namespaces joined by a relay",
        "model": dataclasses.asdict(model),
        "runs": [row(model, one, cost) for one, cost in measured],
        "largest_error_held_out": largest_error(model, measured),
        "extrapolated": extrapolation.rows(model),
        "levers": extrapolation.levers(model),
        "shares": extrapolation.shares(model),
    }
    result["bench_seconds"] = round(time.perf_counter() - begin, 1)
    show(result)
    write_json(args.json, result)
    if args.doc:
        page.write(args.doc, result)
    return result


def measure_all(
    runs: Sequence[Run], cores: tuple[int, ...], passes: int, iterations: int
) -> list[tuple[Run, Cost]]:
    """Return every run and its cost: the least disturbed of the passes, by its median."""
    costs: list[list[Cost]] = [[] for _ in runs]
    for _ in range(passes):
        for one, found in zip(runs, costs, strict=True):
            with _network(one) as (prefixes, variables):
                found.append(measure(one.setting(cores), iterations, prefixes, **variables))
            print(f"{one.name}: {found[-1].seconds:.3f} s", flush=True)
    least = [min(found, key=lambda cost: cost.seconds) for found in costs]
    return list(zip(runs, least, strict=True))


@contextlib.contextmanager
def _network(one: Run) -> Iterator[tuple[list[list[str]], dict[str, str]]]:
    """Give a run the network that it asks for."""
    if not one.slowed:
        yield [], {}
        return
    with network.Network(one.ranks, one.delay, one.bandwidth) as made:
        yield made.prefixes, made.variables


def row(model: Model, one: Run, cost: Cost) -> dict[str, Any]:
    """Return what was measured and predicted of one run."""
    predicted = model.predict(one)
    return {
        "run": one.name,
        "held_out": one.held_out,
        "seconds": round(cost.seconds, 4),
        "waited": round(cost.waited, 4),
        "bytes_per_step": round(cost.sent / cost.steps, 1),
        "predicted": round(predicted, 4),
        "error": round(predicted / cost.seconds - 1, 3),
    }


def largest_error(model: Model, measured: Sequence[tuple[Run, Cost]]) -> float:
    """Return the largest |relative error| of a held-out run."""
    errors = [row(model, one, cost)["error"] for one, cost in measured if one.held_out]
    return max(abs(error) for error in errors)


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console()
    for title, rows in (
        ("measured and predicted", result["runs"]),
        ("extrapolated", result["extrapolated"]),
        ("levers", result["levers"]),
        ("64 ranks", result["shares"]),
    ):
        table = Table(*rows[0], title=title)
        for one in rows:
            table.add_row(*map(str, one.values()))
        console.print(table)
    console.print(f"largest error, held out: {result['largest_error_held_out']:.1%}")
    console.print(f"delays were injected by: {result['network']}")
