"""The UDP protocol: round trips, and every way in which a datagram can be wrong."""

import dataclasses
import re
import socket
import struct
import threading
import time
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import robot

from robot_ppo_export.contract.state import BASIC, zeros
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.clock import MonotonicClock, SteppedClock
from robot_ppo_node.drivers.base import MotorCommand
from robot_ppo_node.drivers.capabilities import VECTORS, Capabilities, of_robot
from robot_ppo_node.drivers.counters import Counters
from robot_ppo_node.drivers.sends import Unsent
from robot_ppo_node.drivers.udp import udp_frame, udp_payloads
from robot_ppo_node.drivers.udp.udp_driver import GONE_AFTER, UdpDriver
from robot_ppo_node.drivers.udp.udp_endpoint import NodeEndpoint
from robot_ppo_node.drivers.udp.udp_frame import MalformedError
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.drivers.udp.udp_wire import Newest
from robot_ppo_node.robot_side.base import SILENT_AFTER
from robot_ppo_node.robot_side.udp_robot import UdpRobot

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
OFFER = msgspec.structs.replace(of_robot(robot()), state_rate=500.0, delay=(0.0, 0.01))
HELLO = Hello("go2", NAMES, tuple(BASIC), FEET, OFFER)
COMMAND = np.linspace(-1, 1, 12, dtype="f4"), np.full(12, 35, "f4"), np.full(12, 0.8, "f4")


def state():
    random = np.random.default_rng(0)
    measured = zeros((), len(NAMES), len(FEET))
    for values in measured.values():
        values += random.normal(0, 0.2, values.shape).astype("f4")
    return measured


@pytest.fixture
def pair():
    """A robot and a node that have said hello."""
    with UdpRobot(HELLO, port=0) as wire:
        node = NodeEndpoint(port=wire.port)
        node.request_hello()
        time.sleep(0.01)
        wire.receive(0.0)
        time.sleep(0.01)
        node.receive()
        assert node.hello == HELLO
        yield wire, node
        node.close()


def sendto(node, data):
    """Send raw bytes as the node."""
    node.wire.socket.sendto(data, node.address)


def arrive():
    time.sleep(0.01)


# --- round trips


def test_a_state_survives_the_wire_bit_for_bit():
    sent = state()
    got = udp_payloads.StateFormat(12, 4).decode(udp_payloads.encode_state(1.5, sent))
    assert got.time == 1.5
    for name in BASIC:
        assert getattr(got.state, name).tobytes() == getattr(sent, name).tobytes()


def test_a_command_survives_the_wire_bit_for_bit():
    got = udp_payloads.decode_command(udp_payloads.encode_command(*COMMAND), 12)
    for sent, received in zip(COMMAND, (got.target, got.kp, got.kd), strict=True):
        assert received.tobytes() == sent.tobytes()


def test_a_hello_survives_the_wire():
    assert udp_payloads.decode_hello(udp_payloads.encode_hello(HELLO)) == HELLO


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.binary(max_size=500))
def test_a_frame_survives_the_wire(kind, sequence, payload):
    frame = udp_frame.decode(udp_frame.encode(kind, sequence, payload))
    assert (frame.kind, frame.sequence, frame.payload) == (kind, sequence, payload)


def test_the_layout_is_the_documented_one():
    """Byte by byte, written down independently of the code, as docs/drivers.md has it."""
    data = udp_frame.encode(udp_frame.COMMAND, 7, udp_payloads.encode_command(*COMMAND))
    assert data[:12] == b"RPPO" + bytes([2, 4]) + struct.pack("<HI", 4 + 12 * 12, 7)
    assert struct.unpack("<I", data[12:16])[0] == zlib.crc32(data[:12] + data[16:])
    assert data[16:20] == bytes([12, 0, 0, 0])
    assert struct.unpack("<12f", data[20:68]) == tuple(COMMAND[0].tolist())
    data = udp_payloads.encode_state(2.0, state())
    assert struct.unpack("<dBBH", data[:12]) == (2.0, 12, 4, 0)
    assert len(data) == 12 + 4 * (36 + 4 + 3 + 3 + 4)


