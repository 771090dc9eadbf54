"""Driver `ros2`: its encodings beside those of cyclonedds, and a robot on a real DDS domain."""

import time

import numpy as np
import pytest
from dds_helpers import Alive, free_domain, within
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import contract, robot
from ros2_helpers import encode_twist

from robot_ppo_export.contract.state import BASIC
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.drivers.capabilities import NOTHING, Capabilities, of_robot
from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2 import ros2_urdf
from robot_ppo_node.drivers.ros2.ros2_cdr import CdrReader, CdrWriter, MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import CommandEncoder, Imu, JointState, Stamp
from robot_ppo_node.startup.compatibility import check_compatibility

pytestmark = pytest.mark.real_time

NAMES = robot().joint_names
FEET = robot().feet
STAMP = Stamp(12, 345)
VECTORS = np.random.default_rng(0).normal(size=(3, 12))
IMU = Imu(STAMP, *(np.arange(k, dtype=float) + 0.5 for k in (4, 3, 3)))
NONE = np.zeros(0)


# --- encodings


@pytest.fixture(scope="module")
def idl():
    pytest.importorskip("cyclonedds")
    from robot_ppo_node.drivers.ros2 import ros2_idl

    return ros2_idl


def cyclone(sample):
    """The bytes that the generic encoder of cyclonedds makes: an independent one."""
    from cyclonedds.idl import IdlStruct

    return IdlStruct.serialize(sample)


def header(idl, frame="base_link"):
    return idl.Header(idl.Time(*STAMP), frame)


@pytest.mark.parametrize("empty", [(), (1,), (1, 2), (0, 1, 2)])
def test_joint_states_are_encoded_as_by_cyclonedds(idl, empty):
    vectors = [NONE if i in empty else VECTORS[i] for i in range(3)]
    ours = messages.encode_joint_state(JointState(STAMP, NAMES, *vectors))
    theirs = cyclone(idl.JointState(header(idl), list(NAMES), *(v.tolist() for v in vectors)))
    assert ours == theirs
    back = messages.decode_joint_state(theirs)
    assert (back.stamp, back.names) == (STAMP, NAMES)
    for sent, got in zip(vectors, (back.position, back.velocity, back.effort), strict=True):
        assert np.array_equal(sent, got)


def test_an_imu_is_encoded_as_by_cyclonedds_and_its_quaternion_is_xyzw_there(idl):
    w, x, y, z = IMU.quaternion
    nine = [0.0] * 9

    def vector(v):
        return idl.Vector3(*v.tolist())

    theirs = cyclone(
        idl.Imu(
            header(idl),
            idl.Quaternion(x=x, y=y, z=z, w=w),
            nine,
            vector(IMU.angular_velocity),
            nine,
            vector(IMU.linear_acceleration),
            nine,
        )
    )
    assert messages.encode_imu(IMU) == theirs
    back = messages.decode_imu(theirs)
    assert back.quaternion.tolist() == [w, x, y, z]
    assert np.array_equal(back.angular_velocity, IMU.angular_velocity)
    assert np.array_equal(back.linear_acceleration, IMU.linear_acceleration)


def test_a_covariance_of_minus_one_says_that_nothing_is_measured():
    back = messages.decode_imu(messages.encode_imu(Imu(STAMP, None, IMU.angular_velocity, None)))
    assert back.quaternion is None and back.linear_acceleration is None
    assert back.angular_velocity is not None


def test_twists_are_encoded_as_by_cyclonedds(idl):
    command = np.array([0.5, -0.25, 1.0], "f4")
    twist = idl.Twist(idl.Vector3(0.5, -0.25, 0.0), idl.Vector3(0.0, 0.0, 1.0))
    assert encode_twist(command) == cyclone(twist)
    stamped = cyclone(idl.TwistStamped(header(idl), twist))
    assert encode_twist(command, STAMP) == stamped
    assert np.array_equal(messages.decode_twist(stamped, stamped=True), command)
    assert np.array_equal(messages.decode_twist(cyclone(twist), stamped=False), command)


