"""Actor and critic: a normalizer and an MLP each. The normalizer is part of the model.

It moves with every checkpoint and every export, and is updated between updates only, so that the
log-probabilities of a rollout and those recomputed while learning see the same one.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from robot_ppo.config import Networks

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


class Normalizer(nn.Module):
    """Running mean and standard deviation of observations, (size,)."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, size: int, clip: float) -> None:
        """Start as the identity (mean 0, variance 1, nothing counted)."""
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("var", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def std(self) -> Tensor:
        """Return the standard deviation that divides, (size,) float32; at least 1e-2."""
        return self.var.sqrt().clamp_min(1e-2).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return clip((x - mean) / std, -clip, clip)."""
        return ((x - self.mean.float()) / self.std()).clamp(-self.clip, self.clip)

    def update(self, x: Tensor) -> None:
        """Count the observations x (m, size) in (Chan's parallel mean and variance)."""
        mean, var = x.mean(0, dtype=torch.float64), x.double().var(0, correction=0)
        total = self.count + len(x)
        delta, share = mean - self.mean, len(x) / total
        self.var += share * (var - self.var) + share * (1 - share) * delta * delta
        self.mean += share * delta
        self.count.copy_(total)


def mlp(sizes: tuple[int, ...], activation: str, last_gain: float) -> nn.Sequential:
    """Return an MLP with orthogonal weights and zero biases.

    Args:
        sizes: widths, input first.
        activation: key of `ACTIVATIONS`, between layers.
        last_gain: scale of the last layer's weights; small, so that training starts near zero.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear] if last else [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


class Actor(nn.Module):
    """A Gaussian policy: the mean from the observation, one standard deviation per action."""

    def __init__(self, size: int, actions: int, config: Networks) -> None:
        """Build for observations (…, size) and actions (…, actions)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        self.mlp = mlp((size, *config.actor, actions), config.activation, last_gain=0.01)
        self.log_std = nn.Parameter(torch.full((actions,), math.log(config.init_std)))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the mean action (..., actions): what is exported and what the robot runs."""
        return self.of_normalized(self.normalizer(observation))

    def of_normalized(self, observation: Tensor) -> Tensor:
        """Return the mean action of observations that went through the normalizer already."""
        return self.mlp(observation)


class Critic(nn.Module):
    """The value of a state, from what the actor sees and what only the simulator knows."""

    def __init__(self, size: int, config: Networks) -> None:
        """Build for inputs (…, size)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        self.mlp = mlp((size, *config.critic, 1), config.activation, last_gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the value, (...)."""
        return self.of_normalized(self.normalizer(x))

    def of_normalized(self, x: Tensor) -> Tensor:
        """Return the value of inputs that went through the normalizer already, (...)."""
        return self.mlp(x).squeeze(-1)
