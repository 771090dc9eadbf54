"""Adam (Kingma and Ba 2015) over all parameters of a model as one vector.

Networks for robots are small: a step over twenty tensors costs more in calls than in arithmetic.
The arithmetic is `torch.optim.Adam`'s.
"""

import math

import numpy as np
import torch
from torch import Tensor

from robot_ppo.ppo.parameters import FlatParameters

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """The optimizer of one model's parameters."""

    def __init__(self, parameters: FlatParameters) -> None:
        """Start with moments of zero."""
        self.parameters = parameters
        self.steps = 0
        self.mean, self.square, self._change = (np.zeros_like(parameters.vector) for _ in range(3))

    def step(self, learning_rate: float) -> None:
        """Take one step against the gradient.

        m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
        x -= rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + e)
        """
        gradient, change = self.parameters.gradient, self._change
        self.steps += 1
        self.mean *= BETAS[0]
        self.mean += np.multiply(gradient, 1 - BETAS[0], out=change)
        self.square *= BETAS[1]
        np.multiply(gradient, gradient, out=change)
        self.square += np.multiply(change, 1 - BETAS[1], out=change)
        # Both sides of the fraction times sqrt(1 - b2^t), which saves a pass.
        root = math.sqrt(1 - BETAS[1] ** self.steps)
        np.sqrt(self.square, out=change)
        change += EPSILON * root
        np.divide(self.mean, change, out=change)
        change *= learning_rate * root / (1 - BETAS[0] ** self.steps)
        self.parameters.vector -= change

    def state_dict(self) -> dict[str, Tensor]:
        """Return the step count and the moments, in the order of the model's parameters."""
        order = self.parameters.order
        return {
            "step": torch.tensor(float(self.steps)),
            "exp_avg": torch.from_numpy(self.mean[order]),
            "exp_avg_sq": torch.from_numpy(self.square[order]),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state_dict`."""
        if state:  # empty: from a version that saved nothing before the first step
            order = self.parameters.order
            self.steps = int(state["step"])
            self.mean[order] = state["exp_avg"].numpy()
            self.square[order] = state["exp_avg_sq"].numpy()
