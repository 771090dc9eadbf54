"""Results of a search: a table, pictures of what mattered, and the best settings as a preset."""

import warnings
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.importance import PedAnovaImportanceEvaluator
from rich import box
from rich.console import Console
from rich.table import Table

from robot_ppo.config import Derived, unused
from robot_ppo.tuning.space import as_yaml
from robot_ppo.tuning.study import FINISHED, Search
from robot_ppo_export.files import write_atomically

SHOWN = 10
"""Trials in the table, the best first."""
PRESET = "best_preset.yaml"
TASK = "best_task.yaml"
"""The best settings, as files that extend those that the search started from."""
ENOUGH = 4
"""Complete trials from which importances mean something."""


def line(study: optuna.Study) -> str:
    """Return one line about the newest trial, beside the best."""
    trial = study.trials[-1]
    drawn = "  ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    took = f"{trial.duration.total_seconds():.0f} s" if trial.duration else ""
    value = f"{trial.value:.4g}" if trial.value is not None else "-"
    early = "" if trial.state is optuna.trial.TrialState.COMPLETE else " (ended early)"
    return f"trial {trial.number}: {value}{early}  {drawn}  {took}{_best(study)}"


def _best(study: optuna.Study) -> str:
    complete = _complete(study)
    return f"  (best {complete[0].value:.4g} of trial {complete[0].number})" if complete else ""


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the complete trials, the best first."""
    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    downwards = study.direction is optuna.study.StudyDirection.MAXIMIZE
    return sorted(done, key=lambda trial: trial.value or 0.0, reverse=downwards)


def importances(study: optuna.Study) -> dict[str, float]:
    """Return key -> how much it mattered, adding up to 1; empty where too few trials say so."""
    if len(_complete(study)) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is younger than Optuna's others
        return optuna.importance.get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator()
        )


def show(study: optuna.Study, search: Search, console: Console) -> None:
    """Print the best trials, and what mattered."""
    complete = _complete(study)
    finished = len(study.get_trials(deepcopy=False, states=FINISHED))
    table = Table(
        title=f"{study.study_name}: {finished} trials, {finished - len(complete)} ended early",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    weights = importances(study)
    table.add_column("trial", justify="right")
    table.add_column(search.objective, justify="right")
    for key in search.space.distributions:
        share = f"\n{100 * weights[key]:.0f} %" if key in weights else ""
        table.add_column(key + share, justify="right", overflow="fold")
    for trial in complete[:SHOWN]:
        drawn = [_short(trial.params[key]) for key in search.space.distributions]
        table.add_row(str(trial.number), f"{trial.value:.4g}", *drawn)
    console.print(table)
    if weights:
        console.print(
            "per cent: how much of the difference between good and bad trials a key makes"
        )


def write(study: optuna.Study, search: Search, task: str | Derived, preset: str) -> list[Path]:
    """Write the pictures and the best settings into the search's folder; return the files.

    A derived task is not a file that another could extend; its best settings are `chosen`.
    """
    complete = _complete(study)
    if not complete:
        return []
    files = [_write_plots(study, search.out / "study.png")] if len(complete) > 1 else []
    best = complete[0]
    idle = unused.names(search.load(search.space.overrides(best.params)))
    found = {key: v for key, v in best.params.items() if key not in idle}
    of_task = {key.removeprefix("task."): v for key, v in found.items() if _is_task(key)}
    of_preset = {key: v for key, v in found.items() if not _is_task(key)}
    if of_preset:
        path = search.out / PRESET
        files.append(_write_yaml(path, preset, of_preset, best, search))
    if of_task and not isinstance(task, Derived):
        path = search.out / TASK
        files.append(_write_yaml(path, task, of_task, best, search))
    return files


def chosen(study: optuna.Study, task: str | Derived) -> list[str]:
    """Return the best settings of a derived task as what `--set` takes; of others none."""
    complete = _complete(study)
    if not complete or not isinstance(task, Derived):
        return []
    best = complete[0].params
    return [f"{key}={as_yaml(value)}" for key, value in best.items() if _is_task(key)]


def _is_task(key: str) -> bool:
    return key.startswith("task.")


def _write_yaml(
    path: Path,
    extends: str,
    values: dict[str, Any],
    best: optuna.trial.FrozenTrial,
    search: Search,
) -> Path:
    """Write settings that extend those that the search started from."""
    head = f"# Trial {best.number} of a search: {search.objective} {best.value:.4g}.\n"
    data: dict[str, Any] = {"extends": extends}
    for key, value in values.items():
        *parents, last = key.split(".")
        inner = data
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    write_atomically(path, (head + yaml.safe_dump(data, sort_keys=False)).encode())
    return path


def _write_plots(study: optuna.Study, path: Path) -> Path:
    """Draw every trial's value, in time and over each key."""
    from matplotlib.figure import Figure  # without pyplot there is no window system to look for

    complete = _complete(study)
    keys = list(complete[0].params)
    figure = Figure(figsize=(3.2 * (len(keys) + 1), 3.2), layout="constrained")
    axes = figure.subplots(1, len(keys) + 1, sharey=True)
    weights = importances(study)
    values = [trial.value for trial in complete]
    axes[0].plot([trial.number for trial in complete], values, "o", alpha=0.7)
    axes[0].set_xlabel("trial")
    axes[0].set_ylabel(f"value ({study.direction.name.lower()}d)")
    for axis, key in zip(axes[1:], keys, strict=True):
        drawn = [trial.params.get(key) for trial in complete]
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in drawn)
        axis.plot(drawn if numbers else [as_yaml(x) for x in drawn], values, "o", alpha=0.7)
        if getattr(complete[0].distributions[key], "log", False):
            axis.set_xscale("log")
        share = f" ({100 * weights[key]:.0f} %)" if key in weights else ""
        axis.set_xlabel(key + share)
    figure.savefig(path, dpi=120)
    return path


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_yaml(value)
