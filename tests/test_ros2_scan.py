"""A height scan over ROS 2: maps as mapping nodes write them, looked at from where the base is."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from dds_helpers import free_domain, within
from hypothesis import given, settings
from hypothesis import strategies as st
from node_helpers import contract, robot
from test_ros2_publishers import Publisher, Sending

from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import MonotonicClock, SteppedClock
from robot_ppo_node.control.inputs import Repeats
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.ros2 import ros2_grid
from robot_ppo_node.drivers.ros2.ros2_cdr import MalformedCdrError
from robot_ppo_node.drivers.ros2.ros2_driver import Ros2Driver
from robot_ppo_node.drivers.ros2.ros2_grid import GridMap, Odometry
from robot_ppo_node.drivers.ros2.ros2_messages import Stamp
from robot_ppo_node.drivers.ros2.ros2_scan import LAYER, POSE_WITHIN, ScanReader, scan
from robot_ppo_node.drivers.ros2.ros2_topics import ELEVATION_MAP, ODOMETRY, dds_name
from robot_ppo_node.robot_side.ros2_robot import Ros2Robot
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.envelope import Envelope
from robot_ppo_node.safety.measured import Measured, held_signals
from robot_ppo_node.safety.state_guards import SCAN_TICKS

rosbags = pytest.importorskip("rosbags.typesys", reason="rosbags: an independent codec")
STORE = rosbags.get_typestore(rosbags.Stores.ROS2_HUMBLE)
STORE.register(
    {
        **rosbags.get_types_from_msg(
            "float64 resolution\nfloat64 length_x\nfloat64 length_y\ngeometry_msgs/Pose pose\n",
            "grid_map_msgs/msg/GridMapInfo",
        ),
        **rosbags.get_types_from_msg(
            "std_msgs/Header header\ngrid_map_msgs/GridMapInfo info\nstring[] layers\n"
            "string[] basic_layers\nstd_msgs/Float32MultiArray[] data\n"
            "uint16 outer_start_index\nuint16 inner_start_index\n",
            "grid_map_msgs/msg/GridMap",
        ),
    }
)
TYPES = STORE.types
GRID = ScanGrid(length=0.4, width=0.2, resolution=0.1)
UNKNOWN = np.float32(-0.3)
LEVEL = np.array([1.0, 0.0, 0.0, 0.0])


def of(kind, **fields):
    package, name = kind.split("/")
    return TYPES[f"{package}/msg/{name}"](**fields)


def header(stamp, frame):
    time = of("builtin_interfaces/Time", sec=stamp[0], nanosec=stamp[1])
    return of("std_msgs/Header", stamp=time, frame_id=frame)


def pose(x, y, z, quaternion=LEVEL):
    w, i, j, k = map(float, quaternion)
    return of(
        "geometry_msgs/Pose",
        position=of("geometry_msgs/Point", x=x, y=y, z=z),
        orientation=of("geometry_msgs/Quaternion", x=i, y=j, z=k, w=w),
    )


def array(heights, columns_first=True):
    """A layer (rows, columns) as Eigen's matrices are stored: column by column."""
    rows, columns = heights.shape
    names = [("column_index", columns), ("row_index", rows)]
    dims = names if columns_first else names[::-1]
    dim = [of("std_msgs/MultiArrayDimension", label=n, size=k, stride=k) for n, k in dims]
    data = (heights.T if columns_first else heights).astype(np.float32).ravel()
    layout = of("std_msgs/MultiArrayLayout", dim=dim, data_offset=0)
    return of("std_msgs/Float32MultiArray", layout=layout, data=data)


def map_bytes(
    heights,
    center=(0.0, 0.0),
    resolution=0.1,
    frame="odom",
    start=(0, 0),
    little=True,
    layers=("variance", LAYER),
    columns_first=True,
    length_x=None,
):
    """A map whose buffer begins at `start`, as a mapping node sends it that has moved."""
    rows, columns = heights.shape
    buffer = np.roll(heights, start, axis=(0, 1))
    info = of(
        "grid_map_msgs/GridMapInfo",
        resolution=resolution,
        length_x=rows * resolution if length_x is None else length_x,
        length_y=columns * resolution,
        pose=pose(*map(float, center), 0.0),
    )
    message = of(
        "grid_map_msgs/GridMap",
        header=header(Stamp(5, 6), frame),
        info=info,
        layers=list(layers),
        basic_layers=[],
        data=[array(buffer if name == LAYER else 0 * buffer, columns_first) for name in layers],
        outer_start_index=start[0],
        inner_start_index=start[1],
    )
    return bytes(STORE.serialize_cdr(message, "grid_map_msgs/msg/GridMap", little_endian=little))


