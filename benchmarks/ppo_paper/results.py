"""The folder of a sweep: its settings, and one file per finished run.

    DIR/ppo_paper.yaml       what all runs have in common; a sweep of other settings is refused
    DIR/runs/RUN.json        the row of a run and its learning curve, written in one piece

A sweep that was killed goes on with the runs that have no file.
"""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.ppo_paper.protocol import Run
from robot_ppo import config
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
    """Number of episodes in the score's mean."""
    seconds: float
    """Wall-clock [s], like those that follow."""
    seconds_physics: float
    seconds_collect: float
    """Physics, the policy, and the work between them."""
    seconds_learn: float

    @property
    def run(self) -> Run:
        """The run that gave this result."""
        return Run(self.setting, self.task, self.seed)


class _Finished(msgspec.Struct):
    """The contents of a run's file."""

    result: Result
    curve: Curve


class Folder:
    """The results of one sweep."""

    def __init__(self, path: Path, steps: int) -> None:
        """Open the folder for runs of so many steps, or raise `InputError`."""
        self.path = path
        self._check(steps)
        self.results: dict[Run, Result] = {}
        self._curves: dict[Run, Curve] = {}
        for file in sorted((path / "runs").glob("*.json")):
            self._read(file)

    def file(self, run: Run) -> Path:
        """Return the file of a run, finished or not."""
        return self.path / "runs" / f"{run.setting}_{run.task}_{run.seed}.json"

    def load(self, run: Run) -> Result:
        """Take up the file that a finished run has written."""
        return self._read(self.file(run))

    def curve(self, run: Run) -> Curve:
        """Return the learning curve of a finished run."""
        return self._curves[run]

    def _read(self, file: Path) -> Result:
        try:
            kept = msgspec.convert(json.loads(file.read_bytes()), _Finished)
        except (ValueError, msgspec.ValidationError) as error:
            raise InputError(f"{file}: {error}; delete it and the run is done again") from None
        self.results[kept.result.run] = kept.result
        self._curves[kept.result.run] = kept.curve
        return kept.result

    def _check(self, steps: int) -> None:
        """Write what all runs have in common, or compare it with what is there."""
        settings = Run("clip_0.2", "HalfCheetah-v5", 1).config(steps)
        path = self.path / "ppo_paper.yaml"
        text = config.to_yaml(settings)
        if not path.is_file():
            if (self.path / "runs").exists():
                raise InputError(f"{path}: missing; give --out a new folder")
            write_atomically(path, text.encode())
        elif path.read_text() != text:
            raise InputError(
                f"{path}: the runs in this folder had other settings or another number of steps; "
                "give --out a new folder, or the --steps that stands there"
            )


def write(path: Path, result: Result, curve: Curve) -> None:
    """Write the file of a finished run."""
    data = {"result": msgspec.structs.asdict(result), "curve": curve}
    write_atomically(path, json.dumps(data).encode() + b"\n")  # msgspec would write NaN as null


def to_csv(results: Iterable[Result]) -> bytes:
    """Return the rows as CSV, with a header."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Result.__struct_fields__)
    for result in results:
        values = msgspec.structs.astuple(result)
        rows.writerow(f"{v:.8g}" if isinstance(v, float) else v for v in values)
    return text.getvalue().encode()
