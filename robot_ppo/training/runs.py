"""The folder of a run: started once, resumed, or overwritten on request."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_ppo import config
from robot_ppo.config import Config
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically


def train(
    task: str,
    out: Path,
    preset: str | None,
    overrides: Sequence[str],
    resume: bool,
    overwrite: bool,
    **flags: Any,
) -> None:
    """Train `task` in the folder `out`, and say how to go on from there."""
    if resume:
        if not (out / "config.yaml").is_file():
            raise InputError(f"{out}: no checkpoint here; `robot-ppo train` writes them")
        settings = config.load_resumed(out, task, overrides, **flags)
    else:
        settings = config.load(task, preset, overrides, **flags)
    check(out, resume, overwrite)
    from robot_ppo.training.logger import Logger
    from robot_ppo.training.train import Trainer

    trainer = Trainer(settings, out, resume)  # what cannot be trained touches no folder
    if not resume:
        start(out, settings, overwrite)
    elif not trainer.steps:
        print("no checkpoint yet: the run starts from its beginning")
    with Logger(out, trainer if resume else None) as logger:
        last = trainer.run(logger)
    done = "stopped" if trainer.interrupted else "done"
    print(f"{done} after {last.steps:,} steps, {last.seconds:.0f} s; checkpoint in {out}")
    if trainer.interrupted:
        print(f"go on with: robot-ppo train {task} --out {out} --resume")
    elif isinstance(settings.task, config.Task):
        print(f"next: robot-ppo eval {out}   or   robot-ppo export {out} -o {task}.onnx")
    else:
        print(f"next: robot-ppo eval {out}")


def check(out: Path, resume: bool, overwrite: bool) -> None:
    """Raise `InputError` where a run, or what is not one, would be lost."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder for a run")
    if resume or not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"{out}: is not empty; --resume goes on with that run, --overwrite deletes it"
        )
    if not (out / "config.yaml").is_file():
        raise InputError(f"{out}: has no config.yaml, so it is not a run; delete it yourself")


def start(out: Path, settings: Config, overwrite: bool) -> None:
    """Begin a new run; with `overwrite`, the run that is there is deleted."""
    check(out, False, overwrite)
    if out.is_dir() and any(out.iterdir()):
        shutil.rmtree(out)
    write_atomically(out / "config.yaml", config.to_yaml(settings).encode())
