"""Faults over ROS 2, in real time: publishers, clocks, encodings and settings as others have them.

The robot is the one of `robot-ppo sim --transport ros2`, on a domain on loopback.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.faults.fault import NOT_RUN, NOTHING, REFUSED, Fault, Seen
from benchmarks.faults.over_dds import HEARERS
from benchmarks.faults.processes import WATCH, LiveRobot, NodeProcess, period_of, running, walk
from benchmarks.faults.world import damped
from robot_ppo import project
from robot_ppo.sim.server import PERIOD
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.policy import Policy
from robot_ppo_node.drivers.dds.dds_config import free_domain

INSTALL = "needs cyclonedds: pip install 'robot-ppo[ros2]'"
SET_BACK = 3.0
"""[s] by which the robot's clock is set back."""
WEAK = 20.0
"""[N m] of the motors of a robot that is too weak."""
REFUSED_WITHIN = 20.0
"""[s]"""
SPEAKS = 0.5
"""[s] that a foreign publisher is watched."""


class _TwoPublishers:
    """A broadcaster for the front legs and one for the rear legs."""

    def __init__(self, bus: Any) -> None:
        from robot_ppo_node.drivers.ros2 import ros2_idl as idl
        from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_STATES, dds_name

        self._writers = [bus.writer(dds_name(JOINT_STATES), idl.JointState) for _ in range(2)]

    def write(self, payload: bytes) -> None:
        """Send each half of a message by its publisher."""
        from robot_ppo_node.drivers.ros2 import ros2_messages as messages

        whole = messages.decode_joint_state(payload)
        half = len(whole.names) // 2
        for i, writer in enumerate(self._writers):
            mine = slice(i * half, (i + 1) * half)
            vectors = (v[mine] for v in (whole.position, whole.velocity, whole.effort))
            part = messages.JointState(whole.stamp, whole.names[mine], *vectors)
            writer.write(messages.encode_joint_state(part))

    def fall_silent(self) -> None:
        """Let the rear legs' broadcaster send nothing more."""
        self._writers = self._writers[:1]


class _Garbling:
    """A publisher whose messages state a frame of four billion letters."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, payload: bytes) -> None:
        """Send a message whose string is longer than it."""
        begin = 12  # behind the encoding and the stamp
        self._writer.write(payload[:begin] + b"\xff" * 4 + payload[begin + 4 :])


def _robot(path: Path, domain: int, torque: float | None = None) -> LiveRobot:
    """Return the robot of a policy file; `torque` [N m] is what it states of its motors."""
    from robot_ppo_node.drivers.ros2.ros2_urdf import urdf_of
    from robot_ppo_node.robot_side.ros2_robot import Ros2Robot

    spec = project.load_robot(Policy(path).contract.robot.name)
    stated = spec
    if torque is not None:
        joints = tuple(msgspec.structs.replace(j, torque_limit=torque) for j in spec.joints)
        stated = msgspec.structs.replace(spec, joints=joints)
    text = urdf_of(stated)
    return LiveRobot(spec.name, lambda: Ros2Robot(spec.joint_names, domain, description=text))


def _end(live: LiveRobot) -> Any:
    """Return the robot's end over ROS 2, whose readers and writers a fault replaces."""
    return live.end


def _options(domain: int) -> tuple[str, ...]:
    return ("--driver", "ros2", "--domain", str(domain), "--seconds", "60")


@contextmanager
def _pair(path: Path, **stated: float) -> Iterator[tuple[LiveRobot, NodeProcess, int]]:
    domain = free_domain()
    live = _robot(path, domain, **stated)
    with running(path, *_options(domain), robot=live) as (robot, node):
        yield robot, node, domain


Act = Callable[[LiveRobot, int], float | None]
"""f(robot, domain): let the fault come; return its time [s], None for now."""


def _while_walking(
    act: Act, stale: bool = False, prepare: Callable[[LiveRobot], None] | None = None
) -> Callable[[Path], Seen]:
    """Return a run in which `act` comes while the robot walks.

    `stale` says that the limit of an old state tolerates it for a while; `prepare` changes the
    robot before the node starts.
    """

    def run(path: Path) -> Seen:
        if not find_spec("cyclonedds"):
            return Seen(NOT_RUN, INSTALL)
        domain = free_domain()
        live = _robot(path, domain)
        if prepare:
            prepare(live)
        with running(path, *_options(domain), robot=live) as (_, node):
            walk(node)
            now = time.monotonic()
            since = act(live, domain) or now
            time.sleep(WATCH)
            heard = list(live.heard)
        safety = Policy(path).contract.robot.safety
        allowed = safety.stale_after / period_of(path) if stale else 0.0
        return damped(heard, since, allowed, period_of(path), node.reason().split(" (")[0])

    return run


def _refused(start: Callable[[Path], Any]) -> Callable[[Path], Seen]:
    """Return a run that the node must refuse; `start` yields robot and node."""

    def run(path: Path) -> Seen:
        if not find_spec("cyclonedds"):
            return Seen(NOT_RUN, INSTALL)
        with start(path) as (live, node, _):
            ends = time.monotonic() + REFUSED_WITHIN
            while node.process.poll() is None and time.monotonic() < ends:
                time.sleep(0.05)
            refused = node.finish() == 3 and not live.end.counters.accepted
        text = " ".join(node.said.strip().splitlines()[-2:])
        return Seen(REFUSED if refused else NOTHING, text[:300])

    return run


