"""What the node takes in at every tick: the newest measurement and the operator's command."""

import math

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.node.commands.base import CommandSource, bounded
from robot_ppo_export.node.drivers.base import Driver, SeesWriters
from robot_ppo_export.node.situation import Situation


class Senses:
    """The newest measurement and command, with their ages."""

    def __init__(
        self, contract: Contract, driver: Driver, commands: CommandSource, situation: Situation
    ) -> None:
        """Read into `situation`."""
        self.driver = driver
        self.commands = commands
        self.measured, self.health = situation.measured, situation.health
        self._situation = situation
        self._writers = driver if isinstance(driver, SeesWriters) else None
        self.sequence = 0
        self.command = np.zeros(3, np.float32)
        """What the policy is asked for: vx, vy [m/s], yaw rate [rad/s]."""
        self.wanted = (np.zeros(3, np.float32), 0.0)
        """The command as its source gave it, and its age [s]."""
        self._bounds = contract.commands.bounds().tolist()
        self._bits = b""

    def read_robot(self, now: float) -> None:
        """Take in the newest measurement, if there is a new one, and everybody's age."""
        s, sample = self._situation, self.driver.read()
        s.fresh = sample is not None
        if sample is not None:
            self.measured.update(sample.state)
            if sample.health is not None:
                self.health.update(sample.health)
            bits = self.measured.flat.tobytes()
            s.repeats = s.repeats + 1 if bits == self._bits else 0
            self._bits, s.sample_time, self.sequence = bits, sample.time, sample.sequence
        s.age = abs(now - s.sample_time)  # from the future is as bad as old
        s.others = len(self._writers.other_writers()) if self._writers else 0

    def read_command(self, now: float) -> None:
        """Take in the command: too old or not a number is zero, the rest is clipped."""
        try:
            self.wanted = wanted, age = self.commands.read(now)
        except Exception:  # an operator's device that is gone must not bring the robot down
            self.wanted = wanted, age = np.zeros(3, np.float32), math.inf
        self.command = bounded(wanted, age, self._bounds)
