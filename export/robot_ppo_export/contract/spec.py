"""The description of a robot: names, pose, ranges, limits and gains, from its `robot.yaml`.

The order of `joints` is the order of every joint vector in the project: observation, action,
log, policy file. For a robot with a vendor interface it is the vendor's motor order.
Units: angles [rad], torque [N m], velocity [rad/s], kp [N m/rad], kd [N m s/rad], time [s].
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen; a key that it does not know is an error."""


Gain = float | dict[str, float]
"""One number for all joints, or one for each by its name."""

UNITS = {
    "angle": "rad",
    "length": "m",
    "mass": "kg",
    "torque": "N m",
    "velocity": "rad/s",
    "kp": "N m/rad",
    "kd": "N m s/rad",
    "time": "s",
}
"""What the numbers of robot.yaml mean; a file may state them under `units`."""


class Joint(_Struct, frozen=True, omit_defaults=True):
    """One actuated joint."""

    name: str
    default: float
    """Angle [rad] in the default pose, around which actions are taken."""
    range: tuple[float, float]
    """Mechanical range [rad]."""
    velocity_limit: float
    """[rad/s]"""
    torque_limit: float
    """[N m]"""
    kp: float
    """Position gain that the policy is trained with [N m/rad]."""
    kd: float
    """Velocity gain that the policy is trained with [N m s/rad]."""
    action_scale: float | None = None
    """[rad] per unit of action; without it, what the task says for all joints."""
    held: bool = False
    """It does not serve locomotion (an arm, a head): a derived task keeps it at `default`."""


class Base(_Struct, frozen=True):
    """The floating base."""

    body: str
    height: float
    """Height of the body frame above flat ground in the default pose [m]."""


LEVEL = (1.0, 0.0, 0.0, 0.0)
"""The mounting of an IMU whose axes are those of the base."""


class Imu(_Struct, frozen=True):
    """The inertial measurement unit."""

    site: str
    mounting: tuple[float, float, float, float] = LEVEL
    """Quaternion wxyz that turns vectors of the IMU's frame into the base's frame."""


class _Foot(_Struct, frozen=True):
    """A foot of several geoms, as robot.yaml writes it."""

    name: str
    geoms: tuple[str, ...]


class Stand(_Struct, frozen=True):
    """Settings for standing up: interpolation to the default pose."""

    kp: Gain
    kd: Gain
    duration: float
    """[s]"""


class Damping(_Struct, frozen=True):
    """The state to which every fault leads: zero position gain, this velocity gain."""

    kd: Gain


class Limits(_Struct, frozen=True, omit_defaults=True):
    """The safety envelope. A file on the robot may only tighten it.

    Limits with a default may be absent, in a policy file too: they then have that value.
    """

    max_tilt: float
    """Angle between body z and world z [rad]."""
    max_angular_rate: float
    """Norm of the body's angular velocity [rad/s]."""
    max_target_step: float
    """Change of one joint target in one tick [rad]."""
    joint_range_margin: float
    """Targets stay this far inside the mechanical range [rad]."""
    stale_after: float
    """Age at which a state is stale [s]."""
    frozen_ticks: int
    """Identical state bits in so many consecutive ticks are a fault."""
    max_missed_deadlines: int
    """So many missed deadlines in a row are a fault."""
    hold_after_missed: int = 2
    """So many missed deadlines in a row hold the last target until a tick is in time again."""
    max_clock_step: float = 0.5
    """Time between two ticks [s] that only a clock that jumped or a frozen node explains."""
    max_torque_fraction: float = 1.0
    """Torque that a target may imply, as a share of the joint's `torque_limit`."""
    max_velocity_fraction: float = 1.5
    """Measured joint velocity that is a fault, as a share of the joint's `velocity_limit`. That is
    the no-load speed: a full battery adds some 15 percent and a landing leg is back-driven for a
    moment, but no motor gets a joint to half as much again; that is a broken encoder or
    transmission."""
    max_joint_overrun: float = 0.3
    """Measured angle beyond the mechanical range that is a fault [rad]: a broken encoder."""
    max_motor_temperature: float = 85.0
    """[degC], where the robot measures it."""
    max_lost_motors: int = 0
    """So many motors may be silent, where the robot says so."""
    min_voltage: float = 0.0
    """Of the battery [V], where the robot measures it; 0 watches nothing."""


LARGER_IS_TIGHTER = ("joint_range_margin", "min_voltage")
"""Limits of which a larger value leaves less room; of all others a smaller one does."""


_MAY_BE_ZERO = ("joint_range_margin", "max_joint_overrun", "max_lost_motors", "min_voltage")
"""Limits of which 0 has a meaning; with 0 of all others a guard fires always or never."""


