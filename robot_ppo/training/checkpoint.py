"""Checkpoints: written whole or not at all, loaded without executing anything from the file.

`000000001536.pt` is what was learnt, and with which settings: a fraction of a megabyte, one per
checkpoint that is kept.
`000000001536.episodes` beside it is what else the next step depends on, the simulations above
all: megabytes, kept for the newest checkpoint only. It is written first, so that at any moment
the newest `.pt` has its own. Without it a run goes on with new episodes.
"""

import contextlib
import io
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from robot_ppo import config as configs
from robot_ppo.config import Config
from robot_ppo.ppo.networks import Actor
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

log = logging.getLogger(__name__)

EPISODES = ".episodes"


@dataclass
class Checkpoint:
    """State of a run."""

    steps: int
    """Environment steps that were learned from so far, all simulations together."""
    seconds: float
    """Wall-clock training time so far [s]."""
    iteration: int
    learner: dict[str, Any]
    rng: dict[str, Any]
    """State of the generator that explores."""
    episodes: dict[str, Any] | None = None
    """The running episodes: nested dicts of arrays, numbers and text; None: they are not known."""
    settings: Config | None = None
    """Settings of the last training; None in an old checkpoint, which does not hold them."""
    ranks: int = 1
    """Processes that trained it; each has episodes of its own."""
    joints: list[str] | None = None
    """Names of the robot's joints, in their order; None: there is no robot, or the checkpoint was
    written before it said so."""
    reached: dict[str, Any] = field(default_factory=dict)
    """What training made of the environment, such as a curriculum's levels, in plain numbers: with
    it new episodes go on where the running ones cannot. Empty in an old checkpoint."""


class UnreadableError(InputError):
    """A checkpoint is damaged, missing, or its weights are not finite."""


class Checkpoints:
    """The folder `checkpoints/` of a run; the number in a file's name is its environment steps."""

    def __init__(self, run: Path, rank: int = 0, ranks: int = 1) -> None:
        """Name the folder; it is made on the first save.

        Args:
            run: folder of the run.
            rank: which of the `ranks` processes that train it this one is.
            ranks: how many.
        """
        self.run = run
        self.folder = run / "checkpoints"
        self.rank = rank
        self.ranks = ranks

    def paths(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return sorted(self.folder.glob("*.pt"))

    def save(self, checkpoint: Checkpoint, keep: int) -> Checkpoint:
        """Write `checkpoint`; of all, the newest `keep` stay (0: all)."""
        written = self._path(checkpoint)
        running = _running(written, self.rank)
        try:
            _write(running, _tensors(checkpoint.episodes))
            settings = msgspec.to_builtins(checkpoint.settings)
            _write(written, vars(checkpoint) | {"episodes": None, "settings": settings})
        except InputError as error:
            with contextlib.suppress(OSError):
                if not written.exists():
                    running.unlink()
            stays = "the last checkpoint stays, --resume goes on from it"
            raise InputError(f"{error}; {stays if self.paths() else 'nothing is saved'}") from None
        # Never itself: after a damaged newest one, a resumed run writes smaller numbers than that.
        others = [path for path in self.paths() if path != written]
        old = others[: max(0, len(others) + 1 - keep)] if keep else []
        parts = [_running(written, rank) for rank in range(self.ranks)]
        old += [path for path in self.folder.glob(f"*{EPISODES}") if path not in parts]
        old += self.folder.glob(".0*")  # what a killed process was writing
        for path in old:
            path.unlink(missing_ok=True)
        return checkpoint

    def save_part(self, checkpoint: Checkpoint) -> None:
        """Write the episodes of another rank than the first, which then saves all else."""
        _write(_running(self._path(checkpoint), self.rank), _tensors(checkpoint.episodes))

    def _path(self, checkpoint: Checkpoint) -> Path:
        return self.folder / f"{checkpoint.steps:012d}.pt"

    def newest(self) -> Checkpoint:
        """Return the newest checkpoint that is whole, with its episodes if they are whole too.

        A damaged file is named in a warning and skipped.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return replace(load(path), episodes=_episodes(_running(path, self.rank)))
            except UnreadableError as error:
                log.warning("%s; using the one before it", error)
        if paths:
            raise InputError(f"{self.folder}: none of the {len(paths)} checkpoints can be read")
        raise InputError(f"{self.folder}: no checkpoint here; `robot-ppo train` writes them")

    def settings(self, checkpoint: Checkpoint) -> Config:
        """Return the settings that a checkpoint of this run was trained with.

        An old checkpoint does not hold its settings; then the run's config.yaml does.
        """
        return checkpoint.settings or configs.load_run(self.run)


def _running(path: Path, rank: int) -> Path:
    """Return the file of a rank's episodes beside a checkpoint."""
    return path.with_suffix(f".rank{rank}{EPISODES}" if rank else EPISODES)


def load(path: Path) -> Checkpoint:
    """Return the checkpoint at `path` without its episodes.

    Raises:
        UnreadableError: it is not whole, not there, or its weights are not finite.
        InputError: it is, and its settings are not those of this release.
    """
    data = _read(path)
    try:
        data.pop("env_rng", None)  # as written before there were episodes
        checkpoint = Checkpoint(**data)
    except (AttributeError, TypeError) as error:
        raise UnreadableError(f"{path}: not a whole checkpoint ({error})") from None
    if not _finite(checkpoint.learner):
        raise UnreadableError(f"{path}: its weights are not finite, learning had diverged")
    if checkpoint.settings is None:
        return checkpoint
    return replace(checkpoint, settings=strict.convert(Config, checkpoint.settings, str(path)))


def load_actor(config: Config, checkpoint: Checkpoint) -> Actor:
    """Return the actor of a checkpoint."""
    weights = checkpoint.learner["actor"]
    actor = Actor(len(weights["normalizer.mean"]), len(weights["log_std"]), config.networks)
    actor.load_state_dict(weights)
    return actor.eval()


def _finite(learner: dict[str, Any]) -> bool:
    """Return whether the weights are finite; before they were looked at, others were written."""
    parts = [value for name in ("actor", "critic") for value in learner.get(name, {}).values()]
    return all(value.isfinite().all() for value in parts)


def _episodes(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        return _arrays(_read(path))
    except UnreadableError as error:
        log.warning("%s", error)
        return None


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UnreadableError(f"{path}: no such checkpoint") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UnreadableError(f"{path}: not a whole checkpoint ({reason})") from None


def _write(path: Path, data: Any) -> None:
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_atomically(path, buffer.getvalue())


def _tensors(state: Any) -> Any:
    """Return nested dicts with every array as a tensor, which is what can be loaded safely."""
    if isinstance(state, dict):
        return {name: _tensors(value) for name, value in state.items()}
    return torch.from_numpy(state) if isinstance(state, np.ndarray) else state


def _arrays(state: Any) -> Any:
    """Return nested dicts with every tensor as an array."""
    if isinstance(state, dict):
        return {name: _arrays(value) for name, value in state.items()}
    return state.numpy() if isinstance(state, torch.Tensor) else state
