"""The folder of a run: started once, resumed, or overwritten on request.

`config.yaml` says what the run goes on with, `config-000000001536.yaml` what it had up to that
step where that was something else, and each of `checkpoints/` what it was trained with last.
"""

import contextlib
import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_ppo import config, lock
from robot_ppo.config import Config
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

if TYPE_CHECKING:
    from robot_ppo.ppo.ranks import Ranks
    from robot_ppo.training.checkpoint import Checkpoint
    from robot_ppo.training.events import Shown
    from robot_ppo.training.train import Trainer

log = logging.getLogger(__name__)

LOCK = ".lock"
ITERATIONS = 5
"""Of Newton's method, without which it stops before contacts are solved."""


def train(
    task: str | config.Derived,
    out: Path,
    preset: str | None,
    overrides: Sequence[str],
    resume: bool,
    overwrite: bool,
    shown: "Shown | None" = None,
    **flags: Any,
) -> None:
    """Train `task` in the folder `out`, and say how to go on from there.

    Under `torchrun` this is one of several ranks. The first one writes the folder, and speaks. A
    rank that torchrun starts again, because one had ended, goes on with the run.

    Args:
        task: name, file, or a task that was derived from a robot.
        out: run folder.
        preset: name or file, None for the task's own.
        overrides: `key=value`, as of `--set`.
        resume: go on from the newest checkpoint.
        overwrite: delete the run that is there.
        shown: what can be looked at meanwhile, beside curves.
        flags: settings by name, None where they are not given.
    """
    from robot_ppo.training import processes

    if processes.was_restarted() and (out / "config.yaml").is_file():
        resume = True
        preset = None
    if resume:
        settings = _resumed(out, task, preset, overrides, **flags)
        layers = config.resumed_layers_of(out, overrides, **flags)
    else:
        settings = config.load(task, preset, overrides, **flags)
        layers = config.layers_of(task, preset, overrides, **flags)
        if processes.is_first():  # it alone starts the folder, for all ranks
            check(out, overwrite)
    with processes.together() as ranks, contextlib.ExitStack() as held:
        if resume and ranks.rank == 0:
            held.enter_context(_alone(out))
            _tell_of_an_edited_robot(out, settings)
        with layers.naming():  # what cannot be trained touches no folder
            trainer = _trainer(settings, out, resume, ranks)
        if resume and not processes.was_restarted():  # a rank may end after the run has
            _require_budget(trainer, out)
        if ranks.rank == 0:
            if not resume:
                held.enter_context(_alone(out))
            command = command_of(task, out, preset, overrides, flags)
            _begin(trainer, out, resume, overwrite, command)
            with_preset = None if resume else preset or config.default_preset(task)
            print(_summary(trainer.config, with_preset, trainer.steps))
            _warn_of_the_solver(trainer.config)
        ranks.barrier()
        again = f"robot-ppo train {_typed(task)} --out {shlex.quote(str(out))} --resume"
        last = _run(trainer, out, resume, again, shown)
    if ranks.rank == 0:
        _tell_what_is_next(task, trainer, last, out, again)


def _trainer(settings: Config, out: Path, resume: bool, ranks: "Ranks") -> "Trainer":
    from robot_ppo.training.train import Trainer

    return Trainer(settings, out, resume, ranks)


def command_of(
    task: str | config.Derived,
    out: Path,
    preset: str | None,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
) -> str:
    """Return the command that repeats a training; parameters are those of `train`."""
    given = {name: value for name, value in flags.items() if value is not None}
    teacher = given.pop("distill", {}).get("teacher")
    given |= {"preset": preset, "teacher": teacher}
    words = [w for k, v in given.items() if v is not None for w in (f"--{k}", str(v))]
    words += [word for text in overrides for word in ("--set", text)]
    return f"robot-ppo train {_typed(task)} {shlex.join(['--out', str(out), *words])}"


def _typed(task: str | config.Derived) -> str:
    """Return a task as a command line has it."""
    return shlex.quote(task) if isinstance(task, str) else str(task)


def _begin(trainer: "Trainer", out: Path, resume: bool, overwrite: bool, command: str) -> None:
    """Let the folder say what is trained from here on, and by which command."""
    from robot_ppo.training import provenance

    settings = trainer.config
    if not resume:
        start(out, settings, overwrite)
        provenance.record(out, command)
    elif trainer.steps:
        go_on(out, trainer.learned_with, settings, trainer.steps)
    else:
        go_on(out, settings, settings, 0)
        print("no checkpoint yet: the run starts from its beginning")
    _record_the_robot(out, settings)


def _require_budget(trainer: "Trainer", out: Path) -> None:
    """Raise `InputError` where a run is resumed that has had its steps or its minutes."""
    steps = trainer.config.steps
    minutes = trainer.config.minutes
    spent = trainer.seconds / 60
    had = []
    more = []
    if trainer.steps >= steps:
        had.append(f"{trainer.steps:,} of its {steps:,} steps")
        more.append("--steps N")
    if minutes is not None and spent >= minutes:
        had.append(f"{spent:.3g} of its {minutes:g} minutes")
        more.append("--minutes M")
    if had:
        raise InputError(
            f"{out}: the run has had {' and '.join(had)}; to go on, add {' and '.join(more)}, more "
            "than it has had"
        )


