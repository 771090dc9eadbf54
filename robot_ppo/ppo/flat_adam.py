"""Adam over all parameters of a model as one vector.

Networks for robots are small: a step over twenty tensors costs more in calls than in arithmetic.
Here the model's parameters and gradients are views of two vectors, so that clearing, limiting and
stepping are a handful of calls. The arithmetic is `torch.optim.Adam`'s.
"""

import torch
from torch import Tensor, nn


class FlatAdam:
    """The optimizer of one model. The model's parameters must not be replaced after this."""

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        """Move the model's parameters into one vector, where they stay as views."""
        parameters = list(model.parameters())
        self.vector = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        self.vector.grad = self.gradient = torch.zeros_like(self.vector)
        sizes = [p.numel() for p in parameters]
        pieces = zip(
            parameters, self.vector.data.split(sizes), self.gradient.split(sizes), strict=True
        )
        for parameter, value, gradient in pieces:
            parameter.data = value.view_as(parameter)
            parameter.grad = gradient.view_as(parameter)
        self.adam = torch.optim.Adam([self.vector], learning_rate, fused=True)

    def zero(self) -> None:
        """Set the gradient to zero; backward() adds to it."""
        self.gradient.zero_()

    def limit(self, norm: float) -> float:
        """Scale the gradient down to `norm` if it is longer; return its length before."""
        length = float(self.gradient.norm())
        if length > norm:
            self.gradient.mul_(norm / (length + 1e-6))
        return length

    def step(self, learning_rate: float) -> None:
        """Take one step."""
        self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()

    def state_dict(self) -> dict[str, Tensor]:
        """Return Adam's state: moments and step count."""
        state = self.adam.state.get(self.vector, {})
        return {name: state[name].clone() for name in ("step", "exp_avg", "exp_avg_sq") if state}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        if state:
            self.adam.state[self.vector] = {name: value.clone() for name, value in state.items()}
