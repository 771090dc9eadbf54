"""Metrics of a robot in physical units, and the figures of its episodes."""

from collections.abc import Callable, Mapping

import numpy as np

from robot_ppo.envs.episode_metrics import EpisodeMetrics
from robot_ppo.envs.robot.world import World
from robot_ppo.sim.device import CPU, Device
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.tables import Positive, Table, Term

METRICS = Table("metric")
"""f(world, *, parameters) -> (n,): columns of the log, and figures of the scorecard."""


@METRICS.add("commands.twist")
def velocity_error(world: World) -> Array:
    """|v_xy - command| [m/s]."""
    xp = namespace(world.phase)
    ahead, aside = (world.base_lin_vel[:, i] - world.command[:, i] for i in (0, 1))
    return xp.hypot(ahead, aside)


@METRICS.add("commands.twist")
def yaw_error(world: World) -> Array:
    """|yaw rate - command| [rad/s]."""
    xp = namespace(world.phase)
    return xp.abs(world.base_ang_vel[:, 2] - world.command[:, 2])


@METRICS.add("commands.joint_pos")
def joint_error(world: World) -> Array:
    """Mean absolute distance of the joints to their commands [rad]."""
    xp = namespace(world.phase)
    return xp.mean(xp.abs(world.joint_pos - world.command), axis=-1)


@METRICS.add()
def pose_error(world: World) -> Array:
    """Mean absolute distance of the joints to the default pose [rad]."""
    xp = namespace(world.phase)
    return xp.mean(xp.abs(world.joint_pos - world.constants.default_pose), axis=-1)


@METRICS.add()
def tilt(world: World) -> Array:
    """Angle between body z and world z [rad]."""
    return frames.tilt(world.base_quat)


@METRICS.add()
def upright(world: World, *, within: Positive, height: Positive) -> Array:
    """1 where the robot leans less than `within` [rad] and is at `height` of its home height."""
    xp = namespace(world.phase)
    stands = world.base_height > height * world.constants.home_height
    return xp.astype(stands & (frames.tilt(world.base_quat) < within), world.phase.dtype)


class RobotMetrics(EpisodeMetrics):
    """Metrics of a robot's episodes: durations in seconds, and the task's metrics."""

    def __init__(
        self,
        n: int,
        rewards: tuple[str, ...],
        control_period: float,
        terms: Mapping[str, Term],
        levels: Callable[[], dict[str, float]] = dict,
        on: Device = CPU,
        counts: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Start with empty sums; `length` is in [s].

        Args:
            n: simulations.
            rewards: names of the parts of the reward.
            control_period: [s].
            terms: the task's metrics.
            levels: returns those of the curriculum, for the log.
            on: where the worlds' arrays are.
            counts: returns the simulations behind those levels that are not over all.
        """
        super().__init__(n, rewards, ("length", control_period), on)
        self.terms = {name: term.function for name, term in terms.items()}
        self._levels = levels
        self._counts = counts
        self._totals = on.zeros(len(terms), dtype="float64")
        self._steps = np.zeros((), np.int64)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that the next figures depend on, not copies."""
        if not self.terms:
            return super().arrays()
        return super().arrays() | {"totals": self._totals, "steps": self._steps}

    def add_world(self, world: World) -> None:
        """Add one control step's metrics in `world`."""
        for i, function in enumerate(self.terms.values()):
            values = function(world)
            self._totals[i] += values.sum() / len(values)
        self._steps += 1

    def behaviour(self) -> dict[str, float]:
        """Return each metric's mean over simulations and steps since the last call, and levels.

        Not over episodes, which would say how the policy was twenty seconds ago.
        """
        means = self.device.fetch(self._totals) / max(1, int(self._steps))
        self._totals[:] = 0.0
        self._steps[...] = 0
        return dict(zip(self.terms, means.tolist(), strict=True)) | self._levels()

    def simulations(self) -> dict[str, float]:
        """Return name -> simulations behind a figure of `behaviour`, where these are not all."""
        return self._counts()
