"""Score and film a run while it trains, by a process of the lowest priority beside it.

    companion = Companion(run, Plan(score_every=5.0))
    ...                                      # after each iteration, `now` [s] into the training:
    if found := companion.poll(now):
        found.figures                        # of the checkpoint after `found.steps` steps

The process takes the time that the training leaves over, so the training is hardly slower, and its
weights are the same. It looks at the newest checkpoint, which is older than the weights by
`save_every` at most; one that fails is reported once, and none follows it.
"""

import contextlib
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

MODULE = "robot_ppo.snapshot"
"""Module that the process runs; a name, because this package may not import a later layer."""
PATIENCE = 120.0
"""Time that the last checkpoint may take once the training is over [s]."""


@dataclass(frozen=True)
class Plan:
    """Periods [min] of scores and of films; None: never."""

    score_every: float | None = None
    film_every: float | None = None


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """Scores and film of one checkpoint; the process prints them as JSON."""

    steps: int
    figures: dict[str, float] = {}
    """Figure of the scorecard's first condition -> mean over its trials; or `return`."""
    film: str = ""
    """Path of an mp4, "" for none; the same film as an animated GIF is beside it."""


class Companion:
    """Starts the processes, one at a time."""

    def __init__(self, run: Path, plan: Plan) -> None:
        """Look at the run in the folder `run`."""
        self._run = run
        minutes = {"score": plan.score_every, "film": plan.film_every}
        self._every = {name: 60 * every for name, every in minutes.items() if every}
        self._last: dict[str, float] = {}
        """Kind -> when the last process of it began [s of training]."""
        self._seen = ""
        self._process: subprocess.Popen[str] | None = None

    def poll(self, now: float) -> Snapshot | None:
        """Return what a process has found, once; start one where it is time.

        Args:
            now: time that the run has trained for, over resumes [s].
        """
        found = self._result() if self._process and self._process.poll() is not None else None
        if self._process is None:
            due = [k for k, every in self._every.items() if now - self._begin(k, now) >= every]
            newest = self._newest()
            if due and newest not in ("", self._seen):
                self._last |= dict.fromkeys(due, now)
                self._seen = newest
                self._start(due)
        return found

    @property
    def looked(self) -> bool:
        """True once a checkpoint was scored or filmed."""
        return bool(self._seen)

    def finish(self) -> list[Snapshot]:
        """Wait for the running process; score and film the last checkpoint if others were."""
        found = [self._waited()]
        if self.looked and self._every and self._newest() != self._seen:
            self._start(list(self._every))
            found.append(self._waited())
        return [one for one in found if one]

    def close(self) -> None:
        """End the process that runs."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _begin(self, kind: str, now: float) -> float:
        return self._last.setdefault(kind, now)

    def _newest(self) -> str:
        """Return the name of the newest checkpoint, "" before the first."""
        return max((path.name for path in (self._run / "checkpoints").glob("*.pt")), default="")

    def _start(self, kinds: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(self._run), *kinds],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for the training, which ends it
        )

    def _waited(self) -> Snapshot | None:
        """Return the result of the process that runs, if it ends in time."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        return self._result()

    def _result(self) -> Snapshot | None:
        """Return what the process printed; where it failed, say so and start no other."""
        assert self._process is not None
        self._process.kill()
        output, errors = self._process.communicate()
        code = self._process.returncode
        self._process = None
        try:
            return msgspec.json.decode(output, type=Snapshot)
        except msgspec.DecodeError:
            said = errors.strip().splitlines() or [f"it ended with code {code}"]
            log.warning("the run is not scored or filmed from here on: %s", said[-1])
            self._every = {}
            return None
