"""The gait: a clock per simulation, and when each foot is meant to be down or how high."""

import math
from typing import Any

import numpy as np

from robot_ppo.config import Gait
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.terms import gait_phase


class Schedule:
    """One gait for one robot's feet."""

    def __init__(self, gait: Gait, robot: RobotSpec) -> None:
        """Order the offsets as the robot's feet; both must name the same feet."""
        if set(gait.offsets) != set(robot.feet):
            raise SettingError(
                "task.gait.offsets",
                f"names {sorted(gait.offsets)}, robot.yaml's feet are {sorted(robot.feet)}",
            )
        self.stance = np.float32(gait.stance)
        self.swing_height = np.float32(gait.swing_height)
        self.offsets = np.array([gait.offsets[f] for f in robot.feet], np.float32)

    def swing(self, phase: Array, moving: Array) -> Array:
        """Return each foot's progress through its swing in (0, 1), 0 in stance, (n, feet)."""
        xp = namespace(phase)
        position = phase + self.offsets[:, None]  # foot by foot in memory, which is faster
        position = position - xp.floor(position)
        progress = (position - self.stance) / (1 - self.stance)
        return xp.where(moving, xp.clip(progress, 0.0, 1.0), xp.zeros_like(progress)).T

    def height(self, swing: Array) -> Array:
        """Return the wanted clearance [m] at that progress: half a sine, (n, feet)."""
        return self.swing_height * namespace(swing).sin(math.pi * swing)


class GaitClock:
    """Phases of n simulations in the gait cycle; 0 for ever where the task has no gait."""

    def __init__(self, gait: Gait | None, n: int, control_period: float) -> None:
        """Start at phase 0; `control_period` is in [s]."""
        self.frequency = None if gait is None else gait.frequency
        self.control_period = control_period
        self.cycle = 1 if gait is None else round(1 / (control_period * gait.frequency))
        """Control periods, rounded."""
        self.ticks = np.zeros(n, np.int64)

    def start(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Let episodes begin anywhere in the cycle."""
        self.ticks[ids] = rng.integers(0, self.cycle, len(ids))

    def phase(self, ids: Any = ...) -> Array:
        """Return the phase in [0, 1), (m,) float32."""
        return gait_phase(self.ticks[ids], self.control_period, self.frequency)
