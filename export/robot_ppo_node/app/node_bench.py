"""`robot-ppo-node bench`: what the node costs on this computer, each figure beside its yardstick.

Every figure is measured in a process of its own (bench_process.py), so that nothing that measures
is part of it. A figure that cannot be had here is None, and the table says why.

    results = measure(Path("go2_walk.onnx"), Target(driver="fake"), seconds=60)
    print(page(results))
    results.figures["tick_p99_ms"]
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import robot_ppo_export
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy
from robot_ppo_node.host.text_table import table

COMMAND = (0.3, 0.0, 0.0)
"""[m/s, m/s, rad/s] The robot walks while it is measured."""
STARTS = 5
"""Fresh processes that the time to ready is the median of."""
OVERHEAD = 8.0
"""[s] of a run in which the policy does not run: preflight, standing up, settling, sitting down."""
LATENCY_RATE = 50.0
"""[Hz] Commands per second of the latency measurement."""
FLAT = 1.0
"""[MB/hour] What counts as no growth: one page of memory more per minute is a quarter of it."""
READY = "offers what it needs"
"""Text of `run` once the file is proven, the robot compared and everything warm."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    key: str
    text: str
    floor: float | None = None
    aim: float | None = None


FIGURES = (
    Figure("start_to_ready_s", "start to ready [s]", 1.5, 0.5),
    Figure("tick_p50_ms", "whole tick, paced, p50 [ms]", 0.5, 0.25),
    Figure("tick_p99_ms", "whole tick, paced, p99 [ms]", 1.5, 0.5),
    Figure("missed_deadlines", "missed deadlines"),
    Figure("cpu_percent", "CPU of the node [%]", 4, 2),
    Figure("cpu_with_watchdog_percent", "CPU of the node and its watchdog [%]", 5, 3),
    Figure("resident_mb", "resident memory [MB]", 90, 60),
    Figure("growth_mb_per_hour", "memory growth, fast-forwarded [MB/hour]", FLAT, FLAT),
    Figure("growth_real_mb_per_hour", "memory growth of the paced run [MB/hour]"),
    Figure("wake_p50_ms_500hz", "wake-up error at 500 Hz, all cores busy, p50 [ms]"),
    Figure("wake_p99_ms_500hz", "the same, p99 [ms]", 2.5, 0.7),
    Figure("wake_max_ms_500hz", "the same, max [ms]"),
    Figure("wake_p50_ms_500hz_fifo", "the same with SCHED_FIFO, p50 [ms]"),
    Figure("wake_p99_ms_500hz_fifo", "the same with SCHED_FIFO, p99 [ms]", 0.3, 0.15),
    Figure("wake_max_ms_500hz_fifo", "the same with SCHED_FIFO, max [ms]"),
    Figure("unitree_one_way_p50_ms", "driver unitree to robot, loopback, p50 [ms]", 0.3, 0.12),
    Figure("unitree_one_way_p99_ms", "the same, p99 [ms]", 2, 0.5),
)
"""In the order of the table."""


@dataclass(frozen=True)
class Target:
    """The robot that the node is measured on."""

    driver: str = "fake"
    host: str = "127.0.0.1"
    port: int | None = None

    def options(self) -> list[str]:
        """Return the options of `run`; its log goes to the folder that it is started in."""
        port = [] if self.port is None else ["--port", str(self.port)]
        return ["--driver", self.driver, "--host", self.host, *port, "--record", "bench.log"]


@dataclass
class Results:
    """The results of a measurement."""

    figures: dict[str, Any] = field(default_factory=lambda: {f.key: None for f in FIGURES})
    """Key of `FIGURES` -> value, None where there is none."""
    remarks: list[str] = field(default_factory=list)
    """The way of measuring, and the reason where something was not."""


def measure(file: Path | None, target: Target, seconds: float) -> Results:
    """Measure everything; without a policy file, what the computer alone says.

    Args:
        file: the policy file.
        target: the robot.
        seconds: how long the policy runs in real time. The rest scales with it: an hour is
            fast-forwarded per 60, wake-ups and latency take a sixth each.
    """
    results = Results()
    if file is None:
        results.remarks.append("no policy file was given: the computer alone was measured")
    else:
        policy = Policy(file)  # refused here and once, in a sentence
        file = file.resolve()
        _measure_start(results, file, target)
        _measure_run(results, file, target, seconds)
        _measure_growth(results, file, seconds)
        _measure_latency(results, policy, seconds)
    _measure_wake_ups(results, max(seconds / 6, 0.5))
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in results.figures.items()}
    results.figures = rounded
    return results


def page(results: Results) -> str:
    """Return the table, each figure beside its floor and its aim, and the remarks."""
    rows = [(f.text, value, f.floor, f.aim, _verdict(f, value)) for f, value in _values(results)]
    header = ("figure", "measured", "at least", "aim", "")
    return "\n".join((table(header, rows), *(f"- {text}" for text in results.remarks)))


def _values(results: Results) -> list[tuple[Figure, Any]]:
    return [(figure, results.figures[figure.key]) for figure in FIGURES]


def _verdict(figure: Figure, value: float | None) -> str:
    if value is None or figure.floor is None or figure.aim is None:
        return "not measured" if value is None else ""
    return "aim" if value <= figure.aim else "ok" if value <= figure.floor else "SHORT"


