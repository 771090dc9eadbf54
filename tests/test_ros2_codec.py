"""ROS 2's messages held equal to an independent codec, rosbags, over random ones of every type.

Both ways: what it writes is read here, in both byte orders, and what is written here is read there.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros2_helpers import encode_twist

from robot_ppo_node.drivers.ros2 import ros2_messages as messages
from robot_ppo_node.drivers.ros2.ros2_cdr import CdrReader, CdrWriter, MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_messages import Imu, JointState, Stamp

rosbags = pytest.importorskip("rosbags.typesys", reason="rosbags: an independent codec")
STORE = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
TYPES = STORE.types
"""Name -> class of a message."""

text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)
label = st.text(st.characters(exclude_characters="\0,", codec="utf-8"), min_size=1, max_size=40)
number = st.floats(allow_nan=False, width=64)
real = st.floats(width=32, allow_nan=False, allow_infinity=False)
gain = st.floats(0, 1e6, width=32)
stamps = st.builds(Stamp, st.integers(0, 2**31 - 1), st.integers(0, 10**9 - 1))
orders = st.booleans()


def written(kind, little, **fields):
    """A message as rosbags writes it."""
    return bytes(STORE.serialize_cdr(TYPES[kind](**fields), kind, little_endian=little))


def read(kind, payload):
    """A message of ours as rosbags reads it."""
    return STORE.deserialize_cdr(payload, kind)


def header(stamp, frame="a frame"):
    time = TYPES["builtin_interfaces/msg/Time"](sec=stamp[0], nanosec=stamp[1])
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def vector(values):
    return TYPES["geometry_msgs/msg/Vector3"](*map(float, values))


def parts(value):
    return [value.x, value.y, value.z]


def arrays(data, sizes):
    return [np.array(data.draw(st.lists(number, min_size=k, max_size=k))) for k in sizes]


# --- read


@settings(max_examples=150)
@given(st.lists(text, unique=True, max_size=9), stamps, text, orders, st.data())
def test_any_joint_state_is_read(names, stamp, frame, little, data):
    n = len(names)
    sizes = data.draw(st.lists(st.sampled_from([0, n]), min_size=3, max_size=3))
    vectors = arrays(data, sizes)
    fields = dict(zip(("position", "velocity", "effort"), vectors, strict=True))
    kind = "sensor_msgs/msg/JointState"
    got = messages.decode_joint_state(
        written(kind, little, header=header(stamp, frame), name=names, **fields)
    )
    assert (got.stamp, got.names) == (stamp, tuple(names))
    for sent, seen in zip(vectors, (got.position, got.velocity, got.effort), strict=True):
        assert np.array_equal(sent, seen)


@settings(max_examples=100)
@given(st.lists(number, min_size=10, max_size=10), stamps, text, orders, st.booleans())
def test_any_imu_is_read(values, stamp, frame, little, measured):
    x, y, z, w = values[:4]
    nine = np.zeros(9)
    nine[0] = 0.0 if measured else messages.NO_ESTIMATE
    payload = written(
        "sensor_msgs/msg/Imu",
        little,
        header=header(stamp, frame),
        orientation=TYPES["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
        orientation_covariance=nine,
        angular_velocity=vector(values[4:7]),
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=vector(values[7:]),
        linear_acceleration_covariance=np.zeros(9),
    )
    got = messages.decode_imu(payload)
    assert got.stamp == stamp
    assert (got.quaternion is None) == (not measured)
    assert not measured or got.quaternion.tolist() == [w, x, y, z]
    assert [*got.angular_velocity, *got.linear_acceleration] == values[4:]


@settings(max_examples=100)
@given(st.lists(number, min_size=6, max_size=6), stamps, text, orders)
def test_any_twist_is_read_with_and_without_a_stamp(values, stamp, frame, little):
    fields = {"linear": vector(values[:3]), "angular": vector(values[3:])}
    with np.errstate(over="ignore"):
        expected = np.array([values[0], values[1], values[5]]).astype(np.float32)
    plain = written("geometry_msgs/msg/Twist", little, **fields)
    assert np.array_equal(messages.decode_twist(plain, stamped=False), expected)
    twist = TYPES["geometry_msgs/msg/Twist"](**fields)
    kind = "geometry_msgs/msg/TwistStamped"
    stamped = written(kind, little, header=header(stamp, frame), twist=twist)
    assert np.array_equal(messages.decode_twist(stamped, stamped=True), expected)


@settings(max_examples=100)
@given(st.lists(text, max_size=5), st.lists(number, max_size=9), orders)
def test_any_array_is_read(labels, values, little):
    dimension = TYPES["std_msgs/msg/MultiArrayDimension"]
    dim = [dimension(label=t, size=1, stride=1) for t in labels]
    layout = TYPES["std_msgs/msg/MultiArrayLayout"](dim=dim, data_offset=0)
    payload = written(
        "std_msgs/msg/Float64MultiArray", little, layout=layout, data=np.array(values, float)
    )
    cdr = CdrReader(payload)
    assert cdr.count(4) == len(labels)
    for label_ in labels:
        assert cdr.string() == label_
        assert cdr.take("II") == (1, 1)
    assert cdr.take("I") == (0,)
    assert cdr.doubles(cdr.count(8)).tolist() == values
    cdr.end()


joint_table = st.lists(label, min_size=1, max_size=9, unique=True).flatmap(
    lambda names: st.tuples(
        st.just(tuple(names)),
        st.lists(real, min_size=len(names), max_size=len(names)),
        *(st.lists(gain, min_size=len(names), max_size=len(names)) for _ in range(2)),
    )
)


@settings(max_examples=100)
@given(joint_table, orders)
def test_any_command_is_read(table, little):
    """As a controller of somebody else's would write it, by its labels."""
    names, *rows = table
    n = len(names)
    dimension = TYPES["std_msgs/msg/MultiArrayDimension"]
    dim = [
        dimension(label=messages.ROWS, size=3, stride=3 * n),
        dimension(label=",".join(names), size=n, stride=n),
    ]
    layout = TYPES["std_msgs/msg/MultiArrayLayout"](dim=dim, data_offset=0)
    kind = "std_msgs/msg/Float64MultiArray"
    got = messages.decode_command(written(kind, little, layout=layout, data=np.ravel(rows)))
    assert got.names == names
    assert np.array_equal(got.values, np.array(rows, np.float32))


