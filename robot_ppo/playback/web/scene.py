"""mujoco's web viewer: the browser draws, this process only says where everything is.

The viewer of mujoco 4.0 listens on every interface of the computer, with no word of who may come.
Here it gets a socket in a folder of this user's own instead, which no browser can open; `gate.py`
lets in who may.
"""

import contextlib
import io
import socket
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from robot_ppo.rendering.camera import FollowCamera, show_robot
from robot_ppo.sim import ground
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.errors import InputError

NO_STUDIO = (
    "--web needs mujoco.studio, which comes with mujoco 4 and is not in the installed one "
    "({error}): pip install 'robot-ppo[train]' 'mujoco>=4'"
)
ARROWS = {"command": (0.23, 0.26, 0.32, 0.9), "velocity": (0.91, 0.45, 0.10, 0.9)}
"""What an arrow shows -> its colour."""
PER_SPEED = 0.6
"""Length of an arrow [m] per speed [m/s]."""
SHORTEST = 0.02
"""Speed [m/s] below which nothing is to be seen."""


class Scene:
    """The viewer of one model."""

    def __init__(self, model: mujoco.MjModel, body: str, standing: np.ndarray, path: Path) -> None:
        """Serve `model` on a socket at `path`.

        Args:
            model: the world.
            body: the robot's base.
            standing: (nq,) in which the robot is as large as it becomes.
            path: of the socket.

        Raises:
            InputError: the installed mujoco has no web viewer.
        """
        self._model = model
        self._data = mujoco.MjData(model)
        self._body = model.body(body).id
        height = ground.of(SingleEngine(model)).height
        self._follow = FollowCamera(model, body, qpos=standing, ground=height)
        self._height = float(standing[2]) if len(standing) > 2 else 0.0
        self._geoms: list[mujoco.MjvGeom] = []
        option = mujoco.MjvOption()
        show_robot(model, option)
        self._viewer = _viewer(model, self._follow.camera, option, path)
        self._viewer.data = self._data
        self._viewer.extra_geoms = self._geoms

    def show(self, qpos: np.ndarray, time: float, command: Any, velocity: Any) -> None:
        """Move the robot to `qpos` (nq,), and its arrows.

        Args:
            qpos: positions.
            time: of the simulation [s].
            command: of a twist, vx, vy [m/s] and more; empty where there is none.
            velocity: vx, vy [m/s] in the body frame.
        """
        self._data.qpos[:] = qpos
        self._data.time = time
        mujoco.mj_kinematics(self._model, self._data)
        before = self._follow.camera.lookat.copy()
        self._follow.follow(self._data)
        self._viewer.camera.lookat[:] += self._follow.camera.lookat - before
        self._geoms.clear()
        for name, speed, above in (("command", command, 0.16), ("velocity", velocity, 0.13)):
            if len(speed) >= 2 and np.hypot(*speed[:2]) >= SHORTEST:
                self._geoms.append(self._arrow(name, speed, above))

    def draw(self) -> bool:
        """Send the newest state to the browsers; return False once the viewer is closed."""
        viewer = self._viewer
        frame = viewer.prepare_next_frame()
        for event in viewer.get_sim_events():
            viewer.dispatch(event)
        if not viewer.is_running():
            return False
        if frame:
            viewer.sync()
        return True

    def close(self) -> None:
        """Close the viewer."""
        self._viewer.close()

    def _arrow(self, name: str, velocity: Any, above: float) -> mujoco.MjvGeom:
        """Return an arrow above the trunk, along `velocity` (2,) [m/s] of the body frame."""
        turn = self._data.xmat[self._body].reshape(3, 3)
        forward = turn[:2, 0] / (np.linalg.norm(turn[:2, 0]) + 1e-9)
        left = np.array([-forward[1], forward[0]])
        way = (velocity[0] * forward + velocity[1] * left) * PER_SPEED
        start = self._data.xpos[self._body] + np.array([0.0, 0.0, above])
        end = start + np.array([*way, 0.0])
        geom = mujoco.MjvGeom()
        kind = mujoco.mjtGeom.mjGEOM_ARROW
        colour = np.array(ARROWS[name], np.float32)
        mujoco.mjv_initGeom(geom, kind, np.zeros(3), np.zeros(3), np.eye(3).ravel(), colour)
        mujoco.mjv_connector(geom, kind, 0.012, start, end)
        geom.category = mujoco.mjtCatBit.mjCAT_DECOR.value
        return geom


def _viewer(
    model: mujoco.MjModel,
    camera: mujoco.MjvCamera,
    option: mujoco.MjvOption,
    path: Path,
) -> Any:
    """Return mujoco's viewer on a socket at `path`; what it prints of an address is not true."""
    try:
        from mujoco.studio import launch_thread, viewer_protocol, web_viewer
        from mujoco.studio.web import web_server
    except ImportError as error:
        raise InputError(NO_STUDIO.format(error=error)) from None
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    endpoint, _ = launch_thread.make_thread_endpoints()
    public = web_server.bind_public_socket
    web_server.bind_public_socket = lambda host, port=0: listening
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return web_viewer.WebViewer(
                viewer_protocol.ViewerConfig(title="robot-ppo", gfx="web"),
                endpoint,
                model=model,
                camera=camera,
                vis_options=option,
            )
    finally:
        web_server.bind_public_socket = public
