"""Rough ground beside the plane, and a height scan beside the step that it is part of."""

import time
from typing import Any

import msgspec
import numpy as np

from benchmarks.common import shipped_policy
from benchmarks.speed.engine_ratio import NOISE, SIMULATIONS, TASK, WARM_UP
from robot_ppo import config, project
from robot_ppo.config import MapErrors, Task
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.sim.scan import HeightMap, poses
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.policy import Policy

ROUGH = "go2_rough"
SCANNING = "go2_rough_scan"
GRID = ScanGrid(length=1.6, width=1.0, resolution=0.1)


def bench_ground(steps: int = 120) -> dict[str, Any]:
    """Return environment steps/s on a field of heights over those on the plane, and a scan's share.

    Both environments are the flat task's, with everything on and robots that walk with exploration
    noise; one has the rough task's ground, physics and curriculum. A scan is made in every step,
    and by maps that are renewed as often as those of the scanning task.
    """
    walk = config.robot_task(config.load(TASK), "this benchmark")
    rough = config.robot_task(config.load(ROUGH), "this benchmark")
    curriculum = rough.curriculum
    on_ground = msgspec.structs.replace(
        walk, terrain=rough.terrain, curriculum=curriculum, physics=rough.physics
    )
    robots = {"plane": _Walking(walk), "ground": _Walking(on_ground)}
    scans = [_Scans(robots["ground"].env, period) for period in (0.0, _period())]
    times = np.empty((WARM_UP + steps, 4))
    for row in times:
        steps_taken = [robot.step() for robot in robots.values()]
        row[:] = *steps_taken, *(maps.seconds() for maps in scans)
    plane, ground, scan, renewed = np.median(times[WARM_UP:], axis=0).tolist()
    return {
        "ground_ratio": round(plane / ground, 3),
        "plane_steps_per_second": round(SIMULATIONS / plane),
        "ground_steps_per_second": round(SIMULATIONS / ground),
        "scan_share": round(scan / (ground + scan), 3),
        "renewed_scan_share": round(renewed / (ground + renewed), 3),
        "scan_ms": round(1e3 * scan, 2),
    }


def _period() -> float:
    """Return the time between two scans of the scanning task's maps [s]."""
    return config.robot_task(config.load(SCANNING), "this benchmark").map.period


class _Walking:
    """An environment that the shipped policy walks in."""

    def __init__(self, task: Task) -> None:
        self.env = RobotEnv(task, project.load_robot(task.robot), SIMULATIONS, seed=1)
        self._act = Policy(shipped_policy()).for_many()
        self._rng = np.random.default_rng(0)
        self._observation, _ = self.env.reset(seed=1, options={"spread_episodes": True})

    def step(self) -> float:
        """Advance by a control step; return how long that took [s]."""
        action = self._act(self._observation)
        action += self._rng.normal(0, NOISE, action.shape).astype(np.float32)
        begin = time.perf_counter()
        self._observation = self.env.step(action)[0]
        return time.perf_counter() - begin


class _Scans:
    """Maps of the robots of an environment that has none."""

    def __init__(self, env: RobotEnv, renewed_every: float) -> None:
        self._env = env
        self._rng = np.random.default_rng(0)
        ground = env.engine.ground
        period = env.task.control_period
        errors = MapErrors(period=renewed_every)
        self._map = HeightMap(ground, GRID, errors, env.num_envs, period, -0.3)
        self._map.begin(np.arange(env.num_envs), poses(env.engine), self._rng)

    def seconds(self) -> float:
        """Return how long a scan of all robots takes [s]."""
        begin = time.perf_counter()
        self._map.advance(poses(self._env.engine), self._rng)
        return time.perf_counter() - begin
