"""A single simulation as a plain `gymnasium.Env`: the vector environment with one row."""

from typing import Any

import gymnasium
import numpy as np

from robot_ppo import envs
from robot_ppo.envs.environment import Observations


class SingleEnv(gymnasium.Env):
    """One simulation of one task. The time limit is inside and is reported as truncation."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, task: str, threads: int = 1) -> None:
        """Build the vector environment that does the work."""
        self._vector = envs.make_named(task, 1, threads)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; see the vector environment's `reset`."""
        super().reset(seed=seed)
        observation, info = self._vector.reset(seed=seed, options=options)
        return observation[0], {"observations": _first(info["observations"])}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance by one action; at the end of an episode, the true last observation."""
        _, reward, failed, truncated, info = self._vector.step(action[None])
        if info.get("_final_obs", np.zeros(1, bool))[0]:
            groups = info["final_observations"]
        else:
            groups = info["observations"]
        out = {"observations": _first(groups)}
        return groups["actor"][0], float(reward[0]), bool(failed[0]), bool(truncated[0]), out


def _first(groups: Observations) -> Observations:
    """Return the first row of every group."""
    return {name: rows[0] for name, rows in groups.items()}
