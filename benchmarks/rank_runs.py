"""Short trainings by several ranks, started as torchrun starts them, and what they cost.

cost = measure(Setting(ranks=2), iterations=30)
cost.seconds              # of an iteration, median
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.rank_worker import TASK
from robot_ppo import config
from robot_ppo_export.errors import InputError

PARTS = ("physics", "policy", "environment", "learn")


@dataclass(frozen=True)
class Setting:
    """Settings of a short training, and the ranks and cores that run it."""

    ranks: int = 1
    overrides: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    """That all ranks share; empty: those of this process."""


@dataclass(frozen=True)
class Cost:
    """Cost of an iteration: medians over iterations, of the mean over ranks."""

    steps: int
    """Environment steps of an iteration, all ranks together."""
    seconds: float
    waited: float
    """Seconds in calls that need the other ranks."""
    sent: float
    """Bytes that a rank sent."""
    parts: dict[str, float]
    """Seconds of physics, policy, environment and learning, waits for others included."""
    memory_mb: float
    """Peak of the rank that has most."""
    spread: float = 0.0
    """Standard deviation of a rank's time without waits from the mean of all, over that mean."""
    iterations: list[float] = field(default_factory=list)
    """Seconds of each."""


def measure(
    setting: Setting, iterations: int, prefixes: Sequence[Sequence[str]] = (), **more: str
) -> Cost:
    """Train so many iterations and return what one costs.

    Args:
        setting: what and by whom.
        iterations: that are counted.
        prefixes: words before each rank's command, e.g. to run it in a network of its own.
        more: variables of the ranks' environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{rank}.json" for rank in range(setting.ranks)]
        ranks = start(setting, files, iterations, prefixes, **more)
        try:
            peaks = [_peak_mb(process, rank, Path(folder)) for rank, process in enumerate(ranks)]
        finally:  # also where one has failed, or after Ctrl-C
            for process in ranks:
                process.kill()
        rows = [json.loads(file.read_text()) for file in files]
    return summary(rows, batch(setting), max(peaks))


def batch(setting: Setting) -> int:
    """Return the environment steps of an iteration."""
    settings = config.load(TASK, overrides=setting.overrides)
    return settings.num_envs * settings.rollout


def start(
    setting: Setting,
    files: Sequence[Path],
    iterations: int,
    prefixes: Sequence[Sequence[str]] = (),
    **more: str,
) -> list[subprocess.Popen[bytes]]:
    """Start the ranks; each writes its rows into its file, and what it says beside it."""
    common = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "WORLD_SIZE": str(setting.ranks),
        "LOCAL_WORLD_SIZE": str(setting.ranks),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        **more,
    }
    processes = []
    for rank, file in enumerate(files):
        words = [*(prefixes[rank] if prefixes else ()), sys.executable, "-m"]
        words += ["benchmarks.rank_worker", str(file), str(iterations), *setting.overrides]
        with file.with_suffix(".txt").open("w") as said:
            processes.append(
                subprocess.Popen(
                    _pinned(setting.cores, words),
                    env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=said,
                    stderr=said,
                )
            )
    return processes


def _pinned(cores: Sequence[int], words: Sequence[str]) -> list[str]:
    if not cores:
        return list(words)
    return ["taskset", "-c", ",".join(map(str, cores)), *words]


def _peak_mb(process: subprocess.Popen[bytes], rank: int, folder: Path) -> float:
    """Wait for a rank; return its peak memory, or raise what it said."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (folder / f"{rank}.txt").read_text().strip().splitlines() or ["nothing was said"]
        raise InputError(f"rank {rank} ended with code {process.returncode}: {said[-1]}")
    return usage.ru_maxrss / 1024


def summary(rows: Sequence[Sequence[dict[str, float]]], steps: int, memory_mb: float) -> Cost:
    """Return what an iteration costs from the rows (ranks, iterations)."""
    together = list(zip(*rows, strict=True))

    def of(name: str) -> float:
        return median(_mean([row[name] for row in at_once]) for at_once in together)

    busy = [[row["wall"] - row["waited"] for row in at_once] for at_once in together]
    return Cost(
        steps=steps,
        seconds=of("wall"),
        waited=of("waited"),
        sent=of("sent"),
        parts={name: of(name) for name in PARTS},
        memory_mb=memory_mb,
        spread=median(_deviation(times) / _mean(times) for times in busy),
        iterations=[_mean([row["wall"] for row in at_once]) for at_once in together],
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
