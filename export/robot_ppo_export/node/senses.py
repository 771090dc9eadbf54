"""What the node takes in at every tick: the newest measurement and the operator's command."""

import math

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.node.commands.base import CommandSource, bounded
from robot_ppo_export.node.drivers.base import Driver, Measured


class Senses:
    """The newest measurement and command, with their ages."""

    def __init__(self, contract: Contract, driver: Driver, commands: CommandSource) -> None:
        robot = contract.robot
        self.driver = driver
        self.commands = commands
        self.measured = Measured(len(robot.joints), len(robot.feet))
        self.sequence = 0
        self.sample_time = -math.inf
        """When the newest measurement arrived [s]."""
        self.repeats = 0
        """New measurements in a row with the same bits as the one before."""
        self.command = np.zeros(3, np.float32)
        """What the policy is asked for: vx, vy [m/s], yaw rate [rad/s]."""
        self.wanted = (np.zeros(3, np.float32), 0.0)
        """The command as its source gave it, and its age [s]."""
        self._bounds = contract.commands.bounds()
        self._bits = b""

    def read_robot(self) -> bool:
        """Take in the newest measurement; return whether there was a new one."""
        sample = self.driver.read()
        if sample is None:
            return False
        self.measured.update(sample.state)
        bits = self.measured.flat.tobytes()
        self.repeats = self.repeats + 1 if bits == self._bits else 0
        self._bits, self.sample_time, self.sequence = bits, sample.time, sample.sequence
        return True

    def age(self, now: float) -> float:
        """Return the age of the newest measurement [s]; from the future is as bad as old."""
        return abs(now - self.sample_time)

    def read_command(self, now: float) -> None:
        """Take in the command: too old or not a number is zero, the rest is clipped."""
        try:
            self.wanted = wanted, age = self.commands.read(now)
        except Exception:  # an operator's device that is gone must not bring the robot down
            self.wanted = wanted, age = np.zeros(3, np.float32), math.inf
        self.command = bounded(wanted, age, self._bounds)
