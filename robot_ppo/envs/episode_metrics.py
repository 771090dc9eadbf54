"""Figures of episodes for the log: sums per part of the reward, durations, failures."""

from collections import deque
from typing import Any

import numpy as np

from robot_ppo.sim.device import CPU, Device
from robot_ppo_export.contract.frames import Array


class EpisodeMetrics:
    """Accumulates over running episodes; finished ones wait until the log drains them."""

    def __init__(
        self, n: int, rewards: tuple[str, ...], duration: tuple[str, float], on: Device = CPU
    ) -> None:
        """Start with empty sums.

        Args:
            n: simulations.
            rewards: names of the parts of the reward.
            duration: column of an episode's duration, and its unit per control step.
            on: where the rewards are; figures of finished episodes are numpy's.
        """
        self.device = on
        self._summed = ("return", *(f"reward_{name}" for name in rewards))
        self._duration, self._period = duration
        self.columns = (*self._summed, self._duration, "failed")
        """Names of an episode's figures; rewards are sums."""
        self.sums = on.zeros(len(self._summed), n, dtype="float64")
        self.counts = np.zeros(n, np.int64)
        # Bounded, because an environment that is used without our log is never drained.
        self._finished: deque[np.ndarray] = deque(maxlen=1024)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that the next figures depend on, not copies.

        Finished episodes are not among them: they are drained before a state is saved.
        """
        return {"sums": self.sums, "counts": self.counts}

    def add(self, reward: Array, terms: Array) -> None:
        """Add one control step: reward (n,) and its parts (k, n)."""
        self.sums[0] += reward
        self.sums[1:] += terms
        self.counts += 1

    def finish(self, ids: np.ndarray, failed: np.ndarray) -> np.ndarray:
        """Return the finished episodes' figures (len(columns), len(ids)), and clear their sums."""
        figures = np.empty((len(self.columns), len(ids)))
        figures[:-2] = self.device.fetch(self.sums[:, ids])
        figures[-2] = self.counts[ids] * self._period
        figures[-1] = failed
        self.clear(ids)
        self._finished.append(figures)
        return figures

    def finished(self, done: np.ndarray, failed: np.ndarray) -> dict[str, Any]:
        """Finish the episodes of `done` (n,) and return what `info` says of them.

        `episode_metrics` holds (n,) arrays, of which the rows in `_episode_metrics` count, as
        Gymnasium's vector wrappers expect it. Their own key `episode` is left to them.

        Args:
            done: (n,) bool.
            failed: (m,) of the m that are done.
        """
        ids = np.flatnonzero(done)
        figures = np.zeros((len(self.columns), len(done)))
        figures[:, ids] = self.finish(ids, failed)
        return {
            "episode_metrics": dict(zip(self.columns, figures, strict=True)),
            "_episode_metrics": done,
        }

    def drain(self) -> dict[str, np.ndarray]:
        """Return the figures of all episodes that finished since the last call."""
        none = np.zeros((len(self.columns), 0))
        finished = np.concatenate([none, *self._finished], axis=1)
        self._finished.clear()
        return dict(zip(self.columns, finished, strict=True))

    def behaviour(self) -> dict[str, float]:
        """Return what else the log should say of the steps since the last call: nothing."""
        return {}

    def simulations(self) -> dict[str, float]:
        """Return name -> simulations behind a figure of `behaviour`, where these are not all."""
        return {}

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Let the running episodes `target` (m,) have the past of `source` (m,)."""
        self.sums[:, target] = self.sums[:, source]
        self.counts[target] = self.counts[source]

    def clear(self, ids: np.ndarray) -> None:
        """Forget the running episodes of `ids`."""
        self.sums[:, ids] = 0.0
        self.counts[ids] = 0
