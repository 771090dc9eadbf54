"""Show the simulated robot in real time: `mujoco.viewer` with a following camera."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mujoco.viewer

from robot_ppo.rendering.camera import FollowCamera, show_robot
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_node.clock import MonotonicClock, Pacer

CLOSING = 5.0
"""Time that a window has to close [s]."""


@contextmanager
def window(robot: SimulatedRobot, period: float) -> Iterator[Callable[[], bool]]:
    """Yield a function that updates a window, to be called every `period` [s].

    It returns whether the window is still open.
    """
    camera = FollowCamera(robot.model, robot.spec.base.body, qpos=robot.standing_qpos())
    with (
        _ended_threads(),
        mujoco.viewer.launch_passive(
            robot.model, robot.data, show_left_ui=False, show_right_ui=False
        ) as viewer,
    ):
        show_robot(robot.model, viewer.opt)
        viewer.cam.azimuth = camera.camera.azimuth
        viewer.cam.elevation = camera.camera.elevation
        viewer.cam.distance = camera.camera.distance
        pacer = Pacer(MonotonicClock(), period)

        def show() -> bool:
            camera.follow(robot.data)
            with viewer.lock():
                viewer.cam.lookat[:] = camera.camera.lookat
            viewer.sync()
            pacer.wait()
            return viewer.is_running()

        yield show


@contextmanager
def _ended_threads() -> Iterator[None]:
    """Wait at the end for the threads that were started inside.

    A viewer that is closed is only told so: its thread still draws, and a process that ends
    meanwhile is aborted.
    """
    before = threading.enumerate()
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if thread not in before:
                thread.join(CLOSING)