def odometry_bytes(x, y, z, quaternion=LEVEL, frame="odom", little=True):
    zero = of("geometry_msgs/Vector3", x=0.0, y=0.0, z=0.0)
    twist = of("geometry_msgs/Twist", linear=zero, angular=zero)
    at = pose(x, y, z, quaternion)
    message = of(
        "nav_msgs/Odometry",
        header=header(Stamp(1, 2), frame),
        child_frame_id="base",
        pose=of("geometry_msgs/PoseWithCovariance", pose=at, covariance=np.zeros(36)),
        twist=of("geometry_msgs/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )
    return bytes(STORE.serialize_cdr(message, "nav_msgs/msg/Odometry", little_endian=little))


def turned(yaw):
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def places(shape, center, resolution):
    """x and y of every cell, from the corner of largest x and y on."""
    rows, columns = shape
    x = center[0] + resolution * ((rows - 1) / 2 - np.arange(rows))
    y = center[1] + resolution * ((columns - 1) / 2 - np.arange(columns))
    return np.meshgrid(x, y, indexing="ij")


def slope(center=(0.0, 0.0), shape=(40, 30), resolution=0.1):
    """A map of ground that rises by 0.5 per metre of x and falls by 0.2 per metre of y."""
    x, y = places(shape, center, resolution)
    return (0.5 * x - 0.2 * y).astype(np.float32)


# --- the codec


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    st.booleans(),
    st.booleans(),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_any_map_is_read(shape, start, little, columns_first, frame, seed):
    rng = np.random.default_rng(seed)
    heights = rng.normal(size=shape).astype(np.float32)
    heights[rng.random(shape) < 0.2] = np.nan
    start = (start[0] % shape[0], start[1] % shape[1])
    center = rng.normal(size=2)
    payload = map_bytes(heights, center, 0.05, frame, start, little, columns_first=columns_first)
    got = ros2_grid.decode_grid_map(payload, LAYER)
    assert (got.stamp, got.frame, got.resolution) == (Stamp(5, 6), frame, 0.05)
    assert np.array_equal(got.heights, heights, equal_nan=True)
    assert got.center.tolist() == center.tolist()


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.floats(-100, 100)] * 3), st.floats(-3, 3), st.booleans())
def test_any_odometry_is_read(position, yaw, little):
    got = ros2_grid.decode_odometry(odometry_bytes(*position, turned(yaw), "map", little))
    assert got.frame == "map" and got.position.tolist() == list(position)
    assert np.array_equal(got.quaternion, turned(yaw))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (map_bytes(slope(), layers=["variance"]), "layer"),
        (map_bytes(slope(), length_x=1.0), "layout"),
        (map_bytes(slope(), length_x=float("nan")), "layout"),
        (map_bytes(slope(), resolution=0.0), "layout"),
        (map_bytes(slope())[:-200], "size|length"),
        (b"\0\1\0\0", "size"),
    ],
)
def test_what_is_no_map_is_dropped_for_a_reason(payload, reason):
    with pytest.raises(MalformedCdrError, match=reason):
        ros2_grid.decode_grid_map(payload, LAYER)


def test_mutated_maps_and_poses_raise_nothing_else():
    rng = np.random.default_rng(0)
    for payload, decode in (
        (map_bytes(slope(shape=(4, 3))), lambda p: ros2_grid.decode_grid_map(p, LAYER)),
        (odometry_bytes(1.0, 2.0, 0.3), ros2_grid.decode_odometry),
    ):
        refused = 0
        for _ in range(2000):
            broken = bytearray(payload)
            for at in rng.integers(0, len(broken), rng.integers(1, 4)):
                broken[at] = rng.integers(256)
            try:
                decode(bytes(broken[: rng.integers(1, len(broken) + 1)]))
            except MalformedCdrError:
                refused += 1
        assert refused > 500


# --- the scan


def looked_at(x, y, z, yaw, **more):
    center = (round(x, 1), round(y, 1))
    grid = ros2_grid.decode_grid_map(map_bytes(slope(center), center, **more), LAYER)
    at = Odometry(Stamp(0, 0), "odom", np.array([x, y, z]), turned(yaw))
    return scan(grid, at, GRID.points(), UNKNOWN)


