"""Driver `ros2`: a robot that speaks ROS 2, over plain DDS, with no ROS installed.

    /joint_states    sensor_msgs/JointState        from the robot
    /imu             sensor_msgs/Imu               from the robot
    /joint_commands  std_msgs/Float64MultiArray    to the robot: target, kp and kd of every joint

Standard messages have no field for gains, and without gains there is no damping: so the command
is one array of three rows, whose labels name the rows and the joints (docs/drivers.md). Ranges and
limits of the joints come from the URDF on /robot_description, where there is one. Tried against
the encodings of cyclonedds and the simulated robot, not against an installed ROS 2.

States are put together by ros2_states.py. What two publishers state is refused, or waited for,
until a command is out; then the first one stays. A clock that was set back is a fault while a
command is out, and else the new time after `NEW_TIME` (stamp_order.py).
"""

import math
from collections.abc import Mapping

import numpy as np

from robot_ppo_export.contract.spec import per_joint
from robot_ppo_export.contract.state import NO_WIDTHS, RobotState
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import Clock
from robot_ppo_node.drivers.base import (
    Connection,
    DriverFault,
    DriverWarning,
    MotorCommand,
    Sample,
)
from robot_ppo_node.drivers.capabilities import NOTHING
from robot_ppo_node.drivers.dds import dds_damping, participant
from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
from robot_ppo_node.drivers.dds.exclusive_access import ExclusiveAccess
from robot_ppo_node.drivers.dds.reached import found, require_reader
from robot_ppo_node.drivers.handover import Handover
from robot_ppo_node.drivers.joint_map import JointMap, StateMap, check_joints
from robot_ppo_node.drivers.repeater import Repeater
from robot_ppo_node.drivers.ros2.owners import OWNED, Contest
from robot_ppo_node.drivers.ros2.ros2_description import described
from robot_ppo_node.drivers.ros2.ros2_messages import CommandEncoder
from robot_ppo_node.drivers.ros2.ros2_scan import ScanReader
from robot_ppo_node.drivers.ros2.ros2_states import Ros2States
from robot_ppo_node.drivers.ros2.ros2_topics import (
    DESCRIPTION,
    IMU,
    JOINT_COMMANDS,
    JOINT_STATES,
    dds_name,
)
from robot_ppo_node.drivers.sends import Sends, Unsent

NEW_TIME = 0.5
"""[s] of older stamps after which they are the new time, where no command is out."""
SETTLE = 0.5
"""[s] after joining in which discovery finds who else commands the robot, or plays it."""
STALE_PERIODS = 3
"""Control periods after which an unrefreshed command is not repeated."""
REPEAT_EVERY = 0.01
"""[s] between two sends of a command."""
LISTEN = 0.1
"""[s] in which whoever commands the robot speaks several times."""
LOOK_EVERY = 0.002
TELL_EVERY = 5.0
"""[s] Shortest time between two warnings about messages that were dropped."""
CONTESTED = "two_publishers"
DROPPED = "messages_dropped"
SET_BACK = "clock_set_back"
"""Codes of the warnings."""