# --- malformed


def reframed(data: bytes, at: int, value: int) -> bytes:
    """Change one byte and make the checksum right again."""
    data = bytearray(data)
    data[at] = value
    data[12:16] = struct.pack("<I", zlib.crc32(bytes(data[:12]) + bytes(data[16:])))
    return bytes(data)


NOT_A_NUMBER = udp_payloads.encode_command(COMMAND[0] * np.nan, *COMMAND[1:])
GOOD = udp_frame.encode(udp_frame.COMMAND, 5, udp_payloads.encode_command(*COMMAND))
BAD = {
    "short": GOOD[:15],
    "magic": b"X" + GOOD[1:],
    "version": reframed(GOOD, 4, 1),
    "length": GOOD[:-1],
    "checksum": GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
    "kind": reframed(GOOD, 5, 9),
    "command size": udp_frame.encode(4, 5, udp_payloads.encode_command(*(v[:11] for v in COMMAND))),
    "command value": udp_frame.encode(
        4, 5, udp_payloads.encode_command(COMMAND[0] * np.nan, *COMMAND[1:])
    ),
}


@pytest.mark.parametrize("reason", BAD)
def test_the_robot_drops_and_counts_a_malformed_datagram(pair, reason):
    wire, node = pair
    sendto(node, BAD[reason])
    arrive()
    assert wire.receive(0.0) is None
    assert wire.counters.malformed == {reason: 1}
    sendto(node, reframed(GOOD, 8, 77))  # and takes the next good one
    arrive()
    assert wire.receive(0.0).kp[0] == 35


def test_a_negative_gain_is_malformed():
    payload = udp_payloads.encode_command(COMMAND[0], -COMMAND[1], COMMAND[2])
    with pytest.raises(MalformedError, match="command value"):
        udp_payloads.decode_command(payload, 12)


def test_a_nan_in_a_state_passes_because_the_envelope_names_it():
    broken = state()
    broken.joint_pos[0] = np.nan
    got = udp_payloads.StateFormat(12, 4).decode(udp_payloads.encode_state(0.0, broken))
    assert np.isnan(got.state.joint_pos[0])


@pytest.mark.parametrize(("joints", "feet"), [(11, 4), (12, 5), (13, 1)])
def test_a_state_of_another_robot_is_malformed(joints, feet):
    """13 joints and 1 foot have the length of 12 and 4: the stated sizes tell them apart."""
    with pytest.raises(MalformedError, match="state size"):
        udp_payloads.StateFormat(joints, feet).decode(udp_payloads.encode_state(0.0, state()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"robot":"x","joints":[],"signals":[]}',
        b'{"robot":"x","joints":["a"],"signals":["smell"]}',
        b'{"robot":"x","joints":["a"],"signals":[],"more":1}',
        b'{"robot":"x","joints":["a"],"signals":[],"offer":{"more":1}}',
        b'{"robot":"x","joints":["a"],"signals":[],"offer":{"torque_limit":[1,2]}}',
        b'{"robot":"x","joints":["a"],"signals":[],"offer":{"delay":[0,1e999]}}',
        b'{"robot":"x","joints":["a"],"signals":[],"offer":{"state_rate":NaN}}',
    ],
)
def test_a_malformed_hello_is_rejected(payload):
    with pytest.raises(MalformedError, match="hello"):
        udp_payloads.decode_hello(payload)


@settings(max_examples=400)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_no_flipped_bit_survives(at, bit):
    data = bytearray(GOOD)
    data[at] ^= 1 << bit
    with pytest.raises(MalformedError):
        udp_frame.decode(bytes(data))


