"""All parameters of a network as one vector, which the optimizer steps over.

The network's tensors become views of the vector, and their gradients views of its gradient, so
that all users of the network (checkpoints, the export, autograd) see every step.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from robot_ppo.mirror import Mirror
from robot_ppo.ppo.networks import Policy, Value


class FlatParameters:
    """The parameters of one network, which must not be replaced after this."""

    def __init__(self, network: Policy | Value, layers: Sequence[nn.Linear] = ()) -> None:
        """Move the parameters into one vector, where they stay as views.

        Args:
            network: that has them.
            layers: those of its linear layers whose weight and bias are to lie side by side, as one
                matrix [W | b], (out, in + 1): the passes in mlp.py multiply with that.
        """
        self._parameters = list(network.parameters())
        self._layers = layers
        count = sum(p.numel() for p in self._parameters)
        first = self._parameters[0]
        self.vector = nn.Parameter(first.new_empty(count))
        """(p,)"""
        self.gradient = first.new_zeros(count)
        """(p,)"""
        self.vector.grad = self.gradient
        self.layers = self.blocks(self.vector.detach())
        """[W | b] of each of `layers`, (out, in + 1): views"""
        pieces = zip(self.pieces(self.vector.detach()), self.pieces(self.gradient), strict=True)
        for parameter, (value, gradient) in zip(self._parameters, pieces, strict=True):
            value.copy_(parameter.detach())
            parameter.data = value
            parameter.grad = gradient
        self.mirror = None if network.mirrors is None else self._joined(network.mirrors)
        """Mirror image of a vector (p,); None where the network is not symmetric."""

    def blocks(self, vector: Tensor) -> list[Tensor]:
        """Return the part of a vector (p,) that belongs to each [W | b], (out, in + 1)."""
        blocks = []
        at = 0
        for layer in self._layers:
            rows = layer.out_features
            columns = layer.in_features + 1
            blocks.append(vector[at : at + rows * columns].view(rows, columns))
            at += rows * columns
        return blocks

    def pieces(self, vector: Tensor) -> list[Tensor]:
        """Return the part of a vector (p,) that belongs to each parameter, in its shape."""
        found: dict[Tensor, Tensor] = {}
        at = 0
        for layer, block in zip(self._layers, self.blocks(vector), strict=True):
            found[layer.weight] = block[:, :-1]
            found[layer.bias] = block[:, -1]
            at += block.numel()
        for parameter in self._parameters:
            if parameter not in found:
                found[parameter] = vector[at : at + parameter.numel()].view(parameter.shape)
                at += parameter.numel()
        return [found[parameter] for parameter in self._parameters]

    def in_order(self, vector: Tensor) -> Tensor:
        """Return a copy of a vector (p,) with its entries in the order of the parameters."""
        return torch.cat([piece.flatten() for piece in self.pieces(vector)])

    def from_order(self, ordered: Tensor) -> Tensor:
        """Return the vector (p,) of which `ordered` is the `in_order`."""
        vector = torch.empty_like(ordered)
        sizes = [parameter.numel() for parameter in self._parameters]
        for piece, values in zip(self.pieces(vector), ordered.split(sizes), strict=True):
            piece.copy_(values.view(piece.shape))
        return vector

    def symmetrize_gradient(self) -> None:
        """Replace the gradient by its mean with its mirror image, where there is one."""
        if self.mirror is not None:
            gradient = self.gradient.numpy()
            gradient += self.mirror(gradient)
            gradient *= 0.5

    def symmetric(self, vector: Tensor) -> Tensor:
        """Return the symmetric part of a vector (p,), where the network is symmetric."""
        if self.mirror is None:
            return vector
        return 0.5 * (vector + torch.from_numpy(self.mirror(vector.numpy())))

    def _joined(self, mirrors: Sequence[Mirror]) -> Mirror:
        """Return the mirror of a vector (p,) from those of the parameters in their order."""
        places = self.pieces(torch.arange(len(self.vector)))
        index = np.empty(len(self.vector), int)
        sign = np.empty(len(self.vector), np.float32)
        for piece, mirror in zip(places, mirrors, strict=True):
            place = piece.flatten().numpy()
            index[place] = place[mirror.index]
            sign[place] = mirror.sign
        return Mirror(index, sign)

    def clip_grad_norm(self, limit: float) -> float:
        """Scale the gradient down to the length `limit` if it is longer; return its length."""
        gradient = self.gradient.numpy()
        length = float(gradient @ gradient) ** 0.5
        if length > limit:
            gradient *= limit / (length + 1e-6)
        return length
