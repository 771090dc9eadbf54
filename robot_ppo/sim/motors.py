"""The PD law of the motor controllers, evaluated at the physics rate for the eval variant.

torque = strength * clip(kp (target - (q + offset)) - kd qd, -limit, limit)

`target` reaches the motor after its delay. Used by the scorecard (n simulations) and by the
simulated robot (one), so that both drive motors in the same way.
"""

import numpy as np

from robot_ppo_export.contract.spec import RobotSpec


class PdMotors:
    """Motors of `n` robots, each vector (n, joints) or broadcastable to it."""

    def __init__(self, robot: RobotSpec, n: int, timestep: float, delay: float = 0.0) -> None:
        """Start with the robot's nominal gains, holding the default pose.

        Args:
            robot: limits and gains.
            n: number of robots.
            timestep: physics step [s].
            delay: time from a target to its effect [s], rounded to physics steps.
        """
        self.kp = np.tile(robot.vector("kp"), (n, 1))
        self.kd = np.tile(robot.vector("kd"), (n, 1))
        self.limit = robot.vector("torque_limit")
        self.strength = np.ones((n, 1))
        self.offset = np.zeros((n, len(robot.joints)))
        self.timestep = timestep
        self._steps = np.zeros(n, np.int64)
        self._targets = np.tile(robot.vector("default"), (1, n, 1))
        self._rows = np.arange(n)
        self._now = 0
        self.set_delay(delay)

    def set_delay(self, delay: float | np.ndarray) -> None:
        """Set the delay [s] of every robot, or of each, (n,); past targets are forgotten."""
        self._steps[:] = np.rint(np.asarray(delay) / self.timestep)
        current = self._targets[self._now]
        self._targets = np.tile(current, (int(self._steps.max()) + 1, 1, 1))
        self._now = 0

    def torque(self, target: np.ndarray, pos: np.ndarray, vel: np.ndarray) -> np.ndarray:
        """Return joint torques (n, joints) [N m] for one physics step, and advance the delay.

        Args:
            target: newest joint targets (n, joints) [rad].
            pos: joint angles (n, joints) [rad].
            vel: joint velocities (n, joints) [rad/s].
        """
        self._now = (self._now + 1) % len(self._targets)
        self._targets[self._now] = target
        delayed = self._targets[(self._now - self._steps) % len(self._targets), self._rows]
        wanted = self.kp * (delayed - pos - self.offset) - self.kd * vel
        return self.strength * np.clip(wanted, -self.limit, self.limit)

    def saturated(self, torque: np.ndarray) -> np.ndarray:
        """Return the fraction of joints at their torque limit, (n,)."""
        return (np.abs(torque) >= self.strength * self.limit * (1 - 1e-6)).mean(axis=-1)
