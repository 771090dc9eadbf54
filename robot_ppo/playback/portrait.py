"""A picture of a robot that stands in its default pose: `robot-ppo check ROBOT --picture FILE`.

portrait.write(Path("go2.png"), robot, Path("robots/go2/go2.xml"))
"""

import io
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

from robot_ppo.rendering import picture
from robot_ppo.rendering.camera import extent
from robot_ppo.robot_model import variants
from robot_ppo.sim import ground, tiles
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.files import write_atomically

WIDTH = 400
HEIGHT = 340
"""[pixels]"""
_COLOURS = 128
"""Of the palette: a picture stays below 40 kB."""
_DISTANCE = 0.85
"""Of the camera, in sums of the robot's sides."""
_AROUND = 8.0
"""Distance of the camera that shows the ground around a robot [m]."""


def write(path: Path, robot: RobotSpec, xml: Path, terrain: str | None = None) -> None:
    """Write a PNG of `robot`; `InputError` where the file cannot be written or without OpenGL.

    It stands on level ground, or on a kind and level of `terrain` such as "stairs_up:0.6".
    """
    buffer = io.BytesIO()
    drawn = render(robot, xml) if terrain is None else on_ground(robot, xml, terrain)
    image = Image.fromarray(drawn).quantize(_COLOURS, dither=Image.Dither.NONE)
    image.save(buffer, format="png", optimize=True)
    write_atomically(path, buffer.getvalue())


def render(robot: RobotSpec, xml: Path) -> np.ndarray:
    """Return the picture (HEIGHT, WIDTH, 3) uint8, from beside, in front and above."""
    model = variants.eval_model(robot, xml, with_visuals=True)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    size = extent(model, robot.base.body, data.qpos)
    camera = mujoco.MjvCamera()
    camera.azimuth = 135
    camera.elevation = -14
    camera.lookat[:] = (*data.xpos[model.body(robot.base.body).id, :2], size[2] / 2)
    camera.distance = _DISTANCE * float(size.sum())
    with picture.of(model, WIDTH, HEIGHT, "high") as drawn:
        return drawn.render(data, camera)


def on_ground(robot: RobotSpec, xml: Path, terrain: str) -> np.ndarray:
    """Return the picture (HEIGHT, WIDTH, 3) uint8 of a robot in the middle of rough ground."""
    field = tiles.course(*tiles.parse(terrain))
    model = variants.eval_model(robot, xml, with_visuals=True, ground=field)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    base = model.joint(int(model.body(robot.base.body).jntadr[0])).qposadr[0]
    below = float(ground.of(SingleEngine(model)).height(*data.qpos[base : base + 2]))
    data.qpos[base + 2] += below
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.azimuth = 125
    camera.elevation = -33
    camera.lookat[:] = (*data.qpos[base : base + 2], below)
    camera.distance = _AROUND
    with picture.of(model, WIDTH, HEIGHT, "high") as drawn:
        return drawn.render(data, camera)
