"""Compute the numbers of the table from the runs' scores: pure functions.

A run's score is moved and scaled per task so that the untrained policy has 0 and the best setting's
mean over seeds has 1; a setting's score is the mean over tasks and seeds. What is best depends on
what was compared: normalized scores of two sweeps do not compare, raw ones do.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.ppo_paper.protocol import RANDOM
from benchmarks.ppo_paper.results import Curve, Result


@dataclass(frozen=True)
class Row:
    """One setting."""

    setting: str
    score: float
    """Mean over tasks of the normalized scores."""
    raw: dict[str, float]
    """Task -> mean score over seeds; without tasks that have no run."""
    normalized: dict[str, float]
    """Task -> normalized score."""
    runs: int
    diverged: int
    """Number of runs that diverged."""
    steps_per_second: float
    """Environment steps per second of one process, learning included."""
    collect_us: float
    """Time of physics and policy per environment step [us]."""
    learn_us: float
    """Time of learning per environment step [us]."""


def normalize(score: float, zero: float, best: float) -> float:
    """Return the score on the scale where `zero` is 0 and `best` is 1.

    NaN unless the best is better than nothing: the scale would be upside down.
    """
    return (score - zero) / (best - zero) if best > zero else math.nan


def means(results: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Return setting -> task -> mean score over seeds. Runs without an episode do not count."""
    scores: dict[str, dict[str, list[float]]] = {}
    for result in results:
        if not math.isnan(result.score):
            tasks = scores.setdefault(result.setting, {})
            tasks.setdefault(result.task, []).append(result.score)
    return {
        setting: {task: float(np.mean(values)) for task, values in tasks.items()}
        for setting, tasks in scores.items()
    }


def table(results: Iterable[Result], settings: Iterable[str]) -> list[Row]:
    """Return a row for each of `settings` that has a run, in that order.

    Tasks of which the untrained policy's score is missing have no scale and are left out.
    """
    results = list(results)
    settings = [s for s in settings if any(r.setting == s for r in results)]
    raw = means(results)
    zeros = raw.get(RANDOM, {})
    best = {
        task: max(raw[s][task] for s in settings if task in raw.get(s, {}))
        for task in zeros
        if any(task in raw.get(s, {}) for s in settings)
    }
    rows = []
    for setting in settings:
        own = {task: score for task, score in raw.get(setting, {}).items() if task in best}
        scaled = {task: normalize(own[task], zeros[task], best[task]) for task in own}
        runs = [r for r in results if r.setting == setting]
        rows.append(Row(setting, _mean(scaled.values()), own, scaled, *_cost(runs)))
    return rows


def _cost(runs: list[Result]) -> tuple[int, int, float, float, float]:
    """Return the figures of a row that follow the scores."""
    steps = sum(r.steps for r in runs) or math.nan
    collect = sum(r.seconds_collect for r in runs)
    learn = sum(r.seconds_learn for r in runs)
    diverged = sum(r.ended == "diverged" for r in runs)
    speed = steps / (collect + learn) if collect + learn else math.nan
    return len(runs), diverged, speed, 1e6 * collect / steps, 1e6 * learn / steps


def _mean(values: Iterable[float]) -> float:
    values = [v for v in values if not math.isnan(v)]
    return float(np.mean(values)) if values else math.nan


def mean_curve(curves: list[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (p,) and the returns of every seed at them, (seeds, p).

    A run that ended early, because it diverged, keeps its last value; before the first episode
    there is none, NaN.
    """
    steps = np.array(sorted({s for curve in curves for s, _ in curve}))
    values = np.full((len(curves), len(steps)), math.nan)
    for row, curve in zip(values, curves, strict=True):
        if curve:
            at, returns = (np.array(column) for column in zip(*curve, strict=True))
            place = np.searchsorted(at, steps, side="right") - 1
            row[place >= 0] = returns[place[place >= 0]]
    return steps, values
