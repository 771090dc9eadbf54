"""Forward and backward passes of a network, and those that autograd makes of any module.

A pass hides how a network is differentiated from what it is trained for: outputs come out as
arrays, and the derivative of the loss at these outputs goes in.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo.networks import Policy, Value
from robot_ppo.ppo.parameters import FlatParameters


class Pass(Protocol):
    """The passes of one network, for one thread at a time."""

    most_rows: int | None
    """Rows that should go through at once; None: any number."""

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return what `forward` takes for observations (m, size), until the normalizer changes."""
        ...

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs, m rows each.

        Of an actor mean and log std, of a critic normalized values. A log std that is the same for
        all rows is (k,).
        """
        ...

    def backward(self, *gradients: np.ndarray, first: bool = True) -> None:
        """Write the gradient of all parameters from those of the last forward's outputs.

        Without `first` it is added to the gradient that is there.
        """
        ...


class Autograd:
    """The passes of any module."""

    most_rows: int | None = None

    def __init__(
        self, outputs: Callable[[Tensor], tuple[Tensor, ...]], parameters: FlatParameters
    ) -> None:
        """Differentiate `outputs`, a function of observations, by `parameters`."""
        self._function = outputs
        self._parameters = parameters

    def inputs(self, observations: Tensor) -> np.ndarray:
        """Return the observations, which the module normalizes itself."""
        return observations.numpy()

    def forward(self, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs, m rows each."""
        self._outputs = self._function(torch.from_numpy(inputs))
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
    return Autograd(actor.distribution, parameters)


def of_critic(critic: Value, parameters: FlatParameters) -> Autograd:
    """Return the passes of any critic."""

    def values(observations: Tensor) -> tuple[Tensor]:
        return (critic.normalize(critic(observations)),)

    return Autograd(values, parameters)
