"""The process beside a training that scores and films its newest checkpoint; see companion.py.

    python -m robot_ppo.snapshot RUN score film

It prints a `Snapshot` as JSON. It has the lowest priority, and one thread.
"""

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from robot_ppo import export
from robot_ppo.config import GymTask
from robot_ppo.evaluation import evaluate, gym_evaluation, scorecard
from robot_ppo.playback import clip, gym_play
from robot_ppo.training.checkpoint import Checkpoint, Checkpoints, load_actor
from robot_ppo.training.companion import Snapshot
from robot_ppo.training.threads import single_threaded
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy

FILMS = "films"
"""Folder in the run."""


def take(run: Path, kinds: Sequence[str]) -> Snapshot:
    """Return what is found of the newest checkpoint of a run.

    Args:
        run: folder.
        kinds: "score", "film" or both.
    """
    checkpoint = Checkpoints(run).newest()
    figures = _figures(run, checkpoint) if "score" in kinds else {}
    film = _film(run, checkpoint) if "film" in kinds else ""
    return Snapshot(checkpoint.steps, figures, str(film))


def _figures(run: Path, checkpoint: Checkpoint) -> dict[str, float]:
    """Return the figures of the condition that decides, or the mean return of a few episodes."""
    config = msgspec.structs.replace(Checkpoints(run).settings(checkpoint), threads=1)
    if isinstance(config.task, GymTask):
        actor = load_actor(config, checkpoint)
        return {"return": gym_evaluation.evaluate(config, actor, gym_evaluation.QUICK).mean}
    contract, act = scorecard.from_checkpoint(config, checkpoint)
    decides = evaluate.plan(contract).conditions[:1]
    xml = scorecard.mjcf_of(run, contract)
    overall = evaluate.evaluate(contract, act, decides, threads=1, xml=xml).overall()
    return {name: value for name, value in overall.items() if math.isfinite(value)}


def _film(run: Path, checkpoint: Checkpoint) -> Path:
    """Film a checkpoint; return the mp4, which lies in the run folder with its GIF."""
    path = run / FILMS / f"{checkpoint.steps:012d}.mp4"
    if gym_play.is_run(run):
        gym_play.play(run, video=path, seconds=clip.SECONDS, say=lambda _: None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            policy = Path(folder) / "policy.onnx"
            export.export(run, policy, checkpoint)
            clip.play(Policy(policy), export.robot_of(run), clip.SECONDS).write(path)
    if path.exists():
        clip.to_gif(path, path.with_suffix(".gif"))
        return path
    raise InputError(f"{run}: the policy did not run, so there is no film")


def main() -> int:
    """Take a snapshot; return the exit code."""
    os.nice(19)
    run, *kinds = sys.argv[1:]
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what libraries print is no answer
        try:
            with single_threaded():
                out.write(msgspec.json.encode(take(Path(run), kinds)))
        except (InputError, RefusedError) as error:
            print(error, file=sys.stderr)
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
