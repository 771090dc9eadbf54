"""All runs of a plan on several processes; what one of them does to itself, the others survive."""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from robot_ppo.table1.protocol import RANDOM, Run
from robot_ppo.table1.results import Curve, Folder, Result
from robot_ppo.table1.worker import serve

PATIENCE = 20.0
"""A process that was told to end gets so long [s] to finish the iteration that it is in."""


class Worker:
    """A process, and the run that it has."""

    run: Run | None = None

    def __init__(self, steps: int) -> None:
        """Start the process; it trains runs of so many steps."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        arguments = theirs, steps
        self.process: BaseProcess = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, run: Run) -> None:
        """Let it train `run`."""
        self.run = run
        with contextlib.suppress(OSError):  # of a process that has died, `take` hears
            self.connection.send(run)

    def take(self) -> tuple[str, tuple[Result, Curve] | str]:
        """Return how the run ended, and what came out or why it failed."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return "failed", f"its process died (exit code {self.process.exitcode})"

    def end(self) -> None:
        """Close the connection: an idle process ends by itself."""
        self.connection.close()


class Sweep:
    """What is to do, what is being done, and what failed."""

    def __init__(self, folder: Folder, runs: list[Run], steps: int, minutes: float | None) -> None:
        """Do those of `runs` that `folder` lacks; start none after so many minutes."""
        self.folder, self.steps, self.minutes = folder, steps, minutes
        self.runs = runs
        self.left = [run for run in runs if run not in folder.results]
        self.failed: dict[Run, str] = {}
        self.interrupted = False
        self._began = time.monotonic()
        self._workers: dict[Connection, Worker] = {}
        """Those that train"""
        self._started: list[Worker] = []
        self._console = Console()
        self._progress = Progress(
            TextColumn("table1"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def train(self, workers: int) -> None:
        """Train until nothing is left, the time is up or Ctrl-C."""
        self._count = max(1, min(workers, len(self.left)))
        with _signals_as_ctrl_c(), self._progress:
            self._bar = self._progress.add_task("", total=len(self.runs), left="?")
            self._show()
            try:
                for _ in range(self._count):
                    self._start()
                while self._workers:
                    ready = wait(list(self._workers))
                    for connection in [c for c in self._workers if c in ready]:
                        self._hear(self._workers.pop(connection))
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._end()

    def _start(self, worker: Worker | None = None) -> None:
        """Give the next run to a process, a new one if none is given, unless there is none."""
        if not self.left or self._time_is_up():
            if worker:
                worker.end()
            return
        if worker is None:
            worker = Worker(self.steps)
            self._started.append(worker)
        self._workers[worker.connection] = worker
        worker.give(self.left.pop(0))

    def _time_is_up(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._began > 60 * self.minutes

    def _hear(self, worker: Worker) -> None:
        """Keep what a process has to say, and give it the next run."""
        run, (how, what) = worker.run, worker.take()
        assert run is not None
        if how == "done" and isinstance(what, tuple):
            self.folder.add(*what)
            self._say(what[0])
        else:
            self.failed[run] = str(what)
            self._console.print(f"{run}: {how}: {what}", style="red", highlight=False)
        self._start(worker if worker.process.is_alive() else None)

    def _say(self, result: Result) -> None:
        """Print one line about a finished run."""
        speed = result.steps / (result.seconds_collect + result.seconds_learn)
        diverged = "" if result.ended == "done" else f" diverged after {result.steps:,} steps"
        left = self._show()
        self._console.print(
            f"{result.run}: {result.score:.1f} in {result.seconds:.0f} s, {speed:,.0f} steps/s"
            f"{diverged}; {len(self.left) + len(self._workers)} runs, {left} left",
            highlight=False,
            soft_wrap=True,
        )

    def _show(self) -> str:
        """Move the progress bar; return the time that is left."""
        done = sum(run in self.folder.results for run in self.runs)
        running = [w.run for w in self._workers.values() if w.run]
        text = clock(seconds_left(self.folder.results, self.left + running, self._count))
        self._progress.update(self._bar, completed=done, left=text)
        return text

    def _end(self) -> None:
        """End all processes; what they were at is not kept."""
        for worker in self._started:
            worker.process.terminate()
        deadline = time.monotonic() + PATIENCE
        for worker in self._started:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.end()


def seconds_left(done: dict[Run, Result], left: list[Run], workers: int) -> float | None:
    """Return how long the runs that are left will take, or None before the first has ended.

    A run takes as long as those of the same setting and task did on average; else as those of the
    same task; else as all. Those of the policy that does not learn are short, and say nothing.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for run, result in done.items():
        if run.setting != RANDOM:
            for key in ((run.setting, run.task), ("", run.task), ("", "")):
                times.setdefault(key, []).append(result.seconds)
    if not times:
        return None
    means = {key: sum(values) / len(values) for key, values in times.items()}
    total = 0.0
    for setting, task, _ in left:
        total += means.get((setting, task)) or means.get(("", task)) or means["", ""]
    return total / workers


def clock(seconds: float | None) -> str:
    """Return a time as h:mm:ss."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a sweep as Ctrl-C does, and SIGINT also where a shell has it ignored.

    A shell without job control starts what runs in its background so; Python then leaves it.
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
