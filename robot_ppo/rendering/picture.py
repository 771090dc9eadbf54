r"""Pictures of a simulation, off-screen through EGL unless MUJOCO_GL says otherwise.

    with picture.of(model, 1280, 720) as drawn:
        pixels = drawn.render(data, camera, "command\nmeasured", "0.5\n0.48")

Without a GPU, OpenGL runs on the CPU, and a frame of a robot takes most of its time in triangles
and antialiasing. `fast` draws the ground in one plain pass, and over it the rectangle that holds
the robot and its shadow, with the shadow, and smooths the edges in there (edges.py), which costs a
sixth of what OpenGL's antialiasing does. `high` draws everything at full detail.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Literal

import mujoco
import numpy as np

from robot_ppo.rendering import edges
from robot_ppo.rendering.camera import corners, show_robot
from robot_ppo.rendering.part import haze_begins, narrow, rectangle
from robot_ppo_export.errors import InputError

NO_GL = (
    "a video needs OpenGL, and none can be started here ({error}). Install it (Debian, Ubuntu: "
    "`apt-get install libegl1 libgl1-mesa-dri`) or leave out --video; --plot works without"
)
Quality = Literal["fast", "high"]
MAX_GEOMS = 2000


@dataclass(frozen=True)
class Detail:
    """The fineness with which an OpenGL context draws."""

    samples: int
    """Antialiasing samples per pixel, 0 for none."""
    slices: int
    """Sides of a cylinder."""
    stacks: int
    """Rings of a ball."""
    quads: int
    """Rectangles along the side of a box."""
    shadow_map: int
    """Sides of the square shadow map [pixels]."""
    shadow_clip: float | None = None
    """Half side of what the shadow map covers, in extents of the model; None: the model's own."""


HIGH = Detail(samples=4, slices=20, stacks=12, quads=4, shadow_map=4096)
WHOLE = Detail(samples=0, slices=16, stacks=6, quads=1, shadow_map=2048)
"""A fast picture of a world that is more than a robot on a floor."""
SMALL = Detail(samples=4, slices=20, stacks=10, quads=4, shadow_map=1024)
"""For pictures of a few hundred pixels."""
ROBOT = Detail(samples=0, slices=16, stacks=5, quads=1, shadow_map=1024, shadow_clip=2.0)


def of(model: mujoco.MjModel, width: int, height: int, quality: Quality = "fast") -> "Picture":
    """Return what draws `model`; use it in a `with` block.

    Raises:
        InputError: there is no OpenGL; the sentence says what to install.
    """
    if quality == "high":
        return Picture(model, width, height, HIGH)
    if is_robot_on_floor(model):
        return RobotPicture(model, width, height)
    return FastPicture(model, width, height)


def is_robot_on_floor(model: mujoco.MjModel) -> bool:
    """Return whether nothing but robots stands on one floor at height 0, lit by suns."""
    world = np.flatnonzero(model.geom_bodyid == 0)
    plane = model.geom_type[world] == mujoco.mjtGeom.mjGEOM_PLANE
    level = np.abs(model.geom_pos[world, 2]) + np.abs(model.geom_quat[world, 1:]).sum(axis=1)
    cast = model.light_castshadow.astype(bool)
    suns = model.light_type[cast] == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    return bool(len(world) == 1 and plane.all() and not level.any() and suns.all())


