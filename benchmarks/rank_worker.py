"""One rank of a training that is measured: `python -m benchmarks.rank_worker FILE ITERATIONS ...`.

The process writes one row of times for each iteration into FILE. See rank_runs.py, which starts
the ranks as torchrun would.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from robot_ppo import config
from robot_ppo.ppo.ranks import Ranks
from robot_ppo.training import processes
from robot_ppo.training.train import Trainer

TASK = "go2_walk"
WARM_UP = 3
"""First iterations that are not written."""


class Watch:
    """Takes the logger's place: keeps a row of times for each iteration."""

    def __init__(self, ranks: Ranks) -> None:
        """Start the clock of the first iteration."""
        self.rows: list[dict[str, float]] = []
        self._ranks = ranks
        self._last = self._now()

    def _now(self) -> np.ndarray:
        return np.array([time.perf_counter(), self._ranks.waited, self._ranks.sent])

    def log(self, trainer: Trainer, metrics: dict[str, float], times: dict[str, float]) -> None:
        """Write the row of one iteration; times in seconds."""
        now = self._now()
        wall, waited, sent = now - self._last
        self._last = now
        self.rows.append(
            {
                "at": time.time(),
                "wall": float(wall),
                "waited": float(waited),
                "sent": float(sent),
                "physics": times["physics"],
                "policy": times["policy"],
                "environment": times["collect"] - times["physics"] - times["policy"],
                "learn": times["learn"],
            }
        )


def main(file: str, iterations: str, *overrides: str) -> None:
    """Train so many iterations after those that warm up."""
    count = int(iterations) + WARM_UP
    with processes.together() as ranks, tempfile.TemporaryDirectory() as folder:
        settings = config.load(TASK, overrides=overrides)
        batch = settings.num_envs * settings.rollout
        settings = config.load(
            TASK, overrides=[*overrides, f"steps={count * batch}", "save_every=1e9"]
        )
        trainer = Trainer(settings, Path(folder), ranks=ranks)
        watch = Watch(ranks)
        trainer.run(watch)
        Path(file).write_text(json.dumps(watch.rows[WARM_UP:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
