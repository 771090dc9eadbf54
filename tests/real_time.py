"""Tests of what lives in real time, on a computer that others use as well.

    pytestmark = pytest.mark.real_time

Such a test waits for a process, a thread or a robot that has its own clock. Where it fails and the
computer was seen to keep it waiting meanwhile, the failure tells of the computer: the test runs
anew, with new fixtures, `RUNS` times at most. A failure on a calm computer counts at once, and one
that is there each time counts in the end.
"""

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

RUNS = 6
STALL = 0.03
"""[s] A thread that wakes up so much too late is kept waiting: the control period is 20 ms."""
CROWDED = 0.1
"""Part of a test's time in which somebody waited for a processor: a robot of its own process may
have been kept waiting while the thread here was not."""
SAID = re.compile(r"stale_state|missed_deadlines|state jitter|the watchdog took over")
"""What a node says that was kept waiting itself."""


@contextlib.contextmanager
def stopwatch():
    """Yields a function: by how much a thread here was woken up too late, at the most [s]."""
    worst = [0.0]
    over = threading.Event()

    def watch():
        while not over.is_set():
            before = time.monotonic()
            over.wait(0.005)
            worst[0] = max(worst[0], time.monotonic() - before - 0.005)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield lambda: worst[0]
    over.set()
    thread.join()


def waited() -> float:
    """Time [s] in which somebody waited for a processor; 0 where Linux does not say (PSI)."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) * 1e-6


def disturbed(reports, stall, crowded):
    """Whether a test failed that was kept waiting: the stopwatch, Linux or a node says so."""
    failed = [report for report in reports if report.failed]
    said = "".join(report.longreprtext + report.capstdout for report in failed)
    return bool(failed) and (stall > STALL or crowded > CROWDED or SAID.search(said) is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    if not item.get_closest_marker("real_time"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for run in range(RUNS):
        item._initrequest()
        began = time.monotonic()
        before = waited()
        with stopwatch() as stall:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        crowded = (waited() - before) / (time.monotonic() - began)
        if run == RUNS - 1 or not disturbed(reports, stall(), crowded):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
