"""The folder of a sweep: its settings, a CSV row per run, and every run's learning curve.

    DIR/table1.yaml          what all runs have in common; a sweep of other settings is refused
    DIR/runs.csv             one row per finished run, appended when its curve is on disk
    DIR/curves/RUN.csv       steps, mean return of the latest episodes

A run counts when its row is whole: a sweep that was killed goes on with the runs that have none.
"""

import csv
import io
import os
from pathlib import Path
from typing import IO, Any

import msgspec

from robot_ppo import config, lock
from robot_ppo.config import Config
from robot_ppo.table1.protocol import Run
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

Curve = list[tuple[int, float]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One finished run: a row."""

    setting: str
    task: str
    seed: int
    steps: int
    """Environment steps; fewer than asked for if learning diverged."""
    ended: str
    """`done`, or `diverged`: the policy's output was no longer finite."""
    score: float
    """Mean return of the last `training.EPISODES` episodes; NaN if none ended."""
    episodes: int
    """So many of them there were."""
    seconds: float
    """Wall-clock [s], like those that follow"""
    seconds_physics: float
    seconds_collect: float
    """Physics, the policy, and what is between them."""
    seconds_learn: float

    @property
    def run(self) -> Run:
        """Which run it is of."""
        return Run(self.setting, self.task, self.seed)


COLUMNS = Result.__struct_fields__


class Folder:
    """The results of one sweep. Use as a context manager: only one sweep may write."""

    def __init__(self, path: Path, steps: int) -> None:
        """Open the folder for runs of so many steps, or raise `InputError`."""
        self.path, self._rows = path, path / "runs.csv"
        self._check(Run("clip_0.2", "HalfCheetah-v5", 1).config(steps))
        self._file = self._open()
        try:
            self.results = self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Folder":
        """Return it, open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let other sweeps in."""
        self._file.close()

    def add(self, result: Result, curve: Curve) -> None:
        """Keep a finished run: first its curve, then, in one write, its row."""
        lines = [f"{steps},{value:.8g}\n" for steps, value in curve]
        path = self._curve(result.run)
        write_atomically(path, "".join(["steps,return\n", *lines]).encode())
        try:
            self._file.write(_line(_cells(result)))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise InputError(f"{self._rows}: cannot be written ({error.strerror})") from None
        self.results[result.run] = result

    def curve(self, run: Run) -> Curve:
        """Return the learning curve of a finished run."""
        with self._curve(run).open(newline="", encoding="utf-8") as file:
            return [(int(steps), float(value)) for steps, value in list(csv.reader(file))[1:]]

    def _curve(self, run: Run) -> Path:
        return self.path / "curves" / f"{run.setting}_{run.task}_{run.seed}.csv"

    def _check(self, settings: Config) -> None:
        """Note what all runs have in common, or find that this folder's were others."""
        path, text = self.path / "table1.yaml", config.to_yaml(settings)
        if not path.is_file():
            if self._rows.exists():
                raise InputError(f"{path}: missing; give --out a new folder")
            write_atomically(path, text.encode())
        elif path.read_text() != text:
            raise InputError(
                f"{path}: the runs in this folder had other settings or another number of steps; "
                "give --out a new folder, or the --steps that stands there"
            )

    def _open(self) -> IO[bytes]:
        """Open the rows for appending, alone."""
        try:
            file = self._rows.open("a+b")
        except OSError as error:
            raise InputError(f"{self._rows}: cannot be written ({error.strerror})") from None
        try:
            who = f"{self.path}: another sweep writes here; wait for it, or give another --out"
            lock.take(file, who)
        except InputError:
            file.close()
            raise
        return file

    def _read(self) -> dict[Run, Result]:
        """Return the rows; a last one that is not whole is cut off."""
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            self._file.truncate(len(whole))
        if not whole:
            self._file.write(_line(COLUMNS))
            self._file.flush()
            return {}
        header, *rows = csv.reader(io.StringIO(whole.decode()))
        if tuple(header) != COLUMNS:
            raise InputError(f"{self._rows}: has other columns; give --out a new folder")
        results = [self._result(row, i) for i, row in enumerate(rows, 2)]
        return {result.run: result for result in results if self._curve(result.run).is_file()}

    def _result(self, cells: list[str], line: int) -> Result:
        try:
            data: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
            return msgspec.convert(data, Result, strict=False)
        except (ValueError, msgspec.ValidationError) as error:
            raise InputError(
                f"{self._rows}, line {line}: {error}; delete the line and the run is done again"
            ) from None


def _cells(result: Result) -> list[str]:
    values = (getattr(result, name) for name in COLUMNS)
    return [f"{v:.8g}" if isinstance(v, float) else str(v) for v in values]


def _line(cells: list[str] | tuple[str, ...]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
