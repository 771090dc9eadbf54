"""Brings a recorder's ring to the disk while the run goes on.

The space is reserved before the robot moves, so that a full disk is found then. A thread copies new
slots to the file ten times per second, right after a tick, when the node sleeps: a node that is
killed loses a tenth of a second of its log, and a power cut takes a second. The tick itself never
writes to the file, not even to a memory map of it, because a store to a mapped page waits for a
busy file system: on ext4 under load for up to 55 ms, measured.

    writer = LogWriter(recorder, path, ticks=30_000)     # or InputError
    writer.start()                                       # now there is a file at `path`
    ...
    writer.close()
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import ordinary_mode
from robot_ppo_node.log import log_file
from robot_ppo_node.log.recorder import Recorder, encode

WRITE_EVERY = 0.1
"""[s] What a killed node has lost of its log."""
SYNC_EVERY = 1.0
"""[s] What a power cut takes of it."""
PATIENCE = 5.0
"""[s] The end of a run waits no longer for a disk that hangs."""


class _Ring:
    """One kind of slots: a ring in memory and the ring in the file that follows it."""

    def __init__(self, slots: np.ndarray, count: Callable[[], int], offset: int, size: int) -> None:
        self.slots = slots
        self.count = count
        self.offset = offset
        self.size = size
        self.done = 0
        """Slots that the file has, those that were overwritten included."""
        self.lost = 0
        """Slots that were overwritten in memory before the file had them."""

    def write(self, file: int) -> None:
        """Copy what is new."""
        count = self.count()
        held = len(self.slots)
        lost = count - self.done - held
        if lost > 0:
            self.lost = self.lost + lost
            self.done = self.done + lost
        while self.done < count:
            i = self.done % held
            to = self.done % self.size
            n = min(count - self.done, held - i, self.size - to)
            data = log_file.add_checksums(self.slots[i : i + n])
            place = self.offset + to * self.slots.dtype.itemsize
            if os.pwrite(file, data, place) != len(data):
                raise OSError("only a part was written")
            self.done += n


class LogWriter:
    """One log file, for one run."""

    def __init__(self, recorder: Recorder, path: Path, ticks: int) -> None:
        """Reserve the space for the last `ticks` ticks, or raise `InputError`.

        The recorder's meta data must be complete. What is at `path` stays until `start`.
        """
        self.recorder = recorder
        self.path = path
        self.ticks = ticks
        self.trouble: str | None = None
        """Reason why writing has ended, or None."""
        self._meta = encode(recorder.meta)
        events = log_file.START + len(self._meta)
        first = events + recorder.told.nbytes
        self._told = _Ring(recorder.told, lambda: recorder.events, events, len(recorder.told))
        self._slots = _Ring(recorder.slots, lambda: recorder.count, first, ticks)
        self._wake = threading.Event()
        self._over = self._urgent = False
        self._thread: threading.Thread | None = None
        self._file, self._temporary = self._reserve(first + ticks * recorder.slots.dtype.itemsize)

    def start(self) -> None:
        """Put the file in its place, and follow the recorder from now on."""
        os.replace(self._temporary, self.path)
        every = max(1, round(WRITE_EVERY / self.recorder.meta["control_period"]))
        self.recorder.most_damping = self.ticks // 2
        self.recorder.on_tick = lambda count: None if count % every else self._wake.set()
        self._thread = threading.Thread(target=self._follow, name="log", daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Have everything brought to the disk now, for a fault; does not wait for it."""
        self._urgent = True
        self._wake.set()

    def close(self) -> None:
        """Bring the rest to the disk, cut off what is empty, and note that the end was orderly."""
        if self._thread is None:  # the run never began: the file that was there stays
            os.close(self._file)
            Path(self._temporary).unlink(missing_ok=True)
            return
        self.recorder.on_tick = None
        self._over = True
        self._wake.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self.trouble = f"the disk did not answer for {PATIENCE:g} s"
            return
        slots = min(self.recorder.count, self.ticks)
        size = self._slots.offset + slots * self.recorder.slots.dtype.itemsize
        self._guarded(os.ftruncate, self._file, size)
        self._guarded(os.pwrite, self._file, self._head(slots, closed=not self.trouble), 0)
        self._guarded(os.fsync, self._file)
        os.close(self._file)

    @property
    def lost(self) -> int:
        """Ticks that are missing because the disk was too slow."""
        return self._slots.lost

    def __str__(self) -> str:
        """Return where the log is and what is wrong with it."""
        kept = min(self.recorder.count, self.ticks)
        lost = f", {self.lost} lost because the disk was slow" if self.lost else ""
        trouble = f"; it is not whole: {self.trouble}" if self.trouble else ""
        return f"log: {self.path} ({kept} ticks{lost}){trouble}"

    def _reserve(self, size: int) -> tuple[int, str]:
        """Return a new file of `size` bytes that exist on the disk, with its head, and its name."""
        folder = self.path.parent
        name = ""
        try:
            file, name = tempfile.mkstemp(dir=folder, prefix=f".{self.path.name}.")
            os.fchmod(file, ordinary_mode())
            os.posix_fallocate(file, 0, size)
            os.pwrite(file, self._head(self.ticks, closed=False), 0)
        except OSError as error:
            if name:
                os.close(file)
                Path(name).unlink(missing_ok=True)
            raise InputError(
                f"{self.path}: no room for a log of {size / 1e6:.0f} MB ({error.strerror}): free "
                "it, or give --record FILE"
            ) from None
        return file, name

    def _head(self, ticks: int, closed: bool) -> bytes:
        return log_file.head(self._meta, len(self.recorder.told), ticks, closed)

    def _follow(self) -> None:
        """Copy whenever a tick says so, until the run is over."""
        synced = time.monotonic()
        over = False
        while not over:
            self._wake.wait()
            self._wake.clear()
            over = self._over  # looked at before the write, so that one comes after the last tick
            self._guarded(self._write)
            if self._urgent or time.monotonic() - synced >= SYNC_EVERY:
                self._urgent = False
                self._guarded(os.fdatasync, self._file)
                synced = time.monotonic()

    def _write(self) -> None:
        self._told.write(self._file)
        self._slots.write(self._file)

    def _guarded(self, act: Callable[..., Any], *arguments: Any) -> None:
        """Do it; trouble with the disk is remembered and ends the writing, not the run."""
        if self.trouble:
            return
        try:
            act(*arguments)
        except OSError as error:
            self.trouble = str(error.strerror or error)
