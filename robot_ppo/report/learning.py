"""Sections of a report: learning curves, and what the doctor finds in them."""

import shlex
from html import escape

from robot_ppo.report import html, svg
from robot_ppo.report.source import Runs, Shown
from robot_ppo.report.svg import Line

STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
"""Colours of runs, in their order."""
GROUPS: dict[str, tuple[str, ...]] = {
    "outcome": ("return", "length", "failed", "velocity_error", "yaw_error"),
    "time": ("time_", "steps_per_second", "seconds"),
}
SKIPPED = ("iteration", "steps", "seconds")


def learned(runs: Runs) -> str:
    """Return a curve of every column of the logs, in groups."""
    names = list(dict.fromkeys(name for run in runs for name in run.record.columns))
    groups: dict[str, list[str]] = {"outcome": [], "reward terms": [], "learner": [], "time": []}
    for name in names:
        if name not in SKIPPED:
            groups[_group(name)].append(name)
    parts = [
        html.details(
            f"{title} ({len(columns)})",
            html.grid(*(_curve(runs, name) for name in columns)),
            opened=title in ("outcome", "reward terms"),
        )
        for title, columns in groups.items()
        if columns
    ]
    return html.section("Learning curves", *parts)


def _group(name: str) -> str:
    if name.startswith("reward_"):
        return "reward terms"
    for title, starts in GROUPS.items():
        if name.startswith(starts):
            return title
    return "learner"


def _curve(runs: Runs, name: str) -> str:
    curves = [
        Line(run.name, run.record["steps"], run.record[name], STYLES[i % len(STYLES)])
        for i, run in enumerate(runs)
        if run.record.has(name)
    ]
    return svg.lines(curves, "steps", name.removeprefix("reward_"), height=150, width=360)


def diagnosed(runs: Runs) -> str:
    """Return what `robot-ppo doctor` finds in every run."""
    parts = [_diagnosis(run) for run in runs]
    return html.section("What the doctor says", *parts)


def _diagnosis(run: Shown) -> str:
    head = f"<h3>{escape(run.name)}</h3>"
    if not run.findings:
        said = {"healthy": "None of the checks found a problem.",
                "too_short": "Too short to judge; no number is wrong so far."}  # fmt: skip
        return head + html.text(said.get(run.verdict, run.verdict))
    parts = [head]
    for one in run.findings:
        settings = " ".join(f"--set {shlex.quote(value)}" for value in one.settings)
        cause = f"may follow from {one.follows}" if one.follows else one.cause
        pairs = {"seen": one.evidence, "cause": cause}
        if not one.follows:
            pairs |= {"fix": one.advice, "settings": settings}
        parts.append(f'<div class="finding"><b>{escape(one.name)}</b>{html.facts(pairs)}</div>')
    return "".join(parts)
