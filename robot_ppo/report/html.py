"""Small pieces of a page: tables, cards, badges. Every text is escaped here and nowhere else."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any


class Raw(str):
    """Text that is HTML already."""

    __slots__ = ()


def cell(value: Any) -> str:
    """Return a value as HTML."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape("" if value is None else str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> Raw:
    """Return a table that scrolls by itself where the page is narrow."""
    top = "".join(f"<th>{cell(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return Raw(
        f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'
    )


def facts(pairs: Mapping[str, Any]) -> Raw:
    """Return names and values side by side, without those that are empty."""
    rows = [
        f"<dt>{escape(name)}</dt><dd>{cell(value)}</dd>"
        for name, value in pairs.items()
        if value not in (None, "")
    ]
    return Raw(f"<dl>{''.join(rows)}</dl>")


def section(title: str, *parts: str, anchor: str = "") -> Raw:
    """Return a section with a heading."""
    mark = anchor or title.lower().replace(" ", "-")
    return Raw(f'<section id="{escape(mark)}"><h2>{escape(title)}</h2>{"".join(parts)}</section>')


def details(title: str, *parts: str, opened: bool = False) -> Raw:
    """Return a part that is folded away."""
    state = " open" if opened else ""
    return Raw(f"<details{state}><summary>{escape(title)}</summary>{''.join(parts)}</details>")


def grid(*parts: str) -> Raw:
    """Return parts side by side, as many as there is room for."""
    return Raw(f'<div class="grid">{"".join(f"<div>{part}</div>" for part in parts)}</div>')


def text(words: str) -> Raw:
    """Return a paragraph."""
    return Raw(f"<p>{escape(words)}</p>")


def command(line: str) -> Raw:
    """Return a command line."""
    return Raw(f"<pre>{escape(line)}</pre>")


def badge(words: str, good: bool) -> Raw:
    """Return a word in green or red."""
    return Raw(f'<span class="badge {"good" if good else "bad"}">{escape(words)}</span>')


def video(mp4: bytes) -> Raw:
    """Return a film inside the page."""
    data = base64.b64encode(mp4).decode()
    return Raw(
        '<video controls loop muted playsinline preload="metadata" '
        f'src="data:video/mp4;base64,{data}"></video>'
    )


def meter(name: str, value: float, limit: float, unit: str) -> Raw:
    """Return a bar of `value` against `limit`, red beyond it."""
    part = value / limit if limit > 0 else 0.0
    kind = "over" if part > 1 else ""
    return Raw(
        f'<div class="meter {kind}"><span>{escape(name)}</span>'
        f'<i style="--w:{min(part, 1.0) * 100:.1f}%"></i>'
        f"<b>{value:.1f} of {limit:g} {escape(unit)}</b></div>"
    )
