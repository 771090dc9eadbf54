"""Policies that the page may switch to: files beside the first, or the checkpoints of a run.

A checkpoint is exported by a process of its own, on one thread and at low priority, so that no tick
waits for it; only the first has haste, where no training is followed. A training that is followed
rests after each: an export is seconds of computing.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy

LOOK = 2.0
"""Time between two looks for newer checkpoints [s]."""
REST = 4.0
"""Followed, a training rests for so many times what the last export took."""
EXPORT = (
    "import sys; from pathlib import Path; from robot_ppo import export; "
    "from robot_ppo.training import checkpoint; run = Path(sys.argv[1]); "
    "from robot_ppo.training.threads import single_threaded; "
    "kept = checkpoint.load(run / 'checkpoints' / sys.argv[2])\n"
    "with single_threaded(): export.export(run, Path(sys.argv[3]), kept)"
)
Loaded = Policy | InputError | RefusedError


class Library:
    """Loads policies in a thread."""

    def __init__(self, source: Path, follow: bool = False) -> None:
        """Offer what lies in the run folder `source`, or beside the file `source`.

        Args:
            source: run folder or policy file.
            follow: take the newest checkpoint of the run whenever there is one.
        """
        self._source = source
        self._follow = follow
        self._folder = tempfile.TemporaryDirectory()
        self.current = "" if source.is_dir() else source.name
        self._wanted = self._before = self.current
        self._found: list[str] = []
        self._looked = -LOOK
        self._rests_until = 0.0
        self._loaded: Loaded | None = None
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Raise `InputError` where there is nothing to begin with."""
        if not self._source.is_dir():
            if not self._source.is_file():
                raise InputError(f"{self._source}: no such run folder or policy file")
        elif not self._look():
            raise InputError(f"{self._source}: no checkpoint yet; train for a minute first")

    def first(self) -> Policy:
        """Return the policy to begin with, or raise what is wrong with it."""
        self.check()
        if not self._source.is_dir():
            return Policy(self._source)
        self._found = self._look()
        self.current = self._wanted = self._found[-1]
        loaded = self._load(self.current, urgent=not self._follow)
        if not isinstance(loaded, Policy):
            raise loaded
        return loaded

    def names(self) -> list[str]:
        """Return what there is to choose from, the oldest first."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._found = self._look()
            newer = self._found and self._found[-1] != self._wanted
            if self._follow and newer and now >= self._rests_until:
                self.want(self._found[-1])
        return self._found

    def want(self, name: str) -> None:
        """Load a policy; `ready` returns it when it is there."""
        busy = self._thread is not None and self._thread.is_alive()
        if busy or name not in self._found or self._loaded is not None:
            return
        self._wanted = name
        self._thread = threading.Thread(target=self._run, args=(name,), daemon=True)
        self._thread.start()

    def ready(self) -> Loaded | None:
        """Return a policy that was asked for and is loaded now, once; or why it is not."""
        loaded = self._loaded
        self._loaded = None
        if isinstance(loaded, Policy):
            self._before = self.current
            self.current = self._wanted
        return loaded

    def refuse(self) -> None:
        """Go on with the policy before the one that `ready` returned, which does not fit."""
        self.current = self._before

    def close(self) -> None:
        """Remove what was exported."""
        if self._thread:
            self._thread.join(20.0)
        self._folder.cleanup()

    def _look(self) -> list[str]:
        if self._source.is_dir():
            return sorted(path.name for path in (self._source / "checkpoints").glob("*.pt"))
        return sorted(path.name for path in self._source.parent.glob("*.onnx"))

    def _run(self, name: str) -> None:
        began = time.monotonic()
        self._loaded = self._load(name)
        ended = time.monotonic()
        self._rests_until = ended + REST * (ended - began)

    def _load(self, name: str, urgent: bool = False) -> Loaded:
        try:
            if not self._source.is_dir():
                return Policy(self._source.parent / name)
            path = Path(self._folder.name) / f"{name}.onnx"
            if not path.exists():
                self._export(name, path, [] if urgent else ["nice"])
            return Policy(path)
        except (InputError, RefusedError) as error:
            return error

    def _export(self, name: str, path: Path, before: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [*before, sys.executable, "-c", EXPORT, str(self._source), name, str(path)],
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason was given"]
            raise InputError(f"{name} cannot be exported: {said[-1]}")
