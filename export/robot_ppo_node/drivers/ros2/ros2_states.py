"""The state of one robot, put together from `/joint_states` and `/imu`.

Several publishers may share the joints, and others may share the topic (joint_parts.py); what one
of them states is taken from no other (owners.py). A state is new when every joint and the IMU were
stated anew, so that each one falling silent makes it stale. A message whose stamp is not later than
the one before is dropped and counted (stamp_order.py, dropped.py).

    states = Ros2States(contract.robot.joint_names, clock)
    states.connect(bus)
    states.listen()                  # at every tick: take in what has arrived
    states.settle()                  # once `states.silent()` is empty: names and signals stay
    signals = states.take()          # in the order of `states.joint_names`, or None
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.dds.dds_watch import Watch
from robot_ppo_node.drivers.dds.endpoints import Reader
from robot_ppo_node.drivers.dds.participant import Bus
from robot_ppo_node.drivers.ros2 import ros2_messages
from robot_ppo_node.drivers.ros2.dropped import Dropped
from robot_ppo_node.drivers.ros2.joint_parts import JOINT_SIGNALS, JointParts
from robot_ppo_node.drivers.ros2.owners import Contest, Owners
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import Imu
from robot_ppo_node.drivers.ros2.ros2_scan import ScanReader
from robot_ppo_node.drivers.ros2.ros2_topics import DEPTH, IMU, JOINT_STATES, dds_name, waiting
from robot_ppo_node.drivers.ros2.stamp_order import StampOrder
from robot_ppo_node.drivers.state_rate import StateRate


class Ros2States:
    """The newest state of one robot."""

    def __init__(
        self, wanted: tuple[str, ...], clock: Clock, scan: ScanReader | None = None
    ) -> None:
        """Take in messages of a robot that has the joints `wanted`; `scan` reads its map."""
        self._scan = scan
        self.parts = JointParts(wanted)
        self.order = StampOrder()
        """The clocks of the messages."""
        self.dropped = scan.dropped if scan else Dropped()
        """Messages that were dropped."""
        self.signals: frozenset[str] = frozenset()
        """What is measured; known after `settle`."""
        self._clock = clock
        self._imu: Imu | None = None
        self._imu_owners = Owners(IMU)
        self._readers: dict[str, Reader] = {}
        self._watch: Watch | None = None
        self._rates: dict[int, StateRate] = defaultdict(StateRate)  # of the joints' publishers
        self._settled = False

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The robot's joints, in the order of the vectors."""
        return self.parts.names

    @property
    def period(self) -> float | None:
        """Mean time between two messages of the joints' publisher that speaks most often [s]."""
        periods = [rate.period for rate in self._rates.values() if rate.period]
        return min(periods, default=None)

    def connect(self, bus: Bus) -> None:
        """Read the topics."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        self._joint_reader = bus.reader(dds_name(JOINT_STATES), idl.JointState, depth=DEPTH)
        self._imu_reader = bus.reader(dds_name(IMU), idl.Imu, depth=DEPTH)
        self._readers = {JOINT_STATES: self._joint_reader, IMU: self._imu_reader}
        if self._scan:
            self._scan.connect(bus)
            self._readers |= self._scan.readers
        self._watch = bus.watch(dds_name(JOINT_STATES))

    def listen(self) -> None:
        """Take in everything that has arrived."""
        for writer, payload in waiting(self._joint_reader):
            self._count_reason(JOINT_STATES, self._take_joints, writer, payload)
        for writer, payload in waiting(self._imu_reader):
            self._count_reason(IMU, self._take_imu, writer, payload)
        if self._scan:
            self._scan.listen()

    def silent(self) -> dict[str, tuple[str, Any]]:
        """Return the topics on which nothing was stated: name -> DDS name and type."""
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl

        silent: dict[str, tuple[str, Any]] = {}
        if not self.parts.names:
            silent[JOINT_STATES] = (dds_name(JOINT_STATES), idl.JointState)
        if self._imu is None:
            silent[IMU] = (dds_name(IMU), idl.Imu)
        return {**silent, **(self._scan.silent() if self._scan else {})}

    def hold(self, held: bool) -> None:
        """Let no part of the state pass from one publisher to another, however silent it is."""
        for owners in self._owners():
            owners.held = held

    def contest(self) -> Contest | None:
        """Return a part of the state that two publishers state who both live, or None."""
        now = self._clock.now()
        found = (owners.contest(now) for owners in self._owners())
        return next((contest for contest in found if contest), None)

    def publisher(self, topic: str, writer: int) -> str:
        """Return who publishes on a topic, in words."""
        reader = self._readers.get(topic)
        if reader is None or self._watch is None:
            return f"publisher {writer}"
        return self._watch.in_words(reader.entity.get_matched_publication_data(writer))

    @property
    def complete(self) -> bool:
        """Whether every wanted joint, the IMU and the map, where one is read, have been stated."""
        has_scan = self._scan is None or self._scan.values is not None
        return self.parts.complete and self._imu is not None and has_scan

    def settle(self) -> None:
        """Fix joints and signals as those that have been stated by now."""
        assert self._imu is not None, "nothing is settled before it is complete"
        self.parts.settle()
        scan = ("height_scan",) if self._scan else ()
        self.signals = frozenset((*self.parts.signals, *_measured(self._imu), *scan))
        self._settled = True

    def take(self) -> dict[str, np.ndarray] | None:
        """Return the signals if all were stated anew, float32, and await new ones."""
        imu = self._imu
        if imu is None or (joints := self.parts.take()) is None:
            return None
        self._imu = None
        rows = zip(JOINT_SIGNALS, ros2_messages.float32(joints), strict=True)
        vectors = ((name, v) for name, v in _vectors(imu).items() if v is not None)
        stated = {**dict(rows), **{name: ros2_messages.float32(v) for name, v in vectors}}
        if self._scan and self._scan.values is not None:
            stated["height_scan"] = self._scan.values
        return {name: values for name, values in stated.items() if name in self.signals}

    def _owners(self) -> tuple[Owners, ...]:
        """Return the publishers of every topic."""
        return (self.parts.owners, self._imu_owners, *(self._scan.owners if self._scan else ()))

    def _count_reason(
        self, topic: str, take: Callable[[int, bytes], None], writer: int, payload: bytes
    ) -> None:
        """Take in one message, or count why it was dropped."""
        try:
            take(writer, payload)
        except MalformedCdrError as reason:
            self.dropped.note(topic, reason)

    def _take_joints(self, writer: int, payload: bytes) -> None:
        """Take in a message of /joint_states; one without the robot's joints is passed over."""
        message = ros2_messages.decode_joint_state(payload)
        if not message.names:
            raise MalformedCdrError("joints", "it names no joint")
        if not self.parts.concerns(message):
            return
        now = self._clock.now()
        self.parts.owners.require(writer, message.names, now)
        self.order.check((writer, message.names), message.stamp, now)
        self.parts.add(writer, message, now)
        self._rates[writer].note(now)

    def _take_imu(self, writer: int, payload: bytes) -> None:
        """Take in a message of /imu."""
        message = ros2_messages.decode_imu(payload)
        now = self._clock.now()
        self._imu_owners.require(writer, (IMU,), now)
        self.order.check((writer, "imu"), message.stamp, now)
        missing = self.signals & _vectors(message).keys() - set(_measured(message))
        if self._settled and missing:
            raise MalformedCdrError("signals", f"{min(missing)} is missing")
        self._imu_owners.claim(writer, (IMU,), now)
        self._imu = message


def _vectors(message: Imu) -> dict[str, np.ndarray | None]:
    """Return every signal that an IMU's message can carry; None where it does not."""
    return {
        "base_quat": message.quaternion,
        "base_ang_vel": message.angular_velocity,
        "base_lin_acc": message.linear_acceleration,
    }


def _measured(message: Imu) -> tuple[str, ...]:
    """Return the signals that an IMU's message carries."""
    return tuple(name for name, values in _vectors(message).items() if values is not None)
