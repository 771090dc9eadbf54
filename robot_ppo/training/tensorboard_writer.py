"""Write TensorBoard events of a run. A training goes on where they cannot be written.

The reason is reported once. The record of a run is its log.csv.
"""

import logging
import threading
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class TensorBoardWriter:
    """Writer of the events in a folder. Use as a context manager."""

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        """Write to `folder`; points from `purge_step` on, of a run that was killed, are hidden."""
        self.folder = folder
        self._purge_step = purge_step
        self._writer: Any = None
        self._hook = threading.excepthook

    def __enter__(self) -> "TensorBoardWriter":
        """Open the file."""
        threading.excepthook = self._on_thread_failure
        try:
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge_step)
        except (ImportError, OSError) as error:
            self._give_up(error)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            self._give_up(error)
        finally:
            threading.excepthook = self._hook

    def add(self, tag: str, value: float, step: float) -> None:
        """Add a point."""
        try:
            if self._writer is not None:
                self._writer.add_scalar(tag, value, step)
        except OSError as error:
            self._give_up(error)

    def add_text(self, tag: str, text: str) -> None:
        """Add a page of text, shown as it is."""
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown's code
        try:
            if self._writer is not None:
                self._writer.add_text(tag, indented)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._writer = None
        log.warning("%s: no TensorBoard events from here on (%s)", self.folder, error)

    def _on_thread_failure(self, failure: threading.ExceptHookArgs) -> None:
        """Report what ends a thread; what ends the writer's own is raised by `add` or `close`."""
        writers = type(failure.thread).__module__.startswith("tensorboard.")
        if not (writers and isinstance(failure.exc_value, OSError)):
            self._hook(failure)
