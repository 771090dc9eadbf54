"""Sections of a report: what the policies do on their scorecards, and beside each other."""

from collections.abc import Mapping
from html import escape

import numpy as np

from robot_ppo.evaluation import intervals
from robot_ppo.evaluation.intervals import Interval
from robot_ppo.report import html, svg
from robot_ppo.report.html import Raw
from robot_ppo.report.source import Card, Runs, Shown


def verdict(runs: Runs) -> str:
    """Return one badge per run."""
    badges = []
    for run in runs:
        if run.card:
            word = "passed" if run.card.passed else "not passed"
            badges.append(html.badge(f"{run.name}: {word}", run.card.passed))
        elif run.returns:
            badges.append(html.badge(f"{run.name}: return {run.returns.mean:.1f}", True))
    return " ".join(badges)


def scores(runs: Runs) -> str:
    """Return the scorecard of every run: a table with intervals, and heat maps."""
    parts: list[str] = []
    for run in runs:
        if run.card:
            parts.append(_card(run, run.card))
        elif run.returns:
            parts.append(_returns(run))
    if not parts:
        return ""
    note = html.text(
        "Errors are medians over the trials, between two of them that hold the true median with "
        "95 % (order statistics); falls are a share of the trials with the interval of Clopper and "
        "Pearson. Both are exact whatever the distribution."
    )
    return html.section("What it does", note, *parts)


def _card(run: Shown, card: Card) -> str:
    head = ("condition", *(_title(name, card.units) for name in card.figures))
    rows = [
        (condition, *(spread(name, values[i]) for name, values in card.figures.items()))
        for i, condition in enumerate(card.conditions)
    ]
    parts: list[str] = [html.Raw(f"<h3>{escape(run.name)}</h3>"), html.table(head, rows, "numbers")]
    limits = ", ".join(f"mean {name} <= {limit:g}" for name, limit in card.limits.items())
    gain = ", ".join(f"{name} {value:.2f}" for name, value in card.gain.items())
    parts.append(
        html.facts({
            "passes with": f"{card.conditions[0]}: {limits}",
            "measured over commanded": gain,
            "scored": f"{len(card.conditions)} of {card.of} conditions, {len(card.commands)} "
            "trials each",
        })
    )  # fmt: skip
    if len(card.conditions) < card.of:
        parts.append(html.text("robot-ppo report --full scores all of them."))
    if "velocity_error" in card.figures and card.commands.shape[1] == 3:
        parts += _heat_maps(card)
    return "".join(parts)


def _heat_maps(card: Card) -> list[str]:
    """Return the velocity error over the grid of commands, the first condition unfolded."""
    top = max(0.3, float(np.percentile(card.figures["velocity_error"], 98)))
    return [
        html.details(
            f"Velocity error [m/s], {condition}", html.grid(*_grid(card, i, top)), opened=i == 0
        )
        for i, condition in enumerate(card.conditions)
    ]


def _grid(card: Card, condition: int, top: float) -> list[str]:
    commands = card.commands.round(6)
    vxs, vys, yaws = (sorted(set(column.tolist())) for column in commands.T)
    maps = []
    for yaw in yaws:
        values = np.full((len(vys), len(vxs)), np.nan)
        fell = np.zeros(values.shape, bool)
        for k, (vx, vy, turn) in enumerate(commands.tolist()):
            if turn == yaw:
                at = len(vys) - 1 - vys.index(vy), vxs.index(vx)
                values[at] = card.figures["velocity_error"][condition, k]
                fell[at] = bool(card.figures["falls"][condition, k])
        names = [f"{vy:g}" for vy in reversed(vys)], [f"{vx:g}" for vx in vxs]
        maps.append(
            svg.heat_map(
                values, *names, top=top, marked=fell, title=f"yaw rate {yaw:g} rad/s",
                axes=("vx", "vy"),
            )
        )  # fmt: skip
    return maps


def spread(name: str, values: np.ndarray) -> Raw:
    """Return a figure over trials with its exact interval."""
    if name == "falls":
        found = intervals.probability(int(values.sum()), len(values))
        return _interval(found, f"{int(values.sum())} of {len(values)}", 100, "%")
    return _interval(intervals.median(values))


def _interval(found: Interval, value: str = "", scale: float = 1.0, unit: str = "") -> Raw:
    value = value or f"{found.value * scale:.3g}"
    if not np.isfinite(found.low):
        return Raw(f"{value}<br><small>too few trials</small>")
    low = found.low * scale
    high = found.high * scale
    return Raw(f"{value}<br><small>{low:.3g} to {high:.3g} {unit}</small>")


def _title(name: str, units: Mapping[str, str]) -> str:
    unit = units.get(name, "")
    return name.replace("_", " ") + (f" [{unit}]" if unit else "")


def _returns(run: Shown) -> str:
    assert run.returns is not None
    found = intervals.median(run.returns.returns)
    rows = [(run.name, len(run.returns.returns), run.returns.mean, _interval(found))]
    return html.table(("run", "episodes", "mean return", "median"), rows, "numbers")


def compared(runs: Runs) -> str:
    """Return paired differences of every run to the first one, over equal trials."""
    first, *others = runs
    if first.card is None or not others:
        return ""
    parts: list[str] = [
        html.text(
            f"Each run against {first.name}, trial by trial: the same command under the same "
            "condition with the same noise. A difference is the median over the trials; it counts "
            "where its exact interval leaves out 0. Less is better for every figure."
        )
    ]
    for other in others:
        if other.card is None:
            continue
        parts.append(_paired(first.card, other.card, first.name, other.name))
    return html.section("Compared", *parts)


def _paired(a: Card, b: Card, name_a: str, name_b: str) -> str:
    conditions = [c for c in a.conditions if c in b.conditions]
    figures = [name for name in a.figures if name in b.figures]
    if a.commands.shape != b.commands.shape or not np.allclose(a.commands, b.commands):
        return html.text(f"{name_b} was tried on other commands than {name_a}: not comparable.")
    head = (f"{name_b} - {name_a}", *(_title(name, a.units) for name in figures))
    rows = []
    for condition in conditions:
        i = a.conditions.index(condition)
        j = b.conditions.index(condition)
        rows.append((condition, *(_difference(a.figures[n][i], b.figures[n][j]) for n in figures)))
    return html.table(head, rows, "numbers")


def _difference(a: np.ndarray, b: np.ndarray) -> Raw:
    found = intervals.paired(a, b)
    better = int((b < a).sum())
    said = _interval(found, f"{found.value:+.3g}")
    if found.excludes_zero:
        said = Raw(f'<b class="{"less" if found.high < 0 else "more"}">{said}</b>')
    return Raw(f"{said}<br><small>less in {better} of {len(a)}</small>")
