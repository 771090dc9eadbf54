"""Keys of a terminal as command source."""

import os
import select
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import numpy as np


class Keyboard:
    """Keys of a terminal: w/s forward, a/d left, q/e turn, space zero; and what `keys` says.

    A key moves the command by a fifth of the trained range and the command stays: a terminal
    reports no key releases. A terminal that is gone makes the command infinitely old.
    """

    name = "keyboard"
    HELP: ClassVar = "w/s forward  a/d sideways  q/e turn  space zero"
    MOVES: ClassVar = {
        "w": (0, 1),
        "s": (0, -1),
        "a": (1, 1),
        "d": (1, -1),
        "q": (2, 1),
        "e": (2, -1),
    }

    def __init__(
        self,
        bounds: np.ndarray,
        start: tuple[float, float, float],
        keys: dict[str, Callable[[], None]],
        file: int | None = None,
    ) -> None:
        """Read from the terminal `file`, by default standard input; `bounds` is (3, 2).

        `keys` are further keys and what they do; it must be quick.
        """
        self.bounds = bounds
        self.command = np.array(start, np.float32)
        self.keys = keys
        self.file = sys.stdin.fileno() if file is None else file
        self.gone = False
        self._saved: Any = None

    def __enter__(self) -> "Keyboard":
        """Take single keys without waiting for Enter; Ctrl-C stays a signal."""
        import termios
        import tty

        self._saved = termios.tcgetattr(self.file)
        tty.setcbreak(self.file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the terminal back as it was."""
        import contextlib
        import termios

        with contextlib.suppress(termios.error):
            # TCSADRAIN would wait for a terminal that is stuck to print what was said.
            termios.tcsetattr(self.file, termios.TCSANOW, self._saved)

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Handle the keys that were pressed; return the command and its age [s]."""
        while not self.gone and select.select([self.file], [], [], 0)[0]:
            try:
                keys = os.read(self.file, 64)
            except OSError:
                keys = b""
            self.gone = not keys
            for key in keys.decode("ascii", "ignore"):
                self.press(key)
        return self.command, np.inf if self.gone else 0.0

    def press(self, key: str) -> None:
        """Do what `key` means; unknown keys mean nothing."""
        if key in self.MOVES:
            axis, sign = self.MOVES[key]
            low, high = self.bounds[axis]
            self.command[axis] = np.clip(self.command[axis] + sign * (high - low) / 10, low, high)
        elif key == " ":
            self.command[:] = 0
        elif key in self.keys:
            self.keys[key]()
