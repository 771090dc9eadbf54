"""Statistics of the latest finished episodes; the log's means are over these."""

from collections import deque

import numpy as np

LENGTH = 512
"""Episodes that count."""


class EpisodeStatistics:
    """Quantities of the latest `LENGTH` episodes, by name. They are part of a run's state."""

    def __init__(self) -> None:
        """Start empty."""
        self._values: dict[str, deque[float]] = {}

    def add(self, finished: dict[str, np.ndarray]) -> None:
        """Add episodes: name -> (episodes,)."""
        for name, values in finished.items():
            self._values.setdefault(name, deque(maxlen=LENGTH)).extend(values.tolist())

    def means(self) -> dict[str, float]:
        """Return the mean of each quantity, NaN before the first episode."""
        return {
            name: float(np.mean(values)) if values else float("nan")
            for name, values in self._values.items()
        }

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the quantities, (episodes,) each."""
        return {name: np.array(values, np.float64) for name, values in self._values.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `state_dict`."""
        self._values.clear()
        self.add(state)
