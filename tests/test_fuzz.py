"""Mutated packets: none crashes the node or the robot, or moves the robot beyond its limits.

The short form of each runs 2,000 packets, the slow one 100,000.
"""

import random
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from fuzz_helpers import check_command, check_robot, mutate
from node_helpers import policy, rest_pose, robot
from ros2_helpers import encode_twist

from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.state import BASIC, zeros
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import DriverFault
from robot_ppo_node.drivers.ros2 import ros2_messages
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.udp import udp_frame, udp_payloads
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.udp.udp_endpoint import NodeEndpoint
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.drivers.unitree import unitree_messages
from robot_ppo_node.drivers.unitree.unitree_bodies import QUADRUPED
from robot_ppo_node.drivers.unitree.unitree_messages import MalformedMessageError, Message
from robot_ppo_node.node import Node
from robot_ppo_node.robot_side.udp_robot import UdpRobot
from robot_ppo_node.safety.measured import Measured, held_signals

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
DEFAULT = robot().vector("default").astype("f4")
HELLO = Hello("go2", NAMES, tuple(BASIC), FEET)
BATCH = 50
COUNTS = [2_000, pytest.param(100_000, marks=pytest.mark.slow)]
fuzzed = pytest.mark.parametrize("count", COUNTS)
# A warning of numpy is an error in our tests alone: numbers of 1e38 overflow on their way to the
# guard that names them.
overflows = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def reframed(data: bytes) -> bytes:
    """A frame whose length and checksum are right again: it gets past the first lines."""
    if len(data) < udp_frame.HEADER_SIZE:
        return data
    changed = bytearray(data)
    changed[:6] = b"RPPO" + bytes([udp_frame.VERSION, data[5]])
    changed[6:8] = struct.pack("<H", (len(data) - udp_frame.HEADER_SIZE) & 0xFFFF)
    changed[12:16] = struct.pack("<I", zlib.crc32(bytes(changed[:12]) + bytes(changed[16:])))
    return bytes(changed)


def mutated_frame(kind: int, payload: bytes, sequence: int, rng: random.Random) -> bytes:
    """A frame that is wrong outside, or only inside, or one that is right but out of turn."""
    good = udp_frame.encode(kind, sequence, payload)
    choice = rng.randrange(10)
    if choice < 4:
        return mutate(good, rng)
    if choice < 8:
        return reframed(good[:16] + mutate(payload, rng))
    return udp_frame.encode(kind, sequence - rng.choice((0, 1, 5, 2**31)), payload)


def settle(socket_reader, until, seconds=2.0):
    """Let the datagrams of a batch arrive; loopback keeps their order."""
    ends = time.monotonic() + seconds
    while not until() and time.monotonic() < ends:
        socket_reader()


# --- UDP


@fuzzed
def test_mutated_commands_over_udp(count):
    rng = random.Random(1)
    simulated = SimulatedRobot(robot())
    n = len(NAMES)
    good = udp_payloads.encode_command(rest_pose(), np.full(n, 35, "f4"), np.full(n, 0.8, "f4"))
    with UdpRobot(HELLO, port=0) as end:
        node = NodeEndpoint(port=end.port)
        node.request_hello()
        settle(lambda: end.receive(0.0), lambda: end.peer)
        sequence = 10
        accepted = 0
        for first in range(0, count, BATCH):
            expected = end.counters.received + BATCH
            for _ in range(BATCH):
                sequence += 1
                data = mutated_frame(udp_frame.COMMAND, good, sequence, rng)
                node.wire.socket.sendto(data, node.address)

            def take():
                command = end.receive(0.0)
                if command is not None:
                    simulated.drive(command.target, command.kp, command.kd)
                simulated.advance(0.002)
                check_robot(simulated)

            settle(take, lambda expected=expected: end.counters.received >= expected)
            take()
            if first % (20 * BATCH) == 0:
                simulated.reset()
        node.close()
        c = end.counters
    accepted = c.accepted
    dropped = sum(c.malformed.values())
    print(f"{c.received} commands: {accepted} accepted, malformed {c.malformed}, "
          f"{c.duplicated} duplicated, {c.reordered} reordered")  # fmt: skip
    assert c.received == count + 1  # the hello
    assert min(dropped, c.duplicated + c.reordered) > count / 20  # the fuzz reaches every line
    assert {"checksum", "command size", "command value", "length"} <= set(c.malformed)


def walking(driver, clock):
    """A node in POLICY on `driver`."""
    node = Node(policy(), driver, clock, FixedCommand((0.3, 0.0, 0.1)), arm=True)
    node.prepare()
    return node


