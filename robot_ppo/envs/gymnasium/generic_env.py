"""Any other Gymnasium environment with Box spaces, through `gymnasium.make_vec`.

Its simulations are stepped one after the other by Gymnasium, with episodes that end reset in the
same step. Observations and actions are flattened; actions are clipped to the action space.
"""

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

from robot_ppo.envs.robot.metrics import EpisodeMetrics
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError


class ForeignVectorEnv:
    """n environments of the Gymnasium id. Observations are float32 (n, size)."""

    diverged = 0

    def __init__(self, id: str, num_envs: int = 1, seed: int | None = None) -> None:
        """Make them, or raise `InputError` that says what cannot be trained."""
        self.num_envs, self._seed = num_envs, seed
        self._envs = _make(id, num_envs)
        self._observations = _box(id, "observation", self._envs.single_observation_space)
        self._actions = _box(id, "action", self._envs.single_action_space)
        self.single_observation_space = _flat(self._observations)
        self.single_action_space = _flat(self._actions)
        self.observation_groups = {"actor": self.single_observation_space.shape[0]}
        self.metrics = EpisodeMetrics(num_envs, (), ("episode_steps", 1.0))
        self.physics_seconds = 0.0
        """Wall-clock time spent in the environments so far [s]."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every episode anew; all at age 0, for their clocks are their own."""
        seed, self._seed = self._seed if seed is None else seed, None
        observation, _ = self._envs.reset(seed=seed)
        self.metrics.clear(np.arange(self.num_envs))
        flat = self._flatten(observation)
        return flat, {"observations": {"actor": flat}}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance by one action each, (n, k)."""
        space = self.single_action_space
        action = np.clip(actions, space.low, space.high).astype(self._actions.dtype)
        begin = time.perf_counter()
        stepped = self._envs.step(action.reshape(self.num_envs, *self._actions.shape))
        self.physics_seconds += time.perf_counter() - begin
        observation, failed, cut = self._flatten(stepped[0]), stepped[2], stepped[3] & ~stepped[2]
        self.metrics.add(stepped[1], np.zeros((0, self.num_envs)))
        info: dict[str, Any] = {"observations": {"actor": observation}}
        done = failed | cut
        ended = np.flatnonzero(done)
        if ended.size:
            final = observation.copy()
            final[ended] = self._flatten(np.stack(stepped[4]["final_obs"][ended]))
            info |= {"final_obs": final, "_final_obs": done}
            info |= {"final_observations": {"actor": final}, "_final_observations": done}
            info["episode"] = self.metrics.finish(ended, failed[ended])
        return observation, stepped[1], failed, cut, info

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: Gymnasium cannot ask an environment for its state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise `InputError`: whoever resumes starts new episodes."""
        raise InputError("Gymnasium's environments cannot be saved")

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Raise `InputError`: one environment cannot take over another's state."""
        raise InputError("Gymnasium's environments cannot be copied")

    def _flatten(self, observation: np.ndarray) -> np.ndarray:
        return observation.reshape(len(observation), -1).astype(np.float32)


def _make(id: str, num_envs: int) -> gymnasium.vector.VectorEnv:
    if id not in gymnasium.registry:
        hint = did_you_mean(id, gymnasium.registry).partition(" Known:")[0]
        raise InputError(
            f"gym:{id}: Gymnasium knows no environment {id!r}{hint} "
            "`gymnasium.pprint_registry()` lists them"
        )
    try:
        return gymnasium.make_vec(
            id,
            num_envs=num_envs,
            vectorization_mode=gymnasium.VectorizeMode.SYNC,
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        )
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"gym:{id}: Gymnasium cannot make it ({reason})") from None


def _box(id: str, what: str, space: gymnasium.Space) -> Box:
    """Return a Box space with floating point numbers, or say that it is not one."""
    if isinstance(space, Box):
        return space
    raise InputError(
        f"gym:{id}: its {what} space is {type(space).__name__}; only continuous tasks can be "
        "trained, with a Box of observations and a Box of actions"
    )


def _flat(space: Box) -> Box:
    low, high = space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)
    return Box(low, high, dtype=np.float32)