def test_a_command_is_encoded_as_by_cyclonedds(idl):
    rows = np.abs(VECTORS).astype("f4")
    theirs = cyclone(
        idl.Float64MultiArray(
            idl.MultiArrayLayout(
                [
                    idl.MultiArrayDimension("target,kp,kd", 3, 36),
                    idl.MultiArrayDimension(",".join(NAMES), 12, 12),
                ],
                0,
            ),
            rows.ravel().tolist(),
        )
    )
    assert CommandEncoder(NAMES).encode(*rows) == theirs
    back = messages.decode_command(theirs)
    assert back.names == NAMES and np.array_equal(back.values, rows)


def test_a_description_is_encoded_as_by_cyclonedds(idl):
    text = ros2_urdf.urdf_of(robot())
    assert messages.encode_string(text) == cyclone(idl.String(text))
    assert messages.decode_string(messages.encode_string(text), len(text) + 1) == text
    with pytest.raises(MalformedCdrError, match="string"):
        messages.decode_string(messages.encode_string(text), len(text))


def test_the_names_on_the_wire_are_those_of_ros(idl):
    for kind, name in (
        (idl.JointState, "sensor_msgs::msg::dds_::JointState_"),
        (idl.Imu, "sensor_msgs::msg::dds_::Imu_"),
        (idl.Twist, "geometry_msgs::msg::dds_::Twist_"),
        (idl.TwistStamped, "geometry_msgs::msg::dds_::TwistStamped_"),
        (idl.Float64MultiArray, "std_msgs::msg::dds_::Float64MultiArray_"),
        (idl.String, "std_msgs::msg::dds_::String_"),
    ):
        assert kind.__idl_typename__.replace(".", "::") == name


# --- malformed

DECODERS = {
    "joint_state": (
        messages.decode_joint_state,
        messages.encode_joint_state(JointState(STAMP, NAMES, *VECTORS)),
    ),
    "imu": (messages.decode_imu, messages.encode_imu(IMU)),
    "twist": (lambda p: messages.decode_twist(p, True), encode_twist(np.ones(3), STAMP)),
    "command": (messages.decode_command, CommandEncoder(NAMES).encode(*np.abs(VECTORS))),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_every_truncation_is_refused(kind):
    decode, payload = DECODERS[kind]
    for length in range(len(payload)):
        with pytest.raises(MalformedCdrError):
            decode(payload[:length])
    with pytest.raises(MalformedCdrError, match="size"):
        decode(payload + bytes(8))


@pytest.mark.parametrize("kind", DECODERS)
@settings(max_examples=300)
@given(st.data())
def test_any_change_is_decoded_or_refused_never_anything_else(kind, data):
    decode, payload = DECODERS[kind]
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(payload) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(changed))
    except MalformedCdrError:
        return


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)))
def test_strings_survive(texts):
    payload = CdrWriter().strings(texts).doubles(np.ones(1)).payload()
    cdr = CdrReader(payload)
    assert cdr.strings() == tuple(texts)
    assert cdr.doubles(cdr.count(8)).tolist() == [1.0]


def test_a_length_that_promises_more_than_there_is_takes_no_memory():
    for length in (2**32 - 1, 5000):
        with pytest.raises(MalformedCdrError, match="length"):
            CdrReader(CdrWriter().put("I", length).payload()).strings()


@pytest.mark.parametrize(
    ("names", "vectors", "reason"),
    [
        (("a", "a"), [np.ones(2)] * 3, "joints"),
        (("a", "b"), [np.ones(3)] * 3, "joints"),
    ],
)
def test_joint_states_that_contradict_themselves(names, vectors, reason):
    payload = messages.encode_joint_state(JointState(STAMP, names, *vectors))
    with pytest.raises(MalformedCdrError, match=reason):
        messages.decode_joint_state(payload)


def test_a_command_that_no_motor_should_follow_is_refused():
    good = np.abs(VECTORS)
    for row, value in ((0, np.nan), (1, -1.0), (2, np.inf)):
        bad = good.copy()
        bad[row, 5] = value
        with pytest.raises(MalformedCdrError, match="command value"):
            messages.decode_command(CommandEncoder(NAMES).encode(*bad))
    with pytest.raises(MalformedCdrError, match="layout"):
        messages.decode_command(CommandEncoder(("a", "a")).encode(*np.ones((3, 2))))