def walk_on(node):
    """Put the node back into POLICY after a fault, as it was before; the robot stands."""
    node.policy.reset()
    node.envelope.reset()
    measured = Measured(held_signals(node.policy.contract))
    measured.flat[:] = node.measurement.flat
    measured.state.joint_pos[:] = DEFAULT
    newest = node.measurement
    node.take_up(State.POLICY, DEFAULT, measured.flat, newest.sample_time, newest.sequence)


@overflows
@fuzzed
def test_mutated_states_over_udp(count):
    rng = random.Random(2)
    end = UdpRobot(HELLO, port=0)
    clock = SteppedClock(lambda now: end.receive(now))
    driver = UdpDriver(clock, port=end.port)
    try:
        node = walking(driver, clock)
        sent = []
        driver.endpoint.send_command = lambda *rows: sent.append([r.copy() for r in rows])
        state = zeros((), len(NAMES), len(FEET))
        state.joint_pos[:] = DEFAULT
        state.base_quat[:] = [1, 0, 0, 0]
        good = udp_payloads.encode_state(0.0, state)
        sequence = 1000
        faults = {}
        counters = driver.counters
        for _ in range(0, count, BATCH):
            before = counters.received
            for _ in range(BATCH):
                sequence += 1
                data = mutated_frame(udp_frame.STATE, good, sequence, rng)
                end.wire.socket.sendto(data, end.peer)
                if node.state is not State.POLICY:
                    walk_on(node)
                clock.sleep_until(clock.now() + node.period)
                node.tick()
                check_command(robot(), node.measurement.state, *sent[-1])
                if node.fault:
                    reason = node.fault.partition(":")[0].partition(" at ")[0]
                    faults[reason] = faults.get(reason, 0) + 1
            settle(lambda: None, lambda before=before: counters.received >= before + BATCH, 0.01)
        assert "internal error" not in faults
        print(f"{counters.received} states: {counters.accepted} accepted, malformed "
              f"{counters.malformed}, {counters.duplicated} duplicated, {counters.reordered} "
              f"reordered; faults {faults}")  # fmt: skip
        assert counters.received > 0.99 * count
        assert {"checksum", "state size", "length"} <= set(counters.malformed)
        assert faults  # some got through and were caught by a guard
    finally:
        driver.close()
        end.close()


# --- CDR


def mutated_message(payload: bytes, rng: random.Random) -> bytes:
    """A message that is wrong outside, or whose numbers are, with a checksum that fits."""
    data = mutate(payload, rng)
    if rng.random() < 0.5 and len(data) == len(payload) and data[:4] == payload[:4]:
        return unitree_messages.decode(data, "unitree_go", "LowCmd_").encode()
    return data


@fuzzed
def test_mutated_low_level_commands(count):
    from robot_ppo_node.drivers.counters import Counters

    pytest.importorskip("cyclonedds")
    from robot_ppo_node.robot_side.unitree_robot import CommandDecoder

    rng = random.Random(3)
    simulated = SimulatedRobot(robot())
    decoder = CommandDecoder(QUADRUPED, robot().joint_names)
    counters = Counters()
    good = Message("unitree_go", "LowCmd_")
    good.fields["head"], good.fields["level_flag"] = (0xFE, 0xEF), 0xFF
    good.motors["mode"], good.motors["kp"], good.motors["kd"] = 1, 35, 0.8
    payload = good.encode()
    accepted = 0
    for i in range(count):
        try:
            command = decoder.decode(mutated_message(payload, rng), mode_machine=5)
        except MalformedMessageError as reason:
            counters.reject(str(reason))
            continue
        accepted += 1
        simulated.drive(command.target, command.kp, command.kd)
        simulated.advance(0.002)
        check_robot(simulated)
        if i % 1000 == 0:
            simulated.reset()
    print(f"{count} commands: {accepted} accepted, malformed {counters.malformed}")
    reasons = {"checksum", "command value", "encoding", "feed-forward", "head", "mode", "size"}
    assert set(counters.malformed) == reasons
    assert accepted


class Tape:
    """A reader whose messages are given."""

    def __init__(self):
        self.payload = None

    def newest(self):
        payload = self.payload
        self.payload = None
        return payload


