"""Report the results of a sweep: a table on the screen and in Markdown, two pictures, a CSV file.

    DIR/ppo_paper.md     DIR/runs.csv     DIR/scores.png     DIR/curves.png

The same for a part of the runs; a task whose settings are not all there yet is named.
"""

import dataclasses
import math
import re
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ppo_paper import plots
from benchmarks.ppo_paper.protocol import RANDOM, SETTINGS, Run
from benchmarks.ppo_paper.results import Folder, to_csv
from benchmarks.ppo_paper.scores import Row, means, table
from robot_ppo_export.files import write_atomically

SUMMARY = ("setting", "paper", "score", "runs", "diverged", "steps/s", "collect µs", "learn µs")


def write(folder: Folder, runs: list[Run], steps: int) -> dict[str, Any]:
    """Print and write what is known of `runs`; return it as plain data."""
    done = [folder.results[run] for run in runs if run in folder.results]
    tasks = list(dict.fromkeys(run.task for run in runs))
    rows = table(done, SETTINGS)
    if not rows:
        print("no run has ended yet")
        return {}
    zeros = means(done).get(RANDOM, {})
    title = f"{steps:,} steps; {len(done)} of {len(runs)} runs"
    first = [SUMMARY, *(_summary(row) for row in rows)]
    second = [("setting", *tasks), *(_raw(row.setting, row.raw, tasks) for row in rows)]
    second.append(_raw("untrained policy", zeros, tasks))
    console = Console()
    console.print(_screen(first, f"normalized score: {title}"))
    console.print(_screen(second, "mean return of the last 100 episodes, mean over seeds"))
    note = _missing(rows, tasks)
    if note:
        console.print(note, highlight=False, soft_wrap=True)
    text = f"{title}\n\n{_markdown(first)}\n\n{_markdown(second)}\n"
    write_atomically(folder.path / "ppo_paper.md", (f"{text}\n{note}\n" if note else text).encode())
    write_atomically(folder.path / "runs.csv", to_csv(done))
    plots.bars(rows, folder.path / "scores.png")
    plots.curves(
        rows,
        tasks,
        lambda setting, task: [
            folder.curve(r.run) for r in done if (r.setting, r.task) == (setting, task)
        ],
        folder.path / "curves.png",
    )
    print(f"in {folder.path}: ppo_paper.md, runs.csv, scores.png, curves.png")
    return {
        "steps": steps,
        "runs": len(done),
        "runs_planned": len(runs),
        "untrained": zeros,
        "settings": [_plain(row) for row in rows],
    }


def _plain(row: Row) -> dict[str, Any]:
    paper = SETTINGS[row.setting].paper
    return {**dataclasses.asdict(row), "paper": paper}


def _summary(row: Row) -> tuple[str, ...]:
    paper = SETTINGS[row.setting].paper
    return (
        row.setting,
        "-" if paper is None else f"{paper:.2f}",
        _number(row.score, 2),
        str(row.runs),
        str(row.diverged),
        _number(row.steps_per_second, 0),
        _number(row.collect_us, 1),
        _number(row.learn_us, 1),
    )


def _raw(name: str, scores: dict[str, float], tasks: list[str]) -> tuple[str, ...]:
    values = [scores.get(task, math.nan) for task in tasks]
    return name, *(_number(value, 1 if abs(value) < 100 else 0) for value in values)


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def _missing(rows: list[Row], tasks: list[str]) -> str:
    """Return a sentence that names the tasks where settings lack runs, or nothing."""
    gaps = [task for task in tasks if any(task not in row.raw for row in rows)]
    return f"not every setting has a run of: {', '.join(gaps)}" if gaps else ""


def _screen(lines: list[tuple[str, ...]], title: str) -> Table:
    shown = Table(title=title, padding=0)
    for i, (name, *cells) in enumerate(zip(*lines, strict=True)):
        words = re.sub("(?<=[a-z])(?=[A-Z])", "\n", name.removesuffix("-v5"))
        justify = "right" if i else "left"
        width = max(map(len, cells))
        shown.add_column(words, justify=justify, min_width=width, overflow="fold")
    for row in lines[1:]:
        shown.add_row(*row)
    return shown


def _markdown(lines: list[tuple[str, ...]]) -> str:
    header, *rows = lines
    rule = ("---", *("---:" for _ in header[1:]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))
