"""Figures for the log: sums per reward over episodes, and metrics in physical units."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from robot_ppo.envs.robot.terms import Positive, Table, Term
from robot_ppo.envs.robot.world import World
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array

METRICS = Table("metric")
"""f(world, *, parameters) -> (n,): columns of the log, and figures of the scorecard."""


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
        figures = np.empty((len(self.columns), len(ids)))
        figures[:-2] = self.sums[:, ids]
        figures[-2] = self.counts[ids] * self._period
        figures[-1] = failed
        rows = dict(zip(self.columns, figures, strict=True))
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
        figures = np.zeros((len(self.columns), len(done)))
        figures[:, ids] = list(self.finish(ids, failed).values())
        return {
            "episode_figures": dict(zip(self.columns, figures, strict=True)),
            "_episode_figures": done,
        }

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


@METRICS.add("commands.twist")
def velocity_error(world: World) -> Array:
    """|v_xy - command| [m/s]."""
    xp = array_namespace(world.phase)
    ahead, aside = (world.base_lin_vel[:, i] - world.command[:, i] for i in (0, 1))
    return xp.hypot(ahead, aside)


@METRICS.add("commands.twist")
def yaw_error(world: World) -> Array:
    """|yaw rate - command| [rad/s]."""
    xp = array_namespace(world.phase)
    return xp.abs(world.base_ang_vel[:, 2] - world.command[:, 2])


@METRICS.add("commands.joint_pos")
def joint_error(world: World) -> Array:
    """Mean absolute distance of the joints to their commands [rad]."""
    xp = array_namespace(world.phase)
    return xp.mean(xp.abs(world.joint_pos - world.command), axis=-1)


@METRICS.add()
def pose_error(world: World) -> Array:
    """Mean absolute distance of the joints to the default pose [rad]."""
    xp = array_namespace(world.phase)
    return xp.mean(xp.abs(world.joint_pos - world.constants.default_pose), axis=-1)


@METRICS.add()
def tilt(world: World) -> Array:
    """Angle between body z and world z [rad]."""
    return frames.tilt(world.base_quat)


@METRICS.add()
def upright(world: World, *, within: Positive, height: Positive) -> Array:
    """1 where the robot leans less than `within` [rad] and is at `height` of its home height."""
    xp = array_namespace(world.phase)
    stands = world.base_height > height * world.constants.home_height
    return xp.astype(stands & (frames.tilt(world.base_quat) < within), world.phase.dtype)


class RobotMetrics(EpisodeMetrics):
    """Those of a robot: durations in seconds, and the task's metrics."""

    def __init__(
        self,
        n: int,
        rewards: tuple[str, ...],
        control_period: float,
        terms: Mapping[str, Term],
        levels: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Start with empty sums; `length` is in [s].

        Args:
            n: simulations.
            rewards: names of the parts of the reward.
            control_period: [s].
            terms: the task's metrics.
            levels: returns those of the curriculum, for the log.
        """
        super().__init__(n, rewards, ("length", control_period))
        self.terms = {name: term.function for name, term in terms.items()}
        self._levels = levels
        self._totals = np.zeros(len(terms))
        self._steps = np.zeros((), np.int64)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next figures depend on, not copies."""
        if not self.terms:
            return super().arrays()
        return super().arrays() | {"totals": self._totals, "steps": self._steps}

    def add_world(self, world: World) -> None:
        """Add one control step's metrics in `world`."""
        for i, function in enumerate(self.terms.values()):
            self._totals[i] += function(world).mean()
        self._steps += 1

    def behaviour(self) -> dict[str, float]:
        """Return each metric's mean over simulations and steps since the last call, and levels.

        Not over episodes, which would say how the policy was twenty seconds ago.
        """
        means = self._totals / max(1, int(self._steps))
        self._totals[:], self._steps[...] = 0.0, 0
        return dict(zip(self.terms, means.tolist(), strict=True)) | self._levels()