@settings(max_examples=400)
@given(st.integers(1, 4), st.binary(max_size=400))
def test_any_payload_is_decoded_or_rejected_never_anything_else(kind, payload):
    """Frames with a right checksum and a wild payload: the second line of defence."""
    frame = udp_frame.decode(udp_frame.encode(kind, 0, payload))
    for decode in (
        udp_payloads.decode_hello,
        udp_payloads.decode_request,
        udp_payloads.StateFormat(12, 4).decode,
        lambda p: udp_payloads.decode_command(p, 12),
    ):
        try:
            decode(frame.payload)
        except MalformedError:
            continue


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_noise_is_rejected(data):
    with pytest.raises(MalformedError):
        udp_frame.decode(data)


# --- order


@pytest.mark.parametrize(
    ("sequences", "accepted", "duplicated", "reordered"),
    [
        ([1, 2, 3], 3, 0, 0),
        ([1, 1, 2, 2], 2, 2, 0),
        ([1, 3, 2, 4], 3, 0, 1),
        ([2**32 - 2, 2**32 - 1, 0, 1], 4, 0, 0),
        ([0, 2**32 - 1], 1, 0, 1),
    ],
)
def test_only_newer_sequences_count(sequences, accepted, duplicated, reordered):
    counters = Counters()
    newest = Newest(counters)
    assert sum(newest.accept(s) for s in sequences) == accepted
    assert (counters.duplicated, counters.reordered) == (duplicated, reordered)


def test_the_node_keeps_the_newest_state_of_many(pair):
    wire, node = pair
    for t in range(20):
        wire.send_state(float(t), state())
    arrive()
    assert node.receive().time == 19.0
    assert (node.counters.accepted, node.counters.superseded) == (1, 19)
    assert node.receive() is None


def test_a_malformed_newest_state_does_not_hide_the_one_before(pair):
    wire, node = pair
    wire.send_state(1.0, state())
    wire.wire.send(udp_frame.STATE, b"wrong size", wire.peer)
    arrive()
    assert node.receive().time == 1.0
    assert node.counters.malformed == {"state size": 1}


def test_what_is_taken_in_beforehand_is_counted_and_returned_as_ever(pair):
    """In two goes or in one: the newest state, and every duplicate, stranger and loss counted."""
    wire, node = pair
    counts = []
    for polls in (True, False):
        before = dataclasses.replace(node.counters, malformed=dict(node.counters.malformed))
        for t in range(10):
            wire.send_state(float(t), state())
        wire.wire.send(udp_frame.STATE, b"wrong size", wire.peer)
        arrive()
        if polls:
            assert node.listen() and node.counters.accepted == before.accepted
        wire.wire.continue_after(wire.wire._sent - 1)
        wire.send_state(9.0, state())  # once more with the last number
        arrive()
        assert node.receive().time == 9.0
        assert node.receive() is None
        after = dataclasses.asdict(node.counters)
        counts.append({k: v - getattr(before, k) for k, v in after.items() if k != "malformed"})
        assert after["malformed"]["state size"] == 1 + before.malformed.get("state size", 0)
    assert counts[0] == counts[1]
    assert (counts[0]["superseded"], counts[0]["duplicated"]) == (9, 1)


def test_a_state_that_was_taken_in_beforehand_is_as_old_as_it_is(pair):
    wire, node = pair
    clock = SteppedClock()
    driver = UdpDriver(clock)
    driver.adopt(HELLO, NAMES, FEET)
    driver.endpoint = node
    wire.send_state(0.0, state())
    arrive()
    clock.time = 1.0
    driver.poll()
    clock.time = 1.001
    assert driver.read().time == 1.0
    wire.send_state(0.0, state())
    arrive()
    clock.time = 2.0
    assert driver.read().time == 2.0


def test_a_replayed_command_is_not_taken_again(pair):
    wire, node = pair
    for at in (50, 50, 49, 51):
        sendto(node, reframed(GOOD, 8, at))
    arrive()
    wire.receive(0.0)
    assert wire.counters.accepted == 2
    assert (wire.counters.duplicated, wire.counters.reordered) == (1, 1)