# -- the measurements ---------------------------------------------------------------------------


def _measure_start(results: Results, file: Path, target: Target) -> None:
    times = [start_to_ready(file, target) for _ in range(STARTS)]
    results.figures["start_to_ready_s"] = median(times)
    results.remarks.append(
        f"start to ready: median of {STARTS} processes of `run`, from their start to "
        f'"{READY}"; {min(times):.3f} to {max(times):.3f} s'
    )


def start_to_ready(file: Path, target: Target) -> float:
    """Return the time from the start of one process of `run` until it is ready [s]."""
    command = ["-m", "robot_ppo_node.app.cli", "run", str(file), *target.options()]
    with _scratch() as folder:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], **_surroundings(folder), stderr=subprocess.STDOUT
        )
        assert process.stdout is not None, "it is a pipe"
        said = []
        try:
            for line in process.stdout:
                said.append(line)
                if READY in line:
                    return time.perf_counter() - begin
        finally:
            process.terminate()
            process.communicate(timeout=30)
    raise InputError(f"the node did not become ready: {''.join(said[-3:]).strip()}")


def _measure_run(results: Results, file: Path, target: Target, seconds: float) -> None:
    command = ",".join(f"{x:g}" for x in COMMAND)
    length = f"{seconds + OVERHEAD:g}"
    options = [*target.options(), "--seconds", length, "--arm", "--command", command]
    got = _figures_of("run", str(file), *options)
    if got["fault"]:
        raise InputError(f"the run that was to be measured ended: {got['fault']}")
    ticks = got.pop("ticks")
    growth = got.pop("growth_mb_per_hour")
    del got["fault"]
    results.figures |= got | {"growth_real_mb_per_hour": growth}
    results.remarks.append(
        f"tick, CPU, memory: {ticks} ticks of POLICY in real time by driver {target.driver} "
        f"({'with' if target.driver == 'udp' else 'without'} a watchdog); growth: slope through "
        "one look per second"
    )


def _measure_growth(results: Results, file: Path, seconds: float) -> None:
    got = _figures_of("hours", str(file), f"{seconds / 60:g}")
    if got["fault"]:
        raise InputError(f"the fast-forwarded run ended: {got['fault']}")
    results.figures["growth_mb_per_hour"] = got["growth_mb_per_hour"]
    results.remarks.append(
        f"memory growth: {got['ticks']} stepped ticks, driver fake, no garbage collector; slope "
        "after the first tenth"
    )


def _measure_latency(results: Results, policy: Policy, seconds: float) -> None:
    robot = policy.contract.robot
    if find_spec("cyclonedds") is None:
        text = "cyclonedds is not installed: pip install 'robot-ppo[unitree]'"
    elif robot.unitree is None:
        text = f"{robot.name} is not a Unitree robot"
    else:
        from robot_ppo_node.app.unitree_latency import unitree_one_way

        samples = max(round(LATENCY_RATE * seconds / 6), 50)
        got = unitree_one_way(robot, samples, LATENCY_RATE)
        results.figures["unitree_one_way_p50_ms"] = 1e3 * got.p50
        results.figures["unitree_one_way_p99_ms"] = 1e3 * got.p99
        text = f"{got.received} of {got.sent} commands at {LATENCY_RATE:g} Hz arrived in time"
    results.remarks.append(f"one-way latency of unitree: {text}")


def _measure_wake_ups(results: Results, seconds: float) -> None:
    with _busy_processes() as count:
        usual = _figures_of("wake-ups", f"{seconds:g}", "default")
        fifo = _figures_of("wake-ups", f"{seconds:g}", "fifo")
    text = f"wake-ups: {seconds:g} s each, beside {count} busy processes, one per core"
    for got, suffix, name in ((usual, "", "default scheduler"), (fifo, "_fifo", "SCHED_FIFO")):
        if "refused" in got:
            text += f"; {got['refused']}"
            continue
        for q in ("p50", "p99", "max"):
            results.figures[f"wake_{q}_ms_500hz{suffix}"] = got[f"{q}_ms"]
        text += f"; {name}: {got['missed']} deadlines missed"
    results.remarks.append(text)


# -- processes ----------------------------------------------------------------------------------


def _figures_of(*arguments: str) -> dict[str, Any]:
    """Return what a process of bench_process.py measured, or raise `InputError`."""
    command = [sys.executable, "-m", "robot_ppo_node.app.bench_process", *arguments]
    with _scratch() as folder:
        process = subprocess.Popen(command, **_surroundings(folder), stderr=subprocess.PIPE)
        out, error = process.communicate()
    if process.returncode:
        raise InputError(f"the process that was to be measured failed: {_last_line(error)}")
    return json.loads(_last_line(out), parse_constant=lambda _: math.nan)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1]


def _surroundings(folder: Path) -> dict[str, Any]:
    """Return how a process is started: as from a shell, nobody there, files in `folder`."""
    roots = [str(Path(robot_ppo_export.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, roots))
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    return {
        "cwd": folder,
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "text": True,
    }


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="robot-ppo-bench-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def _busy_processes() -> Iterator[int]:
    """Keep every core busy; yields how many there are."""
    count = len(os.sched_getaffinity(0))
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield count
    finally:
        for process in processes:
            process.kill()
            process.wait()
