"""The screen: lines and one status line, printed from a thread of its own."""

import contextlib
import queue
import sys
import threading


class Console:
    """Prints from a thread of its own: a terminal that blocks must not hold up the tick."""

    def __init__(self) -> None:
        self.screen = sys.stdout.isatty()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print a line, above the status line where there is one."""
        self._lines.put(f"\r\x1b[K{text}\n" if self.screen else f"{text}\n")

    def status(self, text: str) -> None:
        """Replace the status line; only on a screen."""
        if self.screen:
            self._lines.put(f"\r\x1b[K{text}")

    def close(self) -> None:
        """Print what is left."""
        if self.screen:
            self._lines.put("\n")
        self._lines.put(None)
        self._thread.join(timeout=2.0)

    def _print(self) -> None:
        while (text := self._lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # a reader that left is no fault
                sys.stdout.write(text)
                sys.stdout.flush()