# --- who commands


def test_a_second_node_is_not_listened_to_while_the_first_commands(pair):
    wire, node = pair
    node.send_command(*COMMAND)
    arrive()
    assert wire.receive(10.0) is not None
    other = NodeEndpoint(port=wire.port)
    other.request_hello()
    other.send_command(*COMMAND)
    arrive()
    assert wire.receive(10.0 + SILENT_AFTER / 2) is None
    assert wire.counters.foreign == 2
    other.request_hello()
    arrive()
    wire.receive(10.0 + 2 * SILENT_AFTER)  # the first has fallen silent
    assert wire.peer == other.wire.socket.getsockname()
    other.close()


def test_a_command_without_a_hello_is_not_taken():
    with UdpRobot(HELLO, port=0) as wire:
        node = NodeEndpoint(port=wire.port)
        node.send_command(*COMMAND)
        arrive()
        assert wire.receive(0.0) is None
        assert wire.counters.foreign == 1
        node.close()


def test_the_robot_knows_when_it_must_damp_by_itself(pair):
    wire, node = pair
    assert wire.silent(0.0)
    node.send_command(*COMMAND)
    arrive()
    wire.receive(5.0)
    assert not wire.silent(5.0 + 0.99 * SILENT_AFTER)
    assert wire.silent(5.0 + 1.01 * SILENT_AFTER)


