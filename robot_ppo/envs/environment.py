"""What training asks of an environment, whichever kind it is."""

from typing import Any, Protocol

import numpy as np
from gymnasium.spaces import Box

from robot_ppo.envs.robot.metrics import EpisodeMetrics
from robot_ppo.envs.serialization import State


class Environment(Protocol):
    """n simulations of one task: a `gymnasium.vector.VectorEnv` and a little more.

    Every `info` has `privileged` (n, p), what the critic sees besides; p may be 0. Where episodes
    ended, `final_obs` (n, size) and `final_privileged` (n, p) hold the true last observations in
    the rows of `_final_obs` (n,) bool.
    """

    num_envs: int
    single_observation_space: Box
    """(size,)"""
    single_action_space: Box
    """(k,); actions outside are clipped by the environment."""
    metrics: EpisodeMetrics
    diverged: int
    """Simulations that left the finite numbers, since the start."""

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time spent in physics so far [s]."""
        ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every episode anew; `options["spread_episodes"]`: at different ages, if it can."""
        ...

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return observation, reward, terminated, truncated and info after actions (n, k)."""
        ...

    def state_dict(self) -> State:
        """Return a copy of all that the next steps depend on; nothing where it is out of reach."""
        ...

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Make simulations `target` (m,) exact copies of `source` (m,), or raise `InputError`.

        With equal actions they stay equal but for what is drawn on the way (noise, pushes, new
        commands, resets). No id stands twice in `target`.
        """
        ...

    def load_state_dict(self, state: State) -> None:
        """Go on, bit for bit, from a `state_dict`; an `InputError` where that cannot be."""
        ...
