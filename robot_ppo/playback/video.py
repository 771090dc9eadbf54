r"""Render a simulation without a display: a following camera, an h264 file, and a plot.

    camera = FollowCamera(model, "base_link", qpos=robot.standing_qpos())
    size = 1280, 720
    with Picture(model, *size) as picture, Video(Path("out.mp4"), 50, *size) as video:
        camera.follow(data)
        video.add(picture.render(data, camera.camera, "command\nmeasured", "0.5\n0.48"))

Rendering is off-screen through EGL, with or without a display, unless MUJOCO_GL says otherwise.
"""

import io
import itertools
import os
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import mujoco
import numpy as np

from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

NO_GL = (
    "a video needs OpenGL, and none can be started here ({error}). Install it (Debian, Ubuntu: "
    "`apt-get install libegl1 libgl1-mesa-dri`) or leave out --video; --plot works without"
)
_COMMAND, _MEASURED = "#3b4252", "#e8731a"
DISTANCE, NEAREST = 1.7, 0.8
"""Distance of the camera in diagonals of the robot, and at least [m]."""
_CRF = "21"
"""Quality of x264, lower is better: 12 s stay well below 6 MB."""


class FollowCamera:
    """A camera that follows the robot smoothly, from beside, in front and above."""

    def __init__(
        self,
        model: mujoco.MjModel,
        body: str,
        time_constant: float = 0.35,
        qpos: np.ndarray | None = None,
    ) -> None:
        """Look at `body`, and follow it with a lag of `time_constant` [s].

        Args:
            model: the world.
            body: the robot's base.
            time_constant: [s]
            qpos: (nq,) in which the robot is as large as it becomes, by default the model's own.
        """
        size = extent(model, body, model.qpos0 if qpos is None else qpos)
        self.camera = mujoco.MjvCamera()
        self.camera.azimuth, self.camera.elevation = 140, -16
        self.camera.distance = max(DISTANCE * float(np.linalg.norm(size)), NEAREST)
        self._height = float(size[2]) / 2
        self._body = model.body(body).id
        self._constant = time_constant
        self._time: float | None = None

    def follow(self, data: mujoco.MjData) -> None:
        """Move on to the time of `data`; a first-order low-pass filter removes steps and sway."""
        wanted = data.xpos[self._body].copy()
        wanted[2] = self._height  # the trunk's bobbing must stay visible
        if self._time is None:
            self.camera.lookat[:] = wanted
        else:
            share = -np.expm1(-(data.time - self._time) / self._constant)
            self.camera.lookat[:] += share * (wanted - self.camera.lookat)
        self._time = data.time