@pytest.mark.parametrize("yaw", [0.0, 0.7, np.pi / 2, -2.5])
@pytest.mark.parametrize("start", [(0, 0), (13, 7)])
def test_a_scan_is_the_ground_over_the_base_in_a_frame_that_turns_with_it(yaw, start):
    x, y, z = 1.23, -0.57, 0.31
    forward, left = GRID.points().T
    across = x + np.cos(yaw) * forward - np.sin(yaw) * left
    along = y + np.sin(yaw) * forward + np.cos(yaw) * left
    expected = 0.5 * across - 0.2 * along - z
    assert looked_at(x, y, z, yaw, start=start) == pytest.approx(expected, abs=1e-5)


def test_what_the_map_does_not_know_is_level_ground_below_a_robot_that_stands():
    heights = slope()
    heights[:20] = np.nan  # ahead of its middle
    grid = ros2_grid.decode_grid_map(map_bytes(heights), LAYER)
    at = Odometry(Stamp(0, 0), "odom", np.array([0.0, 0.0, 0.3]), LEVEL)
    values = scan(grid, at, GRID.points(), UNKNOWN)
    ahead = GRID.points()[:, 0] > -0.04
    assert (values[ahead] == UNKNOWN).all() and (values[~ahead] != UNKNOWN).all()
    at.position[0] = 50.0  # far beyond the map
    assert (scan(grid, at, GRID.points(), UNKNOWN) == UNKNOWN).all()


class Topic:
    """A reader whose messages are given to it."""

    def __init__(self):
        self.payload = None

    def take(self, limit=16):
        payload, self.payload = self.payload, None
        sender = SimpleNamespace(publication_handle=1)
        return [] if payload is None else [SimpleNamespace(payload=payload, sample_info=sender)]


def reader():
    clock = SteppedClock()
    made = ScanReader(GRID.points(), float(UNKNOWN), clock)
    made._maps, made._poses = maps, poses = Topic(), Topic()
    return made, maps, poses, clock


def test_a_scan_stays_until_the_next_map():
    made, maps, poses, clock = reader()
    poses.payload, maps.payload = odometry_bytes(0.0, 0.0, 0.3), map_bytes(slope())
    made.listen()
    first = made.values.copy()
    clock.sleep_until(0.1)
    poses.payload = odometry_bytes(0.2, 0.0, 0.3)
    made.listen()
    assert np.array_equal(made.values, first)
    maps.payload = map_bytes(slope())
    made.listen()
    assert made.values == pytest.approx(first + 0.1, abs=1e-5)


def test_a_map_is_looked_at_from_a_pose_of_its_own_frame_and_moment():
    made, maps, poses, clock = reader()
    maps.payload = map_bytes(slope())
    made.listen()
    poses.payload, maps.payload = odometry_bytes(0.0, 0.0, 0.3, frame="map"), map_bytes(slope())
    made.listen()
    poses.payload = odometry_bytes(0.0, 0.0, 0.3)
    made.listen()
    clock.sleep_until(2 * POSE_WITHIN)
    maps.payload = map_bytes(slope())
    made.listen()
    assert made.values is None and made.dropped.counts == {"no pose": 2, "frame": 1}


def test_heights_are_joined_between_the_middles_of_cells():
    heights = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    grid = GridMap(Stamp(0, 0), "odom", 1.0, np.zeros(2), heights)
    points = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [0.0, 0.0], [0.6, 0.0]])
    assert grid.heights_at(points) == pytest.approx([0, 1, 2, 1.75, np.nan], nan_ok=True)


def test_what_we_write_is_what_another_codec_reads():
    heights = slope((0.3, -0.2), shape=(7, 5))
    grid = GridMap(Stamp(5, 6), "odom", 0.1, np.array([0.3, -0.2]), heights)
    theirs = STORE.deserialize_cdr(
        ros2_grid.encode_grid_map(grid, LAYER), "grid_map_msgs/msg/GridMap"
    )
    assert [theirs.info.length_x, theirs.info.length_y] == pytest.approx([0.7, 0.5])
    assert (theirs.header.frame_id, theirs.header.stamp.sec, theirs.layers) == ("odom", 5, [LAYER])
    dims = [(d.label, d.size, d.stride) for d in theirs.data[0].layout.dim]
    assert dims == [("column_index", 5, 35), ("row_index", 7, 7)]
    assert np.array_equal(theirs.data[0].data.reshape(5, 7).T, heights)
    quaternion = turned(0.7)
    pose = Odometry(Stamp(1, 2), "odom", np.array([1.0, 2.0, 0.3]), quaternion)
    theirs = STORE.deserialize_cdr(ros2_grid.encode_odometry(pose), "nav_msgs/msg/Odometry")
    at = theirs.pose.pose
    assert [at.position.x, at.position.y, at.position.z] == [1.0, 2.0, 0.3]
    assert [at.orientation.w, at.orientation.z] == pytest.approx(quaternion[[0, 3]])


