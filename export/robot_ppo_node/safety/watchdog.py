"""A second process that damps the robot when the node no longer can: killed, crashed or frozen.

    watchdog = Watchdog(driver.damping_sender(), period=0.02)      # in the node: starts it
    watchdog.heartbeat(sends=True)                                 # at the end of every tick
    watchdog.takeovers                                             # 1: it has the robot now
    watchdog.release()                                             # a person said: begin anew
    watchdog.close()                                               # the node ends as it should
    watchdog.take_over()                                           # it ends by an error of its own

The two share a page of memory and a pipe. The pipe tells at once that the node is gone; a beat
that is older than `FROZEN_AFTER` periods tells that it stands still. The watchdog sleeps until the
newest beat would be that old: it looks some twenty times per second, and takes over in time. It
then says so in the page and sends damping in every period: with a sender of its own that the driver
describes (`Handover`) and that is open since the start, so that the robot takes its commands at
once, and no longer those of a node that wakes up.
It goes on until the node, if it still lives, ends or begins anew; until it is killed; or for as
long as the node would have.

This module imports next to nothing, and runs as `python -m` for a quick start.
"""

import contextlib
import importlib
import json
import math
import mmap
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.drivers.handover import Handover, Sender
from robot_ppo_node.host.console import ERR, say_error, unblock

FROZEN_AFTER = 3.0
"""Control periods without a beat that mean: the node stands still."""
SOONEST = 0.125
"""Control periods from one look at the beat to the next, at the least."""
STARTS_WITHIN = 15.0
"""[s] Python starts, DDS joins: seconds on a busy computer."""
DEAF_AFTER = 25.0
"""Control periods without a sign of the watchdog that mean: it is gone."""
REAL_TIME_PRIORITY = 60
"""Priority of the watchdog where the node has one, which is lower."""

BEAT, SENDS, TAKEOVERS, RELEASES, ENDED, WATCHING = range(6)
"""Places in the shared page, of 64 bits each: a write to one is whole or not there. The first two
and `RELEASES` and `ENDED` are the node's, `TAKEOVERS` and `WATCHING` the watchdog's. The robot is
the watchdog's while there are more takeovers than releases."""
PAGE = mmap.PAGESIZE


class Watchdog:
    """The node's end."""

    def __init__(
        self,
        handover: Handover,
        period: float,
        damp_seconds: float = math.inf,
        real_time: bool = False,
    ) -> None:
        """Start the process, and wait until it watches.

        Args:
            handover: from the driver.
            period: of the node [s].
            damp_seconds: how long a dead node's robot is damped [s].
            real_time: run it under SCHED_FIFO.
        """
        self.period_ns = round(period * 1e9)
        page = os.memfd_create("robot-ppo-watchdog")
        os.ftruncate(page, PAGE)
        self._memory = mmap.mmap(page, PAGE)
        self._page = memoryview(self._memory).cast("Q")
        node_gone, self._alive = os.pipe()
        told = {
            "page": page,
            "node_gone": node_gone,
            "handover": handover,
            "period": period,
            "damp_seconds": None if math.isinf(damp_seconds) else damp_seconds,
            "real_time": real_time,
        }
        # A session of its own: what stops or kills the node's group must not reach it.
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(told)],
            pass_fds=(page, node_gone, *handover.files),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(page)
        os.close(node_gone)
        self._wait_for_it()

    def _wait_for_it(self) -> None:
        """Return once it watches, or end it and raise `RefusedError`."""
        ends = time.monotonic() + STARTS_WITHIN
        what = ""
        while not (self._page[WATCHING] or what):
            if self.process.poll() is not None:
                what = f"ended with code {self.process.returncode} before it watched"
            elif time.monotonic() > ends:
                what = f"did not watch within {STARTS_WITHIN:g} s"
            time.sleep(0.002)
        if what:
            self.process.kill()
            self.close()
            raise RefusedError(f"the watchdog {what}: --no-watchdog runs without it")

    def heartbeat(self, sends: bool) -> None:
        """Say that a tick is done, and whether the node commands the robot."""
        page = self._page
        page[SENDS] = sends
        page[BEAT] = time.monotonic_ns()

    def announce(self) -> None:
        """Say that the node is about to command the robot: should it die in that very moment."""
        self._page[SENDS] = 1

    @property
    def has_robot(self) -> bool:
        """Whether the watchdog damps the robot now."""
        return self._page[TAKEOVERS] > self._page[RELEASES]

    @property
    def takeovers(self) -> int:
        """Count of the times that it has taken the robot."""
        return self._page[TAKEOVERS]

    @property
    def lost(self) -> bool:
        """Whether the watchdog itself shows no sign of life."""
        return time.monotonic_ns() - self._page[WATCHING] > DEAF_AFTER * self.period_ns

    def how_lost(self) -> str:
        """Return what became of a watchdog that is `lost`."""
        code = self.process.poll()
        if code is None:
            silent = (time.monotonic_ns() - self._page[WATCHING]) * 1e-9
            return f"has been silent for {silent:.2f} s"
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"

    def release(self) -> None:
        """Take the robot back: the watchdog stops sending."""
        self._page[RELEASES] = self._page[TAKEOVERS]

    def take_over(self) -> None:
        """Let it damp the robot from now on, for as long as it would for a node that died."""
        self._page[SENDS] = 1
        self._page[BEAT] = 0
        self._wake()

    def close(self) -> None:
        """End it; may be called twice."""
        if self.process.poll() is None:
            self._page[ENDED] = 1
            self._wake()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1.0)
            self.process.kill()
            self.process.wait()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _wake(self) -> None:
        """Let it look at the page now; where it is gone, nothing happens."""
        with contextlib.suppress(OSError):
            os.write(self._alive, b"!")


