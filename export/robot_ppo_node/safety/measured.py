"""What the node holds of a robot's measurements: which signals, and their newest numbers.

measured = Measured(held_signals(contract))
measured.expect(driver.signals, mounting_of(contract.robot, driver))
measured.update(sample.state)
measured.state.joint_pos                # the same numbers as in measured.flat
"""

import operator
from collections.abc import Callable, Collection, Mapping

import numpy as np

from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.mounting import Mounting
from robot_ppo_export.contract.state import SIGNALS, RobotState, blank

ENVELOPE_SIGNALS = ("joint_pos", "joint_vel", "base_quat", "base_ang_vel")
"""Signals that the safety envelope needs, whatever the policy reads."""
WATCHED_SIGNALS = ("joint_torque", "base_lin_acc")
"""Signals that guards and checks look at where the robot measures them, and that logs keep."""


class Measured:
    """Signals of one robot as one float32 vector `flat`, seen through the `RobotState` `state`."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        """Hold signals of these widths: zeros, and the identity orientation."""
        self.widths = dict(widths)
        self.flat = np.concatenate(list(blank(widths).values()))
        ends = np.cumsum(list(widths.values()))
        self._parts = np.split(self.flat, ends[:-1])
        self.state = RobotState(**dict(zip(widths, self._parts, strict=True)))
        self.places = tuple(f"{name}[{i}]" for name, n in widths.items() for i in range(n))
        """What each number of `flat` is."""
        self._mounting: Mounting | None = None
        self.expect(widths)

    def expect(self, offered: Collection[str], mounting: Mounting | None = None) -> None:
        """Prepare for a driver's samples.

        Args:
            offered: signals that the driver gives; those that are not among them stay as they are,
                and `update` needs all others.
            mounting: turns its IMU's signals into the base's frame.
        """
        self._updated = tuple((i, name) for i, name in enumerate(self.state) if name in offered)
        self._get_all: Callable[[RobotState], tuple] | None = None
        """Takes all signals of a state at a time, where the driver gives all."""
        if len(self._updated) == len(self.state) > 1:
            self._get_all = operator.attrgetter(*self.state)
        self._mounting = mounting

    def span(self, first: str, last: str) -> slice:
        """Return where the signals from `first` to `last` are in `flat`."""
        places = [place.partition("[")[0] for place in self.places]
        return slice(places.index(first), len(places) - places[::-1].index(last))

    def update(self, state: RobotState) -> None:
        """Copy `state` in.

        Raises:
            MissingSignalError: it lacks a signal that is expected.
            ValueError: a size differs.
        """
        if self._mounting is not None:
            state = self._mounting.to_base(state)
        if self._get_all:
            np.concatenate(self._get_all(state), out=self.flat)
            return
        parts = self._parts.copy()
        for i, name in self._updated:
            parts[i] = getattr(state, name)
        np.concatenate(parts, out=self.flat)


def needed_signals(contract: Contract) -> tuple[str, ...]:
    """Return the signals that the observation or the safety envelope read, sorted."""
    return tuple(sorted({*contract.resolve().signals, *ENVELOPE_SIGNALS}))


def held_signals(contract: Contract) -> dict[str, int]:
    """Return the signals that the node holds, and their widths, in the order of `SIGNALS`.

    They are those that the observation, the guards and the checks read.
    """
    names = {*needed_signals(contract), *WATCHED_SIGNALS}
    if contract.robot.life_cycle.start == "hanging":
        names.add("foot_force")  # it tells that the robot was lowered
    return {name: contract.signal_width(name) for name in SIGNALS if name in names}
