"""Time, as the node sees it: a clock that can be replaced, and a pacer with absolute deadlines.

The node never asks the operating system for the time; it asks its clock. Playback and tests hand
it a clock whose `sleep_until` advances a simulation, and run the same loop in lockstep.

    pacer = Pacer(MonotonicClock(), period=0.02)
    while True:
        missed = pacer.wait()          # sleeps to the next deadline; never makes up for lost ones
        work()
"""

import math
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """A monotonic time in seconds, and a way to wait for it."""

    def now(self) -> float:
        """Return the time [s]; only differences mean anything."""
        ...

    def sleep_until(self, deadline: float) -> None:
        """Return once `now()` has reached `deadline` [s]; at once if it has already.

        Where the clock runs backwards meanwhile, it returns early rather than far too late.
        """
        ...


class MonotonicClock:
    """The machine's CLOCK_MONOTONIC.

    Since CPython 3.11 `time.sleep` calls clock_nanosleep with an absolute deadline; on 3.10 it
    waits in select(), which is no worse here because every wait starts from an absolute deadline
    and an error does not add up.
    """

    def now(self) -> float:
        """Return CLOCK_MONOTONIC [s]."""
        return time.monotonic()

    def sleep_until(self, deadline: float) -> None:
        """Sleep until CLOCK_MONOTONIC reaches `deadline` [s], or is found to have run back."""
        before = -math.inf
        while before <= (now := time.monotonic()) < deadline:
            before = now
            time.sleep(deadline - now)


class SteppedClock:
    """A clock that stands still until someone waits on it: for simulations and tests.

    Args:
        advance: called with the new time [s] whenever a wait moves the clock.
    """

    def __init__(self, advance: Callable[[float], None] | None = None) -> None:
        self.time = 0.0
        self.advance = advance

    def now(self) -> float:
        """Return the time that was last waited for [s]."""
        return self.time

    def sleep_until(self, deadline: float) -> None:
        """Move to `deadline` [s], and let `advance` bring the world there."""
        if deadline > self.time:
            self.time = deadline
            if self.advance:
                self.advance(deadline)


ROUNDING = 1 + 1e-6
"""A sum of periods may be a bit longer than they are."""


EARLY = 0.0007
"""[s] Cost of waking up, of polling ten states and of a warm-up, and some to spare: they end near
the deadline, so that few states come meanwhile and the caches stay warm."""


class Pacer:
    """Absolute deadlines, one period apart; whole periods that were missed are skipped, counted.

    The n-th deadline is start + n * period, so no error accumulates and the phase never moves. It
    moves with a clock that runs backwards alone: no wait is longer than a period, so that the time
    since the tick before shows the jump to a guard, wherever it came.
    """

    def __init__(self, clock: Clock, period: float) -> None:
        self.clock = clock
        self.period = period
        self.start = clock.now()
        self.next = 1
        """Index of the deadline that `wait` waits for."""
        self.missed = 0
        """Deadlines missed since the start."""
        self.deadline = self.start
        """Deadline of the last `wait` [s]."""
        self.late = 0.0
        """Time from that deadline to the return of `wait` [s]."""

    def wait(self, beforehand: Callable[[], None] | None = None) -> int:
        """Sleep to the next deadline that is still ahead; return how many were missed.

        A deadline is missed when its work could not begin before the next one was due, either
        because the previous tick took too long or because the machine woke us up too late.

        Args:
            beforehand: called `EARLY` before the deadline, where there is still time for it.
        """
        clock = self.clock
        period = self.period
        missed = 0
        now = clock.now()
        due = self.start + self.next * period
        if now > due:
            missed, due = self._skip(-(-(now - due) // period))
        if due > now + period * ROUNDING:  # the clock ran back before the wait
            due = self._follow_back(now + period * ROUNDING)
        if beforehand and now < due - EARLY:
            clock.sleep_until(due - EARLY)
            beforehand()
            now = clock.now()
            if due > now + EARLY:  # it ran back meanwhile
                due = self._follow_back(now + EARLY)
        clock.sleep_until(due)
        now = clock.now()
        if due > now:  # it ran back during the wait
            due = self._follow_back(now)
        if now >= due + period:
            skipped, due = self._skip((now - due) // period)
            missed += skipped
        self.deadline = due
        self.late = now - due
        self.missed += missed
        self.next += 1
        return missed

    def sleep_until(self, due: float) -> bool:
        """Sleep until `due` [s], less than a period ahead; False where the clock ran back."""
        if due - self.clock.now() > self.period * ROUNDING:
            return False
        self.clock.sleep_until(due)
        return self.clock.now() >= due

    def _follow_back(self, latest: float) -> float:
        """Move all deadlines so that the next one is at `latest` [s]; return that."""
        self.start = latest - self.next * self.period
        return latest

    def _skip(self, periods: float) -> tuple[int, float]:
        """Give up on that many deadlines; return how many, and the next one [s]."""
        skipped = int(periods)
        self.next += skipped
        return skipped, self.start + self.next * self.period
