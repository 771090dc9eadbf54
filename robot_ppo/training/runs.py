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
    prepare(out, settings, resume, overwrite)
    from robot_ppo.training.logger import Logger
    from robot_ppo.training.train import Trainer

    trainer = Trainer(settings, out, resume)
    if resume and not trainer.steps:
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


def prepare(out: Path, settings: Config, resume: bool, overwrite: bool) -> None:
    """Make the folder ready, or raise `InputError` where a run would be lost."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder for a run")
    if resume:
        return
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise InputError(
                f"{out}: is not empty; --resume goes on with that run, --overwrite deletes it"
            )
        _delete(out)
    write_atomically(out / "config.yaml", config.to_yaml(settings).encode())


def _delete(out: Path) -> None:
    """Delete a run, and nothing that is not one."""
    if not (out / "config.yaml").is_file():
        raise InputError(f"{out}: has no config.yaml, so it is not a run; delete it yourself")
    shutil.rmtree(out)
