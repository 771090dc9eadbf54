"""The joints of one robot, put together from the messages of its publishers.

A robot's joints may come from several publishers (a broadcaster for each limb), and `/joint_states`
is shared with others: a gripper, a camera mast. A message without any of the wanted joints is
passed over. Each joint belongs to one publisher (owners.py).

    parts = JointParts(contract.robot.joint_names)
    parts.add(writer, message, now)     # True if it concerns the robot
    parts.settle()                      # once `parts.complete`: names and signals stay as they are
    vectors = parts.take()              # (3, joints) once every joint was stated anew, else None
"""

import numpy as np

from robot_ppo_node.drivers.ros2.owners import Owners
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import JointState
from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_STATES

JOINT_SIGNALS = ("joint_pos", "joint_vel", "joint_torque")
"""Signals in the order of a message's vectors."""
PASSED_OVER = 64
"""Foreign joints that are remembered by name."""


class JointParts:
    """The newest values of every joint."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        """Take in messages that state at least one of the joints `wanted`."""
        self.wanted = wanted
        self.names: tuple[str, ...] = ()
        """The robot's joints, in the order in which they were first stated."""
        self.signals: tuple[str, ...] = ()
        """Signals that were measured for every joint when `settle` was called."""
        self._settled = False
        self._values = np.zeros((len(JOINT_SIGNALS), 0))
        self._fresh = np.zeros(0, bool)
        self.owners = Owners(JOINT_STATES)
        """The publishers of the joints."""
        self.foreign: tuple[str, ...] = ()
        """Joints of messages that were passed over; the first `PASSED_OVER` of them."""
        self._places: dict[tuple[str, ...], np.ndarray] = {}

    @property
    def complete(self) -> bool:
        """Whether every wanted joint has been stated."""
        return set(self.wanted) <= set(self.names)

    @property
    def stated(self) -> tuple[str, ...]:
        """Every joint that was stated, those of others last."""
        return tuple(dict.fromkeys((*self.names, *self.foreign)))

    def concerns(self, message: JointState) -> bool:
        """Return whether a message states a joint of this robot; remember those of others."""
        if not set(self.wanted).isdisjoint(message.names):
            return True
        if len(self.foreign) < PASSED_OVER and not set(self.foreign).issuperset(message.names):
            self.foreign = tuple(dict.fromkeys((*self.foreign, *message.names)))[:PASSED_OVER]
        return False

    def add(self, writer: int, message: JointState, now: float) -> None:
        """Take in a message of a publisher.

        Args:
            writer: what tells the publisher from others.
            message: states at least one wanted joint.
            now: time of its arrival [s].

        Raises:
            MalformedCdrError: another publisher states these joints, or the message differs from
                what was there when `settle` was called.
        """
        vectors = (message.position, message.velocity, message.effort)
        if self._settled:
            self._check(message, vectors)
        self.owners.claim(writer, message.names, now)
        place = self._place(message.names)
        for row, values in zip(self._values, vectors, strict=True):
            row[place] = values if len(values) else np.nan
        self._fresh[place] = True

    def settle(self) -> None:
        """Fix the joints and the signals: those that are a number for every joint by now.

        A hardware without a measurement leaves its vector empty or fills it with NaN.
        """
        finite = [bool(np.isfinite(row).all()) for row in self._values]
        self.signals = tuple(s for s, has in zip(JOINT_SIGNALS, finite, strict=True) if has)
        self._settled = True

    def take(self) -> np.ndarray | None:
        """Return position, velocity and effort (3, joints) if all are new, and await new ones.

        Rows of signals that are not measured mean nothing.
        """
        if not self._fresh.all():
            return None
        self._fresh[:] = False
        return self._values.copy()

    def _check(self, message: JointState, vectors: tuple[np.ndarray, ...]) -> None:
        """Raise `MalformedCdrError` unless the message is of the robot that was settled on."""
        for name in message.names:
            if name not in self.names:
                raise MalformedCdrError("joints", f"joint {name} was not there at the start")
        for signal, values in zip(JOINT_SIGNALS, vectors, strict=True):
            if signal in self.signals and not len(values):
                raise MalformedCdrError("signals", f"{signal} is missing")

    def _place(self, names: tuple[str, ...]) -> np.ndarray:
        """Return the columns of these joints; new ones are appended."""
        place = self._places.get(names)
        if place is None:
            new = [name for name in names if name not in self.names]
            self.names = (*self.names, *new)
            self._values = np.pad(self._values, ((0, 0), (0, len(new))), constant_values=np.nan)
            self._fresh = np.pad(self._fresh, (0, len(new)))
            place = np.array([self.names.index(name) for name in names], np.intp)
            self._places[names] = place
        return place
