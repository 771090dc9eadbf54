"""The record of a run as arrays: its settings, its log, its checkpoint's normalizer.

    record = load(Path("runs/go2"))
    record["kl"]                        # (iterations,)
    record.late("kl")                   # its median over the last third
    record.stretch(record["kl"] > 0.1)  # longest stretch of iterations in which that held

Which columns exist depends on the kind of run; `has` tells.
"""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robot_ppo import config as configs
from robot_ppo.config import Config, Task
from robot_ppo.training.checkpoint import Checkpoints
from robot_ppo_export.errors import InputError

SMOOTH = 5
"""Number of iterations of the running median, so that one odd iteration is no finding."""


@dataclass(frozen=True)
class Record:
    """The record of one run."""

    settings: Config
    columns: dict[str, np.ndarray]
    """Column of log.csv -> (iterations,); NaN where a value was not known yet."""
    deviations: np.ndarray | None = None
    """Deviation of every entry of the actor's observation, (size,); None: no checkpoint."""
    gaps: dict[str, np.ndarray] = field(default_factory=dict)
    """Column -> (iterations,) bool, true where it was not logged; a resumed run may log others."""

    @property
    def task(self) -> Task | None:
        """The robot's task; None for a task of Gymnasium."""
        task = self.settings.task
        return task if isinstance(task, Task) else None

    def __len__(self) -> int:
        return len(self.columns["iteration"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def has(self, *names: str) -> bool:
        """Return whether all these columns are logged."""
        return all(name in self.columns for name in names)

    def smooth(self, name: str) -> np.ndarray:
        """Return a column's running median, (iterations,)."""
        values = self[name]
        padded = np.pad(values, SMOOTH // 2, mode="edge")
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH), axis=-1)

    def early(self, name: str) -> float:
        """Return a column's median over the first fifth of the run; NaN if nothing is known."""
        return _median(self[name][: max(1, len(self) // 5)])

    def late(self, name: str) -> float:
        """Return a column's median over the last third of the run; NaN if nothing is known."""
        return _median(self[name][-max(1, len(self) // 3) :])

    def late_span(self) -> str:
        """Return the iterations that `late` covers, as text."""
        return self.span(len(self) - max(1, len(self) // 3), len(self) - 1)

    def stretch(self, mask: np.ndarray, share: float = 0.1) -> tuple[int, int] | None:
        """Return first and last index of the longest stretch in which `mask` holds.

        None if that is shorter than `SMOOTH` iterations or than `share` of the run.
        """
        edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(int), [0]))))
        if not len(edges):
            return None
        begins = edges[::2]
        ends = edges[1::2]
        longest = int(np.argmax(ends - begins))
        first = int(begins[longest])
        last = int(ends[longest]) - 1
        return (first, last) if last - first + 1 >= max(SMOOTH, share * len(self)) else None

    def span(self, first: int, last: int) -> str:
        """Return the iterations from index `first` to `last`, as text."""
        number = self["iteration"]
        return f"iterations {number[first]:.0f} to {number[last]:.0f}"


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def load(run: Path) -> Record:
    """Return the record of a run folder, or raise `InputError` if it is none."""
    settings = configs.load_run(run)
    columns, gaps = read_log(run / "log.csv")
    checkpoints = Checkpoints(run)
    if not checkpoints.paths():
        return Record(settings, columns, gaps=gaps)
    newest = checkpoints.newest()
    variance = newest.learner["actor"]["normalizer.var"]
    return Record(checkpoints.settings(newest), columns, variance.sqrt().numpy(), gaps)


def read_log(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the columns of a log with NaN in its gaps, and a mask of the gaps for each column.

    A last line that was not written completely is left out.

    Raises `InputError`, with the line, if the file is not a log.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = [line for line in csv.reader(file) if line] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); `robot-ppo train` writes it") from None
    if lines and len(lines[-1]) < len(header):
        lines.pop()
    if "iteration" not in header or not lines:
        raise InputError(f"{path}: holds no iteration yet; train for a minute first")
    rows = [_numbers(path, i, line, len(header)) for i, line in enumerate(lines, 2)]
    gaps = np.array([[cell == "" for cell in line] for line in lines])
    by_column = [dict(zip(header, table.T, strict=True)) for table in (np.array(rows), gaps)]
    return by_column[0], by_column[1]


def _numbers(path: Path, number: int, line: list[str], width: int) -> list[float]:
    try:
        values = [float(cell or "nan") for cell in line]
    except ValueError as error:
        raise InputError(f"{path}: line {number} is no line of a log ({error})") from None
    if len(values) != width:
        raise InputError(
            f"{path}: line {number} has {len(values)} cells, its header {width}; "
            "delete the lines that do not belong to this run"
        )
    return values
