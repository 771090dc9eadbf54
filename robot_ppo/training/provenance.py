"""Origin of a training: versions, commit, machine. A run folder keeps it in `origin.json`.

provenance.record(Path("runs/go2"))
provenance.load(Path("runs/go2")).machine          # "AMD EPYC 7B13, 2 CPUs, Linux"
"""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import msgspec

from robot_ppo import project
from robot_ppo_export.files import write_atomically

FILE = "origin.json"


class Origin(msgspec.Struct, frozen=True):
    """Time, machine and software of a run's start."""

    started: str = ""
    """Date and time, UTC; "" where it is not known."""
    machine: str = ""
    versions: dict[str, str] = {}
    git_commit: str = ""
    command: str = ""
    """Repeats the training."""


def record(run: Path, command: str = "") -> None:
    """Write where and with what the run in the folder `run` is started, and by which command."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    origin = Origin(now, machine(), versions(), git_commit(), command)
    write_atomically(run / FILE, msgspec.json.format(msgspec.json.encode(origin)) + b"\n")


def load(run: Path) -> Origin:
    """Return what the folder `run` says; an empty one for a run from before it was recorded."""
    try:
        return msgspec.json.decode((run / FILE).read_bytes(), type=Origin)
    except (OSError, msgspec.DecodeError):
        return Origin()


def machine() -> str:
    """Return processor, number of CPUs and system in one line."""
    return f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a training depends on."""
    names = ("robot-ppo", "torch", "mujoco", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_commit() -> str:
    """Return the commit that the code is at, "+changes" behind it if it differs; "" outside git.

    A repository around an installed copy is somebody else's, and says nothing about the code.
    """
    root = project.root()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, env=ours
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return ""
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
