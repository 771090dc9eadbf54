"""Forward and backward passes of a plain MLP by hand: products into buffers that stay.

For networks as small as a robot's, building and walking autograd's graph costs more than the
arithmetic, in small minibatches above all (docs/ppo.md has the figures). Here a pass is one
product and one activation per layer:

    y = act([W | b] [x; 1])        gradient of [W | b] = dz [x; 1]',  of x = W' dz,  dz = act'(z) dy

Inputs are rows that end with a 1 (`with_one`); what comes out is columns, (out, m), and every
hidden layer has a row of ones below it. So a bias is one more column of its weights, and needs
neither an addition nor a sum of its own.

In numpy, whose BLAS and whose exp and tanh are faster than torch's at these sizes. `ActorMlp`
and `CriticMlp` are passes as autograd.py defines them; `layers` says of which networks.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robot_ppo.ppo.networks import Actor, Critic, Normalizer, Policy, Value
from robot_ppo.ppo.parameters import FlatParameters

MOST_ROWS = 512
"""Number of rows whose activations stay in the cache; all rows at once are slower."""


class Activation(NamedTuple):
    """A function in place, and its derivative; each may use an array that stays between them."""

    apply: Callable[[np.ndarray, np.ndarray, np.ndarray], None]
    """(z, kept, zeros): change z to y"""
    slope: Callable[[np.ndarray, np.ndarray, np.ndarray], None]
    """(y, kept, zeros): change what is kept to dy/dz"""


def _elu(z: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    np.minimum(z, zeros, out=kept)  # far faster than with the number 0
    np.exp(kept, out=kept)  # not expm1, which only the newest processors have vectorized
    kept -= 1
    np.maximum(z, kept, out=z)  # exp(z) - 1 > z below zero, 0 < z above


def _elu_slope(y: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    kept += 1


def _tanh(z: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    np.tanh(z, out=z)


def _tanh_slope(y: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    np.multiply(y, y, out=kept)
    np.subtract(1, kept, out=kept)


def _relu(z: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    np.maximum(z, zeros, out=z)


def _relu_slope(y: np.ndarray, kept: np.ndarray, zeros: np.ndarray) -> None:
    np.greater(y, zeros, out=kept)


ACTIVATIONS = {
    "elu": Activation(_elu, _elu_slope),
    "relu": Activation(_relu, _relu_slope),
    "tanh": Activation(_tanh, _tanh_slope),
}


class _Hidden(NamedTuple):
    """The buffers of one hidden layer, for one number of rows m."""

    with_one: np.ndarray
    """(width + 1, m), the last row ones"""
    values: np.ndarray
    """(width, m), the rest of it"""
    kept: np.ndarray
    zeros: np.ndarray


class Mlp:
    """The passes of one network, for one thread at a time."""

    def __init__(
        self, layers: Sequence[np.ndarray], gradients: Sequence[np.ndarray], activation: str
    ) -> None:
        """Work on weights that belong to somebody else.

        Args:
            layers: [W | b] of every layer, (out, in + 1); read at every pass.
            gradients: where `backward` writes, of the same shapes.
            activation: key of `ACTIVATIONS`, between layers.
        """
        self.layers = layers
        self.gradients = gradients
        self._scratch = [np.empty_like(gradient) for gradient in gradients]
        self._transposed = [layer[:, :-1].T for layer in layers]
        self._apply, self._slope = ACTIVATIONS[activation]
        self._buffers: dict[int, list[_Hidden]] = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the output (out, m) for inputs `x`, (m, in + 1), that end with a 1."""
        hidden = self._buffers.get(len(x)) or self._allocate(len(x))
        self._inputs = x
        self._hidden = hidden
        below = x.T
        for layer, (with_one, values, kept, zeros) in zip(self.layers, hidden, strict=False):
            np.matmul(layer, below, out=values)
            self._apply(values, kept, zeros)
            below = with_one
        return np.matmul(self.layers[-1], below)

    @property
    def latent(self) -> np.ndarray:
        """(width, m) activation of the last hidden layer, until the next pass writes over it."""
        return self._hidden[-1].values

    def backward(
        self, gradient: np.ndarray, first: bool = True, by_latent: np.ndarray | None = None
    ) -> None:
        """Write the weights' gradients, from that of the last forward's output, (out, m).

        Without `first` they are added to those that are there. `by_latent`, (width, m), is the
        gradient of what the loss says of `latent` itself.
        """
        found = self.gradients if first else self._scratch
        for i in range(len(self._hidden), 0, -1):
            with_one, values, kept, zeros = self._hidden[i - 1]
            np.matmul(gradient, with_one.T, out=found[i])
            self._slope(values, kept, zeros)
            # From here on the layer's values are not needed: their buffer takes their gradient.
            weights = self._transposed[i]
            (np.multiply if len(gradient) == 1 else np.matmul)(weights, gradient, out=values)
            if by_latent is not None:
                values += by_latent
                by_latent = None
            values *= kept
            gradient = values
        np.matmul(gradient, self._inputs, out=found[0])
        if not first:
            for total, part in zip(self.gradients, found, strict=True):
                total += part

    def _allocate(self, m: int) -> list[_Hidden]:
        """Return the buffers for m rows; they are kept, because few different m ever come."""
        hidden = []
        for layer in self.layers[1:]:
            with_one = np.ones((layer.shape[1], m), layer.dtype)
            values = with_one[:-1]
            hidden.append(_Hidden(with_one, values, np.empty_like(values), np.zeros_like(values)))
        self._buffers[m] = hidden
        return hidden