class LifeCycle(_Struct, frozen=True):
    """The beginning and the end of a run of the robot."""

    start: Literal["lying", "sitting", "standing", "hanging"] = "lying"
    """Where the robot is before the first command: on the ground in `rest_pose` (lying, sitting),
    on its feet and held (standing), or on a gantry with its feet in the air (hanging). The first
    two go back to `rest_pose` at the end; the others are never sent to lie down."""

    @property
    def has_rest(self) -> bool:
        """Whether the robot rests on the ground in `rest_pose` before and after a run."""
        return self.start in ("lying", "sitting")


class Unitree(_Struct, frozen=True):
    """Facts for the vendor's low-level interface."""

    message_family: str
    motors: int


class RobotSpec(_Struct, frozen=True):
    """One robot. Vectors come out as float64 arrays in joint order."""

    name: str
    description: str
    model: str
    """File name of the MJCF, beside robot.yaml."""
    base: Base
    imu: Imu
    feet: tuple[str, ...]
    """Names of the feet; the order of every foot vector. In the MJCF each is the name of a geom, or
    of a body, unless `foot_geoms` has it."""
    joints: tuple[Joint, ...]
    stand: Stand
    damping: Damping
    safety: Limits
    foot_geoms: dict[str, tuple[str, ...]] = {}
    """Foot -> names of its geoms, all on one body; robot.yaml says `{name: ..., geoms: [...]}` in
    the list of feet."""
    rest_pose: dict[str, float] = {}
    """Joint angles [rad] of the robot lying down, or sitting; a robot that starts standing or
    hanging needs none."""
    life_cycle: LifeCycle = LifeCycle()
    unitree: Unitree | None = None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Joint names, in order."""
        return tuple(j.name for j in self.joints)

    def vector(self, field: str) -> np.ndarray:
        """Return one field of all joints, e.g. "kp" -> (12,), or "range" -> (12, 2); float64."""
        return np.array([getattr(j, field) for j in self.joints], dtype=np.float64)

    def stand_gains(self) -> tuple[np.ndarray, np.ndarray]:
        """Return kp [N m/rad] and kd [N m s/rad] of standing up, (joints,) each; float64."""
        names = self.joint_names
        return per_joint(self.stand.kp, names), per_joint(self.stand.kd, names)

    def damping_gains(self) -> np.ndarray:
        """Return kd [N m s/rad] of damping, (joints,) float64."""
        return per_joint(self.damping.kd, self.joint_names)

    def rest(self) -> np.ndarray:
        """Return the pose before the first command (joints,) [rad], in joint order.

        It is `rest_pose`, or the default pose of a robot that has none.
        """
        if not self.rest_pose:
            return self.vector("default")
        return np.array([self.rest_pose[name] for name in self.joint_names], dtype=np.float64)


def per_joint(gain: Gain, joints: tuple[str, ...]) -> np.ndarray:
    """Return a gain as (joints,) float64, in the order of `joints`."""
    if isinstance(gain, dict):
        return np.array([gain[name] for name in joints], np.float64)
    return np.full(len(joints), gain, np.float64)


def load(path: Path) -> RobotSpec:
    """Return the checked robot that `robot.yaml` at `path` describes."""
    return from_data(strict.read_yaml(path), str(path))


def from_data(data: Any, source: str) -> RobotSpec:
    """Return the checked robot that the plain data of a robot.yaml describe.

    `units` and `imu.quaternion` may state what the project assumes: they are compared, not kept.
    """
    spec = strict.convert(RobotSpec, _written_out(data, source), source)
    check(spec, source)
    _require(bool(spec.feet), source, "feet", "is empty: name what stands on the ground")
    return spec


def _written_out(data: Any, source: str) -> Any:
    """Return the data of a robot.yaml with its shorter forms written out."""
    if not isinstance(data, dict):
        return data
    _check_statements(data, source)
    data = without_statements(data)
    if not isinstance(data.get("feet"), list):
        return data
    names = []
    geoms = {}
    for i, foot in enumerate(data["feet"]):
        if isinstance(foot, dict):
            foot = strict.convert(_Foot, foot, f"{source}: `feet[{i}]`")
            geoms[foot.name] = foot.geoms
            foot = foot.name
        names.append(foot)
    return data | {"feet": names} | ({"foot_geoms": geoms} if geoms else {})


def without_statements(data: dict[str, Any]) -> dict[str, Any]:
    """Return a robot's data without the keys that only state what the project assumes.

    Policy files of format 2 hold them too.
    """
    rest = {key: value for key, value in data.items() if key != "units"}
    if isinstance(rest.get("imu"), dict):
        rest["imu"] = {key: v for key, v in rest["imu"].items() if key != "quaternion"}
    return rest


def _check_statements(data: dict[str, Any], source: str) -> None:
    """Raise `InputError` where a robot.yaml states units or an order that are not the project's."""
    units = data.get("units", {})
    _require(isinstance(units, dict), source, "units", "must map quantities to units")
    for key, unit in units.items():
        text = f"{unit!r} is not a unit of this file: write {key} in {UNITS.get(key)}"
        if key not in UNITS:
            text = f"is unknown{strict.did_you_mean(str(key), UNITS)}"
        _require(UNITS.get(key) == unit, source, f"units.{key}", text)
    imu = data.get("imu")
    order = imu.get("quaternion", "wxyz") if isinstance(imu, dict) else "wxyz"
    _require(order == "wxyz", source, "imu.quaternion", f"{order!r} is not wxyz, the only order")