class Ros2Driver:
    """One robot that speaks ROS 2."""

    def __init__(self, clock: Clock, connection: Connection) -> None:
        """Talk on `connection`'s interface and domain (`ROS_DOMAIN_ID`)."""
        require_cyclonedds("ros2")
        self.name = "ros2"
        self.clock = clock
        self.connection = connection
        self.joint_names: tuple[str, ...] = ()
        self.signals: frozenset[str] = frozenset()
        self.feet: tuple[str, ...] = ()
        self.capabilities = NOTHING
        self.bus: participant.Bus | None = None
        self.repeater: Repeater | None = None
        self._sends = Sends()
        self._states = Ros2States((), clock)
        self._sequence = 0
        self._commanding = False  # whether the newest command is more than damping
        self._written = -math.inf  # when the newest command was written
        self._told: set[tuple[str, int]] = set()  # second publishers that were told
        self._sampled = math.inf  # when the newest state was complete
        self._dropped_told = -math.inf
        self._warnings: list[DriverWarning] = []  # that `warnings` has not returned yet

    @property
    def malformed(self) -> dict[str, int]:
        """Messages that were dropped: reason -> number."""
        return self._states.dropped.counts

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Wait for both topics and map by name; `RefusedError` where that fails."""
        c = self.connection
        self.bus = participant.Bus(c.domain, c.interface, c.peers)
        try:
            access = None if c.watch_only else self._exclusive_access(self.bus)
            self._meet(self.bus, joints, self._scan_reader(signals))
            if access:
                self._take_command(self.bus, access)
            self._sampled = self.clock.now()
        except BaseException:
            self.close()
            raise

    def _scan_reader(self, signals: Mapping[str, int]) -> ScanReader | None:
        """Return what reads the robot's map, where the policy reads a scan of it."""
        c = self.connection
        if "height_scan" not in signals or c.scan is None or c.robot is None:
            return None
        return ScanReader(c.scan.points(), -c.robot.base.height, self.clock)

    def _meet(self, bus: participant.Bus, joints: tuple[str, ...], scan: ScanReader | None) -> None:
        """Wait for the robot's joints, its IMU and its map, and fix what it has."""
        from robot_ppo_node.drivers.ros2.ros2_idl import String

        self._states = Ros2States(joints, self.clock, scan)
        self._states.connect(bus)
        descriptions = bus.reader(dds_name(DESCRIPTION), String, reliable=True, latched=True)
        self._wait_for_states()
        self._settle()
        self.capabilities = described(
            descriptions, self.joint_names, self.clock, self.connection.say
        )

    def _settle(self) -> None:
        """Fix joints and signals as those that have been stated by now."""
        self._states.settle()
        self.joint_names = self._states.joint_names
        self.signals = self._states.signals
        self.map = JointMap(self._states.parts.wanted, self.joint_names, self.name)
        self._ordered = StateMap(self.map, (), (), self.signals)
        self._encoder = CommandEncoder(self.joint_names)

    def _exclusive_access(self, bus: participant.Bus) -> ExclusiveAccess:
        """Return a look at who else commands the robot."""
        from robot_ppo_node.drivers.ros2.ros2_idl import Float64MultiArray

        silent = self.connection.allow_silent_writers
        return ExclusiveAccess(
            bus, dds_name(JOINT_COMMANDS), Float64MultiArray, self.name, allow_silent=silent
        )

    def _take_command(self, bus: participant.Bus, access: ExclusiveAccess) -> None:
        """Require exclusive access and a robot that reads commands, and begin to repeat."""
        from robot_ppo_node.drivers.ros2.ros2_idl import Float64MultiArray

        c = self.connection
        access.forget()  # who spoke while the robot was waited for may have gone since
        self.clock.sleep_until(self.clock.now() + LISTEN)
        access.wait(self.clock, c.wait, c.say)
        topic = dds_name(JOINT_COMMANDS)
        writer = bus.writer(topic, Float64MultiArray)
        require_reader(bus, writer, topic, Float64MultiArray, self.clock, self.name)
        damping = self._damping(per_joint(c.damping, self._states.parts.wanted).astype(np.float32))
        stale = STALE_PERIODS * c.control_period
        self._sends = writer.sends
        self.repeater = Repeater(writer.write, damping, stale, access.trouble, REPEAT_EVERY)

    def read(self) -> Sample | None:
        """Return the newest state, once both topics have said something new, or None.

        `DriverFault` where somebody else commands the motors, two publishers state one thing while
        no command is out, or the robot's clock was set back.
        """
        if self.repeater and self.repeater.fault:
            raise DriverFault(self.repeater.fault)
        commands = self.clock.now() - self._written < OWNED
        self._states.hold(commands)
        self._states.listen()
        self._judge_publishers(commands)
        self._judge_clocks()
        signals = self._states.take()
        if signals is None:
            self._tell_dropped()
            return None
        self._states.dropped.forget()
        self._sampled = self.clock.now()
        self._sequence += 1
        state = self._ordered.from_robot(RobotState(**signals))
        return Sample(state, self._sequence, self.clock.now())

    @property
    def state_period(self) -> float | None:
        """Mean time between two messages of the joints' publisher that speaks most often [s]."""
        return self._states.period

    def other_writers(self) -> tuple[str, ...]:
        """Return who else commands the motors, in a sentence, or nothing."""
        fault = self.repeater.fault if self.repeater else None
        return (fault,) if fault else ()

    def warnings(self) -> tuple[DriverWarning, ...]:
        """Return second publishers, dropped messages and clocks that were set back."""
        if not self._warnings:
            return ()
        warnings = tuple(self._warnings)
        self._warnings.clear()
        return warnings

    def write(self, command: MotorCommand) -> None:
        """Send one command, and let it be repeated."""
        assert self.repeater is not None, "open() comes first"
        to_robot = self.map.to_robot
        rows = (to_robot(v) for v in (command.target, command.kp, command.kd))
        self._commanding = True
        self._written = self.clock.now()
        self.repeater.put(self._encoder.encode(*rows))

    def damp(self) -> None:
        """Send damping, and repeat it until the next command."""
        assert self.repeater is not None, "open() comes first"
        self._commanding = False
        self.repeater.damp()

    def unsent(self) -> Unsent:
        """Return what DDS did not take, and how often the repeater had nothing fresh."""
        stale = self.repeater.stale if self.repeater else 0
        return Unsent(self._sends.lost, self._sends.failing(), stale)

    def damping_sender(self, kd: np.ndarray) -> Handover:
        """Return a sender of damping that joins the robot's domain by itself."""
        assert self.bus is not None, "open() comes first"
        return dds_damping.handover(self.bus, dds_name(JOINT_COMMANDS), "ros2", self._damping(kd))

    def reclaim(self, takeovers: int) -> None:
        """Do nothing: the robot listens to everybody, and the watchdog is silent again."""

    def close(self) -> None:
        """Send damping last, and leave the domain."""
        if self.repeater:
            self.repeater.close()
        if self.bus:
            self.bus.close()
        self.repeater = None
        self.bus = None

    def _damping(self, kd: np.ndarray) -> bytes:
        """Return damping with `kd` (joints,) [N m s/rad] in the contract's order."""
        zero = np.zeros_like(kd)
        return self._encoder.encode(zero, zero, self.map.to_robot(kd))

    def _wait_for_states(self) -> None:
        """Wait until every joint and the IMU have been stated, each by one publisher."""
        states = self._states
        begin = self.clock.now()
        while True:
            now = self.clock.now()
            states.listen()
            settled = now - begin >= SETTLE
            contest = states.contest()
            if contest and settled:
                raise RefusedError(f"driver {self.name}: {self._contested(contest)}")
            if states.complete and settled:
                return
            if not states.complete and now - begin >= self.connection.wait:
                self._require_joints()
                raise RefusedError(self._silence())
            self.clock.sleep_until(now + LOOK_EVERY)

    def _require_joints(self) -> None:
        """Raise `RefusedError` where what was stated are other joints than the policy's."""
        parts = self._states.parts
        if parts.complete or not parts.stated:
            return
        try:
            check_joints(parts.wanted, parts.stated, self.name)
        except RefusedError as different:
            dropped = self._states.dropped.lately(JOINT_STATES)
            raise RefusedError(f"{different}; {dropped}" if dropped else str(different)) from None

    def _silence(self) -> str:
        """Return the sentence about what was waited for in vain."""
        assert self.bus is not None
        silent = self._states.silent()
        dropped = self._states.dropped.lately(*silent)
        if dropped:
            return (
                f"driver ros2: nothing that can be read on {' and '.join(silent)} within "
                f"{self.connection.wait:g} s: {dropped}: docs/drivers.md has what is read"
            )
        seen = "; ".join(found(self.bus, silent))
        both = f"; {seen}; this reads best effort, volatile" if seen else ""
        return (
            f"driver ros2: nothing on {' and '.join(silent)} within {self.connection.wait:g} s on "
            f"{self.bus.where()}: see --interface, --peer, --domain (ROS_DOMAIN_ID){both}"
        )

    def _contested(self, contest: Contest) -> str:
        """Return the sentence about two publishers that state the same."""
        first, second = (
            self._states.publisher(contest.topic, writer)
            for writer in (contest.owner, contest.other)
        )
        return (
            f"two publishers state {contest} ({first}; {second}): end or remap one, or give each "
            "robot its own --domain"
        )

    def _judge_publishers(self, commands: bool) -> None:
        """Refuse two publishers of one thing until a command is out; then warn of the second."""
        contest = self._states.contest()
        if contest is None:
            return
        if not commands:
            raise DriverFault(self._contested(contest))
        if (contest.topic, contest.other) not in self._told:
            self._told.add((contest.topic, contest.other))
            text = f"{self._contested(contest)}; until then the first one is heard"
            self._warnings.append(DriverWarning(CONTESTED, text))

    def _tell_dropped(self) -> None:
        """Warn once of why messages were dropped, where no state comes any more."""
        now = self.clock.now()
        gap = now - self._sampled
        told = self._dropped_told > self._sampled or now - self._dropped_told < TELL_EVERY
        if told or gap < STALE_PERIODS * self.connection.control_period:
            return
        dropped = self._states.dropped.lately(JOINT_STATES, IMU)
        if dropped:
            self._dropped_told = now
            text = f"no new state for {gap:.2f} s: {dropped}"
            self._warnings.append(DriverWarning(DROPPED, text))

    def _judge_clocks(self) -> None:
        """Damp where a clock was set back while a command is out; else take the new time."""
        step = self._states.order.set_back()
        if step is None:
            return
        what = f"the clock of the robot's messages was set back by {step.seconds:.1f} s"
        if self._commanding:
            self.damp()
            raise DriverFault(f"{what}: set it while nothing moves")
        if self.clock.now() - step.since >= NEW_TIME:
            self._states.order.accept()
            self._warnings.append(DriverWarning(SET_BACK, f"{what}; the new time is taken"))
