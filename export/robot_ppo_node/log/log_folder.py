"""The default folder of logs: every run leaves one, and the newest few are kept.

The folder is `$XDG_STATE_HOME/robot-ppo/logs`, usually ~/.local/state/robot-ppo/logs; a file's name
is the time of its start and the task. Only files of that form in that folder are ever removed.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from robot_ppo_export.errors import InputError
from robot_ppo_node.log.log_writer import LogWriter
from robot_ppo_node.log.recorder import Recorder

RING_SECONDS = 600.0
"""Length of the end of a long run that the file keeps [s]."""
MEMORY_SECONDS = 10.0
"""Length of the run that stays in memory [s]: a disk may be late by so much."""
KEEP = 10
"""Logs in the folder, the new one included."""
SUFFIX = ".rlog"


def default_folder() -> Path:
    """Return the folder of the logs that nobody gave a name."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # A relative path there is to be ignored, says the XDG Base Directory Specification.
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "robot-ppo" / "logs"


def open_log(
    recorder: Recorder, path: Path | None, seconds: float | None, say: Callable[[str], None]
) -> LogWriter | None:
    """Return the writer of a run's log, not yet started.

    Args:
        recorder: of the run; its meta data must be complete but for the time of the start.
        path: the file. Where it cannot be, that is an `InputError`: somebody counts on it.
        seconds: how long the run will be, if that is known.
        say: takes a sentence where there is no path and no room either: the run goes on then.
    """
    kept = RING_SECONDS if seconds is None else min(seconds, RING_SECONDS)
    recorder.meta["started"] = time.time()
    ticks = math.ceil(kept / recorder.meta["control_period"])
    if path:
        if path.is_dir() or not path.parent.is_dir():
            raise InputError(f"--record {path}: give a file in a folder that exists")
        return LogWriter(recorder, path, ticks)
    try:
        return LogWriter(recorder, _new_path(recorder.meta), ticks)
    except InputError as error:
        say(f"this run leaves no log: {error}")
        return None


def _new_path(meta: dict) -> Path:
    """Return the path of a new log in the folder, after making room for it there."""
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}): give --record") from None
    for old in sorted(folder.glob(f"????-??-??_??-??-??_*{SUFFIX}"))[: 1 - KEEP]:
        with contextlib.suppress(OSError):
            old.unlink()
    started = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(meta["started"]))
    task = "".join(c if c.isalnum() else "_" for c in meta["task"])
    return folder / f"{started}_{task}_{os.getpid()}{SUFFIX}"
