"""ROS 2 robots as they are: several publishers, clocks that step, encodings that differ."""

import time

import numpy as np
import pytest
from dds_helpers import Alive, free_domain, within
from node_helpers import contract, robot

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, DriverFault, MotorCommand
from robot_ppo_node.drivers.capabilities import NOTHING, of_robot
from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2 import ros2_urdf
from robot_ppo_node.drivers.ros2.joint_parts import JointParts
from robot_ppo_node.drivers.ros2.owners import OWNED
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import Imu, JointState, Stamp
from robot_ppo_node.drivers.ros2.stamp_order import IN_A_ROW, StampOrder
from robot_ppo_node.startup.compatibility import check_compatibility

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
NONE = np.zeros(0)
NOW = Stamp(0, 0)


def part(names, position, velocity=None, effort=None, stamp=NOW):
    vectors = (position, velocity, effort)
    filled = (NONE if v is None else np.asarray(v, float) for v in vectors)
    return JointState(stamp, tuple(names), *filled)


# --- parts of a robot


def test_a_state_is_there_once_every_publisher_has_said_something_new():
    parts = JointParts("ab")
    parts.add(1, part("a", [1], [2], [3]), 0.0)
    assert not parts.complete
    parts.add(2, part("b", [4], [5], [6]), 0.0)
    assert parts.complete
    parts.settle()
    assert parts.names == ("a", "b")
    assert parts.take().tolist() == [[1, 4], [2, 5], [3, 6]]
    parts.add(1, part("a", [7], [8], [9]), 0.1)
    assert parts.take() is None  # b is old
    parts.add(2, part("b", [4], [5], [6]), 0.1)
    assert parts.take()[0].tolist() == [7, 4]


def test_a_message_without_the_robots_joints_does_not_concern_it():
    parts = JointParts("ab")
    assert not parts.concerns(part("xy", [0, 0]))
    assert parts.concerns(part("ax", [0, 0]))


def test_values_of_two_publishers_of_one_joint_are_never_mixed():
    parts = JointParts("a")
    parts.add(1, part("a", [1]), 0.0)
    with pytest.raises(MalformedCdrError, match="second publisher"):
        parts.add(2, part("a", [2]), OWNED / 2)
    parts.add(2, part("a", [3]), OWNED)  # the first one has fallen silent, or was restarted
    parts.settle()
    assert parts.take()[0].tolist() == [3]


@pytest.mark.parametrize("effort", [None, [np.nan, np.nan], [1.0, np.nan]])
def test_what_hardware_does_not_measure_is_no_signal(effort):
    parts = JointParts("ab")
    parts.add(1, part("ab", [1, 2], [3, 4], effort), 0.0)
    parts.settle()
    assert parts.signals == ("joint_pos", "joint_vel")
    assert parts.take()[:2].tolist() == [[1, 2], [3, 4]]


def test_a_measured_signal_that_turns_into_nan_is_passed_on_to_the_guards():
    parts = JointParts("a")
    parts.add(1, part("a", [1], [2], [3]), 0.0)
    parts.settle()
    parts.add(1, part("a", [1], [np.nan], [3]), 0.1)
    assert np.isnan(parts.take()[1, 0])
    with pytest.raises(MalformedCdrError, match="signals"):
        parts.add(1, part("a", [1], None, [3]), 0.2)


# --- clocks


def feed(order, *seconds, source="joints", begin=0.0):
    """What became of messages with these stamps [s]; one arrives every 5 ms."""
    outcomes = []
    for i, s in enumerate(seconds):
        try:
            order.check(source, Stamp(int(s), round(s % 1 * 1e9)), begin + 0.005 * i)
            outcomes.append("")
        except MalformedCdrError as reason:
            outcomes.append(str(reason))
    return outcomes


def test_a_late_or_doubled_message_is_dropped_and_is_no_clock():
    order = StampOrder()
    assert feed(order, 10.0, 10.01, 10.01, 9, 10.02, 8, 10.03) == [
        "",
        "",
        *["duplicated", "reordered"],
        "",
        "reordered",
        "",
    ]
    assert order.set_back() is None


