"""Figures of an update, gathered over its minibatches."""


class Sums:
    """Means and maxima of figures over minibatches."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = {}
        self._others: dict[str, float] = {}
        self._count = 0

    def add(self, **figures: float) -> None:
        """Add one minibatch's figures."""
        self._count += 1
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def max(self, **figures: float) -> None:
        """Keep the largest."""
        for name, value in figures.items():
            self._others[name] = max(value, self._others.get(name, value))

    def first(self, **figures: float) -> None:
        """Keep the first."""
        self._others = figures | self._others

    def means(self) -> dict[str, float]:
        """Return everything, by name."""
        return {k: v / self._count for k, v in self._sums.items()} | self._others
