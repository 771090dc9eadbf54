"""What a page may change of a simulated robot while it moves; every change counts at once."""

import numpy as np

from robot_ppo.robot_model.geometry import FootGeometry
from robot_ppo.sim.simulated_robot import SimulatedRobot

PUSH = 2.0
"""Largest change of velocity by a push [m/s]."""
KNOBS: dict[str, tuple[float, float, str]] = {
    "friction": (0.05, 2.0, ""),
    "payload": (-2.0, 10.0, "kg"),
    "delay": (0.0, 60.0, "ms"),
    "strength": (0.2, 1.5, ""),
}
"""Name -> its range and unit: of the feet, on the base, of the motors, of the motors' torque."""


class Knobs:
    """Friction, payload, delay and motor strength of one robot, and pushes."""

    def __init__(self, robot: SimulatedRobot) -> None:
        """Start with the robot as it is."""
        self._robot = robot
        self._feet = FootGeometry(robot.model, robot.spec).geoms
        self._base = robot.model.body(robot.spec.base.body).id
        self._mass = float(robot.model.body_mass[self._base])
        self._friction = float(robot.model.geom_friction[self._feet, 0].mean())
        self._delay = 0.0

    def set(self, name: str, value: float) -> None:
        """Change one of `KNOBS`, within its range; `ValueError` for what is no number."""
        low, high, _ = KNOBS[name]
        if not np.isfinite(value):
            raise ValueError(f"{name}: {value}")
        value = min(max(value, low), high)
        robot = self._robot
        if name == "friction":
            self._friction = value
            robot.model.geom_friction[self._feet, 0] = value
        elif name == "payload":
            robot.set_base_mass(self._mass + value)
        elif name == "delay":
            self._delay = value
            robot.motors.set_delay(value / 1e3)
        else:
            robot.motors.strength[:] = value

    def push(self, values: list[float]) -> None:
        """Change the base's velocity by (2,) [m/s] in the body frame."""
        forward, left = np.clip(values[:2], -PUSH, PUSH)
        self._robot.push(np.array([forward, left]))

    def values(self) -> dict[str, float]:
        """Return name -> value."""
        robot = self._robot
        values = {
            "friction": self._friction,
            "payload": float(robot.model.body_mass[self._base]) - self._mass,
            "delay": self._delay,
            "strength": float(robot.motors.strength[0, 0]),
        }
        return {name: round(value, 3) for name, value in values.items()}
