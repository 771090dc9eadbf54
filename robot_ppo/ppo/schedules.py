"""Settings that change over a run, as pure functions."""

MIN_LEARNING_RATE = 1e-5
MAX_LEARNING_RATE = 1e-2
UNMOVED = 1e-9
"""KL below which two policies differ by rounding alone; every update starts there."""


def linear(start: float, end: float | None, progress: float) -> float:
    """Return the value between `start` and `end` at `progress` in [0, 1]; without an end, start."""
    return start if end is None else start + min(1.0, progress) * (end - start)


def by_kl(learning_rate: float, kl: float, target: float) -> float:
    """Return the learning rate / 1.5 above twice the KL target, * 1.5 below half of it.

    It stops at the bounds; one that begins beyond a bound moves towards it or stays.
    """
    if kl > 2 * target:
        return max(min(MIN_LEARNING_RATE, learning_rate), learning_rate / 1.5)
    if UNMOVED < kl < target / 2:
        return min(max(MAX_LEARNING_RATE, learning_rate), learning_rate * 1.5)
    return learning_rate
