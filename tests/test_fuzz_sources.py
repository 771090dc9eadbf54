"""Mutated packets to a whole node: states over ROS 2, and commands of the operator.

None crashes the node, or lets it send what a joint cannot bear. The short form of each runs 2,000
packets, the slow one 100,000.
"""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from fuzz_helpers import check_command, mutate
from node_helpers import policy, robot
from ros2_helpers import encode_twist

from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands import command_frames
from robot_ppo_node.commands.base import FixedCommand, OperatorActions
from robot_ppo_node.commands.command_frames import Order
from robot_ppo_node.commands.udp_commands import UdpCommands
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.fake import FakeDriver
from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2.ros2_messages import Imu, JointState, Stamp
from robot_ppo_node.drivers.ros2.ros2_states import Ros2States
from robot_ppo_node.drivers.ros2.stamp_order import StampOrder
from robot_ppo_node.node import Node
from robot_ppo_node.safety.measured import Measured, held_signals

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
DEFAULT = robot().vector("default").astype("f4")
KEY = bytes(range(32))
BATCH = 20
"""Datagrams between two ticks: fewer than a source reads in one."""
fuzzed = pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
# A warning of numpy is an error in our tests alone.
overflows = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def walking(driver, clock, source):
    node = Node(policy(), driver, clock, source, arm=True)
    node.prepare()
    return node


def walk_on(node):
    """Put the node back into POLICY after a fault, as it was before; the robot stands."""
    node.policy.reset()
    node.envelope.reset()
    measured = Measured(held_signals(node.policy.contract))
    measured.flat[:] = node.measurement.flat
    measured.state.joint_pos[:] = DEFAULT
    measured.state.base_quat[:] = [1, 0, 0, 0]
    newest = node.measurement
    node.take_up(State.POLICY, DEFAULT, measured.flat, newest.sample_time, newest.sequence)


def stepped(node, clock):
    """One control period; the node is in POLICY when it begins."""
    if node.state is not State.POLICY:
        walk_on(node)
    clock.sleep_until(clock.now() + node.period)
    node.tick()


class Tape:
    """A reader of DDS whose messages are given."""

    def __init__(self):
        self.payloads = []

    def take(self, limit=16):
        given = self.payloads[:limit]
        self.payloads = self.payloads[limit:]
        sender = SimpleNamespace(publication_handle=1)
        return [SimpleNamespace(payload=p, sample_info=sender) for p in given]

    def newest(self):
        taken = self.take(64)
        return taken[-1].payload if taken else None


def encoded(time):
    """Joints and IMU of a robot that stands, at a time of its clock [s]."""
    stamp = Stamp(int(time), int(time % 1 * 1e9))
    joints = JointState(stamp, NAMES, DEFAULT.astype(float), np.zeros(12), np.zeros(12))
    upright = np.array([1.0, 0, 0, 0])
    imu = Imu(stamp, upright, np.zeros(3), np.array([0, 0, 9.81]))
    return messages.encode_joint_state(joints), messages.encode_imu(imu)


