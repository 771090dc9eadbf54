"""Draws the actions of a rollout, where the simulations are."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_ppo.envs.environment import Environment
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.sim.device import CPU
from robot_ppo_export.contract.frames import namespace

_SEEDS = 2**62


class Explorer:
    """Adds noise to a policy's means; numpy draws it for simulations on the CPU, else the device.

    What a device draws follows from the run's generator too, which seeds it for every rollout.
    """

    def __init__(self, env: Environment) -> None:
        """Explore in `env`."""
        self._on = env.device if isinstance(env, RobotEnv) else CPU
        self._generator: torch.Generator | None = None

    def begin(self, rng: np.random.Generator) -> None:
        """Begin a rollout."""
        if not self._on.numpy:
            seed = int(rng.integers(_SEEDS))
            self._generator = torch.Generator(self._on.name).manual_seed(seed)

    def finite(self, action: Tensor) -> bool:
        """Return whether all actions are finite."""
        given = self.given(action)
        return bool(namespace(given).isfinite(given).all())

    def given(self, action: Tensor) -> Any:
        """Return actions as the environment takes them: numpy's array, or the tensor."""
        return action.numpy() if self._on.numpy else action

    def draw(self, mean: Tensor, log_std: Tensor, rng: np.random.Generator) -> Tensor:
        """Return actions (n, k), where the simulations are.

        Args:
            mean: (n, k) of the policy.
            log_std: log of its deviation, (k,) or (n, k).
            rng: draws the noise on the CPU.
        """
        if self._generator is None:
            noise = torch.from_numpy(rng.standard_normal(mean.shape, np.float32))
            return mean.cpu() + noise * log_std.cpu().exp()
        noise = torch.randn(mean.shape, generator=self._generator, device=self._on.name)
        return mean.to(noise.device) + noise * log_std.to(noise.device).exp()
