"""Commands from the remote control of a Unitree robot, which its driver hears."""

import math
from typing import Protocol

import numpy as np

from robot_ppo_node.commands.base import CommandSource, from_sticks
from robot_ppo_node.drivers.unitree.unitree_remote import Remote


class ReceivesRemote(Protocol):
    """A driver whose robot passes the remote control on."""

    remote: Remote | None
    remote_heard: float


class RemoteCommands(CommandSource):
    """The sticks as a `CommandSource`: left forward and sideways, right to turn."""

    name = "remote"

    def __init__(self, driver: ReceivesRemote, bounds: np.ndarray) -> None:
        """Read what `driver` hears; `bounds` (3, 2) are the trained ranges."""
        self.driver = driver
        self.bounds = bounds

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command (3,) and its age [s], infinite where no remote has been heard."""
        remote = self.driver.remote
        if remote is None:
            return np.zeros(3, np.float32), math.inf
        command = from_sticks(remote.sticks, self.bounds)
        return command, now - self.driver.remote_heard
