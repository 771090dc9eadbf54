"""A single simulation as a plain `gymnasium.Env`: the vector environment with one row."""

from typing import Any

import gymnasium
import numpy as np

from robot_ppo import envs
from robot_ppo.envs.environment import Observations


class SingleEnv(gymnasium.Env):
    """One simulation of one task. The time limit is inside and is reported as truncation."""

    metadata = {"render_modes": ["rgb_array", "human"]}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        threads: int = 1,
        render_mode: str | None = None,
        **size: int,
    ) -> None:
        """Build the vector environment that does the work.

        Args:
            task: name of a shipped task.
            threads: for physics.
            render_mode: "rgb_array", "human" or None.
            size: `width` and `height` of a picture [pixels].
        """
        self.render_mode = render_mode
        self._vector: Any = envs.make_named(task, 1, threads)
        if render_mode is not None:
            from robot_ppo.envs.view import Rendered

            self._vector = Rendered(self._vector, render_mode, **size)
            self.metadata = self._vector.metadata
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
        _, reward, failed, truncated, info = self._vector.step(np.asarray(action)[None])
        if info.get("_final_obs", np.zeros(1, bool))[0]:
            groups = info["final_observations"]
        else:
            groups = info["observations"]
        out = {"observations": _first(groups)}
        return groups["actor"][0], float(reward[0]), bool(failed[0]), bool(truncated[0]), out

    def render(self) -> np.ndarray | None:
        """Return a picture (height, width, 3) uint8, None with a window or without a mode.

        At the end of an episode it is that of its last state.
        """
        if self.render_mode != "rgb_array":
            return None
        final = self._vector.final_frame()
        return self._vector.render()[0] if final is None else final

    def close(self) -> None:
        """Free the pictures, close the window."""
        self._vector.close()


def _first(groups: Observations) -> Observations:
    """Return the first row of every group."""
    return {name: rows[0] for name, rows in groups.items()}
