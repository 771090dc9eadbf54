"""Domains that nobody else is on, and a Unitree robot that lives in a thread."""

import threading
import time

import numpy as np

from robot_ppo_export.contract.state import zeros
from robot_ppo_node.drivers.dds.dds_config import free_domain as free_domain


def within(seconds, condition):
    """Wait until `condition()`, real time, and return what it last gave."""
    ends = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < ends:
        time.sleep(0.002)
    return value


class Alive:
    """A robot's end of an interface, kept alive by a thread: sends states, takes commands."""

    def __init__(self, end, joints, feet=(), pose=None, sends=True):
        self.end = end
        self.state = zeros((), len(joints), len(feet))
        self.state.joint_pos[:] = 0 if pose is None else pose
        self.state.base_lin_acc[2] = 9.81
        self.commands = []
        self.looks = []
        """Since when a command may have been there: the look before the one that found it."""
        self.sends = sends
        self.sent = 0
        self.every = 0.002
        """[s] between two states."""
        self._random = np.random.default_rng(0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def _live(self):
        now = time.monotonic()
        while not self._stop.is_set():
            before = now
            now = time.monotonic()
            command = self.end.receive(now)
            if command is not None:
                self.looks.append(before)
                self.commands.append((now, command))
            if self.sends:
                self.state.base_ang_vel[:] = self._random.normal(0, 0.01, 3)
                self.end.send_state(now, self.state)
                self.sent += 1
            time.sleep(self.every)

    def close(self):
        self._stop.set()
        self._thread.join()
        self.end.close()
