"""`robot-ppo play RUN|FILE --web`: the robot in a browser, driven from there."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo.playback.web.drive import Drive
from robot_ppo.playback.web.ground import Ground
from robot_ppo.playback.web.library import Library
from robot_ppo.playback.web.page import PORT, Page
from robot_ppo.sim import tiles
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy


def play(
    source: Path,
    *,
    port: int = PORT,
    host: str = "127.0.0.1",
    follow: bool = False,
    terrain: str | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = print,
) -> Drive:
    """Drive a policy from a browser until Ctrl-C; return what was driven.

    Args:
        source: run folder or policy file.
        port: to serve on, 0 for any.
        host: address to serve on; another than loopback asks for a token.
        follow: go over to the newest checkpoint of a run that still trains.
        terrain: kind of ground and its level to begin on, such as "stairs_up:0.6"; None: level.
        seconds: end after so long.
        say: called with each line of text.
    """
    if follow and not source.is_dir():
        raise InputError(f"--follow: {source} is no run folder, and a policy file does not learn")
    ground = Ground(*tiles.parse(terrain)) if terrain else Ground()
    library = Library(source, follow)
    page = None
    try:
        library.check()
        page = Page(host, port)
        if source.is_dir():
            say(f"Exporting the newest checkpoint of {source}.")
        drive = Drive(library.first(), page.link, library, _robot_of(source), ground)
        say(f"Open {_open(page, drive)} in a browser. Ctrl-C ends it.")
        ends = np.inf if seconds is None else time.monotonic() + seconds
        while drive.run(ends) is not None:
            page.close()
            page = page.again()
            drive = drive.on_other_ground(page.link)
            _open(page, drive)
        page.check()
    finally:
        if page:
            page.close()
        library.close()
    p99, late, count = drive.lateness.shown()
    say(f"{count} ticks, {late} later than 2 ms, p99 {p99:.2f} ms")
    return drive


def _open(page: Page, drive: Drive) -> str:
    """Serve the page of what is driven; return its address."""
    return page.open(drive.robot, about(drive.policy.now) | drive.ground.about())


def _robot_of(source: Path) -> str | None:
    """Return name or folder of the robot of a run; None for a policy file, which knows it."""
    if not source.is_dir():
        return None
    from robot_ppo import export  # which loads torch: a policy file does without

    return export.robot_of(source)


def about(policy: Policy) -> dict[str, Any]:
    """Return what the page shows of a policy and never changes."""
    contract = policy.contract
    entries = [
        {"name": e.name, "unit": e.unit, "low": e.low, "high": e.high}
        for e in contract.command.entries
    ]
    return {
        "task": contract.task,
        "command": entries,
        "kind": contract.command.kind,
        "quantiles": contract.distribution is not None,
    }