@overflows
@fuzzed
def test_mutated_low_level_states(count):
    pytest.importorskip("cyclonedds")
    from robot_ppo_node.drivers.base import Connection
    from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver

    rng = random.Random(4)
    clock = SteppedClock()
    driver = UnitreeDriver(clock, Connection(robot=robot()))
    sent = []
    tape = Tape()

    class Repeater:
        fault = None
        active = True
        stale = 0
        put = staticmethod(sent.append)

        def damp(self):
            sent.append(driver._damping(0.5))

    def connect():
        driver._states = tape
        driver.repeater = Repeater()
        driver.bus = object()
        driver._begin_with(driver._blank_command(Message("unitree_go", "LowState_")))

    driver._connect = connect
    node = walking(driver, clock)
    good = Message("unitree_go", "LowState_")
    good.motors["q"][:12] = DEFAULT
    good.fields["imu_state"]["quaternion"][0] = 1
    payload = good.encode()
    faults = {}
    for _ in range(count):
        if node.state is not State.POLICY:
            driver._e_stop = None
            walk_on(node)
        tape.payload = mutate(payload, rng)
        clock.sleep_until(clock.now() + node.period)
        node.tick()
        command = unitree_messages.decode(sent[-1], "unitree_go", "LowCmd_")
        assert command.intact()
        motors = command.motors[:12]
        state = node.measurement.state
        check_command(robot(), state, motors["q"], motors["kp"], motors["kd"])
        if node.fault:
            reason = node.fault.partition(":")[0].partition(" at ")[0]
            faults[reason] = faults.get(reason, 0) + 1
    driver.repeater = driver.bus = None
    print(f"{count} states: malformed {driver.malformed}, faults {faults}")
    assert "internal error" not in faults and faults
    assert set(driver.malformed) == {"encoding", "size"}


@fuzzed
def test_mutated_ros_messages(count):
    rng = random.Random(5)
    random_numbers = np.random.default_rng(5)
    stamp = ros2_messages.Stamp(1, 2)
    vectors = np.abs(random_numbers.normal(size=(3, 12)))
    decoders = (
        (ros2_messages.decode_joint_state,
         ros2_messages.encode_joint_state(ros2_messages.JointState(stamp, NAMES, *vectors))),
        (ros2_messages.decode_imu,
         ros2_messages.encode_imu(ros2_messages.Imu(stamp, *(np.ones(k) for k in (4, 3, 3))))),
        (lambda data: ros2_messages.decode_twist(data, True),
         encode_twist(np.ones(3), stamp)),
        (ros2_messages.decode_command, ros2_messages.CommandEncoder(NAMES).encode(*vectors)),
    )  # fmt: skip
    reasons: dict[str, int] = {}
    accepted = 0
    simulated = SimulatedRobot(robot())
    for i in range(count):
        decode, payload = decoders[i % len(decoders)]
        try:
            message = decode(mutate(payload, rng))
        except MalformedCdrError as reason:
            reasons[str(reason)] = reasons.get(str(reason), 0) + 1
            continue
        accepted += 1
        if isinstance(message, ros2_messages.JointCommand):
            assert np.isfinite(message.values).all() and (message.values[1:] >= 0).all()
            if set(message.names) == set(NAMES):  # as the robot's side does
                simulated.drive(*message.values[:, [message.names.index(n) for n in NAMES]])
                simulated.advance(0.002)
                check_robot(simulated)
                if i % 1000 < 4:
                    simulated.reset()
    print(f"{count} messages: {accepted} decoded, malformed {reasons}")
    assert accepted and {"encoding", "size", "string", "length", "command value"} <= set(reasons)


def test_wild_bytes_over_a_real_domain():
    """What DDS itself lets through: the message reaches the driver, which counts and drops it."""
    pytest.importorskip("cyclonedds")
    from dds_helpers import free_domain, within

    from robot_ppo_node.clock import MonotonicClock
    from robot_ppo_node.drivers import create
    from robot_ppo_node.drivers.base import Connection
    from robot_ppo_node.drivers.dds import participant
    from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
    from robot_ppo_node.drivers.unitree.unitree_states import STATES

    rng = random.Random(6)
    domain = free_domain()
    payload = Message("unitree_go", "LowState_").encode()
    with participant.Bus(domain) as bus:
        writer = bus.writer(STATES, idl_type("unitree_go", "LowState_"))
        writer.write(payload)
        connection = Connection(robot=robot(), domain=domain, motion_mode="ignore")
        driver = create("unitree", MonotonicClock(), connection)
        said = threading.Event()

        def speak():
            while not said.is_set():
                writer.write(payload)
                time.sleep(0.01)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            driver.open(NAMES, FEET)
            said.set()
            thread.join()
            for _ in range(500):
                writer.write(mutate(payload, rng))
                try:
                    driver.read()
                except DriverFault:
                    driver._e_stop = None
            writer.write(payload)
            assert within(2, driver.read)
            assert writer.sends.lost + sum(driver.malformed.values()) > 50
        finally:
            said.set()
            driver.close()
