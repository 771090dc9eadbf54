"""Cells that remember: GRU and LSTM over sequences, with their backward pass written out.

    features, states = cell(x, starts, state)      # (T, n, units), (T, n, S)

An episode that begins within a sequence begins without memory: where `starts` is set, the state
before the step counts as zero, and no gradient passes. torch's own layers cannot do that, and a
loop over their cells leaves a dozen nodes per step to autograd; here a whole sequence is one, in
numpy, as mlp.py is and for its reasons: arrays are columns, (T, units, n), and (units, T, n) where
one product goes over all steps. The weights are those of `torch.nn.GRUCell` and `LSTMCell`, gate by
gate; T steps, n simulations.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from robot_ppo.config import MemorySpec


class _GruSequence(torch.autograd.Function):
    """h' = (1 - z) n + z h,  n = tanh(W_n x + b_n + r (U_n h + c_n)),  r, z = sigmoid(...)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        """Return the states (T, n, H) after each step."""
        w, u, b, c = (weight.detach().numpy() for weight in weights)
        size = u.shape[1]
        gates = _by_input(w, b, x)
        before = np.empty((size, *starts.shape), gates.dtype)
        recurrent, after = (np.empty_like(gates[:, :size]) for _ in range(2))
        goes_on = ~starts.numpy()
        h = state.numpy().T
        for t in range(len(starts)):
            h = np.multiply(h, goes_on[t], out=before[:, t])
            within = u @ h
            within += c[:, None]
            recurrent[t] = within[2 * size :]
            both = gates[t, : 2 * size]
            both += within[: 2 * size]
            _sigmoid(both)
            new = gates[t, 2 * size :]
            new += both[:size] * recurrent[t]
            np.tanh(new, out=new)
            h = np.add(new, both[size:] * (h - new), out=after[t])
        ctx.kept = x, goes_on, w, u, gates, before, recurrent
        return _rows(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_after: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weights; the first state is a constant."""
        x, goes_on, w, u, gates, before, recurrent = ctx.kept
        size = u.shape[1]
        by_states = by_after.numpy()
        within = np.empty((3 * size, *goes_on.shape), gates.dtype)
        direct = np.empty_like(before)
        running = np.zeros_like(before[:, 0])
        for t in reversed(range(len(goes_on))):
            running += by_states[t].T
            r, z, new = np.split(gates[t], 3)
            by_new = running * (1 - z) * (1 - new * new)
            direct[:, t] = by_new
            within[:size, t] = by_new * recurrent[t] * (r - r * r)
            within[size : 2 * size, t] = running * (before[:, t] - new) * (z - z * z)
            within[2 * size :, t] = by_new * r
            running *= z
            running += u.T @ within[:, t]
            running *= goes_on[t]
        return _by_weights(ctx, x, w, before, [within[: 2 * size], direct], within)


class _LstmSequence(torch.autograd.Function):
    """c' = f c + i g,  h' = o tanh(c'),  i, f, o = sigmoid(...), g = tanh(...)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, starts: Tensor, state: Tensor, *weights: Tensor) -> Tensor:
        """Return the states (T, n, 2 H), [h | c], after each step."""
        w, u, b, c = (weight.detach().numpy() for weight in weights)
        size = u.shape[1]
        gates = _by_input(w, b + c, x)
        before = np.empty((2 * size, *starts.shape), gates.dtype)
        after = np.empty_like(gates[:, : 2 * size])
        squashed = np.empty_like(gates[:, :size])
        goes_on = ~starts.numpy()
        h = state.numpy().T
        for t in range(len(starts)):
            h = np.multiply(h, goes_on[t], out=before[:, t])
            gates[t] += u @ h[:size]
            i, f, g, o = np.split(gates[t], 4)
            _sigmoid(gates[t, : 2 * size])
            np.tanh(g, out=g)
            _sigmoid(o)
            cell = np.add(f * h[size:], i * g, out=after[t, size:])
            np.multiply(o, np.tanh(cell, out=squashed[t]), out=after[t, :size])
            h = after[t]
        ctx.kept = x, goes_on, w, u, gates, before, squashed
        return _rows(after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_after: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and of the weights; the first state is a constant."""
        x, goes_on, w, u, gates, before, squashed = ctx.kept
        size = u.shape[1]
        by_states = by_after.numpy()
        slopes = np.empty((4 * size, *goes_on.shape), gates.dtype)
        running = np.zeros_like(before[:, 0])
        hidden, cell = np.split(running, 2)
        for t in reversed(range(len(goes_on))):
            running += by_states[t].T
            i, f, g, o = np.split(gates[t], 4)
            tanh = squashed[t]
            cell += hidden * o * (1 - tanh * tanh)
            slopes[:size, t] = cell * g * (i - i * i)
            slopes[size : 2 * size, t] = cell * before[size:, t] * (f - f * f)
            slopes[2 * size : 3 * size, t] = cell * i * (1 - g * g)
            slopes[3 * size :, t] = hidden * tanh * (o - o * o)
            cell *= f
            hidden[:] = u.T @ slopes[:, t]
            running *= goes_on[t]
        return _by_weights(ctx, x, w, before[:size], [slopes], slopes)


def _sigmoid(x: np.ndarray) -> None:
    """Replace x by 1 / (1 + exp(-x)), by way of tanh, which does not overflow."""
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5


def _by_input(w: np.ndarray, b: np.ndarray, x: Tensor) -> np.ndarray:
    """Return the gates before the memory has its say, (T, G, n)."""
    gates = w @ x.detach().numpy().swapaxes(1, 2)
    gates += b[:, None]
    return gates


def _rows(states: np.ndarray) -> Tensor:
    """Return (T, S, n) as a tensor (T, n, S)."""
    return torch.from_numpy(np.ascontiguousarray(states.swapaxes(1, 2)))


def _by_weights(
    ctx: Any,
    x: Tensor,
    w: np.ndarray,
    before: np.ndarray,
    slopes: list[np.ndarray],
    within: np.ndarray,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a sequence's arguments.

    Args:
        ctx: says whether x needs one.
        x: (T, n, in).
        w: (G, in).
        before: hidden state before each step, (H, T, n).
        slopes: gradient of the gates by way of the input, in parts, (G, T, n).
        within: the same by way of the hidden state, (G, T, n).
    """
    rows = x.detach().numpy().reshape(-1, x.shape[2])
    parts = [part.reshape(len(part), -1) for part in slopes]
    flat = within.reshape(len(within), -1)
    gradients = (
        np.concatenate([part @ rows for part in parts]),
        flat @ before.reshape(len(before), -1).T,
        np.concatenate([part.sum(1) for part in parts]),
        flat.sum(1),
    )
    by_x = None
    if ctx.needs_input_grad[0]:
        by_x = torch.from_numpy(np.concatenate(parts).T @ w).view_as(x)
    return by_x, None, None, *(torch.from_numpy(gradient) for gradient in gradients)


class Cell(nn.Module):
    """A layer with a memory; the weights of all gates stand one below the other."""

    gates = 0
    states = 1
    """Vectors of `units` numbers that it remembers."""
    sequence: type[Any]

    def __init__(self, inputs: int, units: int, init: str = "orthogonal") -> None:
        """Start with weights by `networks.init`, gate by gate, and an empty memory."""
        super().__init__()
        self.units = units
        self.state_size = self.states * units
        self.weight_ih = nn.Parameter(torch.empty(self.gates * units, inputs))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * units, units))
        self.bias_ih = nn.Parameter(torch.zeros(self.gates * units))
        self.bias_hh = nn.Parameter(torch.zeros(self.gates * units))
        self._start(init)

    @torch.no_grad()
    def _start(self, init: str) -> None:
        for weight in (self.weight_ih, self.weight_hh):
            for gate in weight.split(self.units):
                if init == "orthogonal":
                    nn.init.orthogonal_(gate)
                else:
                    nn.init.uniform_(gate, -1 / math.sqrt(self.units), 1 / math.sqrt(self.units))

    def forward(self, x: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (T, n, units) and states (T, n, S) after each step.

        Args:
            x: (T, n, in).
            starts: (T, n) bool, steps before which an episode begins.
            state: (n, S) before the first step; no gradient passes through it.
        """
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        states = self.sequence.apply(x, starts, state, *weights)
        return states[:, :, : self.units], states


class Gru(Cell):
    """Gates: reset, update, new; its memory is its output."""

    gates = 3
    sequence = _GruSequence


class Lstm(Cell):
    """Gates: input, forget, cell, output; its memory is its output and a cell."""

    gates = 4
    states = 2
    sequence = _LstmSequence

    def _start(self, init: str) -> None:
        """Start by remembering: the forget gate is open."""
        super()._start(init)
        nn.init.ones_(self.bias_ih.data[self.units : 2 * self.units])


CELLS: dict[str, type[Cell]] = {"gru": Gru, "lstm": Lstm}


def create(memory: MemorySpec | None, inputs: int, init: str) -> Cell | None:
    """Return the cell that the settings ask for, or None."""
    return None if memory is None else CELLS[memory.cell](inputs, memory.units, init)