def _summary(settings: Config, preset: str | None, steps: int) -> str:
    """Return one line: what is trained, with which preset or from which step on, and how long."""
    task = settings.task
    robot = f" (robot {Path(task.robot).name})" if isinstance(task, config.Task) else ""
    begins = f"from {steps:,} steps on" if preset is None else f"preset {preset}"
    minutes = "" if settings.minutes is None else f" or {settings.minutes:g} min"
    budget = f"{settings.steps:,} steps{minutes}, {settings.num_envs:,} simulations"
    return f"{task.name}{robot}, {begins}: {budget}"


def _warn_of_the_solver(settings: Config) -> None:
    """Warn where the solver stops before contacts are solved, as it did in older runs.

    With 3 iterations Go2 fell 0.26 times per minute on the plane and 0.73 on a level field of
    heights, where a foot has several contacts; with 5 it fell 0.06 and 0.05 times.
    """
    task = settings.task
    if not isinstance(task, config.Task):
        return
    physics = task.physics
    if physics.solver == "newton" and physics.iterations < ITERATIONS:
        log.warning(
            "task.physics.iterations: %d are too few to solve for contacts: joints are thrown "
            "about, and robots fall for no reason of theirs; set 10, a bound that few steps reach",
            physics.iterations,
        )


def _run(
    trainer: "Trainer", out: Path, resume: bool, again: str, shown: "Shown | None"
) -> "Checkpoint":
    """Train, and log as the first rank; return the last checkpoint."""
    from robot_ppo.training.logger import Logger, Silent

    first = trainer.ranks.rank == 0
    try:
        with Logger(out, trainer if resume else None, shown) if first else Silent() as logger:
            last = trainer.run(logger)
            if not trainer.interrupted:
                logger.finish()
            return last
    except KeyboardInterrupt:
        if first:
            print(f"not saved since the last checkpoint; go on from there with: {again}")
        raise


def _tell_what_is_next(
    task: str | config.Derived, trainer: "Trainer", last: "Checkpoint", out: Path, again: str
) -> None:
    """Print what was done and what can be done with it."""
    done = "stopped" if trainer.interrupted else "done"
    print(f"{done} after {last.steps:,} steps, {last.seconds:.0f} s; checkpoint in {out}")
    if trainer.interrupted:
        print(f"go on with: {again}")
    elif isinstance(trainer.config.task, config.Task) and not trainer.config.networks.exportable:
        student = (
            f"robot-ppo train {_typed(task)} --preset distill --teacher {shlex.quote(str(out))}"
        )
        print("its actor reads what no robot computes, so it can teach but not be exported")
        print(f"next: {student} --out {shlex.quote(f'{out}_student')}")
        return
    elif isinstance(trainer.config.task, config.Task):
        export = f"robot-ppo export {out} -o {trainer.config.task.name}.onnx"
        print(f"next: robot-ppo eval {out}   or   {export}")
    else:
        print(f"next: robot-ppo eval {out}")
    print(f"to show it: robot-ppo report {out} -o {out / 'report.html'}")


def _tell_of_an_edited_robot(out: Path, settings: Config) -> None:
    from robot_ppo.robot_model import fingerprint

    if isinstance(settings.task, config.Task):
        fingerprint.warn_if_edited(fingerprint.newest(out), settings.task.robot, out)


def _record_the_robot(out: Path, settings: Config) -> None:
    """Record in the folder the model with which the run resumes."""
    from robot_ppo.robot_model import fingerprint

    if isinstance(settings.task, config.Task):
        fingerprint.record(out, settings.task.robot)


def _resumed(
    out: Path,
    task: str | config.Derived,
    preset: str | None,
    overrides: Sequence[str],
    **flags: Any,
) -> Config:
    """Return the configuration with which the run in `out` resumes."""
    if not (out / "config.yaml").is_file():
        raise InputError(f"{out}: no run here; `robot-ppo train` without --resume starts one")
    if preset is not None:
        raise InputError(
            f"--preset {preset}: belongs to a new run; --resume goes on with the settings in "
            f"{out / 'config.yaml'}, and --set changes one of them"
        )
    return config.load_resumed(out, task, overrides, **flags)


def _alone(out: Path) -> AbstractContextManager[None]:
    """Keep other trainings out of a folder."""
    return lock.alone(
        out / LOCK, f"{out}: another training writes here; wait for it, or give another --out"
    )


def _contents(out: Path) -> list[Path]:
    """Return what lies in a folder but the lock; nothing where there is no folder."""
    return [path for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []


def check(out: Path, overwrite: bool) -> None:
    """Raise `InputError` where a run, or what is not one, would be lost."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder for a run")
    if not _contents(out):
        return
    if not overwrite:
        raise InputError(
            f"{out}: is not empty; --resume goes on with that run, --overwrite deletes it"
        )
    if not (out / "config.yaml").is_file():
        raise InputError(f"{out}: has no config.yaml, so it is not a run; delete it yourself")


def start(out: Path, settings: Config, overwrite: bool) -> None:
    """Begin a new run; with `overwrite`, the run that is there is deleted."""
    check(out, overwrite)
    for path in _contents(out):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_atomically(out / "config.yaml", config.to_yaml(settings).encode())


def go_on(out: Path, before: Config, now: Config, steps: int) -> None:
    """Let `config.yaml` say what the run goes on with; what it had until `steps` stays beside it.

    Without this a resume would be forgotten by the next, and nobody could say with what the run
    was trained.
    """
    if before != now:
        old = out / f"config-{steps:012d}.yaml"
        write_atomically(old, config.to_yaml(before).encode())
    write_atomically(out / "config.yaml", config.to_yaml(now).encode())
