"""The latest finished episodes: what the log's means are taken over."""

from collections import deque

import numpy as np

LENGTH = 512
"""Episodes that count."""


class EpisodeWindow:
    """Figures of the latest `LENGTH` episodes, by name. Part of a run's state, as the log is."""

    def __init__(self) -> None:
        """Start empty."""
        self._figures: dict[str, deque[float]] = {}

    def add(self, finished: dict[str, np.ndarray]) -> None:
        """Add episodes: name -> (episodes,)."""
        for name, values in finished.items():
            self._figures.setdefault(name, deque(maxlen=LENGTH)).extend(values.tolist())

    def means(self) -> dict[str, float]:
        """Return each figure's mean, NaN before the first episode."""
        return {
            name: float(np.mean(values)) if values else float("nan")
            for name, values in self._figures.items()
        }

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the figures, (episodes,) each."""
        return {name: np.array(values, np.float64) for name, values in self._figures.items()}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a `state_dict`."""
        self._figures.clear()
        self.add(state)