class _Watch:
    """The watchdog's end."""

    def __init__(self, told: dict[str, Any], sender: Sender) -> None:
        self.told = told
        self.sender = sender
        self.memory = mmap.mmap(told["page"], PAGE)
        self.page = memoryview(self.memory).cast("Q")
        self.period = told["period"]
        self.gone = False
        """The node's process has ended."""
        self.asked_to_end = False
        self.poll = select.poll()
        self.poll.register(told["node_gone"], select.POLLIN | select.POLLHUP)

    def run(self) -> None:
        """Watch until the node ends; damp whenever it does not do so itself."""
        page = self.page
        while not (page[ENDED] or self.asked_to_end):
            self.look(self.until_frozen())
            may_take = page[SENDS] and page[TAKEOVERS] == page[RELEASES] and not page[ENDED]
            if may_take and (self.gone or self.frozen()):
                self.damp()
            if self.gone:
                return

    def look(self, wait: float) -> None:
        """Give a sign of life; wait `wait` [s], or until the node is gone or asks for a look."""
        self.page[WATCHING] = time.monotonic_ns()
        if self.gone:
            time.sleep(wait)
            return
        for file, event in self.poll.poll(math.ceil(wait * 1e3)):
            self.gone = bool(event & select.POLLHUP)
            if event & select.POLLIN:
                os.read(file, PAGE)

    def until_frozen(self) -> float:
        """Return the time [s] until the beat may be too old, if no other comes meanwhile.

        It is never longer than that of a beat of this moment: of a node that sends nothing yet, the
        first command and its last tick may be the same.
        """
        limit = FROZEN_AFTER * self.period
        age = (time.monotonic_ns() - self.page[BEAT]) * 1e-9
        return max(min(limit - age, limit), SOONEST * self.period)

    def frozen(self) -> bool:
        """Return whether the last beat is too old, or from the future: the clock ran back.

        Each is asked in the order in which a pause of our own between two looks tells no lie.
        """
        limit = FROZEN_AFTER * self.period * 1e9
        now = time.monotonic_ns()
        beat = self.page[BEAT]
        return now - beat > limit or beat - time.monotonic_ns() > limit

    def damp(self) -> None:
        """Take the robot, and damp it until somebody else may."""
        page = self.page
        sender = self.sender
        page[TAKEOVERS] += 1
        with contextlib.suppress(Exception):
            sender.begin(page[TAKEOVERS])
        self.send()
        say_error(self.why())
        start = time.monotonic()
        lasts = self.told["damp_seconds"] or math.inf
        due = start + self.period
        died = start if self.gone else math.inf
        while page[TAKEOVERS] > page[RELEASES] and not (page[ENDED] or self.asked_to_end):
            now = time.monotonic()
            died = min(died, now) if self.gone else died
            if now - died >= lasts:
                return
            if now >= due:
                self.send()
                due += (int((now - due) / self.period) + 1) * self.period
            due = min(due, now + self.period)  # of a clock that ran back
            self.look(max(due - time.monotonic(), 0.0))

    def send(self) -> None:
        """Send damping once; an error of the sender must not end it, the next may go out."""
        with contextlib.suppress(Exception):
            self.sender.send()

    def why(self) -> str:
        """Return what the operator must know."""
        what = "died" if self.gone else "stands still"
        return (
            f"the node {what}: its watchdog damps the robot "
            f"({'until ' if not self.told['damp_seconds'] else 'or '}`kill {os.getpid()}`)"
        )

    def end(self, *_: object) -> None:
        """Handle SIGTERM: done, but not while the node commands the robot and needs a watchdog."""
        page = self.page
        has_robot = page[TAKEOVERS] > page[RELEASES]
        self.asked_to_end = self.gone or has_robot or not page[SENDS]
        if not self.asked_to_end:
            say_error("the watchdog's node commands the robot: end the node instead")


def main(argument: str) -> None:
    """Be the watchdog."""
    told = json.loads(argument)
    unblock(ERR)
    module, arguments, files = told["handover"]
    # Before it watches: nothing is left to load or to open when it counts.
    sender = importlib.import_module(module).sender(arguments, files)
    try:
        watch = _Watch(told, sender)
        signal.signal(signal.SIGTERM, watch.end)
        if told["real_time"]:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME_PRIORITY))
        watch.run()
    finally:
        sender.close()


if __name__ == "__main__":
    main(sys.argv[1])
