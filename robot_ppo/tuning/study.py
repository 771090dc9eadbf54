"""The search: each trial trains with one draw of settings, several seeds, and is judged on its way.

Optuna draws, compares and remembers. The study lives in its storage, so that a killed search goes
on where it was, and several machines work on one. A trial that is worse than the median of the
others at the same point is ended early.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from robot_ppo.config import Config
from robot_ppo.training import run_folder
from robot_ppo.training.train import DivergedError, Trainer
from robot_ppo.tuning import judge
from robot_ppo.tuning.judge import Verdict
from robot_ppo.tuning.space import Load, Space, leaves
from robot_ppo_export.errors import InputError

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
GRACE = 5
"""Seconds after which the lock of a search that was killed while it wrote is taken away."""
WARM_UP = 4
"""Trials that are never ended early: nothing is known to compare them with."""


@dataclass(frozen=True)
class Search:
    """Definition of one study; every machine that joins it must state the same."""

    space: Space
    load: Load
    """Overrides -> settings of a run."""
    objective: str
    seeds: int
    """Trainings of each trial; their mean counts."""
    checks: int
    """Times that a training is judged, the last one at its end."""
    out: Path
    """Folder of the trainings."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Direction in which Optuna searches."""
        return "maximize" if self.objective in judge.MAXIMIZED else "minimize"

    def describe(self) -> dict[str, object]:
        """Return what must be equal for all who work on one study."""
        settings = msgspec.to_builtins(msgspec.structs.replace(self.load([]), threads=0))
        own = {"objective": self.objective, "seeds": self.seeds, "checks": self.checks}
        return own | {"space": self.space.describe(), "settings": settings}


def storage(url: str | None, out: Path) -> BaseStorage | str:
    """Return where a study lives: a journal file in `out`, or a database."""
    if url is not None:
        return url
    out.mkdir(parents=True, exist_ok=True)
    path = str(out / "journal.log")
    lock = JournalFileSymlinkLock(path, grace_period=GRACE)
    return JournalStorage(JournalFileBackend(path, lock))


def open_study(search: Search, name: str, url: str | None, seed: int | None) -> optuna.Study:
    """Return the study `name`, new or as it was left.

    Raises:
        InputError: the storage cannot be used, or the study is about something else.
    """
    try:
        study = optuna.create_study(
            storage=storage(url, search.out),
            study_name=name,
            load_if_exists=True,
            direction=search.direction,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM_UP),
        )
    except (ImportError, ValueError) as error:
        raise InputError(f"--storage {url}: {' '.join(str(error).split())}") from None
    except Exception as error:  # SQLAlchemy's, of a database that is not there
        if url is None:
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"--storage {url}: cannot be used: {reason}") from None
    _require_same(study, search)
    # A study that goes on must not draw again what it began with.
    seed = None if seed is None else seed + len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return study


def _require_same(study: optuna.Study, search: Search) -> None:
    wanted = search.describe()
    known = study.user_attrs
    if not known:
        for key, value in wanted.items():
            study.set_user_attr(key, value)
        return
    before = dict(leaves(dict(known)))
    now = dict(leaves(msgspec.json.decode(msgspec.json.encode(wanted))))
    for key in [*before, *now]:
        if before.get(key) != now.get(key):
            raise InputError(
                f"the study {study.study_name!r} was started with another "
                f"{key.removeprefix('settings.')}: repeat what it was started with, or give "
                "another --out or --study"
            )


def run(
    study: optuna.Study, search: Search, trials: int, told: Callable[[optuna.Study], None]
) -> None:
    """Try settings until the study has so many finished trials, those of others included.

    `told` is called after every trial.
    """
    enough = optuna.study.MaxTrialsCallback(trials, states=FINISHED)
    if len(study.get_trials(deepcopy=False, states=FINISHED)) < trials:
        try:
            study.optimize(
                lambda trial: evaluate(trial, search),
                callbacks=[enough, lambda study, _: told(study)],
            )
        except OSError as error:
            if _was_interrupted(error):
                raise KeyboardInterrupt from None
            raise


def _was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C led to an error: optuna, stopped at a lock, fails to give it back."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def evaluate(trial: optuna.Trial, search: Search) -> float:
    """Return the mean over the seeds of one draw, or raise `TrialPruned`."""
    settings = search.load(search.space.overrides(search.space.draw(trial)))
    values: list[float] = []
    for i in range(search.seeds):
        seeded = msgspec.structs.replace(settings, seed=settings.seed + i, keep=1)
        folder = search.out / f"trial_{trial.number:04d}" / f"seed_{seeded.seed}"
        watch = _Watch(trial, search, values, i)
        values.append(_train(seeded, folder, watch))
        trial.set_user_attr(f"figures of seed {seeded.seed}", watch.verdict.figures)
    return sum(values) / len(values)


def _train(settings: Config, folder: Path, watch: "_Watch") -> float:
    """Train once; return what the policy is worth."""
    trainer = Trainer(settings, folder)
    run_folder.start(folder, settings, overwrite=True)
    try:
        checkpoint = trainer.run(watch)
    except _Passed as passed:
        return passed.seconds
    except DivergedError as error:
        watch.trial.set_user_attr("ended", str(error))
        raise optuna.TrialPruned(str(error)) from None
    if trainer.interrupted:
        raise KeyboardInterrupt
    watch.verdict = judge.judge(settings, checkpoint)
    return watch.value(watch.verdict, trainer.seconds - watch.judging)


class _Passed(Exception):
    """The scorecard passed, and the objective is the time until then."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"passed after {seconds:.0f} s")
        self.seconds = seconds


class _Watch:
    """Judges a training on its way, and ends it where going on is of no use."""

    verdict: Verdict

    def __init__(
        self, trial: optuna.Trial, search: Search, before: list[float], index: int
    ) -> None:
        """Watch the training of the seed `index`, after those with the values `before`."""
        self.trial = trial
        self.search = search
        self._before = list(before)
        self._index = index
        self._next = 1
        self.judging = 0.0
        """Seconds that are not the training's [s]."""

    def log(self, trainer: Trainer, metrics: dict[str, float], times: dict[str, float]) -> None:
        """Judge the policy where a check is due."""
        due = self._next / self.search.checks
        if trainer.progress < due or self._next == self.search.checks:
            return
        self._next += 1
        began = time.perf_counter()
        self.verdict = judge.judge(trainer.config, trainer.snapshot())
        seconds = trainer.seconds - self.judging
        self.judging += time.perf_counter() - began
        value = self.value(self.verdict, seconds)
        values = [*self._before, value]
        step = self._index * self.search.checks + self._next - 2
        self.trial.report(sum(values) / len(values), step)
        if self.search.objective == "seconds" and self.verdict.passed:
            raise _Passed(seconds)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"worse than the median at check {self._next - 1}")

    def value(self, verdict: Verdict, seconds: float) -> float:
        """Return what the objective makes of a verdict after so many seconds of training."""
        if self.search.objective != "seconds":
            return verdict.value
        return seconds if verdict.passed else seconds * (1.0 + verdict.value)