# --- what a URDF states


def urdf(joint='<limit lower="-1" upper="2" effort="23" velocity="30"/>', kind="revolute"):
    return f'<robot><joint name="a" type="{kind}">{joint}</joint></robot>'


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        (urdf(), Capabilities(None, None, ((-1.0, 2.0),), (30.0,), (23.0,))),
        (urdf('<limit effort="0" velocity="9"/>'), Capabilities(None, None, ((0.0, 0.0),), (9.0,))),
        (
            urdf('<limit effort="23" velocity="9"/>', "continuous"),
            Capabilities(None, None, ((-1e6, 1e6),), (9.0,), (23.0,)),
        ),
        (urdf("", "continuous"), Capabilities(None, None, ((-1e6, 1e6),))),
        (urdf(""), NOTHING),
        (urdf('<limit lower="2" upper="-1"/>'), NOTHING),
        (urdf('<limit lower="nan"/>'), NOTHING),
        (urdf('<limit lower="wide"/>'), NOTHING),
        (urdf().replace('"a"', '"b"'), NOTHING),
        ("", NOTHING),
        ("<robot>", NOTHING),
        ('<!DOCTYPE r [<!ENTITY x "y">]>' + urdf(), NOTHING),
    ],
)
def test_a_urdf_states_what_all_joints_have_and_nothing_else(text, capabilities):
    assert ros2_urdf.capabilities_of(text, ("a",)) == capabilities


# --- a robot on a domain


@pytest.fixture
def make(idl):
    from robot_ppo_node.robot_side.ros2_robot import Ros2Robot

    opened = []

    def make(signals=frozenset(BASIC), sends=True, description="", **connection):
        domain = free_domain()
        end = Ros2Robot(NAMES, domain, signals=signals, description=description)
        alive = Alive(end, NAMES, FEET, np.linspace(-1, 1, 12), sends)
        connection = {"robot": robot(), "domain": domain, "wait": 5.0, **connection}
        driver = create("ros2", MonotonicClock(), Connection(**connection))
        opened.extend([driver, alive])
        return driver, alive

    yield make
    for thing in opened:
        thing.close()


def test_the_imu_arrives_in_our_order_of_the_quaternion(make):
    driver, alive = make()
    alive.state.base_quat[:] = [0.5, 0.5, -0.5, -0.5]
    alive.state.joint_torque[:] = 4
    driver.open(NAMES, FEET)
    state = within(2, driver.read).state
    assert state.base_quat.tolist() == [0.5, 0.5, -0.5, -0.5]
    assert state.base_lin_acc[2] == pytest.approx(9.81)
    assert (state.joint_torque == 4).all()
    check_compatibility(contract(), driver)


def test_a_robot_that_describes_itself_is_compared_with_the_policy(make):
    driver, _ = make(description=ros2_urdf.urdf_of(robot()))
    driver.open(NAMES, FEET)
    assert driver.capabilities == of_robot(robot())
    check_compatibility(contract(), driver)


def test_a_robot_that_describes_a_weaker_one_is_refused(make):
    description = ros2_urdf.urdf_of(robot()).replace('effort="45.43"', 'effort="20"')
    driver, _ = make(description=description)
    driver.open(NAMES, FEET)
    with pytest.raises(RefusedError, match=r"FR_calf_joint: 20 and 3 more"):
        check_compatibility(contract(), driver)


def test_a_robot_that_does_not_describe_itself_states_nothing(make):
    driver, _ = make()
    driver.open(NAMES, FEET)
    assert driver.capabilities == NOTHING


def test_who_only_watches_cannot_send(make):
    driver, alive = make(watch_only=True)
    driver.open(NAMES, FEET)
    assert within(2, driver.read).state.joint_pos == pytest.approx(np.linspace(-1, 1, 12))
    for send in (lambda: driver.write(MotorCommand(*np.ones((3, 12)))), driver.damp):
        with pytest.raises(AssertionError):
            send()
    assert not alive.commands


