"""Ctrl-C and SIGTERM as a request that a training grants at the end of an iteration."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C or SIGTERM a clean stop; a second Ctrl-C interrupts at once."""
    stop = False

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal stop
        stop = True
        signal.signal(number, previous[signal.Signals(number)])

    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, handle)
    try:
        yield lambda: stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
