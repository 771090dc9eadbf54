"""Keys of a terminal as command source."""

import math
import os
import select
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar

import numpy as np

from robot_ppo_node.commands.base import DEAD_MAN, CommandSource


class Keyboard(CommandSource):
    """Keys of a terminal: w/s forward, a/d left, q/e turn, space zero; and what `keys` says.

    A key moves the command by a tenth of the trained range, and the command stays for `dead_man`
    seconds after the newest key, whichever it is; then it is zero. A command that no key has ever
    had to do with, that of the command line, stays. A terminal that is gone makes the command
    infinitely old.
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
        start: tuple[float, ...],
        keys: dict[str, Callable[[], None]],
        file: int | None = None,
        dead_man: float = DEAD_MAN,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Read from the terminal `file`, by default standard input; `bounds` is (3, 2).

        Args:
            bounds: the trained ranges.
            start: the command before the first key.
            keys: further keys and what they do; it must be quick.
            file: of the terminal.
            dead_man: time without a key [s] after which the command is zero.
            say: told when that happens; must not block.
        """
        self.bounds = bounds
        self.command = np.array(start, np.float32)
        self.keys = keys
        self.dead_man = dead_man
        self.say = say
        self.file = sys.stdin.fileno() if file is None else file
        self.gone = False
        self.pressed = math.inf
        """When the newest key came [s]; infinite before the first one."""
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
            self.pressed = now
            for key in keys.decode("ascii", "ignore"):
                self.press(key)
        if self.gone:
            return self.command, np.inf
        return self.command, now - self.pressed if self._lapsed(now) else 0.0

    def left(self, now: float) -> float:
        """Return how long the command stays without another key [s], infinite where it is zero."""
        return self.pressed + self.dead_man - now if self.command.any() else math.inf

    def _lapsed(self, now: float) -> bool:
        """Zero a command whose time is over, and say so; return whether it is over."""
        over = now - self.pressed > self.dead_man
        if over and self.command.any():
            self.command[:] = 0
            self.say(f"no key for {self.dead_man:g} s: the command is zero")
        return over

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
