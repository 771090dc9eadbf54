"""ROS 2 topics that others write to as well, and messages that are dropped: nothing is mixed."""

from types import SimpleNamespace

import numpy as np
import pytest
from dds_helpers import within
from node_helpers import robot
from test_ros2_publishers import Sending
from test_ros2_publishers import domain as domain
from test_ros2_publishers import live as live

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.drivers.base import Connection, DriverFault, MotorCommand
from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2.owners import LIVE, OWNED, Owners
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver
from robot_ppo_node.drivers.ros2.ros2_messages import Imu, JointState, Stamp
from robot_ppo_node.drivers.ros2.ros2_states import Ros2States
from robot_ppo_node.drivers.ros2.stamp_order import AHEAD, IN_A_ROW

NAMES = robot().joint_names
A = 1
B = 2
LEVEL = (1.0, 0, 0, 0)
TILTED = (0.7, 0.7, 0, 0)
NONE = np.zeros(0)


def stamp_of(seconds):
    return Stamp(int(seconds), int(seconds % 1 * 1e9))


def joints(seconds, value=0.0, names=NAMES):
    n = len(names)
    vectors = (np.full(n, value), np.zeros(n), np.zeros(n))
    return messages.encode_joint_state(JointState(stamp_of(seconds), tuple(names), *vectors))


def imu(seconds, quaternion=LEVEL):
    quaternion = np.array(quaternion, float)
    vectors = (quaternion, np.zeros(3), np.array([0, 0, 9.81]))
    return messages.encode_imu(Imu(stamp_of(seconds), *vectors))


class Topic:
    """A reader of DDS whose messages are given, each with its writer."""

    def __init__(self):
        self.waiting = []

    def take(self, limit=16):
        given, self.waiting = self.waiting[:limit], self.waiting[limit:]
        sender = lambda w: SimpleNamespace(publication_handle=w)  # noqa: E731
        return [SimpleNamespace(payload=p, sample_info=sender(w)) for w, p in given]


class Robot:
    """A driver that is fed by hand: robots state themselves every 5 ms of a stepped clock."""

    def __init__(self, wait=1.0):
        self.clock = SteppedClock()
        self.said = []
        self.talk = lambda: None
        connection = Connection(robot=robot(), wait=wait, say=self.said.append)
        self.driver = Ros2Driver(self.clock, connection)
        self.states = self.driver._states = Ros2States(NAMES, self.clock)
        self.joints = self.states._joint_reader = Topic()
        self.imu = self.states._imu_reader = Topic()
        self.driver.bus = SimpleNamespace(where=lambda: "lo", close=lambda: None)
        sleep = self.clock.sleep_until

        def sleep_and_listen(due):
            sleep(due)
            self.talk()

        self.clock.sleep_until = sleep_and_listen

    @property
    def now(self):
        return 100.0 + self.clock.now()

    def state(self, writer, value=0.0, quaternion=LEVEL, ahead=0.0):
        """One robot's joints and IMU."""
        self.joints.waiting.append((writer, joints(self.now + ahead, value)))
        self.imu.waiting.append((writer, imu(self.now + ahead, quaternion)))

    def open(self):
        self.driver._wait_for_states()
        self.driver._settle()
        repeater = SimpleNamespace(fault=None, stale=0, put=lambda p: None, damp=lambda: None)
        self.driver.repeater = repeater
        self.driver._sampled = self.clock.now()

    def read(self, command=False):
        """One tick of 20 ms, with four times what is talked."""
        for _ in range(4):
            self.clock.sleep_until(self.clock.now() + 0.005)
        sample = self.driver.read()
        if command:
            self.driver.write(MotorCommand(*np.ones((3, 12), np.float32)))
        return sample

    def standing(self):
        """Open, and command for a while."""
        self.open()
        for _ in range(5):
            assert self.read(command=True)


# --- several publishers


def test_what_two_publishers_state_is_contested_once_both_have_spoken_again():
    owners = Owners("/imu")
    owners.claim(A, ("/imu",), 0.0)
    with pytest.raises(MalformedCdrError, match="second publisher"):
        owners.claim(B, ("/imu",), 0.1)
    assert owners.contest(0.1) is None  # the first one may just have been restarted
    owners.claim(A, ("/imu",), 0.2)
    contest = owners.contest(0.2)
    assert (contest.what, contest.owner, contest.other) == ("/imu", A, B)
    assert owners.contest(0.1 + LIVE) is None  # the second one has gone


