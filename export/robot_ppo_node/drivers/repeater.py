"""Sends the newest command again and again, from a thread of its own, and never an old one.

Some robots want a command every few milliseconds, whatever the rate of the policy. A command that
nobody has refreshed for `stale_after` is not repeated: damping goes out instead, so that a node
that hangs does not walk on.

    repeater = Repeater(writer.write, damping, stale_after=0.06, check=nobody_else_commands)
    repeater.put(payload)        # sent now, and every 2 ms from now on
    repeater.damp()              # from now on only damping, until the next `put`
    repeater.close()             # damping is the last thing sent
"""

import math
import threading
import time
from collections.abc import Callable

from robot_ppo_node.clock import MonotonicClock

PERIOD = 0.002
"""[s] between two sends: 500 Hz, as the vendor's own examples do."""
CHECK_PERIOD = 0.02
"""[s] between two looks at what `check` says, whatever the period of the sends."""
CLOSING_SENDS = 5
"""Times that `close` sends damping, one period apart: one datagram may be lost."""


class Repeater:
    """One stream of commands. `put`, `damp` and `close` are called by one thread, the node's."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        damping: bytes,
        stale_after: float,
        check: Callable[[], str | None] = lambda: None,
        period: float = PERIOD,
    ) -> None:
        """Start the thread; nothing is sent before the first `put` or `damp`.

        Args:
            send: takes one payload; called by one thread at a time.
            damping: the payload that lets the motors brake.
            stale_after: age at which a command is not repeated any more [s].
            check: says why commands must stop for good, or None.
            period: [s] between two sends.
        """
        self._send = send
        self._damping = damping
        self._stale_after = stale_after
        self._check = check
        self._lock = threading.Lock()  # else an old command could be sent after a new one
        self._payload: bytes | None = None
        self._refreshed = 0.0
        self._stop = threading.Event()
        self.sent = 0
        """Payloads sent by the thread."""
        self.stale = 0
        """Times that it began to send damping because nobody refreshed the command."""
        self._is_stale = False
        self.fault: str | None = None
        """What `check` said, or an error of the thread; from then on only damping is sent."""
        self._period = period
        self.check_every = max(1, round(CHECK_PERIOD / period))
        """Sends between two looks at what `check` says."""
        self._clock = MonotonicClock()
        self._repeated = -math.inf
        """When the thread sent last [s]."""
        self._thread = threading.Thread(target=self._run, name="repeater", daemon=True)
        self._thread.start()

    @property
    def active(self) -> bool:
        """Whether anything has been sent yet."""
        return self._payload is not None

    def put(self, payload: bytes) -> None:
        """Send a command now, and repeat it; after a fault, damping instead."""
        with self._lock:
            self._payload = self._damping if self.fault else payload
            self._refreshed = time.monotonic()
            self._send(self._payload)

    def damp(self) -> None:
        """Send damping now, and repeat it."""
        self.put(self._damping)

    def close(self) -> None:
        """Stop; send damping last, where anything was sent. May be called twice."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        for _ in range(CLOSING_SENDS if self.active else 0):
            self._send(self._damping)
            time.sleep(PERIOD)

    def _run(self) -> None:
        ticks = 0
        while not self._stop.is_set():
            self._clock.sleep_until(self._next(self._clock.now()))
            ticks += 1
            try:
                if ticks % self.check_every == 0 and self.fault is None:
                    self.fault = self._check()
                self._repeat()
            except Exception as error:  # the thread must go on to damp
                self.fault = self.fault or f"{type(error).__name__}: {error}"

    def _next(self, now: float) -> float:
        """Return when the thread sends next [s], less than two periods from `now`.

        Half a period after the newest command and whole periods on, so that no repeat falls
        together with a command or delays it; half a period after the last repeat at the least,
        because a command moves these times. What was missed is not made up for.
        """
        due = now + (self._refreshed + self._period / 2 - now) % self._period
        too_early = 0 <= due - self._repeated < self._period / 2
        return due + self._period if too_early else due

    def _repeat(self) -> None:
        with self._lock:
            if self._payload is None:
                return
            stale = time.monotonic() - self._refreshed > self._stale_after
            self.stale += stale and not self._is_stale
            self._is_stale = stale
            self._send(self._damping if stale or self.fault else self._payload)
            self.sent += 1
            self._repeated = self._clock.now()
