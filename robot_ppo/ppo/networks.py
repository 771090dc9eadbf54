"""Actor and critic: a normalizer and an MLP each. The normalizer is part of the model.

It moves with every checkpoint and every export, and is updated between updates only, so that the
log-probabilities of a rollout and those recomputed while learning see the same one.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from robot_ppo.config import Networks
from robot_ppo.ppo.parameters import Layers

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}
MIN_STD = 1e-2
"""What a normalizer divides by at least."""


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
        """Return the standard deviation that divides, (size,) float32; at least `MIN_STD`."""
        return self.var.sqrt().clamp_min(MIN_STD).float()

    def forward(self, x: Tensor) -> Tensor:
        """Return clip((x - mean) / std, -clip, clip)."""
        return ((x - self.mean.float()) / self.std()).clamp(-self.clip, self.clip)

    def update(self, x: Tensor) -> None:
        """Count the observations x (m, size) in (Chan's parallel mean and variance)."""
        for piece in x.split(512):  # in double precision, so that they fit in the cache
            values = piece.double()
            mean = values.mean(0)
            var = (values - mean).square_().mean(0)  # Tensor.var takes ten times as long
            total = self.count + len(piece)
            delta, share = mean - self.mean, len(piece) / total
            self.var += share * (var - self.var) + share * (1 - share) * delta * delta
            self.mean += share * delta
            self.count.copy_(total)


def mlp(
    sizes: tuple[int, ...], activation: str, last_gain: float, init: str = "orthogonal"
) -> nn.Sequential:
    """Return an MLP.

    Args:
        sizes: widths, input first.
        activation: key of `ACTIVATIONS`, between layers.
        last_gain: scale of the last layer's weights; small, so that training starts near zero.
        init: `orthogonal` weights and zero biases, or torch's `default` for both.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.Linear(fan_in, fan_out)
        if init == "orthogonal":
            nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2))
            nn.init.zeros_(linear.bias)
        elif last:
            with torch.no_grad():
                linear.weight.mul_(last_gain)
                linear.bias.mul_(last_gain)
        layers += [linear] if last else [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def _layers(network: nn.Sequential) -> Layers:
    names = [str(i) for i, module in enumerate(network) if isinstance(module, nn.Linear)]
    parameter = network.get_parameter
    return [[(parameter(f"{name}.weight"), parameter(f"{name}.bias"))] for name in names]


class Actor(nn.Module):
    """A Gaussian policy: the mean from the observation, one standard deviation per action.

    With `std: state` the deviation depends on the observation too: a head on the last hidden
    layer, small at the start, adds to the log of the common one. Only the mean is exported.
    """

    def __init__(self, size: int, actions: int, config: Networks) -> None:
        """Build for observations (…, size) and actions (…, actions)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        sizes = (size, *config.actor, actions)
        self.activation = config.activation
        self.mlp = mlp(sizes, config.activation, config.last_gain, config.init)
        self.range = config.log_std_range
        raw = _unbounded(math.log(config.init_std), self.range)
        self.log_std = nn.Parameter(torch.full((actions,), raw))
        self.log_std_head: nn.Linear | None = None
        if config.std == "state":
            self.log_std_head = nn.Linear(sizes[-2], actions, bias=False)
            nn.init.orthogonal_(self.log_std_head.weight, 0.01)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the mean action (..., actions): what is exported and what the robot runs."""
        return self.of_normalized(self.normalizer(observation))

    def of_normalized(self, observation: Tensor) -> Tensor:
        """Return the mean action of observations that went through the normalizer already."""
        return self.mlp(observation)

    def distribution(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (..., actions) and log of the deviation, (actions,) or (..., actions)."""
        return self.distribution_of_normalized(self.normalizer(observation))

    def distribution_of_normalized(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return `distribution` of observations that went through the normalizer already."""
        if self.log_std_head is None:
            return self.mlp(observation), self.common_log_std()
        hidden = self.mlp[:-1](observation)
        log_std = _bounded(self.log_std + self.log_std_head(hidden), self.range)
        return self.mlp[-1](hidden), log_std

    def layers(self) -> Layers:
        """Return weights and biases; the head's bias is the common log of the deviation."""
        *below, last = _layers(self.mlp)
        if self.log_std_head is not None:
            last = [*last, (self.log_std_head.get_parameter("weight"), self.log_std)]
        return [*below, last]

    def common_log_std(self) -> Tensor:
        """Return the log of the deviation where it does not depend on the state, (actions,)."""
        return _bounded(self.log_std, self.range)


def _bounded(raw: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Return `raw` squeezed between the bounds.

    Smoothly, because a clamp has no gradient outside: what went out would never come back.
    """
    if bounds is None:
        return raw
    low, high = bounds
    return low + (high - low) * torch.sigmoid(raw)


def _unbounded(value: float, bounds: tuple[float, float] | None) -> float:
    """Return the number that `_bounded` squeezes to `value`."""
    if bounds is None:
        return value
    low, high = bounds
    return math.log((value - low) / (high - value))


class Critic(nn.Module):
    """The value of a state, from what the actor sees and what only the simulator knows.

    With `normalize_returns` the network's output is in standard deviations of the returns seen
    so far, around their mean; what the critic returns is in units of reward, as without.
    """

    def __init__(self, size: int, config: Networks, normalize_returns: bool = False) -> None:
        """Build for inputs (…, size)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        self.activation = config.activation
        self.mlp = mlp((size, *config.critic, 1), config.activation, 1.0, config.init)
        self.returns = Normalizer(1, math.inf) if normalize_returns else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the value, (...)."""
        return self.of_normalized(self.normalizer(x))

    def of_normalized(self, x: Tensor) -> Tensor:
        """Return the value of inputs that went through the normalizer already, (...)."""
        return self.value_of(self.mlp(x).squeeze(-1))

    def value_of(self, output: Tensor) -> Tensor:
        """Return the value that an output of the network stands for, (...)."""
        if self.returns is None:
            return output
        return self.returns.mean.float() + self.returns.std() * output

    def output_of(self, value: Tensor) -> Tensor:
        """Return the output of the network that stands for a value, (...)."""
        if self.returns is None:
            return value
        return (value - self.returns.mean.float()) / self.returns.std()

    def layers(self) -> Layers:
        """Return weights and biases."""
        return _layers(self.mlp)

    @torch.no_grad()
    def count_returns(self, returns: Tensor) -> None:
        """Count returns (m,) in, and change the last layer so that no value changes (PopArt)."""
        if self.returns is None:
            return
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        mean, std = self.returns.mean.float(), self.returns.std()
        self.returns.update(returns[:, None])
        new_mean, new_std = self.returns.mean.float(), self.returns.std()
        last.weight.mul_(std / new_std)
        last.bias.copy_((std * last.bias + mean - new_mean) / new_std)
