"""The processes that node_bench.py measures: each works alone and prints its figures as JSON.

    python -m robot_ppo_node.app.bench_process run FILE --driver fake --seconds 60 --arm
    python -m robot_ppo_node.app.bench_process hours FILE 1.0
    python -m robot_ppo_node.app.bench_process wake-ups 10 fifo

A process of its own each: memory and processor time are then those of the work, and a scheduler
that was granted does not stay with the next measurement.
"""

import gc
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robot_ppo_export.policy import Policy
from robot_ppo_node.app import cli
from robot_ppo_node.app.node_bench import COMMAND
from robot_ppo_node.app.run import Operator
from robot_ppo_node.clock import MonotonicClock, SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.host import realtime
from robot_ppo_node.host.host_doctor import wake_ups
from robot_ppo_node.node import Node

WAKE_UP_PERIOD = 0.002
"""[s] 500 Hz, the rate of an inner loop."""
SETTLE = 2.0
"""[s] of the policy that do not count: caches fill and pools take what they need."""
LOOK_EVERY = 50
"""Ticks between two looks at the memory."""


class Memory(NamedTuple):
    """Memory of a process [MB]."""

    resident: float
    private: float
    """Less what is a file's: that comes and goes with the pages of code that are touched."""


def memory_mb() -> Memory:
    """Return what this process has in memory."""
    _, resident, files, *_ = Path("/proc/self/statm").read_text().split()
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    return Memory(int(resident) * page, (int(resident) - int(files)) * page)


def children_seconds() -> float:
    """Return the processor time of the processes that this one has started [s]: its watchdog."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    ticks = 0
    for pid in pids:
        # Behind the name in brackets, which may hold blanks: fields 14 and 15 of the whole.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def slope_per_hour(seconds: list[float], megabytes: list[float]) -> float | None:
    """Return the slope of a straight line through the points [MB/hour], None for fewer than 3."""
    if len(seconds) < 3:
        return None
    return 3600 * float(np.polyfit(np.array(seconds) - seconds[0], megabytes, 1)[0])


class BenchResult:
    """Costs of a running node while the policy runs.

    Looks at it once in `LOOK_EVERY` ticks, because a look costs as well and counts.
    """

    def __init__(self, node: Node, ticks: int) -> None:
        """Take memory for so many ticks beforehand, so that noting them adds none."""
        self.node = node
        self.durations = np.ones(ticks)  # not zeros: those become memory when they are written
        self.seconds: list[float] = []
        """When the memory was looked at [s]."""
        self.megabytes: list[float] = []
        """Private memory then."""
        self.ticks = self.missed = 0
        self._settling = math.ceil(SETTLE / node.period / LOOK_EVERY) + 1
        """Looks at a policy that runs that do not count; the first comes in the midst of a block"""
        self._wall = self._cpu = self._children = 0.0
        self._missed = 0

    def note(self) -> None:
        """Note the ticks since the last look, where it is time to look."""
        node = self.node
        if node.ticks % LOOK_EVERY or node.state is not State.POLICY:
            return
        if self._settling:
            self._settling -= 1
            self._wall = time.monotonic()
            self._cpu = time.process_time()
            self._children = children_seconds()
            self._missed = node.missed
            return
        ticks = min(LOOK_EVERY, len(self.durations) - self.ticks)
        newest = node.durations.newest(LOOK_EVERY)[:ticks]
        self.durations[self.ticks : self.ticks + ticks] = newest
        self.ticks += ticks
        self.missed = node.missed - self._missed
        self.spent = time.monotonic() - self._wall, time.process_time() - self._cpu
        self.watchdog = children_seconds() - self._children
        self.seconds.append(node.clock.now())
        memory = memory_mb()
        self.resident = memory.resident
        self.megabytes.append(memory.private)

    def figures(self) -> dict[str, Any]:
        """Return the figures, or nothing where the policy ran for less than `LOOK_EVERY` ticks."""
        if not self.seconds:
            return {"fault": self.node.fault or "the policy did not run for long enough"}
        p50, p99 = np.quantile(self.durations[: self.ticks], (0.5, 0.99)) * 1e3
        wall, cpu = self.spent
        return {
            "fault": self.node.fault,
            "ticks": self.ticks,
            "tick_p50_ms": float(p50),
            "tick_p99_ms": float(p99),
            "missed_deadlines": self.missed,
            "cpu_percent": 100 * cpu / wall,
            "cpu_with_watchdog_percent": 100 * (cpu + self.watchdog) / wall,
            "resident_mb": self.resident,
            "growth_mb_per_hour": slope_per_hour(self.seconds, self.megabytes),
        }


class _Measured(Operator):
    """The operator of `run`, who also measures."""

    result: BenchResult | None = None

    def _on_tick(self) -> None:
        super()._on_tick()
        if self.result is None:
            ticks = round((self.options.seconds or 60.0) / self.node.period)
            self.result = BenchResult(self.node, ticks)
        self.result.note()


def run(*arguments: str) -> dict[str, Any]:
    """Return what `robot-ppo-node run` with these arguments costs."""
    operator = _Measured(cli.parser().parse_args(["run", *arguments]))
    operator.run()
    assert operator.result is not None, "the run had a tick"
    return operator.result.figures()


def hours(file: str, length: str) -> dict[str, Any]:
    """Return the growth over so many hours of robot time, ticked without waiting on driver fake.

    As in a run, the garbage collector does not help.
    """
    policy = Policy(Path(file))
    clock = SteppedClock()
    pose = policy.contract.robot.rest().astype(np.float32)
    driver = FakeDriver(clock, pose=pose, keep=1)
    node = Node(policy, driver, clock, FixedCommand(COMMAND), arm=True)
    looks: tuple[list[float], list[float]] = [], []
    seconds = 3600 * float(length)

    def look() -> None:
        if node.state is State.POLICY and node.ticks % LOOK_EVERY == 0:
            looks[0].append(clock.now())
            looks[1].append(memory_mb().private)

    node.run(seconds, look)
    ticks = node.ticks
    rest = len(looks[0]) // 10  # the first tenth fills caches and pools
    return {
        "fault": node.fault,
        "ticks": ticks,
        "growth_mb_per_hour": slope_per_hour(looks[0][rest:], looks[1][rest:]),
    }


def wake(seconds: str, scheduler: str) -> dict[str, Any]:
    """Return how late this process wakes up at 500 Hz; under "fifo" with SCHED_FIFO, if permitted.

    Nothing but `refused` comes back where it is not.
    """
    realtime.prepare_process()
    asked = realtime.apply() if scheduler == "fifo" else []
    for measure in asked:
        if measure.name == "SCHED_FIFO" and not measure.granted:
            return {"refused": str(measure)}
    gc.collect()
    late, missed = wake_ups(MonotonicClock(), float(seconds), WAKE_UP_PERIOD)
    p50, p99, largest = (np.quantile(late, (0.5, 0.99, 1.0)) * 1e3).tolist()
    return {"p50_ms": p50, "p99_ms": p99, "max_ms": largest, "missed": missed}


WORK = {"run": run, "hours": hours, "wake-ups": wake}


def main(arguments: list[str]) -> int:
    """Do one piece of work; the last line of the output is its figures."""
    figures = WORK[arguments[0]](*arguments[1:])
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