def extent(model: mujoco.MjModel, body: str, qpos: np.ndarray) -> np.ndarray:
    """Return the sides (3,) [m] of the box around a body and all that hangs on it."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    root = model.body_rootid[model.body(body).id]
    geoms = np.flatnonzero(model.body_rootid[model.geom_bodyid] == root)
    if not len(geoms):
        return np.zeros(3)
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    boxes = model.geom_aabb.reshape(-1, 2, 3)[geoms]
    corners = boxes[:, :1] + signs * boxes[:, 1:]
    world = np.einsum("gij,gcj->gci", data.geom_xmat[geoms].reshape(-1, 3, 3), corners)
    world += data.geom_xpos[geoms, None]
    return np.ptp(world.reshape(-1, 3), axis=0)


def show_robot(model: mujoco.MjModel, option: mujoco.MjvOption) -> None:
    """Draw the collision geoms of a robot that has no others, and no sites, in place."""
    geoms = model.geom_group[model.geom_bodyid > 0]
    if not option.geomgroup[geoms].any():
        option.geomgroup[geoms] = 1
    option.sitegroup[:] = 0


class Picture:
    """An off-screen OpenGL context for one model; use it in a `with` block."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Make the context, or raise `InputError` with the library to install."""
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        self._model = model
        self._context: mujoco.MjrContext | None = None
        self._gl: Any = None
        try:
            self._gl = _gl_context(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        except Exception as error:  # mujoco raises what its back end raises: no common type
            self.close()
            raise InputError(NO_GL.format(error=" ".join(str(error).split())[:120])) from None
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()
        show_robot(model, self._option)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)

    def render(
        self, data: mujoco.MjData, camera: mujoco.MjvCamera, left: str = "", right: str = ""
    ) -> np.ndarray:
        """Return the picture (height, width, 3) uint8, with two columns of text; a fresh array."""
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            self._perturb,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        if left:
            font, corner = mujoco.mjtFont.mjFONT_NORMAL, mujoco.mjtGridPos.mjGRID_TOPLEFT
            mujoco.mjr_overlay(font, corner, self._rect, left, right, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return np.ascontiguousarray(self._pixels[::-1])  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._context.free()
        if self._gl is not None:
            self._gl.free()
        self._context = self._gl = None

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Video:
    """An h264 mp4 that gets its name only when it is complete; use it in a `with` block.

    Without a single frame there is no file.
    """

    def __init__(self, path: Path, fps: int, width: int, height: int) -> None:
        """Open a temporary file beside `path`, or raise `InputError`."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        self._whole = Path(self._folder.name) / "video.mp4"
        self._file = av.open(str(self._whole), "w", options={"movflags": "+faststart"})
        stream = self._file.add_stream("libx264", rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": _CRF, "preset": "veryfast"}
        self._stream = stream
        self._frames = 0

    def add(self, picture: np.ndarray) -> None:
        """Append one frame (height, width, 3) uint8."""
        self._frames += 1
        self._file.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and give it its name; after an error, leave nothing behind."""
        whole = kind is None and self._frames > 0
        try:
            if whole:
                self._file.mux(self._stream.encode())
            self._file.close()
            if whole:
                os.replace(self._whole, self.path)
        except OSError as failure:
            raise InputError(f"{self.path}: cannot be written ({failure.strerror})") from None
        finally:
            self._folder.cleanup()


def _gl_context(width: int, height: int) -> Any:
    """Return an OpenGL context of mujoco's, not yet current."""
    if sys.platform != "linux" or os.environ.get("MUJOCO_GL", "egl") != "egl":
        return mujoco.GLContext(width, height)
    # mujoco.GLContext was chosen when mujoco was imported, which is over; its C side asks now.
    os.environ["MUJOCO_GL"] = "egl"
    from mujoco.egl import GLContext

    return GLContext(width, height)


def write_plot(
    path: Path,
    time: np.ndarray,
    command: np.ndarray,
    velocity: np.ndarray,
    height: np.ndarray,
    contacts: np.ndarray,
    feet: tuple[str, ...],
) -> None:
    """Write a PNG of `T` ticks: commanded against measured velocity, base height, gait.

    Args:
        path: file to write, atomically.
        time: (T,) [s]
        command: (T, 3) vx, vy [m/s], yaw rate [rad/s]
        velocity: (T, 3) the same, as measured
        height: (T,) of the base [m]
        contacts: (T, feet) bool
        feet: their names.
    """
    from matplotlib.figure import Figure  # without pyplot there is no window system to look for

    figure = Figure(figsize=(10, 9), dpi=120, layout="constrained")
    axes = figure.subplots(5, sharex=True, height_ratios=(3, 3, 3, 2, 2))
    for i, label in enumerate(("forward [m/s]", "left [m/s]", "turn left [rad/s]")):
        axes[i].plot(time, velocity[:, i], color=_MEASURED, linewidth=1.2, label="measured")
        axes[i].step(time, command[:, i], color=_COMMAND, where="post", label="commanded")
        axes[i].set_ylabel(label)
        low, high = axes[i].get_ylim()
        axes[i].set_ylim(min(low, -0.5), max(high, 0.5))  # small errors must look small
    axes[0].legend(loc="upper right", ncols=2, frameon=False)
    axes[3].plot(time, height, color=_MEASURED, linewidth=1.2)
    axes[3].set_ylabel("base height [m]")
    axes[3].set_ylim(0, max(0.4, 1.1 * float(np.max(height, initial=0))))
    _plot_gait(axes[4], time, contacts, feet)
    axes[4].set_xlabel("time [s]")
    axes[4].set_xlim(0, float(time[-1]) if len(time) > 1 else 1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="both", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    figure.align_ylabels(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _plot_gait(axis: Any, time: np.ndarray, contacts: np.ndarray, feet: tuple[str, ...]) -> None:
    """Draw a bar for every time that a foot is on the ground, the first foot at the top."""
    tick = float(time[1] - time[0]) if len(time) > 1 else 0.0
    for row, foot in enumerate(reversed(feet)):
        down = np.concatenate(([False], contacts[:, feet.index(foot)], [False])).astype(np.int8)
        starts, ends = np.flatnonzero(np.diff(down) == 1), np.flatnonzero(np.diff(down) == -1)
        bars = [(time[a], time[b - 1] - time[a] + tick) for a, b in zip(starts, ends, strict=True)]
        axis.broken_barh(bars, (row - 0.35, 0.7), facecolors=_COMMAND)
    axis.set_yticks(range(len(feet)), list(reversed(feet)))
    axis.set_ylabel("on the ground")