def test_a_publisher_that_was_restarted_is_no_contest_and_takes_over():
    owners = Owners("/imu")
    owners.claim(A, ("/imu",), 0.0)
    for now in (0.1, 0.3):
        with pytest.raises(MalformedCdrError):
            owners.claim(B, ("/imu",), now)
    owners.claim(B, ("/imu",), OWNED)
    assert owners.contest(OWNED) is None


def test_nothing_changes_hands_while_it_is_held():
    owners = Owners("/imu")
    owners.claim(A, ("/imu",), 0.0)
    owners.held = True
    with pytest.raises(MalformedCdrError, match="second publisher"):
        owners.claim(B, ("/imu",), 10 * OWNED)


@pytest.mark.parametrize("first", ["joints of A", "joints of B"])
def test_two_robots_are_refused_whoever_speaks_first(first):
    r = Robot()
    if first == "joints of A":
        r.joints.waiting.append((A, joints(r.now)))
    else:
        r.imu.waiting.append((A, imu(r.now, TILTED)))

    def talk():
        r.state(B, 2.0)
        r.state(A, 1.0, TILTED)

    r.talk = talk
    with pytest.raises(RefusedError, match=r"two publishers state FR_hip_joint on /joint_states"):
        r.open()


def test_a_second_imu_is_refused_also_where_it_is_seldom_heard():
    r = Robot()
    ticks = iter(range(10**6))

    def talk():
        r.state(A)
        if next(ticks) % 40 == 10:
            r.imu.waiting.append((B, imu(r.now, TILTED)))

    r.talk = talk
    with pytest.raises(RefusedError, match=r"two publishers state /imu \(publisher 1; publisher 2"):
        r.open()


def test_a_second_publisher_is_waited_out_before_a_command_and_told_after():
    r = Robot()
    r.talk = lambda: r.state(A, 1.0)
    r.open()
    assert r.read()
    r.talk = lambda: (r.state(A, 1.0), r.state(B, 2.0, TILTED))
    with pytest.raises(DriverFault, match=r"two publishers state"):
        within(1, r.read) and r.read()
    r.talk = lambda: r.state(A, 1.0)
    r.clock.sleep_until(r.clock.now() + LIVE)
    for _ in range(3):
        assert r.read(command=True)
    r.talk = lambda: (r.state(A, 1.0), r.state(B, 2.0, TILTED))
    for _ in range(100):
        sample = r.read(command=True)
        assert (sample.state.joint_pos == 1.0).all()
        assert sample.state.base_quat.tolist() == list(LEVEL)
    (warning,) = r.driver.warnings()
    assert warning.code == "two_publishers" and "until then the first one is heard" in warning.text
    assert not r.driver.warnings() and not r.said  # each is told once


def test_the_clock_of_a_second_publisher_is_nobodys_matter():
    """A recording that is played in a loop begins again."""
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    for ahead in (-10.0, -20.0):
        r.talk = lambda ahead=ahead: (r.state(A), r.state(B, ahead=ahead))
        for _ in range(10):
            assert r.read(command=True)


def test_a_flood_of_another_imu_costs_no_state_of_the_robot(live):
    make, publisher, _ = live
    legs = publisher()
    camera = publisher()
    with Sending(lambda: legs.send(NAMES, np.zeros(12))):
        driver = make()
        driver.open(NAMES, robot().feet)
    command = MotorCommand(*np.ones((3, 12), np.float32))
    driver.write(command)
    driver.read()
    for _ in range(5):  # between two ticks, the robot speaks once and the camera a hundred times
        legs.send(NAMES, np.zeros(12))
        for _ in range(100):
            camera.imu.write(imu(1.0, TILTED))
        driver.write(command)
        sample = within(1, driver.read)
        assert sample.state.base_quat.tolist() == list(LEVEL)
    told = [warning.text for warning in driver.warnings()]
    assert any("state /imu" in text and "process" in text for text in told)


def test_a_second_imu_on_the_domain_is_named(live):
    make, publisher, _ = live
    legs = publisher()
    camera = publisher()
    with (
        Sending(lambda: legs.send(NAMES, np.zeros(12))),
        Sending(lambda: camera.imu.write(imu(1.0, TILTED)), 20.0),
        pytest.raises(RefusedError, match=r"/imu \(.*Imu_ of this process, process \d+ on .*; "),
    ):
        make().open(NAMES, robot().feet)


