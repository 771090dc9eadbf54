"""Log a run while it trains: a live table or plain lines, a CSV file and events for TensorBoard."""

import contextlib
import csv
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from robot_ppo.training.events import Events, Shown
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

if TYPE_CHECKING:
    from robot_ppo.training.train import Trainer

SHOWN = (
    ("return", "return", "{:.2f}"),
    ("length", "episode length [s]", "{:.1f}"),
    ("episode_steps", "episode length [steps]", "{:.0f}"),
    ("failed", "failed episodes", "{:.0%}"),
    ("velocity_error", "velocity error [m/s]", "{:.3f}"),
    ("yaw_error", "yaw rate error [rad/s]", "{:.3f}"),
    ("imitation_error", "imitation error", "{:.3f}"),
    ("kl", "KL", "{:.4f}"),
    ("clip_fraction", "clip fraction", "{:.1%}"),
    ("explained_variance", "explained variance", "{:.2f}"),
    ("entropy", "entropy", "{:.2f}"),
    ("std", "std", "{:.3f}"),
    ("learning_rate", "learning rate", "{:.1e}"),
)
"""Column of the CSV, its words on the screen, and how it is written."""

PLAIN_EVERY = 5.0
"""Seconds between lines where there is no terminal."""


class Silent:
    """The logger of ranks after the first."""

    def __enter__(self) -> "Silent":
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def log(self, trainer: "Trainer", metrics: dict[str, float], times: dict[str, float]) -> None:
        """Record nothing."""

    def finish(self) -> None:
        """Record nothing."""


