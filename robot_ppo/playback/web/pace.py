"""Real time for what advances in steps, and how late it was.

    pace = Pace(link, hear)
    pace.start()
    while True:
        ...                  # a step
        pace.advance(0.02)   # until 20 ms after the one before

Messages of the page are heard while it waits.
"""

import time
from collections import deque
from collections.abc import Callable

import numpy as np

from robot_ppo.playback.web import slices
from robot_ppo.playback.web.link import Link

LAG = 0.2
"""Time behind real time [s] that is given up, not caught up."""
LATE = 0.002
"""Lateness [s] from which on a step counts as late."""


class Lateness:
    """How late steps were against the wall clock."""

    def __init__(self) -> None:
        self.count = self.late = 0
        self._recent: deque[float] = deque(maxlen=500)

    def add(self, seconds: float) -> None:
        """Count a step that was so late [s]."""
        self.count += 1
        self.late += seconds > LATE
        self._recent.append(seconds)

    def p99(self) -> float:
        """Return the 99th percentile over the last 500 steps [ms]."""
        return float(np.percentile(self._recent, 99)) * 1e3 if self._recent else 0.0

    def shown(self) -> list[float]:
        """Return p99 [ms], late steps and all steps."""
        return [round(self.p99(), 2), self.late, self.count]


class Pace:
    """Waits until each step is due."""

    def __init__(self, link: Link, hear: Callable[[bytes], None]) -> None:
        """Pass messages of `link` to `hear` while waiting."""
        self.lateness = Lateness()
        self._link = link
        self._hear = hear
        self._due = time.monotonic()

    def start(self) -> None:
        """Count from now on, and be woken before a browser that draws."""
        slices.shorten()
        self._due = time.monotonic()

    def advance(self, seconds: float) -> None:
        """Wait until so long after the last step was due [s], and count how late it is."""
        self._due += seconds
        self._wait()
        late = time.monotonic() - self._due
        self.lateness.add(max(late, 0.0))
        if late > LAG:
            self._due = time.monotonic()

    def idle(self, seconds: float) -> None:
        """Wait so long from now on [s], which is no step."""
        self._due = time.monotonic() + seconds
        self._wait()

    def _wait(self) -> None:
        while self._link.open:
            for message in self._link.receive():
                self._hear(message)
            left = self._due - time.monotonic()
            if left <= 0:
                return
            self._link.wait(left)
