"""A signal that is added at runtime: a policy reads it, and every old file and peer stays valid."""

import json
import struct
import threading
import time

import numpy as np
import pytest
from contract_helpers import add_term
from node_helpers import PERIOD, TERMS, contract, policy, rest_pose, rig, robot, write_policy

from robot_ppo.logs import mcap
from robot_ppo.logs.log import Log
from robot_ppo_export.contract.layout import TermSpec
from robot_ppo_export.contract.state import ANY, BASIC, SIGNALS, Signal, blank, zeros
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import TOLERANCE, Policy
from robot_ppo_node.app.replay import replay
from robot_ppo_node.clock import MonotonicClock, SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.replay_driver import ReplayDriver
from robot_ppo_node.drivers.udp import udp_frame, udp_payloads
from robot_ppo_node.drivers.udp.udp_driver import UdpDriver
from robot_ppo_node.drivers.udp.udp_endpoint import NodeEndpoint
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.log import recorder
from robot_ppo_node.node import Node
from robot_ppo_node.robot_side.udp_robot import UdpRobot
from robot_ppo_node.safety.measured import held_signals

pytestmark = pytest.mark.real_time

POINTS = 17
NAMES = robot().joint_names
FEET = robot().feet
SEES = frozenset((*BASIC, "range_scan"))


@pytest.fixture(autouse=True)
def range_scan(monkeypatch):
    """One entry in SIGNALS and one term: all that a new signal takes."""
    signal = Signal(ANY, "m", "body", "depth camera", optional=True)
    monkeypatch.setitem(SIGNALS, "range_scan", signal)

    def range_scan(inputs):
        return inputs.state.range_scan

    numbers = {"unit": "m", "frame": "body", "size": "range_scan", "reads": ("range_scan",)}
    add_term(monkeypatch, range_scan, **numbers)


@pytest.fixture
def scanning() -> Policy:
    """A policy that reads a scan of `POINTS` heights, as after loading its file."""
    reads = (*TERMS, TermSpec(name="range_scan", scale=2.0, history=2))
    return Policy(write_policy(contract(reads, signal_sizes={"range_scan": POINTS})))


def bumps(tick, state):
    """Heights that change at every tick."""
    state.range_scan[:] = 0.05 * np.sin(0.3 * tick + np.arange(POINTS))
    return state


def sees(**more):
    return {"signals": SEES, "mutate": bumps} | more


# The policy file


def test_its_file_proves_itself_and_holds_what_it_reads(scanning):
    assert scanning.check_golden().value <= TOLERANCE
    assert "range_scan" in scanning.golden.inputs and "foot_force" not in scanning.golden.inputs
    assert scanning.layout.widths["range_scan"] == POINTS
    assert held_signals(scanning.contract)["range_scan"] == POINTS


def test_files_that_do_not_read_it_are_as_they_were(monkeypatch):
    with_it = write_policy(contract()).read_bytes()
    monkeypatch.undo()
    assert "range_scan" not in SIGNALS
    assert write_policy(contract()).read_bytes() == with_it


