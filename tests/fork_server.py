"""Commands in processes of their own that are forked from one which has made their imports.

    process = node.start("-m", "robot_ppo_node.app.cli", "run", file, stdout=subprocess.PIPE)

A command that a test starts spends most of its processor time on imports: half a second of the
node, two seconds and more of what needs torch. So each worker of the suite has a server that has
made them, one for the node and one for the workstation, and a command is a fork of it, with files,
environment, folder and end of its own, as `python -m` and `python -c` have them. Where the imports
are what a test looks at, or a variable that acts on one, it starts a Python of its own.

A server runs nothing but imports and has one thread: no lock, thread or patch of a worker gets into
what it forks.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
LONGEST = 1 << 18
"""Bytes of a request: words, folder and environment."""
NUMBER = struct.Struct("i")


class _Ear:
    """Reads a pipe to its end in a thread, so that nobody who writes into it waits."""

    def __init__(self, pipe: IO[str] | None) -> None:
        self._text = ""
        self._thread = threading.Thread(target=self._listen, args=(pipe,), daemon=True)
        self._thread.start()

    def _listen(self, pipe: IO[str] | None) -> None:
        if pipe is not None:
            with pipe:
                self._text = pipe.read()

    def heard(self, timeout: float | None) -> str:
        self._thread.join(timeout)
        return self._text


class Forked:
    """A command that runs: as much of `subprocess.Popen` as the tests use, all text."""

    def __init__(self, report: int, pipes: Sequence[IO[str] | None]) -> None:
        """Take the file that the server reports to, and our ends of the pipes, None where none."""
        self.returncode: int | None = None
        self._report = report
        self._ears: list[_Ear] | None = None
        (self.pid,) = NUMBER.unpack(os.read(report, NUMBER.size))
        self.stdin, self.stdout, self.stderr = pipes

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code, or minus the signal that ended it."""
        if self.returncode is None:
            with selectors.DefaultSelector() as end:
                end.register(self._report, selectors.EVENT_READ)
                if not end.select(timeout):
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            status = os.read(self._report, NUMBER.size)
            os.close(self._report)
            self.returncode = os.waitstatus_to_exitcode(*NUMBER.unpack(status))
        return self.returncode

    def poll(self) -> int | None:
        """Return what `wait` does, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; return what it said, and complained."""
        if self.stdin is not None:
            self.stdin.close()
        if self._ears is None:
            self._ears = [_Ear(pipe) for pipe in (self.stdout, self.stderr)]
        self.wait(timeout)
        return tuple(ear.heard(timeout) for ear in self._ears)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Starts commands; its process begins with the first and ends with the worker."""

    def __init__(self, *modules: str) -> None:
        """Name the modules that commands import."""
        self.modules = modules
        self._control: socket.socket | None = None

    def start(
        self,
        *words: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO | None = None,
        stdout: int | IO | None = None,
        stderr: int | IO | None = None,
    ) -> Forked:
        """Start `python` with such words (-m, -c or a program first); files as for `Popen`."""
        if self._control is None:
            self._control = self._begin()
        request = {
            "words": [str(word) for word in words],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
        }
        with contextlib.ExitStack() as ours:  # closes what the command alone needs
            pipes: list[IO[str] | None] = []
            files: list[int] = []
            for number, file in enumerate((stdin, stdout, stderr)):
                pipes.append(None)
                if file == subprocess.PIPE:
                    ends = os.pipe()
                    file, end = ends if number == 0 else ends[::-1]
                    pipes[number] = os.fdopen(end, "w" if number == 0 else "r")
                    ours.callback(os.close, file)
                elif file == subprocess.DEVNULL:
                    file = os.open(os.devnull, os.O_RDWR)
                    ours.callback(os.close, file)
                elif file == subprocess.STDOUT:
                    file = files[1]
                elif file is None:
                    file = number
                files.append(file if isinstance(file, int) else file.fileno())
            report, theirs = os.pipe()
            ours.callback(os.close, theirs)
            socket.send_fds(self._control, [json.dumps(request).encode()], [*files, theirs])
        return Forked(report, pipes)

    def run(self, *words: object, **options) -> subprocess.CompletedProcess[str]:
        """Run `python` with such words to its end; return its exit code and all that it says."""
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.start(*words, **pipe | options)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.wait(), out, err)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = os.pathsep.join((str(ROOT / "export"), str(ROOT)))
        with theirs:
            process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *self.modules],
                env=os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

        def end() -> None:
            ours.close()
            process.wait()

        atexit.register(end)
        return ours


node = ForkServer("numpy", "onnxruntime", "robot_ppo_node.app.run")
workstation = ForkServer("torch", "mujoco.batch", "robot_ppo.training.train")


# -- in the server --------------------------------------------------------------------------------


def serve(control: socket.socket) -> dict | None:
    """Fork whenever that is asked for; return the request in the fork, and None at the end."""
    with selectors.DefaultSelector() as ready:
        ready.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is not control:
                    pid, report = key.data
                    ready.unregister(key.fileobj)
                    os.close(key.fd)
                    os.write(report, NUMBER.pack(os.waitpid(pid, 0)[1]))
                    os.close(report)
                    continue
                request, files, *_ = socket.recv_fds(control, LONGEST, 4)
                if not request:
                    return None
                *standard, report = files
                if not (pid := os.fork()):
                    for number, file in enumerate(standard):
                        os.dup2(file, number)
                    return json.loads(request)
                for file in standard:
                    os.close(file)
                os.write(report, NUMBER.pack(pid))
                ready.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))


def become(request: dict) -> None:
    """Run a command in this process, as Python itself would."""
    kind, *arguments = request["words"]
    what = arguments.pop(0) if kind in ("-m", "-c") else kind
    os.closerange(3, 1 + max(map(int, os.listdir("/proc/self/fd"))))  # those of other commands
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    more = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    first = {"-m": request["cwd"], "-c": ""}.get(kind, str(Path(kind).parent))
    sys.path[:1] = [first, *filter(None, more)]
    sys.argv[:] = [kind if kind == "-c" else what, *arguments]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr or stream.isatty())
    if kind == "-m":
        sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    elif kind != "-c":
        runpy.run_path(what, run_name="__main__")
    else:
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(what, "<string>", "exec"), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    number, *modules = sys.argv[1:]
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the suite ends the worker
    with socket.socket(fileno=int(number)) as control:
        request = serve(control)
    if request is not None:
        become(request)
