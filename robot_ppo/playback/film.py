"""Films: what is to be seen is recorded first, then drawn, by two processes where there is time.

    film = Film(robot.model, camera)
    film.record(robot.data, "policy", "forward")     # while it moves
    film.write(Path("walk.mp4"), fps=25)             # afterwards

A recorded frame is a position, not a picture, so recording costs nothing and what is shown does not
wait for it. Without a GPU, drawing is what takes time: each process draws every n-th frame.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
import mujoco
import numpy as np

from robot_ppo.playback.video import Video
from robot_ppo.rendering import picture
from robot_ppo.rendering.camera import FollowCamera
from robot_ppo.rendering.picture import Quality
from robot_ppo_export.errors import InputError

SIZE = (1280, 720)
"""Width and height of a film [pixels]."""
PROCESSES = 4
"""At most so many draw."""
WORTH_A_PROCESS = 50
"""Frames below which starting another process takes longer than it saves."""


@dataclass(frozen=True)
class Frame:
    """One picture to be: positions and text."""

    qpos: np.ndarray
    """(nq,)"""
    lookat: np.ndarray
    """(3,) [m] in the world"""
    left: str
    right: str


@dataclass(frozen=True)
class Job:
    """What one process draws."""

    model: mujoco.MjModel
    azimuth: float
    elevation: float
    distance: float
    frames: list[Frame]
    size: tuple[int, int]
    quality: Quality


class Film:
    """A film that is being recorded."""

    def __init__(self, model: mujoco.MjModel, camera: FollowCamera) -> None:
        """Record positions of `model`, seen by `camera`."""
        self._model = model
        self._camera = camera
        self.frames: list[Frame] = []

    def record(self, data: mujoco.MjData, left: str = "", right: str = "") -> None:
        """Append a frame, with two columns of text."""
        lookat = np.array(self._camera.camera.lookat)
        self.frames.append(Frame(data.qpos.copy(), lookat, left, right))

    def write(
        self,
        path: Path,
        fps: int,
        *,
        size: tuple[int, int] | None = None,
        quality: Quality = "fast",
        crf: int | None = None,
    ) -> None:
        """Draw the frames and write them as an mp4; without a frame there is no file.

        Args:
            path: of the file.
            fps: frames per second.
            size: width and height [pixels], by default `SIZE`.
            quality: see `picture.of`.
            crf: of x264, see `Video`.
        """
        size = size or SIZE
        camera = self._camera.camera
        view = camera.azimuth, camera.elevation, camera.distance
        job = Job(self._model, *view, self.frames, size, quality)
        with Video(path, fps, *size, crf) as video:
            for planes in _progress(_drawn(job), len(self.frames)):
                video.add_planes(planes)


def planes(job: Job) -> Iterator[bytes]:
    """Yield the frames of `job` as the planes of yuv420p, one after the other.

    Raises:
        InputError: there is no OpenGL.
    """
    data = mujoco.MjData(job.model)
    camera = mujoco.MjvCamera()
    camera.azimuth = job.azimuth
    camera.elevation = job.elevation
    camera.distance = job.distance
    with picture.of(job.model, *job.size, job.quality) as drawn:
        for frame in job.frames:
            data.qpos[:] = frame.qpos
            camera.lookat[:] = frame.lookat
            mujoco.mj_kinematics(job.model, data)
            mujoco.mj_comPos(job.model, data)  # lights and cameras may follow a centre of mass
            mujoco.mj_camlight(job.model, data)
            pixels = np.ascontiguousarray(drawn.render(data, camera, frame.left, frame.right))
            rgb = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            yield rgb.reformat(format="yuv420p").to_ndarray().tobytes()


def _drawn(job: Job) -> Iterator[bytes]:
    """Yield the frames of `job` in order, drawn by as many processes as are worth it."""
    n = min(PROCESSES, _cores(), len(job.frames) // WORTH_A_PROCESS)
    if n < 2:
        yield from planes(job)
        return
    with ExitStack() as stack:
        painters = [stack.enter_context(_Painter(_part(job, i, n))) for i in range(n)]
        for i in range(len(job.frames)):
            yield painters[i % n].read()


def _part(job: Job, i: int, n: int) -> Job:
    """Return every n-th frame of `job`, from the i-th on."""
    view = job.azimuth, job.elevation, job.distance
    return Job(job.model, *view, job.frames[i::n], job.size, job.quality)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Painter:
    """A process that draws frames; use it in a `with` block."""

    def __init__(self, job: Job) -> None:
        self._bytes = job.size[0] * job.size[1] * 3 // 2
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        # OpenGL on the CPU starts threads of its own, which would only get into each other's way.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LP_NUM_THREADS": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robot_ppo.playback.painter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent, which ends it
        )
        with contextlib.suppress(BrokenPipeError), _pipe(self._process.stdin) as pipe:
            pickle.dump(job, pipe)

    def read(self) -> bytes:
        """Return the next frame, or raise `InputError` with what the process said last."""
        planes = _pipe(self._process.stdout).read(self._bytes)
        if len(planes) == self._bytes:
            return planes
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        raise InputError(said[-1] if said else f"drawing ended with {self._process.returncode}")

    def __enter__(self) -> "_Painter":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()
        self._errors.close()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _progress(frames: Iterator[bytes], total: int) -> Iterator[bytes]:
    """Yield `frames` and show on a terminal how many are done and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("Filming"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(frames, total=total)
