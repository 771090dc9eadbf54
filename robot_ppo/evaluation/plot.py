"""The picture of a scorecard: the velocity error of each twist, and the response along each axis.

A grid of twists is drawn as heat maps, a row per condition and a panel per yaw rate; drawn twists
as points, one panel per condition.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo.evaluation.card import Scorecard
from robot_ppo_export.contract.command import TWIST_UNITS
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

WORST = 0.4
"""Velocity error [m/s] at the end of the scale of colours."""


def write_plot(card: Scorecard, path: Path) -> None:
    """Write a picture of the velocity error [m/s]; falls have their exact 95 % intervals."""
    if not card.is_twist:
        raise InputError("--plot draws errors over a grid of twists, which this task does not have")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    grid = _grid(card)
    figure = _panels(pyplot, card, grid)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    pyplot.close(figure)
    write_atomically(path, buffer.getvalue())


def _grid(card: Scorecard) -> list[list[float]] | None:
    """Return the values of vx, vy and yaw rate, or None where not every combination is there."""
    commands = card.commands.round(6)
    values = [sorted(set(column.tolist())) for column in commands.T]
    whole = len(np.unique(commands, axis=0)) == len(commands)
    return values if whole and len(commands) == np.prod([len(v) for v in values]) else None


def _panels(pyplot: Any, card: Scorecard, grid: list[list[float]] | None) -> Any:
    """Return the figure: a row per condition, and one for the responses where there are any."""
    columns = len(grid[2]) if grid else 1
    rows = len(card.conditions)
    extra = bool(card.response)
    whole = pyplot.figure(
        figsize=(3.6 * max(columns, 3 * extra), 1.0 + 1.75 * rows + 2.4 * extra),
        layout="constrained",
    )
    parts = whole.subfigures(2 if extra else 1, 1, height_ratios=[rows, 1.3][: 1 + extra])
    above = parts[0] if extra else parts
    axes = above.subplots(rows, columns, squeeze=False)
    image = None
    for i in range(rows):
        if grid:
            for j in range(columns):
                image = _heat_map(axes[i][j], card, i, grid, j, last=i == rows - 1)
        else:
            image = _points(axes[i][0], card, i)
    assert image is not None
    above.colorbar(image, ax=axes, label="velocity error [m/s]", shrink=0.8)
    if extra:
        _responses(parts[1].subplots(1, len(card.response)), card)
    return whole


def _falls(card: Scorecard, condition: int) -> str:
    """Return the falls of a condition with their interval."""
    found = card.falls(condition)
    count = card.overall(condition)["falls"]
    return (
        f"{count:.0f} of {len(card.commands)} fell "
        f"({100 * found.low:.2g} to {100 * found.high:.2g} %)"
    )


def _heat_map(
    axis: Any, card: Scorecard, i: int, grid: list[list[float]], j: int, last: bool
) -> Any:
    """Draw the errors of condition `i` at the yaw rate `j`; return the image."""
    vxs, vys, yaws = grid
    commands = card.commands.round(6)
    chosen = np.flatnonzero(commands[:, 2] == np.float32(yaws[j]).round(6))
    shape = (len(vxs), len(vys))
    order = chosen[np.lexsort((commands[chosen, 1], commands[chosen, 0]))]
    error = card.figures["velocity_error"][i][order].reshape(shape).T
    fell = card.figures["falls"][i][order].reshape(shape).T
    image = axis.imshow(error, vmin=0, vmax=WORST, cmap="viridis_r", origin="lower", aspect="auto")
    for (y, x), value in np.ndenumerate(error):
        text = "fell" if fell[y, x] else f"{value:.2f}"
        color = "white" if value > 0.22 else "black"
        axis.text(x, y, text, ha="center", va="center", fontsize=8, color=color)
    axis.set_xticks(range(len(vxs)), [f"{v:g}" for v in vxs])
    axis.set_yticks(range(len(vys)), [f"{v:g}" for v in vys])
    said = f"{card.conditions[i]}: {_falls(card, i)}" if j == 0 else f"yaw {yaws[j]:g} rad/s"
    axis.set_title(said if j else f"{said}\nyaw {yaws[j]:g} rad/s", fontsize=8)
    if last:
        axis.set_xlabel("vx [m/s]")
    if j == 0:
        axis.set_ylabel("vy [m/s]")
    return image


def _points(axis: Any, card: Scorecard, i: int) -> Any:
    """Draw the errors of drawn twists under condition `i`; return the points."""
    vx, vy, _ = card.commands.T
    fell = card.figures["falls"][i] > 0
    error = card.figures["velocity_error"][i]
    points = axis.scatter(vx, vy, c=error, s=9, vmin=0, vmax=WORST, cmap="viridis_r")
    axis.scatter(vx[fell], vy[fell], c="red", s=30, marker="x")
    axis.set_title(f"{card.conditions[i]}: {_falls(card, i)}", fontsize=8)
    axis.set_xlabel("vx [m/s]")
    axis.set_ylabel("vy [m/s]")
    return points


def _responses(axes: Any, card: Scorecard) -> None:
    """Draw measured over commanded along each axis, with the commands that do not move it."""
    zones = card.dead_zone()
    for axis, (name, curve) in zip(axes, card.response.items(), strict=True):
        low, high = zones[name]
        ends = curve[[0, -1], 0]
        axis.axvspan(
            ends[0] if low is None else low, ends[1] if high is None else high, color="0.9"
        )
        axis.plot(ends, ends, color="0.6", linewidth=1)
        axis.plot(*curve.T, marker=".", markersize=4)
        axis.set_title(f"dead zone, {name}", fontsize=8)
        axis.set_xlabel(f"commanded [{TWIST_UNITS[name]}]")
        axis.set_ylabel("measured")
