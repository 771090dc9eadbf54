"""Measure what it costs to show a run: a film, a report, and a look at a training beside it."""

import csv
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.common import shipped_policy
from benchmarks.speed.engine_ratio import TASK
from robot_ppo_export.errors import InputError

PATIENCE = 60.0
"""Time that anything here may take to happen [s]."""
FOLLOWED = ((14.0, 50.0), (64.0, 100.0))
"""Times of a training [s] in which `--follow` runs beside it."""
STARTING = 15.0
"""Time that it has to start in: to import, and to export its first checkpoint [s]."""
TRAINED = 114.0
"""Length of that training [s]."""
COMPARED = (30.0, 44.0)
"""Times between which a training that is scored is compared with one that is not [s]."""
SCORED = 0.05
"""Minutes between two scores of it: the next begins when one is done."""
SETTLED = 4.0
"""First time of a training that does not count [s]: its processes start."""


def film(folder: Path) -> dict[str, Any]:
    """Return the seconds of the default film: 12 s of walking, 1280 x 720."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = _run("play", str(shipped_policy()), "--video", str(folder / "film.mp4"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = (folder / "film.mp4").stat().st_size
    return {
        "film_seconds": round(seconds, 1),
        "film_cpu_seconds": round(used, 1),
        "film_mb": round(size / 1e6, 2),
    }


def report(run: Path, out: Path) -> dict[str, Any]:
    """Return the seconds and the size of the report of a run."""
    seconds = _run("report", str(run), "-o", str(out))
    return {
        "report_seconds": round(seconds, 1),
        "report_mb": round(out.stat().st_size / 1e6, 2),
    }


def followed(run: Path) -> dict[str, Any]:
    """Return by how much a training is slower while `play --web --follow` runs beside it.

    Nobody looks: a browser would draw on its own computer, or on a GPU. What the start costs is a
    figure of its own.
    """
    with _Quiet(*_training(run, TRAINED, score_every=0)) as training:
        for begin, end in FOLLOWED:
            _until_trained(run, begin, training)
            with _Quiet(*words("play", str(run), "--web", "0", "--follow")):
                _until_trained(run, end, training)
        training.wait(PATIENCE * 2)
    rows = iterations(run)
    starting = [_rate(rows, begin, begin + STARTING) for begin, _ in FOLLOWED]
    beside = [_rate(rows, begin + STARTING, end) for begin, end in FOLLOWED]
    edges = [SETTLED, *(t for pair in FOLLOWED for t in pair), TRAINED - 1]
    alone = [_rate(rows, a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    mean = sum(alone) / len(alone)
    return {
        "follow_slows_training_percent": _slower(beside, mean),
        "follow_slows_training_while_starting_percent": _slower(starting, mean),
        "training_steps_per_second_alone": [round(rate) for rate in alone],
        "training_steps_per_second_followed": [round(rate) for rate in beside],
    }


def _slower(rates: list[float], alone: float) -> float:
    """Return by how many percent the mean of rates is below that of a training alone."""
    return round(100 * (1 - sum(rates) / len(rates) / alone), 1)


def scored(run: Path, alone: list[tuple[float, float]]) -> dict[str, Any]:
    """Return the training time that is lost to each scorecard beside it.

    Args:
        run: folder of a training that is scored as often as there is time.
        alone: its iterations where it is not, see `iterations`.
    """
    begin, end = COMPARED
    with _Quiet(*_training(run, end + 1, score_every=SCORED)) as training:
        training.wait(PATIENCE * 4)
    slower = 1 - _rate(iterations(run), begin, end) / _rate(alone, begin, end)
    scores = _scores(run, begin, end)
    lost = round(slower * (end - begin) / scores, 2) if scores else None
    return {"scores": scores, "seconds_lost_per_score": lost}


class _Quiet(subprocess.Popen[bytes]):
    """A process whose output nobody reads, ended with its `with` block."""

    def __init__(self, *words: str) -> None:
        super().__init__(words, stdout=subprocess.DEVNULL)

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait(PATIENCE)


def words(*words: str) -> list[str]:
    """Return a command line of robot-ppo."""
    return [sys.executable, "-m", "robot_ppo", *words]


def _training(run: Path, seconds: float, score_every: float) -> list[str]:
    """Return the command that trains for so long [s], scored every so many minutes."""
    budget = ("--minutes", str(seconds / 60), "--steps", "1000000000", "--set", "save_every=6")
    scores = ("--score-every", str(score_every))
    return words("train", TASK, "--out", str(run), *budget, *scores)


def _run(*arguments: str) -> float:
    """Run a command to its end; return its seconds."""
    begin = time.monotonic()
    done = subprocess.run(words(*arguments), stdout=subprocess.DEVNULL)
    if done.returncode:
        raise InputError(f"robot-ppo {arguments[0]} ended with code {done.returncode}")
    return time.monotonic() - begin


def iterations(run: Path) -> list[tuple[float, float]]:
    """Return (seconds, steps) of every iteration so far."""
    path = run / "log.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [
            (float(row["seconds"]), float(row["steps"]))
            for row in csv.DictReader(file)
            if row.get("learning_rate")  # a row that is being written is shorter
        ]


def _scores(run: Path, begin: float, end: float) -> int:
    """Return how many scores a training had between two of its times [s]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    tag = "score/velocity_error"
    if tag not in events.Tags()["scalars"]:
        return 0
    started = events.Scalars("main/kl")[0].wall_time - iterations(run)[0][0]
    times = [point.wall_time - started for point in events.Scalars(tag)]
    return sum(begin <= time <= end for time in times)


def _until_trained(run: Path, seconds: float, training: _Quiet) -> None:
    """Wait until a training is so old."""
    while not any(row[0] >= seconds for row in iterations(run)[-1:]):
        if training.poll() is not None:
            raise InputError("the training ended too early")
        time.sleep(0.2)


def _rate(rows: list[tuple[float, float]], begin: float, end: float) -> float:
    """Return steps/s between two times of a training [s]."""
    part = [row for row in rows if begin <= row[0] <= end]
    return (part[-1][1] - part[0][1]) / (part[-1][0] - part[0][0])
