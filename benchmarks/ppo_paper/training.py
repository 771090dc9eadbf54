"""Train one run: `python -m benchmarks.ppo_paper.training SETTING TASK SEED STEPS FILE`."""

import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.ppo_paper.protocol import Run
from benchmarks.ppo_paper.results import Curve, Result, write
from robot_ppo.config import Config
from robot_ppo.envs.gymnasium.gym_tasks import TASKS
from robot_ppo.training.threads import single_threaded
from robot_ppo.training.train import DivergedError, Trainer

EPISODES = 100
"""The score is the mean return of this many last episodes."""
POINTS = 100
"""Approximate number of points of a curve."""


class Stopped(Exception):
    """The run was told to stop before its end."""


def whole(episodes: dict[str, np.ndarray], limit: int) -> np.ndarray:
    """Return the returns (m,) of the episodes that began at their beginning.

    Simulations start with their clocks spread, so the first episode of each may be cut off
    early: cut off, and shorter than the time limit.

    Args:
        episodes: figures by name, (episodes,) each.
        limit: the task's longest episode [steps].
    """
    cut_early = (episodes["failed"] == 0) & (episodes["episode_steps"] < limit)
    return episodes["return"][~cut_early]


def last_returns(trainer: Trainer) -> np.ndarray:
    """Return the returns of the last `EPISODES` episodes, or of as many as there were."""
    episodes = trainer.statistics.state_dict()
    if not episodes:
        return np.zeros(0)
    return whole(episodes, TASKS[trainer.config.task.name].max_steps)[-EPISODES:]


def score(returns: np.ndarray) -> float:
    """Return the mean, NaN of nothing."""
    return float(returns.mean()) if returns.size else math.nan


class Watch:
    """Stands in the logger's place: keeps the curve and the times, and writes no file."""

    def __init__(self, config: Config, alive: Callable[[], bool]) -> None:
        """Start empty; `alive` is asked after every iteration, and without it the run ends."""
        self.curve: Curve = []
        self.seconds = dict.fromkeys(("physics", "collect", "learn"), 0.0)
        self._every = max(1, config.steps // (config.num_envs * config.rollout) // POINTS)
        self._alive = alive

    def log(self, trainer: Trainer, metrics: dict[str, float], times: dict[str, float]) -> None:
        """Take one iteration."""
        if not self._alive():
            raise Stopped
        for name in self.seconds:
            self.seconds[name] += times[name]
        if trainer.iteration % self._every == 0:
            self.curve.append((trainer.steps, score(last_returns(trainer))))


@single_threaded()
def train(run: Run, steps: int) -> tuple[Result, Curve]:
    """Train one run and return its row and its curve, or raise `Stopped`.

    A run whose policy stops being finite has the score of its last episodes until then: to
    diverge is a result.
    """
    began = time.perf_counter()
    parent = os.getppid()
    config = run.config(steps)
    watch = Watch(config, lambda: os.getppid() == parent)
    with tempfile.TemporaryDirectory() as folder:  # no checkpoint of these runs is kept
        trainer = Trainer(config, Path(folder))
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # on the way to what is caught here
                trainer.run(watch)
            ended = "done"
        except DivergedError:
            ended = "diverged"
    if ended == "done" and trainer.interrupted:
        raise Stopped
    returns = last_returns(trainer)
    result = Result(
        setting=run.setting,
        task=run.task,
        seed=run.seed,
        steps=trainer.steps,
        ended=ended,
        score=score(returns),
        episodes=len(returns),
        seconds=time.perf_counter() - began,
        **{f"seconds_{name}": value for name, value in watch.seconds.items()},
    )
    return result, watch.curve


def main(setting: str, task: str, seed: str, steps: str, file: str) -> int:
    """Train a run and write its file; return the exit code: 0, or 130 if it was told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep passes Ctrl-C on as SIGTERM
    try:
        result, curve = train(Run(setting, task, int(seed)), int(steps))
    except Stopped:
        return 130
    write(Path(file), result, curve)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
