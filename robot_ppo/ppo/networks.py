"""Actor and critic: what a learner asks of any module, and the shipped ones, MLPs.

A network is a list of blocks: a normalizer, a recurrent cell where it has a memory (cells.py), then
linear layers with activations between them. The ONNX writer (robot_ppo_export/to_onnx.py) knows the
same kinds of blocks. The normalizer is part of the model: it is saved and exported with it, and it
changes between updates only, so that the log-probabilities of a rollout and those recomputed while
learning see the same one.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from robot_ppo.config import Networks
from robot_ppo.mirror import Mirror
from robot_ppo.ppo import cells

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}
MIN_STD = 1e-2
"""Smallest divisor of a normalizer."""


class Policy(nn.Module):
    """Protocol of an actor; any module that gives a distribution can learn."""

    mirrors: Sequence[Mirror] | None = None
    """How each parameter, flattened, looks in the mirror, where it stays its own mirror image;
    ppo/symmetric.py sets it. None: every parameter is free."""
    state_size = 0
    """Size S of its memory from step to step; with 0 it needs `distribution` alone."""

    def distribution(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (m, actions) and log of the deviation, (actions,) or (m, actions)."""
        raise NotImplementedError

    def unroll(
        self, observations: Tensor, starts: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, log of the deviation and states (T, n, S) over sequences.

        Args:
            observations: (T, n, size).
            starts: (T, n) bool, steps before which an episode begins, without memory.
            state: (n, S) before the first step.
        """
        raise NotImplementedError

    def step(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and log of the deviation of (n, size), and the state after them, (n, S)."""
        if not self.state_size:
            return (*self.distribution(observations), state)
        mean, log_std, states = self.unroll(observations[None], _no_starts(state), state)
        return mean[0], log_std if log_std.ndim == 1 else log_std[0], states[0]

    def update_normalizer(self, observations: Tensor) -> None:
        """Update statistics of the observations (m, size); called after every update."""


class Value(nn.Module):
    """Protocol of a critic; any module that returns values can learn."""

    mirrors: Sequence[Mirror] | None = None
    """See `Policy`."""
    state_size = 0
    """See `Policy`; a critic of state size 0 needs `forward` alone."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return values (m,), in the unit of rewards, of observations (m, size)."""
        raise NotImplementedError

    def unroll(self, observations: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (T, n) and states (T, n, S) over sequences, as a `Policy` does."""
        raise NotImplementedError

    def step(self, observations: Tensor, state: Tensor) -> Tensor:
        """Return values (n,) of (n, size), seen with a memory of (n, S)."""
        if not self.state_size:
            return self(observations)
        return self.unroll(observations[None], _no_starts(state), state)[0][0]

    def normalize(self, values: Tensor) -> Tensor:
        """Return values (m,) in the unit of the value loss."""
        return values

    def denormalize(self, values: Tensor) -> Tensor:
        """Return values (m,) in the unit of rewards, from that of the value loss."""
        return values

    def update_normalizer(self, observations: Tensor) -> None:
        """Update statistics of the observations (m, size); called after every update."""

    def update_returns(self, returns: Tensor) -> None:
        """Update statistics of the returns (m,); called before the critic learns them."""


def _no_starts(state: Tensor) -> Tensor:
    """Return `starts` of one step of n simulations whose episodes all go on."""
    return torch.zeros(1, len(state), dtype=torch.bool)


class Normalizer(nn.Module):
    """Running mean and standard deviation of observations, (size,)."""

    mean: Tensor
    var: Tensor
    count: Tensor
    mirror: Mirror | None = None
    """Mirror image of an observation, which is counted beside it; None: it is counted alone."""
    pool: Callable[[np.ndarray], np.ndarray] | None = None
    """Adds up sums over all ranks; None: there is one rank."""

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

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Return clip((x - mean) / std, -clip, clip), written into `out` where one is given."""
        centred = torch.sub(x, self.mean.float(), out=out)
        return centred.div_(self.std()).clamp_(-self.clip, self.clip)

    def update(self, x: Tensor) -> None:
        """Update mean and variance with observations x (m, size), and those of other ranks."""
        if self.pool is None:
            self._add(x)
            return
        own = Normalizer(len(self.mean), self.clip)
        own.mirror = self.mirror
        own._add(x)
        squares = own.var + own.mean.square()
        sums = self.pool(
            (own.count * torch.cat((own.count.new_ones(1), own.mean, squares))).numpy()
        )
        count = torch.tensor(sums[0])
        mean, squares = torch.from_numpy(sums[1:] / sums[0]).chunk(2)
        self._merge(mean, squares - mean.square(), count)

    def _add(self, x: Tensor) -> None:
        for piece in x.split(512):  # in double precision, so that they fit in the cache
            values = piece.double()
            mean = values.mean(0)
            var = (values - mean).square_().mean(0)  # Tensor.var takes ten times as long
            if self.mirror is not None:
                mean, var = _with_mirror_images(mean, var, self.mirror)
            self._merge(mean, var, len(piece))

    def _merge(self, mean: Tensor, var: Tensor, count: Tensor | int) -> None:
        """Add so many observations with this mean and variance (Chan's parallel algorithm)."""
        total = self.count + count
        delta = mean - self.mean
        fraction = count / total
        self.var += fraction * (var - self.var)
        self.var += fraction * (1 - fraction) * delta * delta
        self.mean += fraction * delta
        self.count.copy_(total)


def _with_mirror_images(mean: Tensor, var: Tensor, mirror: Mirror) -> tuple[Tensor, Tensor]:
    """Return mean and variance (size,) of samples and of their mirror images together."""
    index = torch.from_numpy(mirror.index).to(mean.device)
    image = mean[index] * torch.from_numpy(mirror.sign).to(mean.device)
    return 0.5 * (mean + image), 0.5 * (var + var[index]) + 0.25 * (mean - image) ** 2


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


class Actor(Policy):
    """A Gaussian policy: the mean from the observation, one standard deviation per action.

    With `std: state` the deviation depends on the observation too: a head on the last hidden
    layer, small at the start, adds to the log of the common one. Only the mean is exported.
    """

    def __init__(self, size: int, actions: int, config: Networks) -> None:
        """Build for observations (…, size) and actions (…, actions)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        self.memory = cells.create(config.actor_memory, size, config.init)
        self.state_size = self.memory.state_size if self.memory else 0
        sizes = (self.memory.units if self.memory else size, *config.actor, actions)
        self.activation = config.activation
        self.mlp = mlp(sizes, config.activation, config.last_gain, config.init)
        self.range = config.log_std_range
        raw = unbounded(math.log(config.init_std), self.range)
        self.log_std = nn.Parameter(torch.full((actions,), raw))
        self.log_std_head: nn.Linear | None = None
        if config.std == "state":
            self.log_std_head = nn.Linear(sizes[-2], actions, bias=False)
            nn.init.orthogonal_(self.log_std_head.weight, 0.01)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the mean action (..., actions) of an actor without memory."""
        return self.distribution(observation)[0]

    def distribution(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (..., actions) and log of the deviation, (actions,) or (..., actions)."""
        if self.memory is not None:
            raise TypeError("an actor with a memory has a distribution over sequences: `unroll`")
        return self.decode(self.encode(observations))

    def unroll(
        self, observations: Tensor, starts: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, log of the deviation and states over sequences; see `Policy`."""
        latent, states = self.encode_sequences(observations, starts, state)
        return (*self.decode(latent), states)

    def encode(self, observations: Tensor) -> Tensor:
        """Return the latent (..., width), the activation of the last hidden layer."""
        return self._hidden(self.normalizer(observations))

    def encode_sequences(
        self, observations: Tensor, starts: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return latents (T, n, width) and states (T, n, S) of what `unroll` takes."""
        assert self.memory is not None
        features, states = self.memory(self.normalizer(observations), starts, state)
        return self._hidden(features), states

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log of the deviation of a latent (..., width)."""
        mean = self.mlp[-1](latent)
        if self.log_std_head is None:
            return mean, bounded(self.log_std, self.range)
        return mean, bounded(self.log_std + self.log_std_head(latent), self.range)

    def encode_step(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent of (n, size) and the state after them, (n, S), as `step` does."""
        if self.memory is None:
            return self.encode(observations), state
        steps, states = self.encode_sequences(observations[None], _no_starts(state), state)
        return steps[0], states[0]

    def _hidden(self, features: Tensor) -> Tensor:
        """Return the activation of the last hidden layer from what the MLP reads."""
        for block in list(self.mlp)[:-1]:
            features = block(features)
        return features

    def update_normalizer(self, observations: Tensor) -> None:
        """Update mean and deviation of the observations (m, size)."""
        self.normalizer.update(observations)

    def blocks(self) -> list[nn.Module]:
        """Return the blocks from observation to mean action, in order."""
        memory = [] if self.memory is None else [self.memory]
        return [self.normalizer, *memory, *self.mlp]


def bounded(raw: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    """Return `raw` squeezed between the bounds.

    Smoothly, because a clamp has no gradient outside: what went out would never come back.
    """
    if bounds is None:
        return raw
    low, high = bounds
    return low + (high - low) * torch.sigmoid(raw)


def unbounded(value: float, bounds: tuple[float, float] | None) -> float:
    """Return the number that `bounded` squeezes to `value`."""
    if bounds is None:
        return value
    low, high = bounds
    return math.log((value - low) / (high - value))


class Critic(Value):
    """The value of a state, from the observation groups that the critic reads.

    With `normalize_returns` the network's output is in standard deviations of the returns seen
    so far, around their mean; what the critic returns is in units of reward, as without.
    """

    def __init__(self, size: int, config: Networks, normalize_returns: bool = False) -> None:
        """Build for inputs (…, size)."""
        super().__init__()
        self.normalizer = Normalizer(size, config.obs_clip)
        self.memory = cells.create(config.critic_memory, size, config.init)
        self.state_size = self.memory.state_size if self.memory else 0
        self.activation = config.activation
        sizes = (self.memory.units if self.memory else size, *config.critic, 1)
        self.mlp = mlp(sizes, config.activation, 1.0, config.init)
        self.returns = Normalizer(1, math.inf) if normalize_returns else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the value, (...), of a critic without memory."""
        return self.denormalize(self.mlp(self.normalizer(x)).squeeze(-1))

    def unroll(self, observations: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and states over sequences; see `Value`."""
        assert self.memory is not None
        features, states = self.memory(self.normalizer(observations), starts, state)
        return self.denormalize(self.mlp(features).squeeze(-1)), states

    def normalize(self, values: Tensor) -> Tensor:
        """Return the outputs of the network that stand for values, (...)."""
        if self.returns is None:
            return values
        return (values - self.returns.mean.float()) / self.returns.std()

    def denormalize(self, values: Tensor) -> Tensor:
        """Return the values that outputs of the network stand for, (...)."""
        if self.returns is None:
            return values
        return self.returns.mean.float() + self.returns.std() * values

    def update_normalizer(self, observations: Tensor) -> None:
        """Update mean and deviation of the observations (m, size)."""
        self.normalizer.update(observations)

    @torch.no_grad()
    def update_returns(self, returns: Tensor) -> None:
        """Update mean and deviation of returns (m,), with no change of any value (PopArt)."""
        if self.returns is None:
            return
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        mean = self.returns.mean.float()
        std = self.returns.std()
        self.returns.update(returns[:, None])
        new_mean = self.returns.mean.float()
        new_std = self.returns.std()
        last.weight.mul_(std / new_std)
        last.bias.copy_((std * last.bias + mean - new_mean) / new_std)
