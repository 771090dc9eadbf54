"""Views of an environment: pictures for `rgb_array`, a window for `human`.

    env = Rendered(make_task(task, 4), "rgb_array")
    env.reset()
    frames = env.render()                 # 4 x (480, 480, 3) uint8

A picture shows a simulation as it is after the last step. Where an episode ended in that step this
is the start of the next one, as in Gymnasium's own vector environments, except in `final_frame`.
"""

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import mujoco
import numpy as np

from robot_ppo import project
from robot_ppo.rendering import picture
from robot_ppo.rendering.camera import FollowCamera, show_robot
from robot_ppo.robot_model.variants import eval_model
from robot_ppo_export.errors import InputError
from robot_ppo_node.clock import MonotonicClock, Pacer

if TYPE_CHECKING:
    from robot_ppo.envs.environment import Environment
    from robot_ppo.envs.robot.robot_env import RobotEnv

SIZE = 480
"""Width and height of a picture [pixels], as Gymnasium's."""
MODES = ("rgb_array", "human")
NO_DISPLAY = (
    'render_mode="human" opens a window, and there is no display here: take "rgb_array", or '
    "`robot-ppo play --video`"
)


class Rendered(gymnasium.vector.VectorWrapper):
    """An environment on `mujoco.batch` that renders images or a window."""

    def __init__(
        self, env: "Environment", render_mode: str, width: int = SIZE, height: int = SIZE
    ) -> None:
        """Prepare pictures of `width` x `height` pixels, or a window on the first simulation.

        Raises:
            InputError: no such mode, or no display for a window.
        """
        if render_mode not in MODES:
            raise InputError(f"render_mode {render_mode!r}: there are {', '.join(MODES)}")
        super().__init__(cast("gymnasium.vector.VectorEnv", env))
        self._base: Any = env
        self._view = _robot_view(cast("Any", env)) if hasattr(env, "robot") else _task_view(env)
        seconds = _period(self._base)
        self.metadata = {**env_metadata(self._base), "render_fps": round(1 / seconds)}
        self._mode = render_mode
        self._size = (width, height)
        self._picture: picture.Picture | None = None
        self._final: np.ndarray | None = None
        self._base.on_end = self._keep
        self._window = _Window(self._view, seconds) if render_mode == "human" else None

    @property
    def render_mode(self) -> str:
        """Render mode, given at construction."""
        return self._mode

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Start every episode anew, and show it where there is a window."""
        self._final = None
        result = self.env.reset(**kwargs)
        self._show()
        return result

    def step(self, actions: np.ndarray) -> Any:
        """Advance by one action each, and show it where there is a window."""
        self._final = None
        result = self.env.step(actions)
        self._show()
        return result

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return one picture (height, width, 3) uint8 of every simulation, None with a window."""
        if self._window:
            return None
        return tuple(self._draw(qpos) for qpos in self._base.engine.qpos)

    def final_frame(self) -> np.ndarray | None:
        """Return the last picture of an episode of simulation 0 that ended in this step."""
        return None if self._final is None else self._draw(self._final)

    def close(self, **kwargs: Any) -> None:
        """Free the pictures, close the window."""
        if self._picture:
            self._picture.close()
        if self._window:
            self._window.close()
        self._picture = self._window = None
        self.env.close(**kwargs)

    def _keep(self, ended: np.ndarray) -> None:
        """Keep the last position of simulation 0 before it is reset."""
        if 0 in ended:
            self._final = np.array(self._base.engine.qpos[0])

    def _show(self) -> None:
        if self._window:
            self._window.show(self._base.engine.qpos[0])

    def _draw(self, qpos: np.ndarray) -> np.ndarray:
        if self._picture is None:
            self._picture = self._view.picture(*self._size)
        return np.ascontiguousarray(self._picture.render(self._view.at(qpos), self._view.camera))


class _View:
    """A model to look at, a camera, and how both follow a simulation."""

    def __init__(
        self, model: mujoco.MjModel, camera: mujoco.MjvCamera, follow: FollowCamera | None = None
    ) -> None:
        self.model = model
        self.camera = camera
        self.follow = follow
        self.data = mujoco.MjData(model)

    def at(self, qpos: np.ndarray) -> mujoco.MjData:
        """Return the data at the position `qpos` (nq,), with the camera moved there."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)  # a camera may follow a centre of mass
        mujoco.mj_camlight(self.model, self.data)
        if self.follow:
            self.follow.jump(self.data)
        return self.data

    def picture(self, width: int, height: int) -> picture.Picture:
        """Return what draws it."""
        if self.follow:
            return picture.of(self.model, width, height)
        return picture.Picture(self.model, width, height, picture.SMALL)


def _robot_view(env: "RobotEnv") -> _View:
    """Return the robot as it looks, although what is simulated are its feet."""
    robot = env.robot
    xml = project.robot_folder(env.task.robot) / robot.model
    field = env.placement.tiles.field if env.placement else None
    model = eval_model(robot, xml, with_visuals=True, ground=field)
    qpos = model.qpos0.copy()
    qpos[env.engine.joint_qpos] = robot.vector("default")
    height = env.engine.ground.height
    follow = FollowCamera(model, robot.base.body, qpos=qpos, ground=height)
    return _View(model, follow.camera, follow)


def _task_view(env: Any) -> _View:
    """Return a task of Gymnasium, from its own camera where it has one."""
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(env.model, camera)
    track = mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if track >= 0:
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = track
    return _View(env.model, camera)


def _period(env: Any) -> float:
    """Return the time of one action [s]."""
    return env.task.control_period if hasattr(env, "robot") else env.task.dt


def env_metadata(env: Any) -> dict[str, Any]:
    """Return the metadata of an environment that renders."""
    return {**env.metadata, "render_modes": list(MODES)}


def has_display() -> bool:
    """Return whether a window can be opened."""
    return sys.platform != "linux" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


class _Window:
    """A window that shows one simulation in real time."""

    def __init__(self, view: _View, seconds: float) -> None:
        if not has_display():
            raise InputError(NO_DISPLAY)
        import mujoco.viewer

        self._view = view
        data = view.at(view.model.qpos0)
        self._viewer = mujoco.viewer.launch_passive(
            view.model, data, show_left_ui=False, show_right_ui=False
        )
        show_robot(view.model, self._viewer.opt)
        self._pacer = Pacer(MonotonicClock(), seconds)

    def show(self, qpos: np.ndarray) -> None:
        """Show a position (nq,), and wait until it is due."""
        if not self._viewer.is_running():
            return
        with self._viewer.lock():
            self._view.at(qpos)
            for name in ("type", "fixedcamid", "azimuth", "elevation", "distance"):
                setattr(self._viewer.cam, name, getattr(self._view.camera, name))
            self._viewer.cam.lookat[:] = self._view.camera.lookat
        self._viewer.sync()
        self._pacer.wait()

    def close(self) -> None:
        """Close it."""
        self._viewer.close()
