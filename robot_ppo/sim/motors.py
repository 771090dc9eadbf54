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
        self.implicit = np.zeros(n, bool)
        """Robots whose actuators MuJoCo integrates by itself: they are told targets."""
        self._delay_steps = np.zeros(n, np.int64)
        self._targets = np.tile(robot.vector("default"), (1, n, 1))
        self._rows = np.arange(n)
        self._now = 0
        self.summing = True
        """True: sum up power and saturation, which takes half the time of one robot."""
        self.steps = 0
        """Physics steps since `clear_sums`."""
        self.power_sum = np.zeros(n)
        """Sum over these steps of the positive mechanical power [W]."""
        self.saturation_sum = np.zeros(n)
        """Sum over these steps of the fraction of joints at their torque limit."""
        self.set_delay(delay)

    def clear_sums(self) -> None:
        """Begin the sums anew."""
        self.steps = 0
        self.power_sum[:] = 0.0
        self.saturation_sum[:] = 0.0

    def set_delay(self, delay: float | np.ndarray) -> None:
        """Set the delay [s] of every robot, of each (n,), or of each joint (n, joints).

        Past targets are forgotten.
        """
        steps = np.rint(np.asarray(delay, np.float64) / self.timestep).astype(np.int64)
        shape = self.offset.shape[: max(1, steps.ndim)]
        self._delay_steps = np.array(np.broadcast_to(steps, shape))
        current = self._targets[self._now]
        self._targets = np.tile(current, (int(self._delay_steps.max()) + 1, 1, 1))
        self._now = 0

    def torque(self, target: np.ndarray, pos: np.ndarray, vel: np.ndarray) -> np.ndarray:
        """Return joint torques (n, joints) [N m] for one physics step, and advance the delay.

        Robots that are `implicit` get their delayed targets [rad] instead; power and saturation are
        by the same law.

        Args:
            target: newest joint targets (n, joints) [rad].
            pos: joint angles (n, joints) [rad].
            vel: joint velocities (n, joints) [rad/s].
        """
        self._now = (self._now + 1) % len(self._targets)
        self._targets[self._now] = target
        delayed = self._delayed()
        wanted = self.kp * (delayed - pos - self.offset) - self.kd * vel
        torque = self.strength * np.clip(wanted, -self.limit, self.limit)
        if self.summing:
            # A torque that is no number is none, for `fmax` too: MuJoCo takes it for 0.
            self.power_sum += np.fmax(torque * vel, 0).sum(axis=1)
            self.saturation_sum += self.saturated(torque)
            self.steps += 1
        if not self.implicit.any():
            return torque
        return np.where(self.implicit[:, None], delayed - self.offset, torque)

    def _delayed(self) -> np.ndarray:
        """Return the targets (n, joints) [rad] that have reached the motors."""
        then = (self._now - self._delay_steps) % len(self._targets)
        if then.ndim == 1:
            return self._targets[then, self._rows]
        return self._targets[then, self._rows[:, None], np.arange(then.shape[-1])]

    def saturated(self, torque: np.ndarray) -> np.ndarray:
        """Return the fraction of joints at their torque limit, (n,)."""
        return (np.abs(torque) >= self.strength * self.limit * (1 - 1e-6)).mean(axis=-1)