@settings(max_examples=100)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3000), orders)
def test_any_string_is_read(content, little):
    payload = written("std_msgs/msg/String", little, data=content)
    assert messages.decode_string(payload, 1 << 20) == content


# --- written


@settings(max_examples=100)
@given(st.lists(text, unique=True, max_size=9), stamps, st.data())
def test_any_joint_state_is_written(names, stamp, data):
    n = len(names)
    sizes = data.draw(st.lists(st.sampled_from([0, n]), min_size=3, max_size=3))
    vectors = arrays(data, sizes)
    payload = messages.encode_joint_state(JointState(stamp, tuple(names), *vectors))
    got = read("sensor_msgs/msg/JointState", payload)
    assert (got.header.stamp.sec, got.header.stamp.nanosec) == stamp
    assert list(got.name) == names
    for sent, seen in zip(vectors, (got.position, got.velocity, got.effort), strict=True):
        assert np.array_equal(sent, seen)


@settings(max_examples=100)
@given(st.lists(number, min_size=10, max_size=10), stamps, st.integers(0, 7))
def test_any_imu_is_written(values, stamp, missing):
    """Each bit of `missing` leaves out one quantity, which its covariance has to say."""
    given_ = [np.array(values[:4]), np.array(values[4:7]), np.array(values[7:])]
    sent = [None if missing >> i & 1 else v for i, v in enumerate(given_)]
    got = read("sensor_msgs/msg/Imu", messages.encode_imu(Imu(stamp, *sent)))
    q = got.orientation
    seen = [[q.w, q.x, q.y, q.z], parts(got.angular_velocity), parts(got.linear_acceleration)]
    covariances = [
        got.orientation_covariance,
        got.angular_velocity_covariance,
        got.linear_acceleration_covariance,
    ]
    for value, numbers, covariance in zip(sent, seen, covariances, strict=True):
        assert (covariance[0] == messages.NO_ESTIMATE) == (value is None)
        assert value is None or numbers == value.tolist()


@settings(max_examples=100)
@given(st.lists(number, min_size=3, max_size=3), stamps)
def test_any_twist_is_written_with_and_without_a_stamp(values, stamp):
    expected = [values[0], values[1], 0.0, 0.0, 0.0, values[2]]
    plain = read("geometry_msgs/msg/Twist", encode_twist(np.array(values)))
    stamped = read("geometry_msgs/msg/TwistStamped", encode_twist(np.array(values), stamp))
    assert (stamped.header.stamp.sec, stamped.header.stamp.nanosec) == stamp
    for twist in (plain, stamped.twist):
        assert [*parts(twist.linear), *parts(twist.angular)] == expected


@settings(max_examples=100)
@given(joint_table)
def test_any_command_is_written(table):
    names, *rows = table
    payload = messages.CommandEncoder(names).encode(*(np.array(r, np.float32) for r in rows))
    got = read("std_msgs/msg/Float64MultiArray", payload)
    n = len(names)
    said = [(d.label, d.size, d.stride) for d in got.layout.dim]
    assert said == [(messages.ROWS, 3, 3 * n), (",".join(names), n, n)]
    assert got.layout.data_offset == 0
    assert np.array_equal(got.data, np.ravel(np.array(rows, np.float32)).astype(float))


@settings(max_examples=100)
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=3000))
def test_any_string_is_written(content):
    assert read("std_msgs/msg/String", messages.encode_string(content)).data == content


# --- what rosbags does not write


@pytest.mark.parametrize("length", range(8))
def test_padding_that_the_header_counts_is_left_out(length):
    """As native Cyclone C writes: the last bits of the options say how many bytes are padding."""
    name = "n" * length
    body = CdrWriter().string(name).payload()[4:]
    padding = -len(body) % 4
    payload = bytes([0, 1, 0, padding]) + body + bytes(padding)
    cdr = CdrReader(payload)
    assert cdr.string() == name
    assert cdr.at == len(cdr.body)


@pytest.mark.parametrize(("identifier", "order"), [(b"\x00\x06", ">"), (b"\x00\x07", "<")])
def test_version_2_aligns_eight_bytes_to_four(identifier, order):
    numbers = np.array([1.5, -2.5], f"{order}f8").tobytes()
    count = (2).to_bytes(4, "little" if order == "<" else "big")
    cdr = CdrReader(identifier + b"\x00\x00" + count + numbers)
    assert cdr.doubles(cdr.count(8)).tolist() == [1.5, -2.5]


def test_an_encoding_with_parameters_is_refused():
    with pytest.raises(MalformedCdrError, match="encoding"):
        CdrReader(b"\x00\x03\x00\x00" + bytes(8))