def check(spec: RobotSpec, source: str) -> None:
    """Raise `InputError` where a robot's figures contradict each other or physics."""
    strict.check_finite(msgspec.to_builtins(spec), source)
    for key, names in (("joints", spec.joint_names), ("feet", spec.feet)):
        twice = sorted({n for n in names if names.count(n) > 1})
        _require(not twice, source, key, f"two {key} share a name: {', '.join(twice)}")
    for foot, geoms in spec.foot_geoms.items():
        where = f"foot_geoms.{foot}"
        _require(foot in spec.feet, source, where, f"is none of the feet {list(spec.feet)}")
        _require(bool(geoms), source, where, "is empty: name the geoms of this foot")
    _check_rest_pose(spec, source)
    for joint in spec.joints:
        _check_joint(joint, spec, source)
    positive = {"base.height": spec.base.height, "stand.duration": spec.stand.duration}
    gains = {"stand.kp": spec.stand.kp, "stand.kd": spec.stand.kd, "damping.kd": spec.damping.kd}
    for key, gain in gains.items():
        if isinstance(gain, dict):
            differing = sorted(set(gain) ^ set(spec.joint_names))
            text = f"must be one number, or name every joint once; differs by {differing}"
            _require(not differing, source, key, text)
            positive |= {f"{key}.{name}": value for name, value in gain.items()}
        else:
            positive[key] = gain
    for key, value in positive.items():
        _require(value > 0, source, key, f"{value} must be above 0")
    length = float(np.linalg.norm(spec.imu.mounting))
    text = f"{list(spec.imu.mounting)} has length {length:.6g} and not 1; it is a quaternion wxyz"
    _require(abs(length - 1) < 1e-3, source, "imu.mounting", text)
    _check_limits(spec.safety, len(spec.joints), source)


def _check_limits(limits: Limits, joints: int, source: str) -> None:
    """Raise `InputError` where a guard could not fire, or would fire on a robot that stands."""
    for field, value in msgspec.structs.asdict(limits).items():
        where = f"safety.{field}"
        _require(value >= 0, source, where, f"{value} must not be negative")
        free = field in _MAY_BE_ZERO or field == "frozen_ticks"
        _require(value > 0 or free, source, where, f"{value} must be above 0")
    text = f"{limits.frozen_ticks} must be at least 2: every state is the same as itself"
    _require(limits.frozen_ticks >= 2, source, "safety.frozen_ticks", text)
    text = f"{limits.max_tilt} must be below {np.pi:.4f}: it is an angle in rad, and none is larger"
    _require(limits.max_tilt < np.pi, source, "safety.max_tilt", text)
    text = f"{limits.max_lost_motors} must be below {joints}, the number of joints"
    _require(limits.max_lost_motors < joints, source, "safety.max_lost_motors", text)


def _check_rest_pose(spec: RobotSpec, source: str) -> None:
    start = spec.life_cycle.start
    text = (
        f"is missing, and the robot starts {start}: give the joint angles in which it does, or "
        "`life_cycle: {start: standing}` or `{start: hanging}`"
    )
    _require(bool(spec.rest_pose) or not spec.life_cycle.has_rest, source, "rest_pose", text)
    differing = sorted(set(spec.rest_pose) ^ set(spec.joint_names))
    text = f"must name every joint once; differs by {differing}"
    _require(not (spec.rest_pose and differing), source, "rest_pose", text)


def _check_joint(joint: Joint, spec: RobotSpec, source: str) -> None:
    where = f"joints.{joint.name}"
    low, high = joint.range
    margin = spec.safety.joint_range_margin
    _require(low < high, source, f"{where}.range", f"[{low}, {high}] is empty")
    angles = [(f"{where}.default", joint.default, margin)]
    if spec.rest_pose:
        angles.append((f"rest_pose.{joint.name}", spec.rest_pose[joint.name], 0.0))
    for key, value, gap in angles:
        text = f"{value} is outside [{low}, {high}]" + (f" with its margin of {gap}" if gap else "")
        _require(low + gap <= value <= high - gap, source, key, text)
    for field in ("velocity_limit", "torque_limit", "kp", "kd", "action_scale"):
        value = getattr(joint, field)
        _require(value is None or value > 0, source, f"{where}.{field}", f"{value} must be above 0")


def _require(condition: bool, source: str, key: str, text: str) -> None:
    if not condition:
        raise InputError(f"{source}: `{key}`: {text}")
