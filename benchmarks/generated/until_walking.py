"""Train a derived task until a checkpoint walks by the robot's own scorecard, or time is up.

While the training runs, its newest checkpoint is scored on the nominal commands now and then, in
this process: it slows the training a little, and saves what would come after.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_ppo.evaluation import evaluate, scorecard
from robot_ppo.evaluation.evaluate import Scorecard
from robot_ppo.training.checkpoint import Checkpoints, load
from robot_ppo_export.errors import InputError

PAUSE = 30.0
"""[s] Between two scorings at the least, and before the first."""
REST = 3.0
"""A pause is at least so many times as long as the scoring before: that takes processor time of the
training's."""
POLL = 0.5
"""[s] Between two looks at the training."""


@dataclass(frozen=True)
class Walk:
    """The end of a training."""

    walking: bool
    steps: int
    """Of the last checkpoint that was scored: the first that walks, if one does."""
    seconds: float
    """From the start of the training to that checkpoint."""
    figures: dict[str, float]
    limits: dict[str, float]


def train(robot: Path, out: Path, minutes: float, seed: int = 1, more: Sequence[str] = ()) -> Walk:
    """Train `walk` for a robot and return how far it came.

    Args:
        robot: its folder.
        out: run folder; what is there is deleted.
        minutes: after which it is given up.
        seed: of the training.
        more: arguments of `robot-ppo train`.
    """
    command = [sys.executable, "-m", "robot_ppo.cli", "train", "walk", "--robot", str(robot)]
    command += ["--out", str(out), "--seed", str(seed), "--minutes", str(minutes), "--overwrite"]
    command += ["--steps", str(10**9), "--set", "save_every=10", "--set", "keep=0", *more]
    began = time.time()
    with (out.parent / f"{out.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            found = _watched(process, Checkpoints(out), began)
        finally:
            process.terminate()
            code = process.wait()
    if found is None:
        raise InputError(f"the training of {robot} ended with code {code}: {log.name}")
    return found


def _watched(process: subprocess.Popen, checkpoints: Checkpoints, began: float) -> Walk | None:
    """Return the first checkpoint that walks, else the last; None where there is none."""
    last = None
    for path in _newest(process, checkpoints):
        card = score(checkpoints, path)
        seconds = path.stat().st_mtime - began
        figures = {name: round(value, 4) for name, value in card.overall().items()}
        last = Walk(card.walking, int(path.stem), round(seconds, 1), figures, dict(card.limits))
        if last.walking:
            break
    return last


def _newest(process: subprocess.Popen, checkpoints: Checkpoints) -> Iterator[Path]:
    """Yield the newest checkpoint now and then, and the last one after the end."""
    seen = None
    wait_until = time.monotonic() + PAUSE
    ended = False
    while not ended:
        ended = process.poll() is not None
        paths = checkpoints.paths()
        if paths and paths[-1] != seen and (ended or time.monotonic() > wait_until):
            seen = paths[-1]
            began = time.monotonic()
            yield seen
            now = time.monotonic()
            wait_until = now + max(PAUSE, REST * (now - began))
        time.sleep(POLL)


def score(checkpoints: Checkpoints, path: Path) -> Scorecard:
    """Return the scorecard of a checkpoint on the nominal commands."""
    checkpoint = load(path)
    contract, act = scorecard.from_checkpoint(checkpoints.settings(checkpoint), checkpoint)
    conditions = evaluate.plan(contract).conditions[:1]
    xml = scorecard.mjcf_of(checkpoints.run, contract)
    return evaluate.evaluate(contract, act, conditions, xml=xml)