class Picture:
    """An off-screen OpenGL context for one model; use it in a `with` block."""

    def __init__(
        self, model: mujoco.MjModel, width: int, height: int, detail: Detail = HIGH
    ) -> None:
        """Make the context, or raise `InputError` with the library to install."""
        self._model = model
        self._context: mujoco.MjrContext | None = None
        self._gl: Any = None
        _set_detail(model, width, height, detail)
        try:
            self._gl = _gl_context(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        except Exception as error:  # mujoco raises what its back end raises: no common type
            self.close()
            raise InputError(NO_GL.format(error=" ".join(str(error).split())[:120])) from None
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self.scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self.option = mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        show_robot(model, self.option)
        self.rect = mujoco.MjrRect(0, 0, width, height)

    def render(
        self, data: mujoco.MjData, camera: mujoco.MjvCamera, left: str = "", right: str = ""
    ) -> np.ndarray:
        """Return the picture (height, width, 3) uint8, with two columns of text; a fresh array."""
        self.update(data, camera)
        self.draw(self.rect)
        self.caption(left, right)
        return self.read(self.rect)[::-1]  # OpenGL's first row is the lowest

    def update(
        self, data: mujoco.MjData, camera: mujoco.MjvCamera, *, world_only: bool = False
    ) -> None:
        """Take what is drawn next from `data`, all of it or what does not move."""
        category = mujoco.mjtCatBit
        shown = category.mjCAT_STATIC if world_only else category.mjCAT_ALL
        mujoco.mjv_updateScene(
            self._model, data, self.option, self._perturb, camera, shown.value, self.scene
        )

    def draw(self, rect: mujoco.MjrRect) -> None:
        """Draw the scene."""
        self._gl.make_current()
        mujoco.mjr_render(rect, self.scene, self._context)

    def caption(self, left: str, right: str) -> None:
        """Write two columns of text into the upper left corner."""
        if left:
            font = mujoco.mjtFont.mjFONT_NORMAL
            corner = mujoco.mjtGridPos.mjGRID_TOPLEFT
            mujoco.mjr_overlay(font, corner, self.rect, left, right, self._context)

    def read(self, rect: mujoco.MjrRect) -> np.ndarray:
        """Return what was drawn, (rect's height, width, 3) uint8, lowest row first."""
        pixels = np.empty((rect.height, rect.width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, rect, self._context)
        return pixels

    def close(self) -> None:
        """Free the context."""
        if self._gl is not None:
            self._gl.make_current()
        if self._context is not None:
            self._context.free()
        if self._gl is not None:
            self._gl.free()
        self._context = self._gl = None

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FastPicture(Picture):
    """A picture that is drawn without antialiasing, with edges smoothed afterwards."""

    def __init__(
        self, model: mujoco.MjModel, width: int, height: int, detail: Detail = WHOLE
    ) -> None:
        """Make the context, or raise `InputError` with the library to install."""
        super().__init__(model, width, height, detail)

    def render(
        self, data: mujoco.MjData, camera: mujoco.MjvCamera, left: str = "", right: str = ""
    ) -> np.ndarray:
        """Return the picture (height, width, 3) uint8, with two columns of text; a fresh array."""
        self.update(data, camera)
        self.draw(self.rect)
        return self.smoothed(self.rect, left, right)[::-1]

    def smoothed(self, rect: mujoco.MjrRect, left: str, right: str) -> np.ndarray:
        """Return what was drawn, lowest row first, smooth in `rect`, with sharp text over it."""
        drawn = self.read(rect)
        self.caption(left, right)
        pixels = self.read(self.rect)
        rows = slice(rect.bottom, rect.bottom + rect.height)
        part = pixels[rows, rect.left : rect.left + rect.width]
        smooth = drawn.copy()
        edges.smooth(smooth)
        text = (part != drawn).any(axis=2, keepdims=True)
        np.copyto(part, smooth, where=~text)
        return pixels


class RobotPicture(FastPicture):
    """A fast picture of robots on a floor: the floor plain, the robots' rectangle over it."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Make the context, or raise `InputError` with the library to install."""
        super().__init__(model, width, height, ROBOT)
        self._geoms = np.flatnonzero(model.geom_bodyid > 0)

    def render(
        self, data: mujoco.MjData, camera: mujoco.MjvCamera, left: str = "", right: str = ""
    ) -> np.ndarray:
        """Return the picture (height, width, 3) uint8, with two columns of text; a fresh array."""
        self._show(shadows=False, sky=True)
        self.update(data, camera, world_only=True)
        self.draw(self.rect)
        rect = self._draw_robots(data, camera)
        if rect is None:
            self.caption(left, right)
            return self.read(self.rect)[::-1]
        return self.smoothed(rect, left, right)[::-1]

    def _draw_robots(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> mujoco.MjrRect | None:
        """Draw the robots' rectangle, with their shadow; return it, None where none is seen."""
        self.update(data, camera)
        width = self.rect.width
        height = self.rect.height
        rect = rectangle(self.scene, self._points(data), width, height)
        if rect is not None:
            haze = float(self._model.vis.map.haze)
            above = rect.bottom + rect.height > haze_begins(self.scene, haze, height)
            self._show(shadows=True, sky=above)
            narrow(self.scene, rect, width, height)
            self.draw(rect)
        return rect

    def _show(self, *, shadows: bool, sky: bool) -> None:
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = sky

    def _points(self, data: mujoco.MjData) -> np.ndarray:
        """Return points (m, 3) [m] around the robots and around their shadows on the floor."""
        points = corners(self._model, data, self._geoms)
        cast = self._model.light_castshadow.astype(bool)
        shadows = [
            points - points[:, 2:] * (sun / sun[2])
            for sun in data.light_xdir[cast]
            if sun[2] < -0.1
        ]
        return np.concatenate((points, *shadows))


def _set_detail(model: mujoco.MjModel, width: int, height: int, detail: Detail) -> None:
    """Write into `model` what a context reads of it when it is made."""
    visual = model.vis
    quality = model.vis.quality
    visual.global_.offwidth = width
    visual.global_.offheight = height
    quality.offsamples = detail.samples
    quality.shadowsize = detail.shadow_map
    quality.numslices = detail.slices
    quality.numstacks = detail.stacks
    quality.numquads = detail.quads
    if detail.shadow_clip is not None:
        visual.map.shadowclip = detail.shadow_clip


def _gl_context(width: int, height: int) -> Any:
    """Return an OpenGL context of mujoco's, not yet current."""
    if sys.platform != "linux" or os.environ.get("MUJOCO_GL", "egl") != "egl":
        return mujoco.GLContext(width, height)
    # mujoco.GLContext was chosen when mujoco was imported, which is over; its C side asks now.
    os.environ["MUJOCO_GL"] = "egl"
    from mujoco.egl import GLContext

    return GLContext(width, height)