def test_a_node_that_does_not_know_it_refuses_its_file(scanning, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(RefusedError, match="unknown term 'range_scan'"):
        Policy(scanning.path)


# The run, its log and its replay


@pytest.fixture
def walk(scanning):
    return rig(p=scanning, ring=10, **sees()).until(State.POLICY).ticks(50).node


def test_the_node_runs_it_and_records_it(walk):
    rows, meta = walk.recorder.log()
    assert "range_scan[16]" in meta["measured"]
    assert not any(place.startswith("foot_force") for place in meta["measured"])
    place = walk.policy.layout.slices["range_scan"]
    scan = rows["measured"][-1][-POINTS:]
    assert np.abs(scan).max() > 0.01
    assert np.array_equal(rows["observation"][-1][place][-POINTS:], 2 * scan)


def test_its_log_replays_bit_for_bit_and_exports(walk, tmp_path):
    path = tmp_path / "walk.rlog"
    walk.recorder.save(path)
    log = Log.load(path)
    assert replay(walk.policy, log.rows, log.meta) == len(log)
    assert log.measured("range_scan").shape == (len(log), POINTS)
    pytest.importorskip("mcap")
    mcap.write(log, tmp_path / "walk.mcap")
    assert b"/signals/range_scan" in (tmp_path / "walk.mcap").read_bytes()


def test_driver_replay_plays_it(walk, scanning):
    rows, meta = walk.recorder.log()
    clock = SteppedClock()
    node = Node(scanning, ReplayDriver(clock, rows, meta), clock, FixedCommand(), arm=True)
    node.prepare()
    node.run(seconds=1.0)
    assert node.measurement.state.range_scan.any()


def test_logs_without_it_are_refused_by_its_policy_and_replay_by_their_own(scanning):
    plain = policy()
    node = rig(p=plain, ring=10).until(State.POLICY).ticks(20).node
    rows, meta = node.recorder.log()
    assert replay(plain, rows, meta) == len(rows["time"])
    with pytest.raises(InputError, match=r"lacks \[range_scan\]"):
        replay(scanning, rows, meta | {"policy": scanning.sha256})
    clock = SteppedClock()
    node = Node(scanning, ReplayDriver(clock, rows, meta), clock, FixedCommand(), arm=True)
    with pytest.raises(RefusedError, match="the robot does not measure range_scan"):
        node.prepare()


def test_a_driver_that_does_not_offer_it_is_refused_in_a_sentence(scanning):
    with pytest.raises(RefusedError, match="the robot does not measure range_scan: train without"):
        rig(p=scanning)


def test_a_policy_that_does_not_read_it_runs_on_a_robot_that_measures_it():
    node = rig(signals=SEES).until(State.POLICY).ticks(10).node
    assert "range_scan" not in node.measurement.state


# Over UDP


class ScanningRobot:
    """A lying robot over UDP, in a thread, that measures `points` heights."""

    def __init__(self, points=POINTS):
        optional = {"range_scan": points} if points else {}
        self.wire = UdpRobot(Hello("go2", NAMES, BASIC, FEET, optional=optional), port=0)
        self.scan = np.linspace(0.1, 0.2, points or 1, dtype=np.float32)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.wire.close()

    def _live(self):
        state = zeros((), len(NAMES), len(FEET))
        random = np.random.default_rng(0)
        if self.wire.hello.optional:
            state.range_scan = self.scan
        state.joint_pos[:], state.base_lin_acc[2] = rest_pose(), 9.81
        while not self._over.wait(0.005):
            command = self.wire.receive(time.monotonic())
            if command is not None and command.kp.any():
                state.joint_pos += 0.5 * (command.target - state.joint_pos)
            state.base_ang_vel[:] = random.normal(0, 0.01, 3)
            self.wire.send_state(time.monotonic(), state)


def udp_node(p, port, **options):
    clock = MonotonicClock()
    driver = UdpDriver(clock, port=port, wait=5.0)
    return Node(p, driver, clock, FixedCommand(), recorder.for_policy(p, 10), **options)


def test_it_runs_over_udp_where_the_robot_offers_it(scanning):
    with ScanningRobot() as end:
        node = udp_node(scanning, end.wire.port)
        try:
            node.prepare()
            node.run(seconds=20 * PERIOD)
        finally:
            node.driver.close()
    scan = node.measurement.state.range_scan
    assert np.array_equal(scan, end.scan)
    rows, meta = node.recorder.log()
    assert replay(scanning, rows, meta) == len(rows["time"]) > 5  # a busy computer skips ticks


def test_a_udp_robot_without_it_is_refused_in_a_sentence(scanning):
    with ScanningRobot(points=0) as end:
        node = udp_node(scanning, end.wire.port)
        with pytest.raises(RefusedError, match="the robot does not measure range_scan"):
            node.prepare()
        node.driver.close()


def test_a_udp_robot_with_another_size_is_refused_in_a_sentence(scanning):
    with ScanningRobot(points=POINTS + 1) as end:
        node = udp_node(scanning, end.wire.port)
        with pytest.raises(RefusedError, match="range_scan has 18 numbers, the policy reads 17"):
            node.prepare()
        node.driver.close()


def exchange(robot_end, node_end):
    """Let the robot answer what the node has asked, and measure once."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        robot_end.receive(0.0)
        state = blank({"joint_pos": len(NAMES), "range_scan": POINTS})
        state.range_scan += 1
        robot_end.send_state(1.5, state)
        message = node_end.receive()
        if message is not None:
            return message
        time.sleep(0.001)
    raise AssertionError("no state came")


@pytest.fixture
def robot_end():
    optional = {"range_scan": POINTS}
    with UdpRobot(Hello("go2", NAMES, BASIC, FEET, optional=optional), port=0) as end:
        yield end


@pytest.mark.parametrize("asked", [(), ("range_scan",), ("other", "range_scan")])
def test_a_robot_sends_what_it_is_asked_for(robot_end, asked):
    node_end = NodeEndpoint(port=robot_end.port, optional=asked)
    node_end.request_hello()
    message = exchange(robot_end, node_end)
    node_end.close()
    assert ("range_scan" in message.state) == bool(asked)
    assert set(message.state) - {"range_scan"} == set(BASIC)  # what is not measured is zero
    assert not asked or (message.state.range_scan == 1).all()


def test_to_a_node_of_the_first_edition_the_frames_are_what_they_were(robot_end):
    """Its request is empty, its HELLO has five keys, its STATE seven signals."""
    node_end = NodeEndpoint(port=robot_end.port)
    node_end.request_hello()
    exchange(robot_end, node_end)
    node_end.close()
    assert udp_payloads.encode_request(()) == b""
    payload = json.loads(udp_payloads.encode_hello(node_end.hello))
    assert payload.keys() <= {"robot", "joints", "signals", "feet", "offer"}
    state = zeros((), 2, 1)
    state.joint_pos[:] = 1, 2
    floats = (1, 2, 0, 0, 0, 0, 1, *[0] * 10)
    assert udp_payloads.encode_state(0.5, state) == struct.pack("<dBBH17f", 0.5, 2, 1, 0, *floats)


def test_a_robot_of_the_first_edition_answers_a_node_that_asks_for_more():
    """It does not look at the request, and its HELLO names what it always did."""
    hello = {"robot": "go2", "joints": NAMES, "signals": BASIC, "feet": FEET, "offer": {}}
    answered = udp_payloads.decode_hello(json.dumps(hello).encode())
    assert answered.optional == {} and answered.feet == FEET


@pytest.mark.parametrize("payload", [b"{", b'{"a": 1}', b"[3]", b"\xff\xff"])
def test_a_request_that_is_none_is_counted_and_not_answered(robot_end, payload):
    with pytest.raises(udp_frame.MalformedError):
        udp_payloads.decode_request(payload)
    node_end = NodeEndpoint(port=robot_end.port)
    node_end.wire.send(udp_frame.HELLO_REQUEST, payload, node_end.address)
    deadline = time.monotonic() + 5
    while not robot_end.counters.malformed and time.monotonic() < deadline:
        robot_end.receive(0.0)
    node_end.receive()
    node_end.close()
    assert robot_end.counters.malformed == {"hello request": 1} and node_end.hello is None


@pytest.mark.parametrize(
    "optional, text",
    [
        ({"scan": 3}, "'scan' is not an optional signal"),
        ({"joint_pos": 12}, "'joint_pos' is not an optional signal"),
        ({"range_scan": 0}, "range_scan has 0 numbers"),
        ({"range_scan": 10**9}, "numbers, and not 1 to 4096"),
    ],
)
def test_a_robot_that_offers_what_cannot_be_is_refused(optional, text):
    with pytest.raises(InputError, match=text):
        UdpRobot(Hello("go2", NAMES, BASIC, FEET, optional=optional), port=0)
