"""Forward and backward passes of a network; autograd supplies them for any module.

A pass hides how a network is differentiated from what it is trained for: outputs come out as
arrays, and the derivative of the loss at these outputs goes in.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo.networks import Actor, Policy, Value
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.sequences import (
    Outputs,
    unrolled_distribution,
    unrolled_latents,
    unrolled_values,
)


class Pass(Protocol):
    """The passes of one network, for one thread at a time."""

    most_rows: int | None
    """Most rows of one pass; None: any number."""

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return what `forward` takes for observations (m, size), until the normalizer changes."""
        ...

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs, m rows each.

        Of an actor mean and log std, and the latent where the pass was made for it; of a critic
        normalized values. A log std that is the same for all rows is (k,). What comes out may be
        written over by `backward`.
        """
        ...

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient of all parameters from those of the last forward's outputs.

        Without `first` it is added to the gradient that is there.
        """
        ...


class Autograd:
    """The passes of any module; one with a memory takes the samples of sequences.py."""

    most_rows: int | None = None

    def __init__(self, outputs: Outputs, parameters: FlatParameters) -> None:
        """Differentiate `outputs`, a function of what is learned from, by `parameters`."""
        self._function = outputs
        self._parameters = parameters

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return the observations, which the module normalizes itself."""
        return observations.numpy()

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs, m rows each."""
        self._outputs = self._function(inputs)
        return tuple(output.detach().numpy() for output in self._outputs)

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient of all parameters, or add it to the one that is there."""
        if first:
            self._parameters.gradient.zero_()
        slopes = [torch.from_numpy(np.ascontiguousarray(gradient)) for gradient in gradients]
        pairs = zip(self._outputs, slopes, strict=True)
        some = [(output, slope) for output, slope in pairs if output.requires_grad]
        torch.autograd.backward([o for o, _ in some], [s for _, s in some])


def of_actor(actor: Policy, parameters: FlatParameters) -> Autograd:
    """Return the passes of any policy."""
    if actor.state_size:
        return Autograd(unrolled_distribution(actor), parameters)

    def distribution(observations: np.ndarray) -> tuple[Tensor, Tensor]:
        return actor.distribution(torch.from_numpy(observations))

    return Autograd(distribution, parameters)


def of_latent(actor: Actor, parameters: FlatParameters) -> Autograd:
    """Return the passes of an actor whose outputs are mean, log std and latent (m, width)."""
    if actor.state_size:
        return Autograd(unrolled_latents(actor), parameters)

    def outputs(observations: np.ndarray) -> tuple[Tensor, ...]:
        latent = actor.encode(torch.from_numpy(observations))
        return (*actor.decode(latent), latent)

    return Autograd(outputs, parameters)


def of_critic(critic: Value, parameters: FlatParameters) -> Autograd:
    """Return the passes of any critic."""
    if critic.state_size:
        return Autograd(unrolled_values(critic), parameters)

    def values(observations: np.ndarray) -> tuple[Tensor]:
        return (critic.normalize(critic(torch.from_numpy(observations))),)

    return Autograd(values, parameters)