def test_older_stamps_that_grow_are_of_a_clock_that_was_set_back():
    order = StampOrder()
    feed(order, 5000.0, 5000.1)
    back = [1400.0 + 0.1 * i for i in range(IN_A_ROW)]
    assert set(feed(order, *back, begin=1.0)) == {"reordered"}
    step = order.set_back()
    assert step.seconds == pytest.approx(5000.1 - back[-1]) and step.since == 1.0
    order.accept()
    assert order.set_back() is None
    assert feed(order, back[-1] + 0.1, begin=1.1) == [""]


def test_sources_have_clocks_of_their_own():
    order = StampOrder()
    feed(order, 5000.0, source="joints")
    assert feed(order, 3.0, 3.1, 3.2, 3.3, source="gripper") == [""] * 4
    assert order.set_back() is None


# --- robots on a domain


class Publisher:
    """A program of its own on a robot's domain."""

    def __init__(self, domain, qos=None):
        from robot_ppo_node.drivers.dds import participant
        from robot_ppo_node.drivers.ros2 import ros2_idl

        self.bus = participant.Bus(domain)
        self.idl = ros2_idl
        self.joints = self.writer("rt/joint_states", ros2_idl.JointState, qos)
        self.imu = self.writer("rt/imu", ros2_idl.Imu, qos)

    def writer(self, topic, kind, qos=None):
        """A writer as the driver's, or one with a quality of service of its own."""
        if qos is None:
            return self.bus.writer(topic, kind)
        from cyclonedds.pub import DataWriter

        from robot_ppo_node.drivers.dds.endpoints import Writer

        bus = self.bus
        entity = DataWriter(bus._participant, bus._topic(topic, kind), qos)
        return Writer(bus._keep(entity), kind)

    def reader(self, topic, kind, qos):
        from cyclonedds.sub import DataReader

        bus = self.bus
        return bus._keep(DataReader(bus._participant, bus._topic(topic, kind), qos))

    def send(self, names, position, effort=None, ago=0.0):
        now = time.time() - ago
        stamp = Stamp(int(now), int(now % 1 * 1e9))
        state = part(names, position, np.zeros(len(names)), effort, stamp)
        self.joints.write(messages.encode_joint_state(state))
        w = np.array([1.0, 0, 0, 0])
        self.imu.write(messages.encode_imu(Imu(stamp, w, np.zeros(3), np.zeros(3))))


@pytest.fixture
def domain():
    pytest.importorskip("cyclonedds")
    return free_domain()


@pytest.fixture
def live(domain):
    """Make publishers, and drivers on their domain, that are closed afterwards."""
    opened = []
    said = []

    def driver(**connection):
        connection = {
            "robot": robot(),
            "domain": domain,
            "wait": 3.0,
            "say": said.append,
            **connection,
        }
        made = create("ros2", MonotonicClock(), Connection(**connection))
        opened.append(made)
        return made

    def publisher(qos=None):
        made = Publisher(domain, qos)
        opened.append(made.bus)
        return made

    yield driver, publisher, said
    for thing in opened:
        thing.close()