# --- driver and guard

WIDTHS = {**held_signals(contract()), "height_scan": len(GRID.points())}


@pytest.fixture
def connected():
    """A driver on a domain with a robot, and what its mapping node can send."""
    pytest.importorskip("cyclonedds")
    domain = free_domain()
    legs = Publisher(domain)
    maps = legs.bus.writer(dds_name(ELEVATION_MAP), legs.idl.GridMap)
    poses = legs.bus.writer(dds_name(ODOMETRY), legs.idl.Odometry)
    place = Connection(robot=robot(), domain=domain, wait=3.0, scan=GRID, watch_only=True)
    driver = Ros2Driver(MonotonicClock(), place)
    yield driver, legs, maps, poses
    driver.close()
    legs.bus.close()


@pytest.mark.real_time
def test_a_robot_with_a_map_offers_its_scan(connected):
    driver, legs, maps, poses = connected
    sent = map_bytes(slope())

    def send():
        legs.send(robot().joint_names, np.arange(12.0))
        poses.write(odometry_bytes(0.0, 0.0, 0.3))
        maps.write(sent)

    with Sending(send):
        driver.open(robot().joint_names, robot().feet, WIDTHS)
        sample = within(2, driver.read)
    assert "height_scan" in driver.signals
    forward, left = GRID.points().T
    expected = 0.5 * forward - 0.2 * left - 0.3
    assert sample.state.height_scan == pytest.approx(expected, abs=1e-5)


@pytest.mark.real_time
def test_the_map_of_the_simulated_robot_gives_the_scan_that_it_measures():
    pytest.importorskip("cyclonedds")
    domain = free_domain()
    x = 0.1 * np.arange(81)
    heights = 0.05 * np.sin(3 * x) + 0.03 * np.cos(2 * x)[:, None]
    simulated = SimulatedRobot(
        robot(), field=HeightField(heights, 0.1, (-4.0, -4.0)), scan_grid=GRID
    )
    end = Ros2Robot(robot().joint_names, domain, place=simulated)
    place = Connection(robot=robot(), domain=domain, wait=3.0, scan=GRID, watch_only=True)
    driver = Ros2Driver(MonotonicClock(), place)
    steps = count(1)
    with Sending(lambda: end.send_state(0.02 * next(steps), simulated.state())):
        driver.open(robot().joint_names, robot().feet, WIDTHS)
        sample = within(2, driver.read)
    driver.close()
    end.close()
    measured = simulated.state().height_scan
    assert np.ptp(measured) > 0.02
    assert sample.state.height_scan == pytest.approx(measured, abs=0.001)


@pytest.mark.real_time
def test_a_robot_without_a_map_is_refused_where_the_policy_reads_a_scan(connected):
    driver, legs, *_ = connected
    with (
        Sending(lambda: legs.send(robot().joint_names, np.arange(12.0))),
        pytest.raises(RefusedError, match=r"nothing on /elevation_map and /odom within 3 s"),
    ):
        driver.open(robot().joint_names, robot().feet, WIDTHS)


def repeated(told, scan=lambda i: 0.0, ticks=40):
    """Samples in a row with the same scan, of a robot whose IMU lives."""
    measured = Measured(WIDTHS)
    repeats = Repeats(measured, 12)
    for i in range(ticks):
        measured.state.base_ang_vel[0] = i
        measured.state.joint_pos[0] = i
        measured.state.height_scan[:] = scan(i)
        repeats.count(np.full(12, told(i), np.float32))
    assert repeats.imu == repeats.joints == 0
    return repeats.scan


def test_a_scan_that_stays_while_the_robot_moves_is_counted():
    steps = lambda i: 0.1 * (i % 2)  # noqa: E731
    assert repeated(steps) == 39
    assert repeated(steps, scan=lambda i: i // 10) == 9  # a map ten ticks apart
    assert repeated(lambda i: 0.0) == 0  # it stands, and sees the same ground
    assert repeated(lambda i: 0.1 * min(i, 20)) == 20  # and stood at the end


def test_a_scan_that_stays_for_too_long_damps():
    draft = Draft(robot(), WIDTHS, 3, 0.02)
    envelope = Envelope(robot(), robot().safety, WIDTHS)
    draft.measure(scan_repeats=SCAN_TICKS - 1)
    assert envelope.check_state(draft.measurement) is None
    draft.measure(scan_repeats=SCAN_TICKS)
    reason = envelope.check_state(draft.measurement)
    assert str(reason) == "frozen_state at height_scan[0]: 25 ticks, limit 25 ticks"
