"""The record of a playback: every tick while the policy ran, and a summary."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robot_ppo.sim.simulated_robot import SimulatedRobot


@dataclass
class Track:
    """The ticks in which the policy ran; values are the simulator's, without noise."""

    feet: tuple[str, ...]
    time: list[float] = field(default_factory=list)
    """Time since the policy started [s]."""
    command: list[np.ndarray] = field(default_factory=list)
    """Commands: (3,) vx, vy [m/s], yaw rate [rad/s]."""
    velocity: list[np.ndarray] = field(default_factory=list)
    """Measured: (3,) vx, vy [m/s], yaw rate [rad/s] of the base, body frame."""
    position: list[np.ndarray] = field(default_factory=list)
    """(3,) position of the base in the world [m]."""
    height: list[float] = field(default_factory=list)
    """Of the base above the ground below it [m]."""
    contacts: list[np.ndarray] = field(default_factory=list)
    """(feet,) bool, true where the foot touches the ground."""
    joint_vel: list[np.ndarray] = field(default_factory=list)
    """(joints,) [rad/s]"""
    torque: list[np.ndarray] = field(default_factory=list)
    """(joints,) [N m]"""

    def add(self, time: float, command: np.ndarray, robot: SimulatedRobot) -> None:
        """Append the current tick."""
        self.time.append(time)
        self.command.append(command.copy())
        self.velocity.append(measured_velocity(robot))
        self.position.append(robot.position_w())
        self.height.append(robot.height())
        self.contacts.append(robot.contacts())
        self.joint_vel.append(robot.joint_velocities())
        self.torque.append(robot.torques())

    def plot(self, path: Path) -> None:
        """Write the plot as a PNG."""
        from robot_ppo.playback.plot import write_plot

        command = np.reshape(self.command, (-1, 3))
        velocity = np.reshape(self.velocity, (-1, 3))
        contacts = np.reshape(self.contacts, (-1, len(self.feet)))
        height = np.array(self.height)
        write_plot(path, np.array(self.time), command, velocity, height, contacts, self.feet)


@dataclass
class Summary:
    """The summary of a playback."""

    seconds: float
    """Time that the policy ran [s]."""
    velocity_error: float
    """Mean |v_xy - command| [m/s], transitions included."""
    yaw_error: float
    """Mean |yaw rate - command| [rad/s], transitions included."""
    distance: float
    """Length of the path of the base over the ground [m]."""
    falls: int
    fault: str | None
    """Reason for which the node gave up, or None."""
    guards: dict[str, int]
    """Guard of the node's envelope -> ticks in which it clamped or damped."""
    broken: str | None = None
    """Message of a simulation that diverged, which counts as a fall, or None."""

    @property
    def failed(self) -> bool:
        """Whether the node gave up, or the simulation ended before it should."""
        return bool(self.fault or self.broken)

    def __str__(self) -> str:
        """Return the summary as text."""
        fired = ", ".join(f"{name} {count}" for name, count in self.guards.items())
        lines = (
            ["The policy did not run."]
            if not self.seconds
            else [
                f"Walked {self.distance:.1f} m in {self.seconds:.1f} s, {self.falls} falls.",
                f"Mean error, changes of command included: {self.velocity_error:.3f} m/s, "
                f"{self.yaw_error:.3f} rad/s.",
                f"Safety envelope fired: {fired or 'never'}.",
            ]
        )
        lines += [f"The node gave up: {self.fault}"] if self.fault else []
        return "\n".join(lines + ([f"Ended early: {self.broken}"] if self.broken else []))


def measured_velocity(robot: SimulatedRobot) -> np.ndarray:
    """Return vx, vy [m/s] of the base in the body frame and its yaw rate [rad/s], (3,)."""
    return np.array([*robot.velocity_b()[:2], robot.yaw_rate()])