def with_one(x: np.ndarray) -> np.ndarray:
    """Return rows x (m, in) with a 1 at the end of each, (m, in + 1)."""
    rows = np.ones((len(x), x.shape[1] + 1), x.dtype)
    rows[:, :-1] = x
    return rows


def _inputs(normalizer: Normalizer, observations: Tensor) -> np.ndarray:
    """Return normalized observations (m, size) with a 1 at the end of each, (m, size + 1)."""
    rows = with_one(observations.numpy())
    values = torch.from_numpy(rows)[:, :-1]
    normalizer(values, out=values)
    return rows


class ActorMlp:
    """The passes of an `Actor` whose deviation does not depend on the observation."""

    most_rows: int | None = MOST_ROWS

    def __init__(self, actor: Actor, parameters: FlatParameters) -> None:
        """Work on the parameters of `actor`."""
        self._mlp = _of_layers(parameters, actor.activation)
        self._normalizer = actor.normalizer
        self._bounds = actor.range
        gradient = actor.log_std.grad
        assert gradient is not None
        self._log_std = actor.log_std.detach().numpy()
        self._log_std_gradient = gradient.numpy()

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return normalized observations with a 1 at the end, (m, size + 1)."""
        return _inputs(self._normalizer, observations)

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return mean (m, k) and log std (k,)."""
        mean = self._mlp.forward(inputs).T
        log_std, self._by_raw = bounded(self._log_std, self._bounds)
        return mean, log_std

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient from those of mean (m, k) and log std (k,)."""
        by_mean, by_log_std = gradients
        self._backward(by_mean, by_log_std, first)

    def _backward(
        self,
        by_mean: np.ndarray,
        by_log_std: np.ndarray,
        first: bool,
        by_latent: np.ndarray | None = None,
    ) -> None:
        self._mlp.backward(by_mean.T, first, by_latent)
        if first:
            self._log_std_gradient[:] = 0.0
        self._log_std_gradient += by_log_std * self._by_raw


class LatentMlp(ActorMlp):
    """The passes of an `Actor` whose outputs are mean, log std and latent (m, width)."""

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return mean (m, k), log std (k,) and the activation of the last hidden layer."""
        return (*super().forward(inputs), self._mlp.latent.T)

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient from those of mean, log std and latent."""
        by_mean, by_log_std, by_latent = gradients
        self._backward(by_mean, by_log_std, first, by_latent.T)


class CriticMlp:
    """The passes of a `Critic`."""

    most_rows: int | None = MOST_ROWS

    def __init__(self, critic: Critic, parameters: FlatParameters) -> None:
        """Work on the parameters of `critic`."""
        self._mlp = _of_layers(parameters, critic.activation)
        self._normalizer = critic.normalizer

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return normalized observations with a 1 at the end, (m, size + 1)."""
        return _inputs(self._normalizer, observations)

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray]:
        """Return normalized values (m,), which are the outputs of the network."""
        (values,) = self._mlp.forward(inputs)
        return (values,)

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient from that of the normalized values (m,)."""
        (by_value,) = gradients
        self._mlp.backward(by_value[None], first)


def of_actor(actor: Policy, parameters: FlatParameters) -> ActorMlp:
    """Return the passes of an actor that has `layers`."""
    assert isinstance(actor, Actor)
    return ActorMlp(actor, parameters)


def of_latent(actor: Actor, parameters: FlatParameters) -> LatentMlp:
    """Return the passes, with the latent among their outputs, of an actor that has `layers`."""
    return LatentMlp(actor, parameters)


def of_critic(critic: Value, parameters: FlatParameters) -> CriticMlp:
    """Return the passes of a critic that has `layers`."""
    assert isinstance(critic, Critic)
    return CriticMlp(critic, parameters)


def layers(network: Policy | Value) -> list[nn.Linear]:
    """Return the linear layers of a network that this file can do; of others none."""
    plain = type(network) is Critic and network.memory is None
    if type(network) is Actor:
        plain = network.memory is None and network.log_std_head is None
    return [m for m in network.modules() if isinstance(m, nn.Linear)] if plain else []


def bounded(
    raw: np.ndarray, bounds: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray | float]:
    """Return the log std that a raw number stands for (`networks.bounded`), and its derivative."""
    if bounds is None:
        return raw, 1.0
    low, high = bounds
    fraction = 1 / (1 + np.exp(-raw))
    return low + (high - low) * fraction, (high - low) * fraction * (1 - fraction)


def _of_layers(parameters: FlatParameters, activation: str) -> Mlp:
    gradients = parameters.blocks(parameters.gradient)
    return Mlp([x.numpy() for x in parameters.layers], [x.numpy() for x in gradients], activation)
