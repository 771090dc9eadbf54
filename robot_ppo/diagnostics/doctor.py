"""`robot-ppo doctor`: read a run, report its problems in plain language, and their remedies."""

import shlex
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robot_ppo.diagnostics.checks import learner, observation, step, world
from robot_ppo.diagnostics.checks import record as records
from robot_ppo.diagnostics.checks.finding import Check, Finding
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo_export.files import write_atomically

CHECKS: tuple[Check, ...] = (
    world.not_finite,
    world.simulations_diverge,
    step.kl_runaway,
    step.learning_rate_at_floor,
    world.reward_drowns,
    world.episodes_end_at_once,
    observation.observation_never_moves,
    learner.dead_exploration,
    learner.exploration_grows,
    learner.critic_explains_nothing,
    step.clip_always,
    step.kl_too_small,
    step.clip_never,
    step.beta_pinned,
    step.no_step_found,
    step.stops_at_once,
    learner.gradient_always_limited,
    world.earns_without_following,
    world.stopped_improving,
    world.time_outside_physics,
)
"""All checks, causes before consequences; findings are shown in this order."""

_OF_BROKEN_POLICIES = (
    "learning_rate_at_floor", "reward_drowns", "episodes_end_at_once", "dead_exploration",
    "exploration_grows", "critic_explains_nothing", "clip_always", "gradient_always_limited",
    "earns_without_following", "stopped_improving", "beta_pinned", "stops_at_once",
)  # fmt: skip
_OF_NO_PROGRESS = ("earns_without_following", "stopped_improving")
CONSEQUENCES: dict[str, tuple[str, ...]] = {
    "not_finite": ("kl_runaway", *_OF_BROKEN_POLICIES),
    "kl_runaway": _OF_BROKEN_POLICIES,
    "reward_drowns": ("episodes_end_at_once", *_OF_NO_PROGRESS),
    "episodes_end_at_once": _OF_NO_PROGRESS,
    "dead_exploration": ("learning_rate_at_floor", "gradient_always_limited", *_OF_NO_PROGRESS),
    "exploration_grows": _OF_NO_PROGRESS,
    "critic_explains_nothing": _OF_NO_PROGRESS,
    "kl_too_small": ("clip_never", *_OF_NO_PROGRESS),
}
"""Finding -> findings that it may cause, which then need no remedy of their own."""

AT_ANY_LENGTH: tuple[Check, ...] = (world.not_finite, world.simulations_diverge)
ENOUGH = 20
"""Number of iterations that a run needs to be judged."""


def run(folder: Path, json: Path | None) -> list[Finding]:
    """Examine a run; print the findings, write them as JSON if `json` is given, and return them."""
    record = records.load(folder)
    findings = examine(record)
    show(folder, record, findings, Console())
    if json:
        data = msgspec.json.encode(to_json(folder, record, findings))
        write_atomically(json, msgspec.json.format(data) + b"\n")
    return findings


def examine(record: Record) -> list[Finding]:
    """Return the findings, causes first; a short run is only checked for what it can show."""
    checks = CHECKS if len(record) >= ENOUGH else AT_ANY_LENGTH
    found = [finding for check in checks if (finding := check(record)) is not None]
    return [replace(one, follows=_root(one, found)) for one in found]


def _root(one: Finding, found: list[Finding]) -> str | None:
    """Return the name of the first finding that may have caused `one`, or None."""
    return next((f.name for f in found if one.name in CONSEQUENCES.get(f.name, ())), None)


def verdict(record: Record, findings: list[Finding]) -> str:
    """Return "findings", "healthy", or "too_short" for a run with too few iterations."""
    if findings:
        return "findings"
    return "healthy" if len(record) >= ENOUGH else "too_short"


def to_json(folder: Path, record: Record, findings: list[Finding]) -> dict:
    """Return the result as plain data."""
    return {
        "run": str(folder),
        "verdict": verdict(record, findings),
        "iterations": len(record),
        "steps": int(record["steps"][-1]),
        "findings": [msgspec.to_builtins(one) | {"fresh": one.fresh} for one in findings],
    }


def show(folder: Path, record: Record, findings: list[Finding], console: Console) -> None:
    """Print the verdict, and every finding with its remedy."""
    result = verdict(record, findings)
    console.print(
        f"{folder}: {len(record)} iterations, {record['steps'][-1]:,.0f} steps, "
        f"{record['seconds'][-1]:.0f} s",
        highlight=False,
    )
    if result == "too_short":
        console.print(
            f"too short to judge: {ENOUGH} iterations are needed; no number is wrong so far"
        )
    elif result == "healthy":
        console.print(
            f"[bold green]healthy[/]: none of the {len(CHECKS)} checks found a problem; "
            "whether it does what it should, `robot-ppo eval` says",
            highlight=False,
        )
    for number, finding in enumerate(findings, 1):
        _show_one(number, finding, console)
    if findings:
        console.print(
            _how_to_go_on(folder, record, findings), soft_wrap=True, highlight=False, markup=False
        )


def _show_one(number: int, finding: Finding, console: Console) -> None:
    console.print(f"\n[bold red]{number} {finding.name}[/]", highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    rows = {"seen": finding.evidence, "cause": finding.cause, "fix": finding.advice}
    if finding.follows:
        rows["cause"] = f"may follow from {finding.follows}: mend that first"
        del rows["fix"]
    for name, text in rows.items():
        table.add_row(f"  {name}", Text(text))  # square brackets are units here, not markup
    console.print(table)
    if finding.settings and not finding.follows:
        # One line, however long, so that it can be copied.
        console.print(f"         {_words(finding)}", soft_wrap=True, highlight=False, markup=False)


def _words(finding: Finding) -> str:
    """Return the settings as options of a command line."""
    return " ".join(f"--set {shlex.quote(setting)}" for setting in finding.settings)


def _how_to_go_on(folder: Path, record: Record, findings: list[Finding]) -> str:
    roots = [finding for finding in findings if not finding.follows]
    anew = [finding.name for finding in roots if finding.fresh]
    task = record.settings.task.name
    again = f"robot-ppo train {task} --out {folder}"
    lines = []
    if anew:
        lines.append(f"in a new run ({', '.join(anew)}):  {again}-2 --set ...")
    if len(anew) < len(roots):
        lines.append(f"in this run, from where it is:  {again} --resume --set ...")
    return "\n" + "\n".join(lines)
