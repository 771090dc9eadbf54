"""Train with rsl_rl on an environment of ours; see docs/interop.md."""

# pyright: reportMissingImports=false
# The extra `peers` is not part of a developer's setup.

from typing import Any

import gymnasium
import msgspec
import torch
from gymnasium.spaces import Box

from robot_ppo.envs.gymnasium.mujoco_env import MujocoVectorEnv
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo_export.errors import InputError

try:
    from rsl_rl.env import VecEnv
    from tensordict import TensorDict
except ImportError:
    raise ImportError("RslRlVecEnv needs rsl-rl-lib: pip install 'robot-ppo[peers]'") from None


class RslRlVecEnv(VecEnv):
    """Adapt an environment of ours to rsl_rl's `VecEnv`: on the CPU, all tensors float32.

    Observations come in the environment's groups; `obs_groups` of rsl_rl's settings names those
    that a network reads, e.g. `{"actor": ["actor"], "critic": ["actor", "critic"]}`.
    `extras["time_outs"]` (n,) is true where time alone ended an episode, and `extras["log"]` holds
    means over the episodes that ended.
    """

    def __init__(self, envs: gymnasium.vector.VectorEnv) -> None:
        """Wrap `envs`, made by `gymnasium.make_vec("robot_ppo/…")`, and start its episodes."""
        if isinstance(envs, RobotEnv):
            limit = envs.max_ticks
            task = msgspec.to_builtins(envs.task)
        elif isinstance(envs, MujocoVectorEnv):
            limit = envs.task.max_steps
            task = {"name": type(envs.task).__name__}
        else:
            raise InputError(
                f"RslRlVecEnv takes what gymnasium.make_vec('robot_ppo/…') returns, "
                f"not {type(envs).__name__}"
            )
        self.envs = envs
        space = envs.single_action_space
        assert isinstance(space, Box)
        self.num_envs = envs.num_envs
        self.num_actions = space.shape[0]
        self.max_episode_length = limit
        """Control steps."""
        self.device = "cpu"
        self.cfg = task
        """The task's settings, which rsl_rl keeps beside its own."""
        self._observations = self._groups(envs.reset()[1])

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Age of the running episodes, (n,) int64 [control steps]; rsl_rl spreads them by this."""
        return torch.from_numpy(self.envs.ticks)

    @episode_length_buf.setter
    def episode_length_buf(self, ages: torch.Tensor) -> None:
        self.envs.ticks[:] = ages.numpy()

    def get_observations(self) -> TensorDict:
        """Return the newest observations."""
        return self._observations

    def step(
        self, actions: torch.Tensor
    ) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Apply an action per environment, (n, k); return observations, reward, done and extras."""
        _, reward, terminated, truncated, info = self.envs.step(actions.numpy())
        self._observations = self._groups(info)
        extras: dict[str, Any] = {"time_outs": torch.from_numpy(truncated)}
        if "episode_metrics" in info:
            ended = info["_episode_metrics"]
            figures = info["episode_metrics"]
            extras["log"] = {f"Episode/{k}": float(v[ended].mean()) for k, v in figures.items()}
        done = torch.from_numpy(terminated | truncated)
        return self._observations, torch.from_numpy(reward).float(), done, extras

    def _groups(self, info: dict[str, Any]) -> TensorDict:
        groups = {name: torch.from_numpy(rows) for name, rows in info["observations"].items()}
        return TensorDict({k: v.float() for k, v in groups.items()}, batch_size=[self.num_envs])