class Sending:
    """Calls a function in a thread, at a rate."""

    def __init__(self, send, rate=200.0):
        import threading

        self.stop = threading.Event()

        def run():
            while not self.stop.is_set():
                send()
                time.sleep(1 / rate)

        self.thread = threading.Thread(target=run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_a_gripper_on_the_same_topic_costs_no_state_of_the_robot(live):
    make, publisher, _ = live
    legs = publisher()
    gripper = publisher()
    with Sending(lambda: legs.send(NAMES, np.arange(12.0))):
        driver = make()
        driver.open(NAMES, FEET)
    time.sleep(0.1)
    driver.read()
    for _ in range(5):  # between two ticks, the robot speaks once and the gripper a hundred times
        legs.send(NAMES, np.arange(12.0))
        for _ in range(100):
            gripper.joints.write(messages.encode_joint_state(part(("left", "right"), [0.0, 0.0])))
        sample = within(1, driver.read)
        assert sample.state.joint_pos.tolist() == list(range(12))
    assert driver.joint_names == NAMES and not driver.malformed


def test_a_robot_in_two_parts_is_put_together(live):
    make, publisher, _ = live
    front = publisher()
    rear = publisher()
    with (
        Sending(lambda: front.send(NAMES[:6], np.arange(6.0))),
        Sending(
            lambda: rear.joints.write(
                messages.encode_joint_state(part(NAMES[6:], np.arange(6.0, 12.0), np.zeros(6)))
            )
        ),
    ):
        driver = make()
        driver.open(NAMES, FEET)
        assert set(driver.joint_names) == set(NAMES)
        state = within(2, driver.read).state
    assert state.joint_pos.tolist() == list(range(12))


def test_effort_of_nan_is_not_measured_and_the_rest_is(live):
    make, publisher, _ = live
    legs = publisher()
    with Sending(lambda: legs.send(NAMES, np.zeros(12), np.full(12, np.nan))):
        driver = make()
        driver.open(NAMES, FEET)
        assert "joint_torque" not in driver.signals
        check_compatibility(contract(), driver)
        assert "joint_torque" not in within(2, driver.read).state


def test_missing_joints_are_named_beside_those_that_are_there(live):
    make, publisher, _ = live
    legs = publisher()
    driver = make(wait=0.5)
    with (
        Sending(lambda: legs.send(NAMES[:-1], np.zeros(11))),
        pytest.raises(RefusedError, match=rf"only the policy has \[{NAMES[-1]}\]"),
    ):
        driver.open(NAMES, FEET)


def test_a_clock_that_is_set_back_is_a_fault_while_commanding_and_news_else(live):
    make, publisher, _ = live
    legs = publisher()
    ago = [0.0]
    with Sending(lambda: legs.send(NAMES, np.zeros(12), ago=ago[0])):
        driver = make()
        driver.open(NAMES, FEET)
        driver.write(MotorCommand(*np.ones((3, 12), np.float32)))
        assert within(2, driver.read)
        ago[0] = 3600.0
        with pytest.raises(DriverFault, match=r"set back by 3[56]"):
            within(1, lambda: driver.read() and None)
        driver.damp()
        time.sleep(0.1)
        driver.read()
        assert driver.read() is None  # not yet the time
        assert within(2, driver.read)
    told = [(w.code, w.text) for w in driver.warnings()]
    assert any(c == "clock_set_back" and "the new time is taken" in text for c, text in told)


def test_a_description_that_comes_late_is_waited_for(live, domain):
    make, publisher, said = live
    legs = publisher()
    describer = legs.bus.writer("rt/robot_description", legs.idl.String, latched=True)
    begin = time.monotonic()

    def send():
        legs.send(NAMES, np.zeros(12))
        if time.monotonic() - begin > 2.0 and not said:
            describer.write(messages.encode_string(ros2_urdf.urdf_of(robot())))

    with Sending(send):
        driver = make()
        driver.open(NAMES, FEET)
    assert driver.capabilities == of_robot(robot())


def test_a_describer_that_says_nothing_is_told(live, monkeypatch):
    from robot_ppo_node.drivers.ros2 import ros2_description

    monkeypatch.setattr(ros2_description, "DESCRIBED_WITHIN", 1.2)
    make, publisher, said = live
    legs = publisher()
    legs.bus.writer("rt/robot_description", legs.idl.String, latched=True)
    with Sending(lambda: legs.send(NAMES, np.zeros(12))):
        driver = make()
        driver.open(NAMES, FEET)
    assert driver.capabilities == NOTHING
    assert any("/robot_description" in text for text in said)


def test_a_second_commander_is_refused_at_the_start_and_a_fault_later(live):
    make, publisher, _ = live
    legs = publisher()
    other = publisher()
    with Sending(lambda: legs.send(NAMES, np.zeros(12))):
        driver = make()
        driver.open(NAMES, FEET)
        assert driver.other_writers() == ()
        other.bus.writer("rt/joint_commands", other.idl.Float64MultiArray)
        assert within(3, driver.other_writers)
        with pytest.raises(DriverFault, match="can send rt/joint_commands"):
            driver.read()
        with pytest.raises(RefusedError, match="can send rt/joint_commands"):
            make(wait=0.5).open(NAMES, FEET)


def offered(reliability, durability, **more):
    """A quality of service by its names, and with `ownership` or `deadline` [ns]."""
    from cyclonedds.core import Policy, Qos

    kinds = {
        "reliable": Policy.Reliability.Reliable(0),
        "best effort": Policy.Reliability.BestEffort,
    }
    policies = [kinds[reliability], getattr(Policy.Durability, durability)]
    policies += [Policy.History.KeepLast(1)]
    policies += [Policy.Deadline(more["deadline"])] if "deadline" in more else []
    policies += [Policy.Ownership.Exclusive] if "exclusive" in more else []
    return Qos(*policies)


@pytest.mark.parametrize("durability", ["Volatile", "TransientLocal"])
@pytest.mark.parametrize("reliability", ["best effort", "reliable"])
def test_publishers_of_every_usual_setting_connect(live, reliability, durability):
    make, publisher, _ = live
    legs = publisher(offered(reliability, durability, deadline=10**9))
    with Sending(lambda: legs.send(NAMES, np.zeros(12))):
        driver = make()
        driver.open(NAMES, FEET)
        assert within(2, driver.read)


@pytest.mark.parametrize("reliability", ["best effort", "reliable"])
def test_controllers_of_every_reliability_hear_commands(live, reliability):
    make, publisher, _ = live
    legs = publisher()
    kind = legs.idl.Float64MultiArray
    reader = legs.reader("rt/joint_commands", kind, offered(reliability, "Volatile"))
    with Sending(lambda: legs.send(NAMES, np.zeros(12))):
        driver = make()
        driver.open(NAMES, FEET)
        driver.damp()
        assert within(2, lambda: reader.take(N=1))


@pytest.mark.parametrize(
    ("durability", "more", "theirs"),
    [
        ("TransientLocal", {}, "(reliable, transient local)"),
        ("Volatile", {"deadline": 10**7}, "(reliable, volatile, a deadline of 0.01 s)"),
        ("Volatile", {"exclusive": True}, "(reliable, volatile, exclusive ownership)"),
    ],
)
def test_a_controller_that_cannot_be_reached_is_told_with_both_sides(
    live, durability, more, theirs
):
    """Else the robot would never hear a command, and nobody would say so."""
    make, publisher, _ = live
    legs = publisher()
    kind = legs.idl.Float64MultiArray
    legs.reader("rt/joint_commands", kind, offered("reliable", durability, **more))
    with Sending(lambda: legs.send(NAMES, np.zeros(12))), pytest.raises(RefusedError) as error:
        make().open(NAMES, FEET)
    assert "no reader of rt/joint_commands can be reached" in str(error.value)
    assert f"Float64MultiArray_ {theirs}; this writes reliable, volatile: let" in str(error.value)


def test_a_publisher_that_owns_its_topic_is_told_with_both_sides(live):
    make, publisher, _ = live
    legs = publisher(offered("reliable", "Volatile", exclusive=True))
    with Sending(lambda: legs.send(NAMES, np.zeros(12))), pytest.raises(RefusedError) as error:
        make(wait=0.6).open(NAMES, FEET)
    theirs = "Imu_ (reliable, volatile, exclusive ownership)"
    assert f"{theirs}; this reads best effort, volatile" in str(error.value)


def test_a_writer_that_cannot_be_matched_is_shown_with_its_settings(live):
    """The IMU's topic carries another type: discovery finds it, and nothing connects."""
    make, publisher, _ = live
    legs = publisher()
    from robot_ppo_node.drivers.dds import participant

    with participant.Bus(legs.bus.domain) as bus:
        bus.writer("rt/imu", legs.idl.String, latched=True)
        legs.imu = type("Mute", (), {"write": lambda self, payload: None})()
        driver = make(wait=1.0)
        with (
            Sending(lambda: legs.send(NAMES, np.zeros(12))),
            pytest.raises(
                RefusedError, match=r"nothing on /imu.*String_ \(reliable, transient local\)"
            ),
        ):
            driver.open(NAMES, FEET)


def test_the_simulated_robot_is_whom_the_driver_expects(domain):
    from robot_ppo_node.robot_side.ros2_robot import Ros2Robot

    alive = Alive(Ros2Robot(NAMES, domain), NAMES, FEET, np.linspace(-1, 1, 12))
    driver = create("ros2", MonotonicClock(), Connection(robot=robot(), domain=domain, wait=3.0))
    try:
        driver.open(NAMES, FEET)
        assert within(2, driver.read)
        assert not driver.malformed
    finally:
        driver.close()
        alive.close()