def test_a_state_from_another_address_is_counted_and_dropped(pair):
    wire, node = pair
    where = node.wire.socket.getsockname()
    forged = udp_frame.encode(udp_frame.STATE, 2**20, udp_payloads.encode_state(66.0, state()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(forged, where)
    wire.send_state(1.0, state())
    arrive()
    assert node.receive().time == 1.0  # and its sequence number did not hide ours
    assert node.counters.foreign == 1


def test_the_nodes_socket_is_bound_to_the_way_to_the_robot(pair):
    _, node = pair
    assert node.wire.socket.getsockname()[0] == "127.0.0.1"


# --- opening


def test_what_the_operating_system_does_not_take_is_counted_until_it_does_again(pair):
    _, node = pair
    driver = UdpDriver(MonotonicClock())
    assert driver.unsent() == Unsent()
    driver.adopt(HELLO, NAMES, FEET)
    driver.endpoint = node

    class Unplugged:
        def sendto(self, data, to):
            raise OSError("Network is unreachable")

    plugged, driver.endpoint.wire.socket = driver.endpoint.wire.socket, Unplugged()
    for _ in range(3):
        driver.write(MotorCommand(*COMMAND))
        time.sleep(0.02)
    assert driver.unsent().lost == 3 and driver.unsent().failing > 0.05
    driver.endpoint.wire.socket = plugged
    driver.write(MotorCommand(*COMMAND))
    assert driver.unsent() == Unsent(lost=3)
    driver.close()


def test_a_taken_port_is_said_in_a_sentence():
    with (
        UdpRobot(HELLO, port=0) as wire,
        pytest.raises(InputError, match=f"{wire.port} cannot be bound"),
    ):
        UdpRobot(HELLO, port=wire.port)


def test_no_robot_is_refused_in_a_sentence():
    with UdpRobot(HELLO, port=0) as wire:
        port = wire.port
    driver = UdpDriver(MonotonicClock(), port=port, wait=0.2)
    with pytest.raises(RefusedError, match="no robot answered") as error:
        driver.open(NAMES, FEET)
    assert f"127.0.0.1:{port} within 0.2 s" in str(error.value)


def test_a_hello_that_is_wrong_is_said_with_what_is_wrong_about_it():
    """Its author sees the field, not only that there is no robot."""
    with UdpRobot(HELLO, port=0) as wire:
        wire.hello = Hello("go2", NAMES, (), FEET, Capabilities(max_kp=(1.0,)))
        stop = threading.Event()

        def answer():
            while not stop.wait(0.005):
                wire.receive(0.0)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises(RefusedError) as error:
                UdpDriver(MonotonicClock(), port=wire.port, wait=0.3).open(NAMES, FEET)
        finally:
            stop.set()
            thread.join()
    assert re.search(
        r"dropped: \d+ x hello \(capabilities: max_kp has 1 entries for", str(error.value)
    )


def test_the_longest_hello_fits_into_a_datagram():
    """255 joints with names of 20 letters and every figure."""
    names = tuple(f"a_joint_of_length_{i:02x}" for i in range(255))
    numbers = (123.456,) * 255
    figures = {name: numbers for name in VECTORS}
    capabilities = Capabilities(**figures | {"position_range": ((-1.23456, 1.23456),) * 255})
    sent = Hello("many", names, tuple(BASIC), (), capabilities)
    with UdpRobot(sent, port=0) as wire:
        node = NodeEndpoint(port=wire.port)
        node.request_hello()
        arrive()
        wire.receive(0.0)
        arrive()
        node.receive()
        assert node.hello == sent
        node.close()


def test_what_the_robot_does_not_offer_is_not_in_the_state(pair):
    wire, node = pair
    driver = UdpDriver(MonotonicClock())
    driver.adopt(Hello("go2", NAMES, ("joint_pos",), FEET), NAMES, FEET)
    driver.endpoint = node
    wire.send_state(0.0, state())
    arrive()
    got = driver.read().state
    assert got.joint_pos.any()
    assert tuple(got) == ("joint_pos",)


# --- a robot that goes and comes back


class Rebooting:
    """A robot side that can be started anew on its port: it has then forgotten its peer."""

    def __init__(self):
        self.wire = UdpRobot(HELLO, port=0)
        self.port = self.wire.port

    def reboot(self, hello=HELLO):
        self.wire.close()
        self.wire = UdpRobot(hello, self.port)

    def live(self, driver, seconds=1.0):
        """Answer and send for a while; return what the driver read."""
        samples = []
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not samples:
            self.wire.receive(time.monotonic())
            self.wire.send_state(0.0, state())
            time.sleep(0.005)
            sample = driver.read()
            samples += [sample] if sample else []
        return samples


@pytest.fixture
def rebooting():
    robot_side = Rebooting()
    driver = UdpDriver(MonotonicClock(), port=robot_side.port)
    driver.endpoint = NodeEndpoint(port=robot_side.port)
    driver.adopt(HELLO, NAMES, FEET)
    driver.endpoint.request_hello()
    arrive()
    assert robot_side.live(driver)
    yield robot_side, driver
    robot_side.wire.close()
    driver.close()


def test_a_robot_that_reboots_is_found_again_although_its_numbers_begin_anew(rebooting):
    robot_side, driver = rebooting
    for _ in range(20):
        robot_side.live(driver)
    last = driver.endpoint.sequence
    robot_side.reboot()
    (sample, *_) = robot_side.live(driver)
    assert 0 < sample.sequence < last


def test_another_robot_in_its_place_is_refused(rebooting):
    robot_side, driver = rebooting
    robot_side.reboot(Hello("h1", NAMES[:-1], tuple(BASIC), FEET))
    with pytest.raises(RefusedError, match=r"another robot answers at .*: h1 with 11 joints"):
        robot_side.live(driver)


def test_a_robot_that_pauses_is_not_asked_before_half_a_second(rebooting):
    """A hiccup must not make old datagrams look new."""
    robot_side, driver = rebooting
    before = robot_side.wire.counters.received
    ends = time.monotonic() + GONE_AFTER - 0.1
    while time.monotonic() < ends:
        driver.read()
        time.sleep(0.01)
    robot_side.wire.receive(0.0)
    assert robot_side.wire.counters.received == before
