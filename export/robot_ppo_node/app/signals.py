"""Ctrl-C, SIGTERM and SIGHUP as requests to a node.

signals = Signals(node)
with signals.handled(): node.run()
"""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from robot_ppo_node.control.settings import DAMP_SECONDS
from robot_ppo_node.control.states import ENDING, State
from robot_ppo_node.node import Node


class Signals:
    """Handlers of the signals; before the node is prepared, they interrupt."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.ignored = False
        """The loop is over, and what comes after it is to be finished."""

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals; the handlers of before come back afterwards."""
        handlers = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._terminate,
            signal.SIGHUP: self._hang_up,
            signal.SIGTTOU: signal.SIG_IGN,  # printing from the background would stop the node
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C: sit down. Again: damp. Again: done."""
        node = self.node
        if not (node.prepared or self.ignored):
            raise KeyboardInterrupt
        if node.state is State.DAMP:
            node.end()
        elif node.state in ENDING:
            node.damp("Ctrl-C again")
        else:
            node.stop("Ctrl-C")

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: sit down, damp for a stated time, then leave; again: without sitting down."""
        node = self.node
        if not (node.prepared or self.ignored):
            raise KeyboardInterrupt
        if node.state in ENDING:
            node.end(DAMP_SECONDS)
        else:
            node.shorten_damping(DAMP_SECONDS)
            node.stop(signal.Signals(number).name)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """SIGHUP, the terminal is gone: like SIGTERM, but it ends no damping that has begun."""
        if self.node.state in ENDING:
            self.node.shorten_damping(DAMP_SECONDS)
        else:
            self._terminate(number, frame)
