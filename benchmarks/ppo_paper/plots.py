"""Two pictures of a sweep: the settings' scores, and the learning curves."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from benchmarks.ppo_paper.protocol import SETTINGS
from benchmarks.ppo_paper.results import Curve
from benchmarks.ppo_paper.scores import Row, mean_curve

COLOURS = {
    "unclipped": "#7f7f7f",
    "clip": "#1f77b4",
    "kl_adaptive": "#2ca02c",
    "kl_fixed": "#ff7f0e",
    "kl_dual": "#d62728",
    "trpo": "#9467bd",
}
"""Objective -> colour."""


def bars(rows: list[Row], path: Path) -> None:
    """Draw every setting's normalized score, its tasks as points, the paper's beside it."""
    figure = Figure(figsize=(8, 0.45 * len(rows) + 1.5), layout="constrained")
    axes = figure.add_subplot()
    for i, row in enumerate(rows):
        setting = SETTINGS[row.setting]
        axes.barh(i, row.score, color=COLOURS[setting.objective], alpha=0.8)
        points = np.array(list(row.normalized.values()))
        axes.plot(points, np.full(len(points), i), "k.", markersize=4, alpha=0.6)
        if setting.paper is not None:
            axes.plot(setting.paper, i, "D", color="white", markeredgecolor="black")
    axes.plot([], [], "k.", label="tasks")
    axes.plot([], [], "D", color="white", markeredgecolor="black", label="paper")
    axes.set_yticks(range(len(rows)), [row.setting for row in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(left=max(-1.5, axes.get_xlim()[0]))  # one collapse must not hide the rest
    axes.set_xlabel("score: untrained policy 0, best setting of each task 1")
    axes.legend(loc="lower left")
    _write(figure, path)


def best_of_each(rows: list[Row]) -> list[Row]:
    """Return the best setting of every objective, in the order of the rows."""
    best: dict[str, Row] = {}
    for row in rows:
        objective = SETTINGS[row.setting].objective
        if objective not in best or row.score > best[objective].score:
            best[objective] = row
    return list(best.values())


def curves(
    rows: list[Row], tasks: list[str], of: Callable[[str, str], list[Curve]], path: Path
) -> None:
    """Draw the learning curves of the best setting of every objective, a panel per task.

    Args:
        rows: of the table.
        tasks: to draw.
        of: setting, task -> the curves of its seeds.
        path: PNG to write.
    """
    columns = min(4, len(tasks) + 1)
    lines = -(-(len(tasks) + 1) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.8 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    shown = best_of_each(rows)
    for axes, task in zip(panels, tasks, strict=False):
        axes.set_title(task, fontsize=10)
        axes.set_xlabel("steps", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.grid(alpha=0.3)
        for row in shown:
            _curve(axes, row, of(row.setting, task))
    for axes in panels[len(tasks) :]:
        axes.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[len(tasks)].legend(handles, labels, loc="center", title="best of each objective")
    figure.suptitle("mean return of the last 100 episodes; mean and range of the seeds", size=11)
    _write(figure, path)


def _curve(axes: Axes, row: Row, seeds: list[Curve]) -> None:
    """Draw one line and the range of its seeds; without a curve, the legend only."""
    colour = COLOURS[SETTINGS[row.setting].objective]
    steps, values = mean_curve(seeds)
    known = ~np.isnan(values).all(axis=0)
    if not known.any():
        axes.plot([], [], color=colour, linewidth=1.4, label=row.setting)
        return
    steps = steps[known]
    values = values[:, known]
    mean = np.nanmean(values, axis=0)
    axes.plot(steps, mean, color=colour, linewidth=1.4, label=row.setting)
    low = np.nanmin(values, axis=0)
    high = np.nanmax(values, axis=0)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)