def _not_a_number(live: LiveRobot, domain: int) -> None:
    def change(state: RobotState) -> RobotState:
        state.joint_torque[0] = np.nan
        return state

    live.robot.change = change


def _two_publishers(live: LiveRobot) -> None:
    _end(live)._joint_writer = _TwoPublishers(_end(live).bus)


def _rear_silent(live: LiveRobot, domain: int) -> None:
    _end(live)._joint_writer.fall_silent()


def _set_back(live: LiveRobot, domain: int) -> None:
    send = _end(live).send_state
    _end(live).send_state = lambda now, state: send(now - SET_BACK, state)


def _garble(live: LiveRobot, domain: int) -> None:
    _end(live)._joint_writer = _Garbling(_end(live)._joint_writer)


def _second_commander(live: LiveRobot, domain: int) -> float:
    """Command as a second controller does; return when robot and node could first hear it [s]."""
    from robot_ppo_node.drivers.dds import participant
    from robot_ppo_node.drivers.ros2 import ros2_idl as idl
    from robot_ppo_node.drivers.ros2.ros2_messages import CommandEncoder
    from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_COMMANDS, dds_name

    zeros = np.zeros(1, np.float32)
    payload = CommandEncoder(("nobodys_joint",)).encode(zeros, zeros, zeros)
    heard_at = math.inf
    with participant.Bus(domain) as bus:
        writer = bus.writer(dds_name(JOINT_COMMANDS), idl.Float64MultiArray)
        ends = time.monotonic() + SPEAKS
        while time.monotonic() < ends:
            writer.write(payload)
            time.sleep(PERIOD)
            if _end(live).counters.malformed and writer.readers >= HEARERS:
                heard_at = min(heard_at, time.monotonic())
    return heard_at


def _gripper(path: Path) -> Seen:
    """Let a gripper publish 1,000 messages per second on the robot's topic: nothing may be lost."""
    if not find_spec("cyclonedds"):
        return Seen(NOT_RUN, INSTALL)
    from robot_ppo_node.drivers.dds import participant
    from robot_ppo_node.drivers.ros2 import ros2_idl as idl
    from robot_ppo_node.drivers.ros2 import ros2_messages as messages
    from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_STATES, dds_name

    sent = 0
    with _pair(path) as (live, node, domain):
        walk(node)
        with participant.Bus(domain) as bus:
            writer = bus.writer(dds_name(JOINT_STATES), idl.JointState)
            ends = time.monotonic() + 2 * SPEAKS
            while time.monotonic() < ends:
                sent += 1
                stamp = messages.Stamp(sent, 0)
                finger = messages.JointState(stamp, ("finger",), *np.zeros((3, 1)))
                writer.write(messages.encode_joint_state(finger))
                time.sleep(0.001)
        walks_on = "DAMP" not in node.said and not live.heard[-1].damping
    text = f"{sent} messages of a gripper on {JOINT_STATES}"
    return Seen(
        REFUSED if walks_on else NOTHING, f"{text}; the robot walks on" if walks_on else text
    )


def _late_reader(path: Path) -> Any:
    """Let the robot ask for commands that were sent before it came."""
    from robot_ppo_node.drivers.ros2 import ros2_idl as idl
    from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_COMMANDS, dds_name

    @contextmanager
    def start() -> Iterator[tuple[LiveRobot, NodeProcess, int]]:
        domain = free_domain()
        live = _robot(path, domain)
        bus = _end(live).bus
        _end(live)._commands.entity.__del__()
        _end(live)._commands = bus.reader(
            dds_name(JOINT_COMMANDS), idl.Float64MultiArray, reliable=True, latched=True
        )
        with running(path, *_options(domain), robot=live) as (robot, node):
            yield robot, node, domain

    return start()


FAULTS = (
    Fault("ros2_not_a_number", "`effort` of a joint becomes NaN (ROS 2)",
          _while_walking(_not_a_number), "finite_state at joint_torque[0]"),
    Fault("ros2_publisher_silent", "one of two publishers of the joints falls silent (ROS 2)",
          _while_walking(_rear_silent, stale=True, prepare=_two_publishers), "stale_state"),
    Fault("ros2_foreign_publisher", "a gripper publishes on `/joint_states` at 1 kHz (ROS 2)",
          _gripper, "walks on", (REFUSED,)),
    Fault("ros2_clock_back", f"the robot's clock is set back by {SET_BACK:g} s (ROS 2)",
          _while_walking(_set_back), "was set back by"),
    Fault("ros2_malformed", "the strings of the joints' messages are longer than they (ROS 2)",
          _while_walking(_garble, stale=True), "stale_state"),
    Fault("ros2_second_commander", "somebody else's `/joint_commands` reach the robot (ROS 2)",
          _while_walking(_second_commander), "somebody else"),
    Fault("ros2_other_settings", "the robot asks for commands of before it came (ROS 2)",
          _refused(_late_reader), "can be reached: found", (REFUSED,)),
    Fault("ros2_weak_motors", f"the robot's URDF states motors of {WEAK:g} N m (ROS 2)",
          _refused(lambda path: _pair(path, torque=WEAK)), "torque limit", (REFUSED,)),
)  # fmt: skip
