"""Write TensorBoard events of a run. A training goes on where they cannot be written.

The reason is reported once. The record of a run is its log.csv.
"""

import logging
import struct
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

BINS = 40
"""Number of bins of a histogram."""


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

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves: tag -> value."""

        def write(writer: Any) -> None:
            for tag, value in values.items():
                writer.add_scalar(tag, value, step)

        self._attempt(write)

    def add_text(self, tag: str, text: str) -> None:
        """Add a page of text, shown as it is."""
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # Markdown's code
        self._attempt(lambda writer: writer.add_text(tag, indented))

    def add_histograms(self, values: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array of finite numbers: tag -> values."""

        def write(writer: Any) -> None:
            for tag, array in values.items():
                writer.add_histogram(tag, array, step, bins=BINS)

        self._attempt(write)

    def add_film(self, tag: str, path: Path, step: int) -> None:
        """Add a film: an animated GIF beside the mp4 at `path`, as TensorBoard shows pictures."""

        def write(writer: Any) -> None:
            protocol: Any = import_module("tensorboard.compat.proto.summary_pb2")
            gif = path.with_suffix(".gif").read_bytes()
            width, height = struct.unpack_from("<HH", gif, 6)
            image = protocol.Summary.Image(
                encoded_image_string=gif, colorspace=3, width=width, height=height
            )
            summary = protocol.Summary(value=[protocol.Summary.Value(tag=tag, image=image)])
            writer._get_file_writer().add_summary(summary, step)

        self._attempt(write)

    def _attempt(self, write: Callable[[Any], None]) -> None:
        """Call `write` with the writer there is, if any; give up where it cannot be written."""
        try:
            if self._writer is not None:
                write(self._writer)
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
