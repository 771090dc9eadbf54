"""Durations of the last ticks."""

import numpy as np

KEPT = 512
"""Newest durations that are kept."""


class Durations:
    """A ring of durations [s]."""

    def __init__(self) -> None:
        self.count = 0
        """Durations added since the start."""
        self._ring = np.zeros(KEPT)

    def add(self, duration: float) -> None:
        """Keep one more [s]."""
        self._ring[self.count % KEPT] = duration
        self.count += 1

    def newest(self, n: int) -> np.ndarray:
        """Return the newest `n` [s], oldest first; at most `KEPT`."""
        return self._ring.take(np.arange(self.count - n, self.count), mode="wrap")

    def quantile(self, q: float) -> float:
        """Return a quantile of those that are kept [s], 0 where there are none."""
        kept = min(self.count, KEPT)
        return float(np.quantile(self._ring[:kept], q)) if kept else 0.0
