"""Train the runs of a plan by joblib, each in a process of its own, several at a time.

A run that fails, or whose process dies, costs that run only: joblib's own processes would take
those beside them along, so its workers are threads, each of which waits for a process. A process
ends when the sweep does.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import cast

from joblib import Parallel, delayed
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.ppo_paper.protocol import Run
from benchmarks.ppo_paper.results import Folder, Result

COMMAND = (sys.executable, "-m", "benchmarks.ppo_paper.training")
"""Program that trains one run; it gets setting, task, seed, steps and the file to write."""
PATIENCE = 20.0
"""Time [s] that a process has to end the iteration that it is in, after it was told to stop."""


class Sweep:
    """The runs of a plan: those that are left, that run, and that failed."""

    def __init__(self, folder: Folder, runs: list[Run], steps: int, minutes: float | None) -> None:
        """Do those of `runs` that `folder` lacks; start none after so many minutes."""
        self.folder = folder
        self.runs = runs
        self.steps = steps
        self.failed: dict[Run, str] = {}
        self.interrupted = False
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes
        self._lock = threading.Lock()
        self._stopped = False
        self._processes: list[subprocess.Popen[str]] = []
        self._console = Console()

    def train(self, workers: int) -> None:
        """Train until nothing is left, the time is up or Ctrl-C."""
        todo = [run for run in self.runs if run not in self.folder.results]
        progress = Progress(
            TextColumn("ppo_paper"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        # A run is taken when a worker is free, and not before: none starts when the time is up.
        pool = Parallel(
            workers, backend="threading", return_as="generator_unordered", pre_dispatch=str(workers)
        )
        with _signals_as_ctrl_c(), progress:
            bar = progress.add_task("", total=len(self.runs), completed=len(self.runs) - len(todo))
            try:
                in_time = takewhile(lambda _: self._in_time(), todo)
                found = pool(delayed(self._train)(run) for run in in_time)
                for run, failure in cast(Iterable[tuple[Run, str]], found):
                    self._keep(run, failure)
                    progress.advance(bar)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._end()

    def _in_time(self) -> bool:
        return self._ends is None or time.monotonic() <= self._ends

    def _train(self, run: Run) -> tuple[Run, str]:
        """Train one run; return it and why it failed, "" if it did not."""
        with self._lock:
            if self._stopped:
                return run, "the sweep has ended"
            process = self._start(run)
            self._processes.append(process)
        _, errors = process.communicate()
        if process.returncode == 0:
            return run, ""
        return run, errors.strip() or f"its process died (exit code {process.returncode})"

    def _start(self, run: Run) -> subprocess.Popen[str]:
        """Start the process of a run; it imports from where we do."""
        words = (*run[:2], str(run.seed), str(self.steps), str(self.folder.file(run)))
        return subprocess.Popen(
            (*COMMAND, *words),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _keep(self, run: Run, failure: str) -> None:
        """Take up what a run has left, and print a line about it."""
        if failure:
            self.failed[run] = failure
            self._console.print(f"{run}: failed: {failure}", style="red", highlight=False)
        else:
            result = self.folder.load(run)
            self._console.print(self._line(result), highlight=False, soft_wrap=True)

    def _line(self, result: Result) -> str:
        speed = result.steps / (result.seconds_collect + result.seconds_learn)
        diverged = "" if result.ended == "done" else f", diverged after {result.steps:,} steps"
        done = sum(run in self.folder.results for run in self.runs)
        return (
            f"{result.run}: {result.score:.1f} in {result.seconds:.0f} s, {speed:,.0f} steps/s"
            f"{diverged}; {done} of {len(self.runs)} runs"
        )

    def _end(self) -> None:
        """Stop the processes that still train; their runs are not kept."""
        with self._lock:
            self._stopped = True
            running = [process for process in self._processes if process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a sweep as Ctrl-C does, and SIGINT also where a shell has it ignored.

    A shell without job control starts its background commands with SIGINT ignored, and Python
    leaves it so.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