class Logger:
    """Logger of one run. Use as a context manager."""

    def __init__(
        self, folder: Path, resumed: "Trainer | None" = None, shown: Shown | None = None
    ) -> None:
        """Open the files in `folder`; cut rows of iterations after those of a `resumed` run."""
        self.console = Console(file=sys.stdout)
        self.folder = folder
        self._path = folder / "log.csv"
        self._columns: list[str] = _cut(self._path, resumed.iteration) if resumed else []
        self._events = Events(folder, shown or Shown(), resumed.steps if resumed else None)
        mode = "a" if self._columns else "w"
        try:
            self._file = self._path.open(mode, newline="", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written ({error.strerror})") from None
        self._live = Live(console=self.console, refresh_per_second=4, transient=False)
        self._spoke = -PLAIN_EVERY

    def __enter__(self) -> "Logger":
        """Start the live table where there is a terminal."""
        try:
            self._events.__enter__()
        except InputError:
            self._file.close()
            raise
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close table and files."""
        self._live.stop()
        self._events.__exit__()
        with contextlib.suppress(OSError):  # a failed write was reported before
            self._file.close()

    def log(self, trainer: "Trainer", metrics: dict[str, float], times: dict[str, float]) -> None:
        """Record one iteration."""
        row = self._row(trainer, metrics, times)
        self._write(row)
        shown = {_group(k): value for k, value in row.items() if k not in ("iteration", "steps")}
        self._events.log(trainer, shown)
        if self.console.is_terminal:
            self._live.update(_table(row, trainer))
        elif row["seconds"] - self._spoke >= PLAIN_EVERY:
            self._spoke = row["seconds"]
            self.console.print(_line(row, trainer), soft_wrap=True, highlight=False)

    def finish(self) -> None:
        """Record scores and film of the last checkpoint, if others were scored or filmed."""
        if self._events.looked:
            self._live.stop()
            self.console.print("looking at the last checkpoint", highlight=False)
        self._events.finish()

    def _row(
        self, trainer: "Trainer", metrics: dict[str, float], times: dict[str, float]
    ) -> dict[str, float]:
        """Return one row of the log: column -> value."""
        duration = times["collect"] + times["learn"]
        batch = trainer.config.num_envs * trainer.config.rollout
        row: dict[str, float] = {
            "iteration": trainer.iteration,
            "steps": trainer.steps,
            "seconds": trainer.seconds,
            "steps_per_second": batch / duration,
            "time_physics": times["physics"],
            "time_policy": times["policy"],
            "time_environment": times["collect"] - times["physics"] - times["policy"],
            "time_learn": times["learn"],
            "time_ranks": times["ranks"],
            "bytes_per_step": times["sent"] / batch,
            "diverged": trainer.env.diverged,
        }
        return row | trainer.statistics.means() | trainer.behaviour | metrics

    def _write(self, row: dict[str, float]) -> None:
        """Append a row; new columns are added, missing ones are left empty."""
        try:
            new = [name for name in row if name not in self._columns]
            if new:
                self._widen(new)
            cells = [f"{row[c]:.8g}" if c in row else "" for c in self._columns]
            csv.writer(self._file).writerow(cells)
            self._file.flush()
        except OSError as error:
            raise InputError(
                f"{self._path}: cannot be written ({error.strerror}); --resume goes on from the "
                "last checkpoint"
            ) from None

    def _widen(self, new: list[str]) -> None:
        """Add columns, empty in the rows so far.

        A run that is resumed with other settings logs other metrics.
        """
        first = not self._columns
        self._columns = self._columns + new
        if first:
            csv.writer(self._file).writerow(self._columns)
            return
        self._file.close()
        with self._path.open(newline="", encoding="utf-8") as file:
            _, *rows = csv.reader(file)
        _replace(self._path, [self._columns, *(row + [""] * len(new) for row in rows)])
        self._file = self._path.open("a", newline="", encoding="utf-8")


def _cut(path: Path, after: int) -> list[str]:
    """Drop incomplete rows and those after iteration `after`; return the columns, [] of no row."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = list(csv.reader(file)) or [[]]
    whole = [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]
    kept = [list(row.values()) for row in whole if float(row.get("iteration", "nan")) <= after]
    if not kept:
        return []
    _replace(path, [columns, *kept])
    return columns


def _replace(path: Path, rows: list[list[str]]) -> None:
    """Replace a log file by these rows."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _group(name: str) -> str:
    """Return the TensorBoard tag of a column."""
    shown = [column for column, _, _ in SHOWN]
    return f"main/{name}" if name in shown else f"more/{name}"


def _shown(form: str, value: float) -> str:
    """Return a value as text, a dash where it is NaN."""
    return "-" if np.isnan(value) else form.format(value)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _progress(row: dict[str, float], trainer: "Trainer") -> tuple[float, float]:
    """Return the fraction of the budget that is spent, and the seconds that are left."""
    done = min(1.0, trainer.progress)
    return done, row["seconds"] * (1 - done) / max(done, 1e-9)


def _table(row: dict[str, float], trainer: "Trainer") -> Table:
    """Return the live table."""
    done, left = _progress(row, trainer)
    table = Table(title=f"{trainer.config.task.name}: iteration {row['iteration']}")
    table.add_column("metric")
    table.add_column("value", justify="right", min_width=24)
    table.add_row("progress", ProgressBar(total=1.0, completed=done, width=24))
    table.add_row("time / left", f"{_clock(row['seconds'])} / {_clock(left)}")
    table.add_row("steps", f"{row['steps']:,.0f}")
    table.add_row("steps per second", f"{row['steps_per_second']:,.0f}")
    for column, words, form in SHOWN:
        if column in row:
            table.add_row(words, _shown(form, row[column]))
    return table


def _line(row: dict[str, float], trainer: "Trainer") -> str:
    """Return one plain line."""
    done, left = _progress(row, trainer)
    shown = " ".join(
        f"{column}={_shown(form, row[column])}" for column, _, form in SHOWN if column in row
    )
    return (
        f"{done:4.0%} {_clock(row['seconds'])} left {_clock(left)} "
        f"it={row['iteration']} steps/s={row['steps_per_second']:,.0f} {shown}"
    )
