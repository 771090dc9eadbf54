"""`robot-ppo tune`: from the command line to a study."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

import optuna
from rich.console import Console

from robot_ppo import config
from robot_ppo.config import Config, Derived, loading
from robot_ppo.training.threads import single_threaded
from robot_ppo.tuning import judge, report, space, study
from robot_ppo.tuning.study import Search


def run(
    task: str | Derived,
    path: Path,
    trials: int,
    out: Path,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    objective: str | None = None,
    seeds: int = 2,
    checks: int = 4,
    url: str | None = None,
    name: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
) -> None:
    """Search, print what was found, write the best settings.

    Args:
        task: as for `train`.
        path: YAML of what is tried (tuning/space.py).
        trials: finished trials in the study, those of others and of earlier included.
        out: folder of the trainings, and of the study where there is no `url`.
        preset: what the search starts from; None: the task's.
        overrides: `--set`, for every trial.
        objective: one of `judge.OBJECTIVES`; None: the task's.
        seeds: trainings of each trial.
        checks: times that each training is judged.
        url: of Optuna's storage, for several machines.
        name: of the study.
        seed: of the draws; None: another every time.
        threads: for physics; None: all CPUs.
    """

    def load(more: Sequence[str]) -> Config:
        return config.load(task, preset, overrides, more, threads=threads)

    start = load([])
    objective = objective or judge.default_objective(start)
    judge.check(objective, start)
    tried = space.read(path, load)
    search = Search(tried, load, objective, seeds, checks, out)
    optuna.logging.set_verbosity(logging.ERROR)
    found = study.open_study(search, name or str(task), url, seed)
    console = Console()

    def tell(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    try:
        with single_threaded():
            study.run(found, search, trials, lambda study: tell(report.line(study)))
    finally:
        report.show(found, search, console)
        files = report.write(found, search, task, preset or loading.default_preset(task))
        for file in files:
            tell(f"wrote {file}")
    presets = [f"--preset {shlex.quote(str(f))}" for f in files if f.name == report.PRESET]
    tasks = [shlex.quote(str(f)) for f in files if f.name == report.TASK]
    settings = [f"--set {shlex.quote(text)}" for text in report.chosen(found, task)]
    if presets or tasks or settings:
        words = [*(tasks or [str(task)]), *presets, *settings]
        tell(f"next: robot-ppo train {' '.join(words)}")
