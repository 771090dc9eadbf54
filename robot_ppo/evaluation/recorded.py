"""An evaluation of a run as points in the run's TensorBoard, beside those of its training."""

import re
from collections.abc import Mapping
from pathlib import Path

from robot_ppo.training.tensorboard_writer import TensorBoardWriter

FOLDER = Path("tensorboard", "eval")
"""In the run folder. Of its own: TensorBoard reads the newest file of a folder alone."""


def record(run: Path, steps: int, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Add the figures of the checkpoint after `steps` steps.

    Args:
        run: folder.
        steps: of the checkpoint.
        figures: condition -> figure -> value; the first condition's tag is `score` alone.
    """
    points: dict[str, float] = {}
    for i, (condition, values) in enumerate(figures.items()):
        group = f"score_{re.sub('[^a-zA-Z0-9.+-]+', '_', condition)}" if i else "score"
        points |= {f"{group}/{name}": value for name, value in values.items()}
    with TensorBoardWriter(run / FOLDER) as writer:
        writer.add(points, steps)
