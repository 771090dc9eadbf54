"""Train with Stable-Baselines3 on a `gymnasium.vector.VectorEnv`; see docs/interop.md."""

# pyright: reportMissingImports=false
# The extra `peers` is not part of a developer's setup.

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from robot_ppo_export.errors import InputError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError:
    raise ImportError("Sb3VecEnv needs stable-baselines3: pip install 'robot-ppo[peers]'") from None


class Sb3VecEnv(VecEnv):
    """Adapt a `gymnasium.vector.VectorEnv` to Stable-Baselines3's `VecEnv`.

    Observations (n, size) and rewards (n,) are the environment's own arrays. Where an episode
    ended, `infos[i]` holds `terminal_observation`, the true last observation, and
    `TimeLimit.truncated`: whether time alone ended it, so that its future has a value.
    """

    def __init__(self, envs: gymnasium.vector.VectorEnv) -> None:
        """Wrap `envs`, which must reset an ended episode in the same step."""
        if envs.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise InputError(
                "Stable-Baselines3 expects an ended episode to be reset in the same step; make the "
                "environment with vector_kwargs={'autoreset_mode': AutoresetMode.SAME_STEP}"
            )
        self.envs = envs
        self._actions: np.ndarray | None = None
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)

    def reset(self) -> np.ndarray:
        """Reset every episode, with the seed and the options that were set for this reset."""
        # Both libraries give simulation i the seed + i.
        observation, _ = self.envs.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Store the actions (n, k) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Return observation, reward, done and one info per simulation."""
        observation, reward, terminated, truncated, info = self.envs.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        done = terminated | truncated
        for i in np.flatnonzero(done):
            infos[i]["terminal_observation"] = info["final_obs"][i]
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return observation, reward, done, infos

    def close(self) -> None:
        """Close the environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute once per simulation; all simulations share its value."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raise `InputError`: simulations of one batch have no attributes of their own."""
        raise InputError(f"set {attr_name!r} on `.envs`: its simulations share all attributes")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Raise `InputError`: simulations of one batch have no methods of their own."""
        raise InputError(f"call {method_name!r} on `.envs`: its simulations share all methods")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        """Return False for each simulation: none is wrapped individually."""
        return [False for _ in self._get_indices(indices)]
