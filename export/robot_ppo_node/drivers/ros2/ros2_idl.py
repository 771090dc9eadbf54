"""ROS 2's DDS types, for cyclonedds; imported only where a driver opens a domain.

A message `package/msg/Name` is `package::msg::dds_::Name_` on the wire, and the topic `/name` is
`rt/name` (design.ros2.org, "Topic and Service name mapping to DDS").
"""

from typing import Any

from cyclonedds.idl import make_idl_struct, types

from robot_ppo_node.drivers.dds.participant import raw

F64 = types.float64


def _message(package: str, name: str, /, **fields: Any) -> Any:
    return make_idl_struct(f"{name}_", f"{package}.msg.dds_.{name}_", fields)


String = raw(_message("std_msgs", "String", data=str))
Time = _message("builtin_interfaces", "Time", sec=types.int32, nanosec=types.uint32)
Header = _message("std_msgs", "Header", stamp=Time, frame_id=str)
Vector3 = _message("geometry_msgs", "Vector3", x=F64, y=F64, z=F64)
Quaternion = _message("geometry_msgs", "Quaternion", x=F64, y=F64, z=F64, w=F64)
JointState = raw(
    _message(
        "sensor_msgs",
        "JointState",
        header=Header,
        name=types.sequence[str],
        position=types.sequence[F64],
        velocity=types.sequence[F64],
        effort=types.sequence[F64],
    )
)
Imu = raw(
    _message(
        "sensor_msgs",
        "Imu",
        header=Header,
        orientation=Quaternion,
        orientation_covariance=types.array[F64, 9],
        angular_velocity=Vector3,
        angular_velocity_covariance=types.array[F64, 9],
        linear_acceleration=Vector3,
        linear_acceleration_covariance=types.array[F64, 9],
    )
)
_twist = {"linear": Vector3, "angular": Vector3}
Twist = raw(_message("geometry_msgs", "Twist", **_twist))
TwistStamped = raw(
    _message(
        "geometry_msgs",
        "TwistStamped",
        header=Header,
        twist=_message("geometry_msgs", "Twist", **_twist),
    )
)
MultiArrayDimension = _message(
    "std_msgs", "MultiArrayDimension", label=str, size=types.uint32, stride=types.uint32
)
MultiArrayLayout = _message(
    "std_msgs",
    "MultiArrayLayout",
    dim=types.sequence[MultiArrayDimension],
    data_offset=types.uint32,
)
Float64MultiArray = raw(
    _message("std_msgs", "Float64MultiArray", layout=MultiArrayLayout, data=types.sequence[F64])
)
Float32MultiArray = _message(
    "std_msgs", "Float32MultiArray", layout=MultiArrayLayout, data=types.sequence[types.float32]
)
Point = _message("geometry_msgs", "Point", x=F64, y=F64, z=F64)
Pose = _message("geometry_msgs", "Pose", position=Point, orientation=Quaternion)
Odometry = raw(
    _message(
        "nav_msgs",
        "Odometry",
        header=Header,
        child_frame_id=str,
        pose=_message(
            "geometry_msgs", "PoseWithCovariance", pose=Pose, covariance=types.array[F64, 36]
        ),
        twist=_message(
            "geometry_msgs",
            "TwistWithCovariance",
            twist=_message("geometry_msgs", "Twist", **_twist),
            covariance=types.array[F64, 36],
        ),
    )
)
GridMapInfo = _message(
    "grid_map_msgs", "GridMapInfo", resolution=F64, length_x=F64, length_y=F64, pose=Pose
)
GridMap = raw(
    _message(
        "grid_map_msgs",
        "GridMap",
        header=Header,
        info=GridMapInfo,
        layers=types.sequence[str],
        basic_layers=types.sequence[str],
        data=types.sequence[Float32MultiArray],
        outer_start_index=types.uint16,
        inner_start_index=types.uint16,
    )
)