@overflows
@fuzzed
def test_mutated_states_over_ros(count):
    pytest.importorskip("cyclonedds")
    from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver

    rng = random.Random(7)
    clock = SteppedClock()
    sent = []
    driver = Ros2Driver(clock, Connection(robot=robot()))
    joints, imu = Tape(), Tape()

    def opened(names, feet=(), signals=None):
        driver._states = states = Ros2States(names, clock)
        states._joint_reader, states._imu_reader = joints, imu
        joints.payloads, imu.payloads = ([payload] for payload in encoded(1.0))
        driver._wait_for_states()
        driver._settle()
        put = lambda payload: sent.append(payload)  # noqa: E731
        zero = np.zeros(12, np.float32)
        damping = driver._encoder.encode(zero, zero, zero + 1)
        driver.repeater = SimpleNamespace(
            fault=None, stale=0, put=put, damp=lambda: put(damping), close=lambda: None
        )

    driver.open = opened
    node = walking(driver, clock, FixedCommand((0.3, 0.0, 0.1)))
    faults = {}
    for i in range(count):
        good = encoded(2.0 + 0.02 * i)
        broken = [mutate(p, rng) if rng.random() < 0.5 else p for p in good]
        joints.payloads = [broken[0]]
        imu.payloads = [broken[1]]
        stepped(node, clock)
        command = messages.decode_command(sent[-1])
        assert command.names == NAMES
        check_command(robot(), node.measurement.state, *command.values)
        if node.fault:
            faults[node.fault_code] = faults.get(node.fault_code, 0) + 1
            driver._states.order = StampOrder()  # the clock that was set back is forgotten
    print(f"{count} states: malformed {driver.malformed}, faults {faults}")
    assert "internal_error" not in faults and faults
    assert {"encoding", "size", "string", "joints"} <= set(driver.malformed)


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
@fuzzed
def test_mutated_commands_of_the_operator_over_udp(count, key):
    import socket

    rng = random.Random(8)
    clock = SteppedClock()
    stops = []
    wall = [10**18]
    actions = OperatorActions(damp=stops.append, approve=lambda: None, say=lambda text: None)
    source = UdpCommands(actions, port=0, key=key, wall=lambda: wall[0])
    driver = FakeDriver(clock, pose=DEFAULT, keep=1)
    bounds = policy().contract.command.bounds()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", source.port))
        node = walking(driver, clock, source)
        asked = set()
        for _ in range(0, count, BATCH):
            for _ in range(BATCH):
                wall[0] += 1_000_000
                stop = rng.random() < 0.1
                good = command_frames.encode(Order(wall[0], (0.4, 0.1, -0.2), stop), key)
                data = mutate(good, rng)
                if key and len(data) == len(good) and rng.random() < 0.5:  # authentic again
                    data = command_frames._with_tag(data[: command_frames.BODY.size], key)
                sender.send(data)
            stepped(node, clock)
            asked.add(tuple(node.command.tolist()))
            sent = driver.written[-1]
            check_command(robot(), node.measurement.state, sent.target, sent.kp, sent.kd)
        source.close()
    commands = np.array(sorted(asked))
    assert np.isfinite(commands).all()
    assert (commands >= bounds[:, 0]).all() and (commands <= bounds[:, 1]).all()
    print(
        f"{count} datagrams: {source.accepted} taken, dropped {source.dropped}, {len(stops)} stops"
    )
    assert sum(source.dropped.values()) + source.accepted == count
    assert source.accepted and stops and len(asked) > 1 and not node.fault
    needed = {"length", "not a number", "not a command"} | ({"not authentic"} if key else set())
    assert needed <= set(source.dropped)


@overflows
@fuzzed
def test_mutated_twists(count):
    pytest.importorskip("cyclonedds")
    from robot_ppo_node.drivers.ros2.ros2_twist import TwistCommands

    rng = random.Random(9)
    clock = SteppedClock()
    source = TwistCommands.__new__(TwistCommands)
    tapes = Tape(), Tape()
    source._readers = ((tapes[0], False), (tapes[1], True))
    source.command = np.zeros(3, np.float32)
    source.arrived = -np.inf
    source.malformed = 0
    driver = FakeDriver(clock, pose=DEFAULT, keep=1)
    bounds = policy().contract.command.bounds()
    node = walking(driver, clock, source)
    twist = np.array([0.4, 0.1, -0.2])
    good = encode_twist(twist), encode_twist(twist, Stamp(1, 2))
    for i in range(count):
        tapes[i % 2].payloads = [mutate(good[i % 2], rng)]
        stepped(node, clock)
        assert np.isfinite(node.command).all()
        assert (node.command >= bounds[:, 0]).all() and (node.command <= bounds[:, 1]).all()
        sent = driver.written[-1]
        check_command(robot(), node.measurement.state, sent.target, sent.kp, sent.kd)
    print(f"{count} twists: {source.malformed} malformed")
    assert count / 10 < source.malformed < count and not node.fault
