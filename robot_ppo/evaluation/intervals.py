"""Exact intervals: of a probability, of a median, of a difference between paired trials.

All hold for any distribution and any number of trials, from the binomial distribution alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value, and where the true one is with a probability of at least `CONFIDENCE`."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where the sign is known."""
        return self.low > 0 or self.high < 0


def probability(successes: int, trials: int) -> Interval:
    """Return the interval of Clopper and Pearson (1934) around `successes` / `trials`."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: 1 - _below(successes - 1, trials, p) - tail)
    high = 1.0 if successes == trials else _solve(lambda p: tail - _below(successes, trials, p))
    return Interval(successes / trials, low, high)


def median(values: np.ndarray) -> Interval:
    """Return the median of `values` (n,) between two of them: the ranks follow from a fair coin.

    With fewer than six values no two of them are far enough apart, and the interval is infinite.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    tail = (1 - CONFIDENCE) / 2
    rank = 0  # the largest number of values outside on either side
    while rank < n // 2 and _below(rank, n, 0.5) <= tail:
        rank += 1
    if rank == 0:
        return Interval(float(np.median(ordered)), -math.inf, math.inf)
    return Interval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]))


def paired(a: np.ndarray, b: np.ndarray) -> Interval:
    """Return the median of `b` - `a` over the same trials (n,)."""
    return median(np.asarray(b, np.float64) - np.asarray(a, np.float64))


def _below(k: int, n: int, p: float) -> float:
    """Return the probability of at most `k` successes in `n` trials."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if k >= n else 0.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        + i * math.log(p) + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    ]  # fmt: skip
    return math.fsum(math.exp(x) for x in logs)


def _solve(rising: Callable[[float], float]) -> float:
    """Return where a function that rises over [0, 1] is zero."""
    low = 0.0
    high = 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
