"""All parameters of a model as one vector, and as the layers [W | b] that mlp.py computes with.

The model's tensors become views of the vector, so that whoever holds the model (checkpoints, the
export, autograd) sees every step, and the optimizer steps over one array.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

Layers = Sequence[Sequence[tuple[nn.Parameter, nn.Parameter]]]
"""Weight (out, in) and bias (out,) of every layer. A layer may have several such pairs, one below
the other: heads on one input."""


class Layered(Protocol):
    """A model that can say what its layers are."""

    def layers(self) -> Layers:
        """Return them, input first; parameters that are in no layer are left out."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all parameters."""
        ...


class FlatParameters:
    """The parameters of one model, which must not be replaced after this."""

    def __init__(self, model: Layered) -> None:
        """Move the parameters into one vector, where they stay as views."""
        self._parameters, self._layers = list(model.parameters()), model.layers()
        count = sum(p.numel() for p in self._parameters)
        first = self._parameters[0].detach().numpy()
        self.vector, self.gradient = np.empty(count, first.dtype), np.zeros(count, first.dtype)
        """(p,) each"""
        self.layers, self.gradients = self._blocks(self.vector), self._blocks(self.gradient)
        """[W | b] of every layer, (out, in + 1), and its gradient: views"""
        self.order = np.concatenate([x.ravel() for x in self._pieces(np.arange(count))])
        """(p,) where the model's parameters, one after the other, lie in the vector"""
        pieces = zip(self._pieces(self.vector), self._pieces(self.gradient), strict=True)
        for parameter, (value, gradient) in zip(self._parameters, pieces, strict=True):
            value[...] = parameter.detach().numpy()
            parameter.data, parameter.grad = torch.from_numpy(value), torch.from_numpy(gradient)

    def limit(self, norm: float) -> float:
        """Scale the gradient down to `norm` if it is longer; return its length before."""
        length = float(self.gradient @ self.gradient) ** 0.5
        if length > norm:
            self.gradient *= norm / (length + 1e-6)
        return length

    def _blocks(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the part of a vector (p,) that belongs to each layer, (out, in + 1)."""
        blocks, at = [], 0
        for layer in self._layers:
            rows, columns = sum(len(bias) for _, bias in layer), layer[0][0].shape[1] + 1
            blocks.append(flat[at : at + rows * columns].reshape(rows, columns))
            at += rows * columns
        return blocks

    def _pieces(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the part of a vector (p,) that belongs to each parameter, in its shape."""
        pieces: dict[nn.Parameter, np.ndarray] = {}
        at = 0
        for layer, block in zip(self._layers, self._blocks(flat), strict=True):
            top = 0
            for weight, bias in layer:
                rows = block[top : top + len(bias)]
                pieces[weight], pieces[bias] = rows[:, :-1], rows[:, -1]
                top += len(bias)
            at += block.size
        for parameter in self._parameters:
            if parameter not in pieces:
                pieces[parameter] = flat[at : at + parameter.numel()].reshape(parameter.shape)
                at += parameter.numel()
        return [pieces[parameter] for parameter in self._parameters]