# --- what was dropped, and why


def wrong(kind, r):
    """One message of a robot that nobody can use."""
    n = 12
    names = NAMES
    effort = np.zeros(n)
    if kind == "prefix":
        names = tuple(f"go2/{name}" for name in NAMES)
    if kind == "twice":
        names = (*NAMES[:-1], NAMES[0])
    if kind == "short":
        effort = np.zeros(6)
    if kind == "unnamed":
        names, n, effort = (), 0, NONE
    state = JointState(stamp_of(r.now), names, np.zeros(n), np.zeros(n), effort)
    return messages.encode_joint_state(state)


REFUSALS = {
    "prefix": r"different joints \(12, 12\): only the policy has \[FR_hip_joint, .*\], only the "
    r"robot has \[go2/FR_hip_joint, ",
    "twice": r"within 1 s: \d+ messages on /joint_states dropped, the newest: joint FR_hip_joint "
    "is named twice",
    "short": r"dropped, the newest: effort has 6 numbers for 12 joints",
    "unnamed": r"dropped, the newest: it names no joint",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_robot_that_states_what_nobody_can_use_is_told_what(kind):
    r = Robot()

    def talk():
        r.joints.waiting.append((A, wrong(kind, r)))
        r.imu.waiting.append((A, imu(r.now)))

    r.talk = talk
    with pytest.raises(RefusedError, match=REFUSALS[kind]):
        r.open()


def test_half_a_robot_is_told_with_what_the_other_half_said():
    r = Robot()

    def talk():
        r.joints.waiting.append((A, joints(r.now, names=NAMES[:6])))
        r.joints.waiting.append((B, wrong("short", r)))
        r.imu.waiting.append((A, imu(r.now)))

    r.talk = talk
    with pytest.raises(RefusedError, match=r"only the robot has \[\]; \d+ .* effort has 6 numbers"):
        r.open()


STALE = {
    "constant": "its stamp is that of the one before",
    "no velocity": "joint_vel is missing",
    "garbage": "malformed encoding",
}


@pytest.mark.parametrize("kind", STALE)
def test_why_no_state_comes_any_more_is_told_once(kind):
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    stopped = r.now
    zero = np.zeros(12)

    def talk():
        payload = {
            "constant": joints(stopped - 0.005),
            "no velocity": messages.encode_joint_state(
                JointState(stamp_of(r.now), NAMES, zero, NONE, zero)
            ),
            "garbage": b"\xff\xff\xff\xff",
        }[kind]
        r.joints.waiting.append((A, payload))
        r.imu.waiting.append((A, imu(r.now)))

    if kind == "constant":
        stopped += 0.005
    r.talk = talk
    for _ in range(500):
        r.read(command=True)
    (told,) = r.driver.warnings()
    assert told.code == "messages_dropped" and "messages on /joint_states dropped" in told.text
    assert "no new state for 0.0" in told.text and f"the newest: {STALE[kind]}" in told.text


# --- clocks


@pytest.mark.parametrize("ahead", [60.0, 2 * AHEAD])
def test_a_message_from_the_future_costs_that_message(ahead):
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    r.state(A, ahead=ahead)
    for _ in range(20):
        assert r.read(command=True)
    assert r.driver.malformed == {"ahead": 2}  # one of each topic


def test_a_clock_that_is_set_forward_is_the_time_after_a_few_messages():
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    r.talk = lambda: r.state(A, ahead=60.0)
    for _ in range(20):
        assert r.read(command=True)
    assert r.driver.malformed == {"ahead": 2 * (IN_A_ROW - 1)}


def test_stamps_from_the_future_that_do_not_fit_each_other_are_no_clock():
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    for ahead in (60.0, 600.0, 6000.0, 60000.0):
        r.state(A, ahead=ahead)
    for _ in range(20):
        assert r.read(command=True)


def test_what_was_read_late_is_no_leap_of_the_next_message():
    r = Robot()
    r.talk = lambda: r.state(A)
    r.standing()
    for _ in range(60):  # the node stands still, and reads what has waited all at once
        r.clock.sleep_until(r.clock.now() + 0.005)
    stamps = r.joints.waiting[:5], r.imu.waiting[:5]
    r.joints.waiting, r.imu.waiting = stamps
    assert r.driver.read() and r.read()
    assert not r.driver.malformed
