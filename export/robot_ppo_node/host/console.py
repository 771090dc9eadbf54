"""The screen: lines and one status line. What reads them can be gone or stuck, and never matters.

    console = Console()
    console.say("READY: waiting")       # returns at once, whatever stands behind standard output
    console.close()
    say_error("the node died")               # one sentence to standard error, likewise
    unblock(2)                          # what libraries write there by themselves, likewise

A reader that is gone raises (a pipe, a terminal that hung up), one that is stuck blocks for ever.
So everything here is written by threads that nobody waits for, past Python's buffers: their locks
would be held by a thread that is stuck, and waited for at the end of the process.
"""

import contextlib
import os
import queue
import stat
import threading

OUT = 1
ERR = 2
"""Standard output and standard error."""
PATIENCE = 2.0
"""[s] The end of a run waits no longer for a reader."""


class Console:
    """Prints from a thread of its own: a terminal that blocks must not hold up the tick."""

    def __init__(self) -> None:
        self.screen = os.isatty(OUT)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print a line, above the status line where there is one."""
        self._lines.put(f"\r\x1b[K{text}\n" if self.screen else f"{text}\n")

    def status(self, text: str) -> None:
        """Replace the status line; only on a screen, and only where the last one was printed."""
        if self.screen and self._lines.empty():
            self._lines.put(f"\r\x1b[K{text}")

    def close(self) -> None:
        """Print what is left."""
        if self.screen:
            self._lines.put("\n")
        self._lines.put(None)
        self._thread.join(PATIENCE)

    def _print(self) -> None:
        while (text := self._lines.get()) is not None:
            _write(OUT, text)


def say_error(text: str, wait: float = 0.0) -> None:
    """Say a sentence on standard error, and wait no longer than `wait` [s] until it is said."""
    line = f"robot-ppo-node: {text}\n"
    thread = threading.Thread(target=_write, args=(ERR, line), daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread to be had: it remains unsaid
        thread.start()
        thread.join(wait)


def unblock(file: int) -> None:
    """Let writing to a pipe or terminal fail where it would block, in this process alone.

    The flag belongs to the open file, which other programs share: so it is opened anew. Where that
    cannot be, and with other kinds of files, everything stays as it is.
    """
    with contextlib.suppress(OSError):
        mode = os.fstat(file).st_mode
        if stat.S_ISFIFO(mode) or os.isatty(file):
            anew = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
            os.dup2(anew, file)
            os.close(anew)


def hold_standard_files() -> None:
    """Open /dev/null where a standard file is closed: the next file to be opened would be it."""
    for file in range(3):
        try:
            os.fstat(file)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _write(file: int, text: str) -> None:
    data = text.encode()
    with contextlib.suppress(OSError):  # a reader that left is no fault
        while data:
            data = data[os.write(file, data) :]
