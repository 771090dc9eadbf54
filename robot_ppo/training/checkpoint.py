"""Checkpoints: written whole or not at all, loaded without executing anything from the file."""

import io
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

log = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """All that a run needs to go on."""

    steps: int
    """Environment steps so far, all simulations together."""
    seconds: float
    """Wall-clock training time so far [s]."""
    iteration: int
    learner: dict[str, Any]
    rng: dict[str, Any]
    env_rng: dict[str, Any]


class Checkpoints:
    """The folder `checkpoints/` of a run; the number in a file's name is its environment steps."""

    def __init__(self, run: Path) -> None:
        """Name the folder; it is made on the first save."""
        self.folder = run / "checkpoints"

    def paths(self) -> list[Path]:
        """Return the checkpoint files, oldest first."""
        return sorted(self.folder.glob("*.pt"))

    def save(self, checkpoint: Checkpoint, keep: int) -> Checkpoint:
        """Write `checkpoint`; of all, the newest `keep` stay (0: all)."""
        buffer = io.BytesIO()
        torch.save(asdict(checkpoint), buffer)
        written = self.folder / f"{checkpoint.steps:012d}.pt"
        write_atomically(written, buffer.getvalue())
        # Never itself: after a damaged newest one, a resumed run writes smaller numbers than that.
        others = [path for path in self.paths() if path != written]
        for path in others[: max(0, len(others) + 1 - keep)] if keep else []:
            path.unlink(missing_ok=True)
        return checkpoint

    def newest(self) -> Checkpoint:
        """Return the newest checkpoint that is whole; a damaged one is named and passed over."""
        paths = self.paths()
        for path in reversed(paths):
            try:
                return load(path)
            except InputError as error:
                log.warning("%s; using the one before it", error)
        if paths:
            raise InputError(f"{self.folder}: none of the {len(paths)} checkpoints can be read")
        raise InputError(f"{self.folder}: no checkpoint here; `robot-ppo train` writes them")


def load(path: Path) -> Checkpoint:
    """Return the checkpoint at `path`, or raise `InputError` if it is not whole."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**data)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: not a whole checkpoint ({reason})") from None
