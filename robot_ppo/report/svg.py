"""Charts as inline SVG. Colours are variables of the page's style, so light and dark are one chart.

lines([Line("return", x, y)], "steps", "return")
heat_map(values, rows=("0.3",), columns=("-0.8", "0.8"), top=0.3)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

POINTS = 240
"""Points of a line at most; more are thinned, with the extremes kept."""
LEFT = 46
RIGHT = 8
TOP = 8
BOTTOM = 30
"""Margins around the area of a chart."""


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    x: np.ndarray
    """(k,)"""
    y: np.ndarray
    """(k,), gaps are NaN"""
    style: str = "s0"
    """Class of its colour: s0 to s5, or `asked`."""
    steps: bool = False
    """Hold each value until the next."""


@dataclass(frozen=True)
class _Frame:
    """Coordinates of one chart."""

    width: int
    height: int
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x0, x1 = self.x
        y0, y1 = self.y
        inner = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return (
            LEFT + (np.asarray(x, np.float64) - x0) / (x1 - x0) * inner[0],
            TOP + (y1 - np.asarray(y, np.float64)) / (y1 - y0) * inner[1],
        )


def lines(
    curves: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    width: int = 420,
    height: int = 190,
    zero: bool = False,
    limit: float | None = None,
) -> str:
    """Return curves over one axis.

    Args:
        curves: to draw; those without a finite value are left out.
        x_label: with its unit.
        y_label: with its unit.
        width: of the drawing; the page scales it.
        height: of the drawing.
        zero: let the vertical axis hold 0.
        limit: value at which a dashed line is drawn, above and below 0.
    """
    curves = [curve for curve in curves if np.isfinite(curve.y).any()]
    if not curves:
        return '<p class="none">nothing was logged</p>'
    xs = np.concatenate([curve.x for curve in curves])
    ys = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    ends = [0.0] if zero else []
    ends += [limit, -limit] if limit is not None else []
    span = _padded(np.concatenate((ys, ends)))
    frame = _Frame(width, height, _wide(float(xs.min()), float(xs.max())), span)
    parts = [_axes(frame, x_label, y_label)]
    if limit is not None:
        parts += [_level(frame, value) for value in (limit, -limit)]
    parts += [_curve(frame, curve) for curve in curves]
    legend = _legend(curves) if len(curves) > 1 else ""
    return f"<figure>{legend}{_svg(width, height, parts, y_label)}</figure>"


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    top: float,
    marked: np.ndarray | None = None,
    title: str = "",
    axes: tuple[str, str] = ("", ""),
) -> str:
    """Return a table of coloured cells with their numbers.

    Args:
        values: (rows, columns); NaN is an empty cell.
        rows: names, lowest row of the picture last.
        columns: names.
        top: value of the darkest colour.
        marked: (rows, columns) bool, cells that say "fell".
        title: above it.
        axes: names of what varies along a row, and along a column.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    lines = [
        f'<table class="heat"><caption>{escape(title)}</caption>'
        f"<tr><th>{escape(axes[1])} \\ {escape(axes[0])}</th>{head}</tr>"
    ]
    for i, name in enumerate(rows):
        cells = [
            _cell(float(value), top, bool(marked is not None and marked[i, j]))
            for j, value in enumerate(values[i])
        ]
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return "".join(lines) + "</table>"


def gait(time: np.ndarray, contacts: np.ndarray, feet: Sequence[str], *, width: int = 640) -> str:
    """Return a bar for every time that a foot is on the ground; `contacts` (T, feet) bool."""
    row = 22
    height = TOP + 22 * len(feet) + BOTTOM
    frame = _Frame(width, height, _wide(float(time[0]), float(time[-1])), (0.0, float(len(feet))))
    parts = [_axes(frame, "time [s]", "", ticks=False)]
    tick = float(time[1] - time[0]) if len(time) > 1 else 0.0
    for i, foot in enumerate(feet):
        y = TOP + i * row
        parts.append(f'<text x="{LEFT - 6}" y="{y + 15}" text-anchor="end">{escape(foot)}</text>')
        for first, last in _stretches(contacts[:, i]):
            (x0, x1), _ = frame.at(np.array([time[first], time[last] + tick]), np.zeros(2))
            parts.append(
                f'<rect class="bar" x="{x0:.1f}" y="{y + 4}" width="{max(x1 - x0, 0.5):.1f}" '
                f'height="{row - 8}"/>'
            )
    return f"<figure>{_svg(width, height, parts, 'which foot is on the ground')}</figure>"


def _stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last index of every stretch in which `mask` (T,) holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def thinned(x: np.ndarray, y: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `points` of a curve: of each stretch the lowest and the highest value."""
    if len(x) <= points:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(len(x)), points // 2):
        known = part[np.isfinite(y[part])]
        if len(known):
            kept += sorted({int(known[y[known].argmin()]), int(known[y[known].argmax()])})
    return x[kept], y[kept]


def _curve(frame: _Frame, curve: Line) -> str:
    x, y = thinned(np.asarray(curve.x), np.asarray(curve.y, np.float64))
    if curve.steps:
        x = np.repeat(x, 2)[1:]
        y = np.repeat(y, 2)[:-1]
    px, py = frame.at(x, y)
    pieces = []
    pen = "M"
    for a, b in zip(px, py, strict=True):
        if not math.isfinite(b):
            pen = "M"
            continue
        pieces.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L"
    return f'<path class="line {curve.style}" d="{"".join(pieces)}"/>'


def _level(frame: _Frame, value: float) -> str:
    _, y = frame.at(np.zeros(1), np.array([value]))
    return (
        f'<line class="limit" x1="{LEFT}" x2="{frame.width - RIGHT}" y1="{y[0]:.1f}" '
        f'y2="{y[0]:.1f}"/>'
    )


def _axes(frame: _Frame, x_label: str, y_label: str, ticks: bool = True) -> str:
    """Return grid lines, numbers and names of both axes."""
    parts = []
    bottom = frame.height - BOTTOM
    for value in nice(*frame.x):
        (x,), _ = frame.at(np.array([value]), np.zeros(1))
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 12}" text-anchor="middle">{short(value)}</text>'
        )
    for value in nice(*frame.y) if ticks else ():
        _, (y,) = frame.at(np.zeros(1), np.array([value]))
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{frame.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{short(value)}</text>'
        )
    middle = (LEFT + frame.width - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{frame.height - 4}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    turned = f'transform="translate(9 {(TOP + bottom) / 2:.0f}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">{escape(y_label)}</text>')
    return "".join(parts)


def _legend(curves: Sequence[Line]) -> str:
    items = [f'<span class="key {curve.style}">{escape(curve.name)}</span>' for curve in curves]
    return f'<figcaption class="legend">{"".join(items)}</figcaption>'


def _svg(width: int, height: int, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _cell(value: float, top: float, fell: bool) -> str:
    if not math.isfinite(value):
        return "<td></td>"
    shade = min(max(value / top, 0.0), 1.0)
    text = "fell" if fell else f"{value:.2f}"
    kind = ' class="fell"' if fell else ""
    return f'<td{kind} style="--v:{shade:.2f}">{text}</td>'


def nice(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers between `low` and `high`, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number as it stands at an axis: 1500000 -> "1.5M"."""
    if value == 0:
        return "0"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _wide(low: float, high: float) -> tuple[float, float]:
    """Return an axis that is not empty."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(values: np.ndarray) -> tuple[float, float]:
    low, high = _wide(float(values.min()), float(values.max()))
    pad = 0.05 * (high - low)
    return low - pad, high + pad
