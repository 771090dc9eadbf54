"""Write what TensorBoard shows to Weights & Biases, too; `robot-ppo train --wandb`.

Where it goes is wandb's own business: WANDB_MODE=offline keeps it on this computer, WANDB_PROJECT
names another project, and a run that is resumed goes on as the same run there.
"""

import html
import logging
import os
import uuid
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)

PROJECT = "robot-ppo"
ID = "wandb.txt"
"""File in the run folder that holds the run's id."""


def require() -> None:
    """Raise `InputError` where wandb is not installed."""
    if find_spec("wandb") is None:
        raise InputError("--wandb needs wandb: pip install 'robot-ppo[wandb]'")


class WandbWriter:
    """Writer of a run's points, histograms, films and text. Use as a context manager."""

    def __init__(self, folder: Path, resumed: bool = False) -> None:
        """Write the run in `folder`, or go on with it."""
        require()
        self._folder = folder
        self._resumed = resumed
        self._wandb: Any = None
        self._run: Any = None

    def __enter__(self) -> "WandbWriter":
        """Begin; an `InputError` where wandb cannot."""
        self._wandb = import_module("wandb")
        path = self._folder / ID
        if not (self._resumed and path.is_file()):
            path.write_text(uuid.uuid4().hex[:12])
        try:
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=self._folder.name,
                id=path.read_text().strip(),
                resume="allow",
                dir=str(self._folder),
            )
        except Exception as error:  # wandb raises errors of several libraries: no common type
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"--wandb: {reason}; WANDB_MODE=offline needs no account") from None
        self._run.define_metric("*", step_metric="steps")
        return self

    def __exit__(self, *_: object) -> None:
        """Send what is left."""
        self._attempt(lambda run: run.finish())

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves."""
        self._attempt(lambda run: run.log({"steps": step, **values}))

    def add_text(self, tag: str, text: str) -> None:
        """Add a page of text."""
        page = f"<pre>{html.escape(text)}</pre>"
        self._attempt(lambda run: run.log({tag: self._wandb.Html(page)}))

    def add_histograms(self, values: Mapping[str, np.ndarray], step: int) -> None:
        """Add a histogram of each array."""

        def write(run: Any) -> None:
            shown = {tag: self._wandb.Histogram(array) for tag, array in values.items()}
            run.log({"steps": step, **shown})

        self._attempt(write)

    def add_film(self, tag: str, path: Path, step: int) -> None:
        """Add the film at `path`, an mp4."""

        def write(run: Any) -> None:
            run.log({"steps": step, tag: self._wandb.Video(str(path), format="mp4")})

        self._attempt(write)

    def _attempt(self, write: Callable[[Any], None]) -> None:
        """Call `write` with wandb's run; the training goes on where that fails, after a warning."""
        if self._run is None:
            return
        try:
            write(self._run)
        except Exception as error:  # a network, a disk, an account: none of them ends a training
            self._run = None
            log.warning("nothing goes to wandb from here on (%s)", error)
