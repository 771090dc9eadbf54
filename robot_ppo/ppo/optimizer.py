"""torch's Adam on the one vector of a network's parameters."""

import torch
from torch import Tensor

from robot_ppo.ppo.parameters import FlatParameters

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """The optimizer of one network.

    A step is that of `torch.optim.Adam(fused=True)`, bit for bit, by the operator that does its
    arithmetic. The Python around it takes 30 us per step, where actor and critic together take 260
    for a minibatch of 64.
    """

    def __init__(self, parameters: FlatParameters) -> None:
        """Start with moments of zero."""
        self._parameters = parameters
        self._vector = parameters.vector.detach()
        self._step = torch.zeros((), device=self._vector.device)
        self._mean = torch.zeros_like(self._vector)
        self._square = torch.zeros_like(self._vector)

    def forget(self) -> None:
        """Start anew, for a loss whose gradients are of another size."""
        for moment in (self._step, self._mean, self._square):
            moment.zero_()

    def step(self, learning_rate: float) -> None:
        """Take one step against the gradient."""
        self._step += 1
        torch._fused_adam_(  # pyright: ignore[reportPrivateImportUsage]  # no public name
            [self._vector],
            [self._parameters.gradient],
            [self._mean],
            [self._square],
            [],
            [self._step],
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the step count and the moments, in the order of the network's parameters."""
        return {
            "step": self._step.clone(),
            "exp_avg": self._parameters.in_order(self._mean),
            "exp_avg_sq": self._parameters.in_order(self._square),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        if state:  # empty: from a version that saved nothing before the first step
            self._step.copy_(state["step"])
            self._mean.copy_(self._parameters.from_order(state["exp_avg"]))
            self._square.copy_(self._parameters.from_order(state["exp_avg_sq"]))
