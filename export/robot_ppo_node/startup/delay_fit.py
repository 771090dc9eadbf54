"""The delay of a joint that follows a step, fitted a little at a time.

    fit = DelayFit(times, answers, kp, kd)
    while not fit.done:
        fit.step()                  # at every tick: below a millisecond
    fit.delay

Least squares over inertia and delay, both tried on a grid, and over the size of the answer.
"""

import math

import numpy as np

DELAYS = np.arange(0.0, 0.1201, 0.001)
"""[s] that are tried."""
INERTIAS = np.geomspace(0.003, 1.0, 60)
"""[kg m^2] that are tried."""
PER_STEP = 3
"""Inertias that one step tries: 20 ticks for a joint; at 50 Hz the next one's turn lasts 40."""


class DelayFit:
    """One joint's delay from a command to its effect [s]."""

    def __init__(self, times: np.ndarray, answers: np.ndarray, kp: float, kd: float) -> None:
        """Fit a unit step's `answers` (n,) at `times` (n,) [s] after the command."""
        self.answers = answers
        self.kp = kp
        self.kd = kd
        self._since = times - DELAYS[None, :, None]
        self._tried = 0
        self._error = math.inf
        self.delay = 0.0
        """The best so far [s]."""

    @property
    def done(self) -> bool:
        """Whether every inertia was tried."""
        return self._tried >= len(INERTIAS)

    def step(self) -> None:
        """Try the next few inertias, with all delays."""
        inertia = INERTIAS[self._tried : self._tried + PER_STEP, None, None]
        self._tried += PER_STEP
        model = step_response(self._since, inertia, self.kp, self.kd)
        size = (model * self.answers).sum(-1) / np.maximum((model * model).sum(-1), 1e-12)
        error = ((size[..., None] * model - self.answers) ** 2).sum(-1)
        i = int(error.argmin())
        if error.flat[i] < self._error:
            self._error = float(error.flat[i])
            self.delay = float(DELAYS[i % len(DELAYS)])


def step_response(t: np.ndarray, inertia: np.ndarray, kp: float, kd: float) -> np.ndarray:
    """Return q(t) of I q'' = kp (1 - q) - kd q' from rest at t = 0; 0 before."""
    t = np.maximum(t, 0.0)
    decay = kd / (2 * inertia)
    square = kp / inertia - decay * decay
    rate = np.sqrt(np.maximum(np.abs(square), 1e-9))
    # Overdamped, cosine and sine become hyperbolic; written with decaying exponentials alone.
    fast = np.exp(-(decay + rate) * t)
    slow = np.exp(-np.maximum(decay - rate, 0.0) * t)
    over = (slow + fast) / 2 + decay / rate * (slow - fast) / 2
    under = np.exp(-decay * t) * (np.cos(rate * t) + decay / rate * np.sin(rate * t))
    return 1 - np.where(square > 0, under, over)
