"""Live views of a run beside its log: TensorBoard, and wandb if asked for.

Curves of every column, histograms of what the policy sees and does, the settings as a page of text,
and what a companion finds: scorecard figures and films of checkpoints.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from robot_ppo.training.companion import Companion, Plan, Snapshot
from robot_ppo.training.distributions import distributions
from robot_ppo.training.tensorboard_writer import TensorBoardWriter
from robot_ppo.training.wandb_writer import WandbWriter

if TYPE_CHECKING:
    from robot_ppo.training.train import Trainer

HISTOGRAMS_EVERY = 10.0
"""Training time between two sets of histograms [s]; one costs 10 ms."""


@dataclass(frozen=True)
class Shown:
    """Histograms, scores and films that are shown beside the curves of a training."""

    plan: Plan = field(default_factory=Plan)
    wandb: bool = False


class Writer(Protocol):
    """Receiver of events. If it fails, it warns and ignores all further events."""

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves: tag -> value."""

    def add_text(self, tag: str, text: str) -> None:
        """Add a page of text."""

    def add_histograms(self, values: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array of finite numbers: tag -> values."""

    def add_film(self, tag: str, path: Path, step: int) -> None:
        """Add the film at `path`, an mp4 with a GIF beside it."""


class Events:
    """All writers of a run, and its companion. Use as a context manager."""

    def __init__(self, folder: Path, shown: Shown, resumed_at: int | None = None) -> None:
        """Write events of the run in `folder`.

        Args:
            folder: of the run.
            shown: what is shown.
            resumed_at: steps after which a run goes on, whose later points are hidden.
        """
        self._folder = folder
        self._resumed = resumed_at is not None
        self._wandb = shown.wandb
        purge = None if resumed_at is None else resumed_at + 1
        self._tensorboard = TensorBoardWriter(folder / "tensorboard", purge)
        self._companion = Companion(folder, shown.plan)
        self._drawn = -HISTOGRAMS_EVERY
        self._writers: list[Writer] = []
        self._open = ExitStack()

    def __enter__(self) -> "Events":
        """Open the writers, and write the settings."""
        with ExitStack() as opened:  # all of them or none
            self._writers.append(opened.enter_context(self._tensorboard))
            if self._wandb:
                writer = WandbWriter(self._folder, self._resumed)
                self._writers.append(opened.enter_context(writer))
            self._open = opened.pop_all()
        settings = self._folder / "config.yaml"
        if settings.is_file():
            for writer in self._writers:
                writer.add_text("config", settings.read_text(encoding="utf-8"))
        return self

    def __exit__(self, *_: object) -> None:
        """End the companion, and close the writers."""
        self._companion.close()
        self._open.close()

    def log(self, trainer: "Trainer", values: Mapping[str, float]) -> None:
        """Write an iteration: its curves, now and then histograms, and what was found meanwhile."""
        for writer in self._writers:
            writer.add(values, trainer.steps)
        if trainer.seconds - self._drawn >= HISTOGRAMS_EVERY:
            self._drawn = trainer.seconds
            seen = distributions(trainer)
            for writer in self._writers:
                writer.add_histograms(seen, trainer.steps)
        if found := self._companion.poll(trainer.seconds):
            self._add(found)

    @property
    def looked(self) -> bool:
        """True once a checkpoint was scored or filmed."""
        return self._companion.looked

    def finish(self) -> None:
        """Write scores and film of the last checkpoint, if others were scored or filmed."""
        for found in self._companion.finish():
            self._add(found)

    def _add(self, found: Snapshot) -> None:
        figures = {f"score/{name}": value for name, value in found.figures.items()}
        for writer in self._writers:
            if figures:
                writer.add(figures, found.steps)
            if found.film:
                writer.add_film("film", Path(found.film), found.steps)
