"""Metrics of an update, gathered over its minibatches."""

Metrics = dict[str, float]


class RunningMetrics:
    """Means over minibatches or their pieces; of names that end in `_max`, the largest."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: Metrics = {}
        self._weight = 0.0
        self.empty = True

    def add(self, metrics: Metrics, weight: float = 1.0) -> None:
        """Add the metrics of one minibatch, or of a piece with its fraction as the weight."""
        sums = self._sums
        for name, value in metrics.items():
            if name.endswith("_max"):
                sums[name] = value if self.empty else max(value, sums[name])
            else:
                sums[name] = sums.get(name, 0.0) + weight * value
        self._weight += weight
        self.empty = False

    def result(self) -> Metrics:
        """Return the metrics of all that was added, by name."""
        return {
            name: total if name.endswith("_max") else total / self._weight
            for name, total in self._sums.items()
        }
