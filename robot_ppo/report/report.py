"""`robot-ppo report RUN ... -o report.html`: one page that needs nothing beside it and no network.

report.run([Path("runs/go2")], Path("report.html"))
"""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from robot_ppo.report import html, learning, motion, origin, scores, source
from robot_ppo.report.source import Shown
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

STYLE = Path(__file__).with_name("style.css")
MOST = 6
"""Runs on one page: so many colours tell apart."""


def run(
    folders: Sequence[Path],
    out: Path,
    *,
    full: bool = False,
    threads: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Write the report of the runs in `folders`; the first is what others are compared with.

    Args:
        folders: of runs, each with a checkpoint.
        out: the page.
        full: score every condition, not the first two alone.
        threads: for physics; 0: all CPUs.
        say: called with each line of text.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {out}: must end in .html")
    if len(folders) > MOST:
        raise InputError(f"{len(folders)} runs: a page shows {MOST} at the most")
    if twice := {folder for folder in folders if list(folders).count(folder) > 1}:
        raise InputError(f"{sorted(map(str, twice))[0]}: is named twice")
    shown = []
    for folder in folders:
        say(f"{folder}: scoring and filming")
        shown.append(source.gather(folder, full=full, threads=threads))
    words = [*map(str, folders), "-o", str(out), *(["--full"] if full else [])]
    try:
        write_atomically(out, page(shown, words).encode())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    say(f"Report: {out} ({out.stat().st_size / 1e6:.1f} MB)")


def page(runs: Sequence[Shown], words: Sequence[str]) -> str:
    """Return the page.

    Args:
        runs: what is shown.
        words: of the command that makes it again.
    """
    title = " beside ".join(run.name for run in runs)
    tasks = ", ".join(dict.fromkeys(run.config.task.name for run in runs))
    body = [
        scores.scores(runs),
        scores.compared(runs),
        motion.played(runs),
        learning.learned(runs),
        learning.diagnosed(runs),
        origin.trained(runs),
        origin.contracts(runs),
        origin.repeated(runs, words),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: {escape(tasks)}</title><style>{STYLE.read_text()}</style></head>"
        f"<body><h1>{escape(title)}</h1><p class='lead'>{escape(tasks)} "
        f"{scores.verdict(runs)}</p>{_contents(body)}<main>{''.join(body)}</main>"
        f"<script>{UNFOLD}</script></body></html>"
    )


UNFOLD = (
    "addEventListener('beforeprint',()=>document.querySelectorAll('details')"
    ".forEach(d=>d.open=true))"
)
"""What is folded away is printed."""


def _contents(body: Sequence[str]) -> html.Raw:
    """Return links to the sections."""
    marks = [part.partition('id="')[2].partition('"')[0] for part in body if part]
    links = [
        f'<a href="#{mark}">{escape(mark.replace("-", " ").capitalize())}</a>' for mark in marks
    ]
    return html.Raw(f"<nav>{' '.join(links)}</nav>")
