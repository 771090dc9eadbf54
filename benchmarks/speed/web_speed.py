"""What it costs to look: the page in a browser, the report, a film, `--follow` beside a training.

The browser is Chromium without a window. Where there is no GPU it draws on the same processors as
the node runs on, which is the hardest case for both.
"""

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.browser import MISSING, Browser, chromium
from benchmarks.common import shipped_policy
from benchmarks.speed import show_speed
from benchmarks.speed.show_speed import PATIENCE, words
from robot_ppo_export.errors import InputError

LOOKED = 20.0
"""Time over which ticks and updates are counted [s]."""
SPEED = 0.5
"""Commanded [m/s]; the robot walks once it is over half of that."""
PILOT = f"""setInterval(() => {{
  const now = past.at(-1);
  if (now && now.waits) ask("approve");
  if (now && now.state === "policy") command[0] = {SPEED};
}}, 50)"""
"""Drives in the page as a person would, without delay."""


def bench_web() -> dict[str, Any]:
    """Return the figures of page, report, film and `--follow`."""
    if chromium() is None:
        raise InputError(MISSING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        figures = show_speed.film(folder)
        figures |= show_speed.followed(folder / "run")
        alone = show_speed.iterations(folder / "run")
        figures |= show_speed.scored(folder / "scored", alone)
        figures |= show_speed.report(folder / "run", folder / "report.html")
        with Browser(folder / "browser") as browser:
            figures |= start(browser)
            figures |= ticks(browser)
    return figures


def start(browser: Browser) -> dict[str, Any]:
    """Return the seconds from the command to what is seen in a browser that runs already."""
    begin = time.monotonic()
    with _served() as address:
        page = browser.page(address)
        page.until("past.length", PATIENCE)
        shown = time.monotonic() - begin
        page.eval(PILOT)
        page.until("past.at(-1).state === 'policy'", PATIENCE)
        policy = time.monotonic() - begin
        page.until(f"past.at(-1).measured[0] > {SPEED / 2}", PATIENCE)
        walking = time.monotonic() - begin
        simulated = page.eval("past.at(-1).time")
        page.until(DRAWN, PATIENCE)
        page.close()
    return {
        "seconds_to_robot_in_browser": round(shown, 2),
        "seconds_to_policy": round(policy, 2),
        "seconds_to_walking": round(walking, 2),
        "of_which_simulated": round(simulated, 2),
    }


DRAWN = "document.getElementById('view').contentDocument.querySelector('canvas').width > 100"


def ticks(browser: Browser) -> dict[str, Any]:
    """Return the share of ticks later than 2 ms without and with a viewer, and updates/s."""
    with _served() as address, _driven(address) as link:
        _until(link, lambda now: now["measured"][0] > SPEED / 2)
        alone = _late(link)
        page = browser.page(address)
        page.until("past.length > 50", PATIENCE)
        page.until(DRAWN, PATIENCE)
        before = page.eval(RECEIVED)
        viewed = _late(link)
        after = page.eval(RECEIVED)
        errors = page.errors
        page.close()
    return {
        "late_ticks_percent": alone,
        "late_ticks_with_viewer_percent": viewed,
        "updates_per_second": round((after[0] - before[0]) / (after[1] - before[1]) * 1e3, 1),
        "console_errors": len(errors),
    }


RECEIVED = "[received, performance.now()]"


@contextlib.contextmanager
def _served() -> Iterator[str]:
    """Serve the shipped policy; yield the page's address."""
    command = words("play", str(shipped_policy()), "--web", "0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None, "it is a pipe"
    try:
        line = process.stdout.readline()
        if not line.startswith("Open http://"):
            raise InputError("the page was not served")
        yield line.split()[1]
    finally:
        process.terminate()
        process.communicate()


# -- a page without a browser ---------------------------------------------------------------------


@contextlib.contextmanager
def _driven(address: str) -> Iterator[ClientConnection]:
    """Drive as the page does, without drawing anything."""
    base = address.rstrip("/")
    with connect(base.replace("http", "ws") + "/panel", origin=base) as link:  # type: ignore[arg-type]  # a NewType of str
        yield link


def _next(link: ClientConnection) -> dict[str, Any]:
    """Return the newest figures; approve what waits, and renew the command."""
    while True:
        said = json.loads(link.recv(PATIENCE))
        if "you" in said:
            continue
        link.send("ok")
        if said["waits"]:
            link.send(json.dumps({"ask": "approve"}))
        link.send(json.dumps({"ask": "command", "values": [SPEED, 0, 0]}))
        return said


def _until(link: ClientConnection, condition: Any) -> dict[str, Any]:
    ends = time.monotonic() + PATIENCE
    while not condition(now := _next(link)):
        if time.monotonic() > ends:
            raise InputError("the robot did not walk")
    return now


def _late(link: ClientConnection) -> float:
    """Return the share of ticks that were late over `LOOKED` [%]."""
    _, late, count = _next(link)["late"]
    ends = time.monotonic() + LOOKED
    now = _until(link, lambda _: time.monotonic() > ends)
    return round(100 * (now["late"][1] - late) / (now["late"][2] - count), 2)