def test_what_the_messages_do_not_carry_is_not_offered(make):
    driver, _ = make(signals=frozenset({"joint_pos", "base_quat", "base_ang_vel"}))
    driver.open(NAMES, FEET)
    assert driver.signals == {"joint_pos", "base_quat", "base_ang_vel"}
    with pytest.raises(RefusedError, match="does not measure joint_vel"):
        check_compatibility(contract(), driver)


def test_a_topic_that_is_silent_is_named(make):
    driver, alive = make(sends=False, wait=0.3)
    writer = alive.end._joint_writer
    payload = messages.encode_joint_state(JointState(STAMP, NAMES, *VECTORS))
    alive.end.receive = lambda now: writer.write(payload)
    with pytest.raises(RefusedError, match=r"nothing on /imu within 0\.3 s"):
        driver.open(NAMES, FEET)


def test_a_sample_needs_news_of_both_topics(make):
    driver, alive = make()
    driver.open(NAMES, FEET)
    assert within(2, driver.read)
    imu_writer, alive.end._imu_writer = alive.end._imu_writer, alive.end._joint_writer
    alive.end._imu_writer = type("Mute", (), {"write": lambda self, payload: None})()
    time.sleep(0.02)
    driver.read()
    assert not within(0.1, driver.read)  # joint states go on arriving
    alive.end._imu_writer = imu_writer
    assert within(2, driver.read)


def test_duplicated_reordered_and_foreign_messages_are_counted_and_dropped(make):
    driver, alive = make()
    driver.open(NAMES, FEET)
    alive.sends = False
    time.sleep(0.02)
    driver.read()
    writer = alive.end._joint_writer
    now = time.monotonic()  # the clock of this robot
    late = Stamp(int(now), int(now % 1 * 1e9))
    for state, reason in (
        (JointState(late, NAMES, *VECTORS), None),
        (JointState(late, NAMES, *VECTORS), "duplicated"),
        (JointState(Stamp(5, 0), NAMES, *VECTORS), "reordered"),
        (JointState(Stamp(2**31 - 1, 0), NAMES, *VECTORS), "ahead"),
        (JointState(Stamp(0, 0), (*NAMES[:-1], "tail"), *VECTORS), "joints"),
        (JointState(Stamp(0, 0), NAMES, NONE, NONE, NONE), "signals"),
    ):
        before = dict(driver.malformed)
        writer.write(messages.encode_joint_state(state))
        time.sleep(0.02)
        assert driver.read() is None  # no new IMU, so nothing comes out either way
        gained = {k for k in driver.malformed if driver.malformed[k] != before.get(k, 0)}
        assert gained == ({reason} if reason else set())


def test_a_node_that_hangs_is_damping_after_three_periods(make):
    driver, alive = make(control_period=0.02)
    driver.open(NAMES, FEET)
    ones = np.ones(12, "f4")
    driver.write(MotorCommand(ones, ones, ones))
    assert within(2, lambda: alive.commands and not alive.commands[-1][1].kp.any())
    assert (alive.commands[-1][1].kd == robot().damping.kd).all()


@pytest.mark.parametrize("stamp", [None, STAMP])
def test_cmd_vel_is_heard_as_twist_and_as_twist_stamped(idl, stamp):
    from robot_ppo_node.drivers.dds import participant
    from robot_ppo_node.drivers.ros2.ros2_topics import CMD_VEL, dds_name
    from robot_ppo_node.drivers.ros2.ros2_twist import TwistCommands

    domain = free_domain()
    commands = TwistCommands(Connection(domain=domain))
    try:
        with participant.Bus(domain) as bus:
            assert commands.read(1.0)[1] == np.inf  # nobody has spoken: infinitely old
            writer = bus.writer(dds_name(CMD_VEL), idl.Twist if stamp is None else idl.TwistStamped)
            assert within(2, lambda: writer.readers)
            command = np.array([0.5, 0.25, -1.0], "f4")
            writer.write(encode_twist(command, stamp))
            assert within(2, lambda: commands.read(5.0)[1] == 0)
            got, age = commands.read(7.5)
            assert np.array_equal(got, command) and age == 2.5
            writer.write(encode_twist(command, stamp) + bytes(16))
            assert within(2, lambda: commands.read(8.0) and commands.malformed)
            assert commands.read(8.0)[1] == 3.0
    finally:
        commands.close()
