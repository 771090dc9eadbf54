"""One run of the table: its score, its curve, and what it cost."""

import gc
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robot_ppo.config import Config
from robot_ppo.envs.gym_tasks import TASKS
from robot_ppo.table1.protocol import Run
from robot_ppo.table1.results import Curve, Result
from robot_ppo.training.train import DivergedError, Trainer

EPISODES = 100
"""The score is the mean return of so many last episodes."""
POINTS = 100
"""Of a curve, about."""


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


class Watch:
    """Stands in the logger's place: keeps episodes and times, and writes no file."""

    def __init__(self, config: Config, alive: Callable[[], bool] = lambda: True) -> None:
        """Start empty; `alive` is asked after every iteration, and without it the run ends."""
        self.returns: deque[float] = deque(maxlen=EPISODES)
        self.curve: Curve = []
        self.seconds = dict.fromkeys(("physics", "collect", "learn"), 0.0)
        self._every = max(1, config.steps // (config.num_envs * config.rollout) // POINTS)
        self._alive = alive

    @property
    def score(self) -> float:
        """The mean return of the last episodes, NaN before the first."""
        return float(np.mean(self.returns)) if self.returns else float("nan")

    def log(self, trainer: Trainer, figures: dict[str, float], times: dict[str, float]) -> None:
        """Take one iteration."""
        if not self._alive():
            raise Stopped
        limit = TASKS[trainer.config.task.name].max_steps
        self.returns.extend(whole(trainer.env.metrics.drain(), limit))
        for name in self.seconds:
            self.seconds[name] += times[name]
        if trainer.iteration % self._every == 0:
            self.curve.append((trainer.steps, self.score))


def train(run: Run, steps: int) -> tuple[Result, Curve]:
    """Train one run and return its row and its curve, or raise `Stopped`.

    A run whose policy stops being finite has the score of its last episodes until then: to
    diverge is a result.
    """
    began, parent = time.perf_counter(), os.getppid()
    config = run.config(steps)
    watch = Watch(config, lambda: os.getppid() == parent)
    with tempfile.TemporaryDirectory() as folder:  # no checkpoint of these runs is kept
        trainer = Trainer(config, Path(folder))
        try:
            trainer.run(watch)
            ended = "done"
        except DivergedError:
            ended = "diverged"
    if ended == "done" and trainer.interrupted:
        raise Stopped
    result = Result(
        setting=run.setting,
        task=run.task,
        seed=run.seed,
        steps=trainer.steps,
        ended=ended,
        score=watch.score,
        episodes=len(watch.returns),
        seconds=time.perf_counter() - began,
        **{f"seconds_{name}": value for name, value in watch.seconds.items()},
    )
    del trainer
    gc.collect()  # a process trains many runs: the threads of each end with its learner
    return result, watch.curve
