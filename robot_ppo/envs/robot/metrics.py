"""What the log says: sums per reward term over episodes, and behaviour in physical units."""

from collections import deque
from typing import Any

import numpy as np

from robot_ppo.envs.robot.world import World

BEHAVIOUR = ("velocity_error", "yaw_error")
"""Means over all steps since the log last asked: |v_xy - command| [m/s], |yaw rate - command|
[rad/s]. Not over episodes, which would say how the policy was twenty seconds ago."""


class EpisodeMetrics:
    """Accumulates over running episodes; finished ones wait until the log drains them."""

    def __init__(self, n: int, rewards: tuple[str, ...], duration: tuple[str, float]) -> None:
        """Start with empty sums.

        Args:
            n: simulations.
            rewards: names of the parts of the reward.
            duration: column of an episode's duration, and its unit per control step.
        """
        self._summed = ("return", *(f"reward_{name}" for name in rewards))
        self._duration, self._period = duration
        self.columns = (*self._summed, self._duration, "failed")
        """Names of an episode's figures; rewards are sums."""
        self.sums = np.zeros((len(self._summed), n), np.float64)
        self.counts = np.zeros(n, np.int64)
        # Bounded, because an environment that is used without our log is never drained.
        self._finished: deque[dict[str, np.ndarray]] = deque(maxlen=1024)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next figures depend on, not copies.

        Finished episodes are not among them: whoever saves has drained them.
        """
        return {"sums": self.sums, "counts": self.counts}

    def add(self, reward: np.ndarray, terms: np.ndarray) -> None:
        """Add one control step: reward (n,) and its parts (k, n)."""
        self.sums[0] += reward
        self.sums[1:] += terms
        self.counts += 1

    def finish(self, ids: np.ndarray, failed: np.ndarray) -> dict[str, np.ndarray]:
        """Return the finished episodes' figures, (len(ids),) each, and clear their sums."""
        rows: dict[str, np.ndarray] = {
            name: self.sums[i, ids].copy() for i, name in enumerate(self._summed)
        }
        rows[self._duration] = self.counts[ids] * self._period
        rows["failed"] = failed.astype(np.float64)
        self.clear(ids)
        self._finished.append(rows)
        return rows

    def finished(self, done: np.ndarray, failed: np.ndarray) -> dict[str, Any]:
        """Finish the episodes of `done` (n,) and return what `info` says of them.

        `episode_figures` holds (n,) arrays, of which the rows in `_episode_figures` count, as
        Gymnasium's vector wrappers expect it. Their own key `episode` is left to them.

        Args:
            done: (n,) bool.
            failed: (m,) of the m that are done.
        """
        ids = np.flatnonzero(done)
        figures = {}
        for name, values in self.finish(ids, failed).items():
            figures[name] = np.zeros(len(done))
            figures[name][ids] = values
        return {"episode_figures": figures, "_episode_figures": done}

    def drain(self) -> dict[str, np.ndarray]:
        """Return the figures of all episodes that finished since the last call."""
        finished = list(self._finished)
        self._finished.clear()
        return {
            name: np.concatenate([rows[name] for rows in finished]) if finished else np.zeros(0)
            for name in self.columns
        }

    def behaviour(self) -> dict[str, float]:
        """Return what else the log should say of the steps since the last call: nothing."""
        return {}

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Let the running episodes `target` (m,) have the past of `source` (m,)."""
        self.sums[:, target] = self.sums[:, source]
        self.counts[target] = self.counts[source]

    def clear(self, ids: np.ndarray) -> None:
        """Forget the running episodes of `ids`."""
        self.sums[:, ids] = 0.0
        self.counts[ids] = 0


class RobotMetrics(EpisodeMetrics):
    """Those of a robot: durations in seconds, and how well it does what it is told."""

    def __init__(self, n: int, rewards: tuple[str, ...], control_period: float) -> None:
        """Start with empty sums; `length` is in [s]."""
        super().__init__(n, rewards, ("length", control_period))
        self._errors = np.zeros(len(BEHAVIOUR))
        self._steps = np.zeros((), np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next figures depend on, not copies."""
        return super().arrays() | {"errors": self._errors, "steps": self._steps}

    def add_errors(self, world: World) -> None:
        """Add one control step's errors in `world`."""
        ahead, aside = (world.base_lin_vel[:, i] - world.command[:, i] for i in (0, 1))
        self._errors[0] += np.hypot(ahead, aside).mean()
        self._errors[1] += np.abs(world.base_ang_vel[:, 2] - world.command[:, 2]).mean()
        self._steps += 1

    def behaviour(self) -> dict[str, float]:
        """Return the means of `BEHAVIOUR` since the last call."""
        means = self._errors / max(1, int(self._steps))
        self._errors[:], self._steps[...] = 0.0, 0
        return dict(zip(BEHAVIOUR, means.tolist(), strict=True))
