"""What the robot is asked to do: uniform velocities, redrawn every few seconds."""

import numpy as np

from robot_ppo.config import Commands


class CommandSource:
    """The commands of n simulations, (n, 3) float32: vx, vy [m/s], yaw rate [rad/s]."""

    def __init__(self, config: Commands, n: int, control_period: float) -> None:
        """Start with zero commands that are due at once."""
        self.config = config
        self.control_period = control_period
        self.values = np.zeros((n, 3), np.float32)
        self.ticks_left = np.zeros(n, np.int64)
        self._low, self._high = np.array([config.vx, config.vy, config.yaw_rate], np.float32).T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next steps depend on, not copies."""
        return {"values": self.values, "ticks_left": self.ticks_left}

    def advance(self, rng: np.random.Generator) -> None:
        """Count one control step down; redraw what is due."""
        self.ticks_left -= 1
        due = np.flatnonzero(self.ticks_left <= 0)
        if due.size:
            self.resample(due, rng)

    def resample(self, ids: np.ndarray, rng: np.random.Generator) -> None:
        """Draw new commands for `ids`."""
        drawn = rng.uniform(self._low, self._high, (len(ids), 3))
        standing = rng.random(len(ids)) < self.config.standing_fraction
        drawn[standing] = 0.0
        self.values[ids] = drawn
        seconds = rng.uniform(*self.config.resample, len(ids))
        self.ticks_left[ids] = np.rint(seconds / self.control_period).astype(np.int64)
