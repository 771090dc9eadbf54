"""Checks before anything moves: a robot at rest is watched for a second and judged.

    watch = Watch(contract, ticks=50, signals=driver.signals)
    watch.add(measurement)          # at every tick
    checks = watch.judge()          # when `watch.full`

Each check is one function and says what it found, whether that is good, and what to do. They are
arithmetic on the measurements alone, so that a replay comes to the same result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.contract import Contract
from robot_ppo_node.safety.measurement import Measurement
from robot_ppo_node.safety.reason import Reason

SECONDS = 1.0
"""[s] Time for which the robot is watched."""
GRAVITY = 9.81
QUATERNION_NORM = 0.01
"""Largest deviation of an orientation's norm from one."""
GRAVITY_ANGLE = math.radians(6.0)
GRAVITY_NORM = 0.1
"""Largest angle [rad] of the accelerometer to the orientation's gravity, and deviation from g."""
GYRO_BIAS = 0.1
"""Largest mean angular velocity of a robot at rest [rad/s]."""
STILL = 0.1
"""Largest movement of a joint at rest, from the first half of the second to the other [rad]."""
RANGE_SLACK = 0.1
"""A joint may lie so far beyond its range, on its rubber stop [rad]."""
POSE_DISTANCE = 1.5
"""Largest distance [rad] of a joint to both the default pose and, if there is one, `rest_pose`."""
FREE_FORCE = 5.0
"""Largest mean force [N] on a foot of a robot that hangs; sensors are not nulled exactly."""
FRESH_SHARE = 0.8
"""Share of the ticks that find a new state."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    good: bool
    value: str
    fix: str
    """The remedy where it is not good."""

    @property
    def reason(self) -> Reason:
        """Its sentence, under its name as the code."""
        return Reason(self.name, str(self))

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.name}: {self.value}" + ("" if self.good else f"; {self.fix}")


@dataclass
class Watch:
    """The last second of measurements, in arrays that are taken once."""

    contract: Contract
    ticks: int
    signals: frozenset[str] = frozenset()
    """Signals that the robot measures."""
    count: int = 0
    quat: np.ndarray = field(init=False)
    gyro: np.ndarray = field(init=False)
    acc: np.ndarray = field(init=False)
    joints: np.ndarray = field(init=False)
    feet: np.ndarray = field(init=False)
    fresh: np.ndarray = field(init=False)
    times: np.ndarray = field(init=False)
    """[s] when the newest state of each tick arrived"""

    def __post_init__(self) -> None:
        """Take memory."""
        robot = self.contract.robot
        shapes = {"quat": 4, "gyro": 3, "acc": 3}
        shapes |= {"joints": len(robot.joints), "feet": len(robot.feet)}
        for name, width in shapes.items():
            setattr(self, name, np.zeros((self.ticks, width), np.float32))
        self.fresh = np.zeros(self.ticks, bool)
        self.times = np.zeros(self.ticks)

    @property
    def full(self) -> bool:
        """Whether a whole second was watched since `begin`."""
        return self.count >= self.ticks

    def begin(self) -> None:
        """Start to watch."""
        self.count = 0

    def add(self, measurement: Measurement) -> None:
        """Take in one tick."""
        i = self.count % self.ticks
        state = measurement.state
        self.quat[i] = state.base_quat
        self.gyro[i] = state.base_ang_vel
        self.acc[i] = state.base_lin_acc
        self.joints[i] = state.joint_pos
        if "foot_force" in state:
            self.feet[i] = state.foot_force
        self.fresh[i] = measurement.fresh
        self.times[i] = measurement.sample_time
        self.count += 1

    def judge(self) -> list[Check]:
        """Return the result of every check that this robot's signals allow."""
        return [check for function in CHECKS if (check := function(self))]


def quaternion_norm(watch: Watch) -> Check:
    """An orientation is a unit quaternion, all the time."""
    worst = float(np.abs(np.linalg.norm(watch.quat.astype(float), axis=1) - 1).max())
    return Check(
        "quaternion norm",
        worst <= QUATERNION_NORM,
        f"off by {worst:.4f}, limit {QUATERNION_NORM}",
        "look at the IMU's driver",
    )


def gravity(watch: Watch) -> Check | None:
    """Orientation and accelerometer agree on where down is, and on which axis is which."""
    if "base_lin_acc" not in watch.signals:
        return None
    acc = watch.acc.mean(axis=0, dtype=float)
    size = float(np.linalg.norm(acc))
    down = frames.projected_gravity(watch.quat.mean(axis=0, dtype=float))
    cosine = float(-acc @ down / max(size * np.linalg.norm(down), 1e-9))
    angle = math.acos(min(max(cosine, -1.0), 1.0))
    return Check(
        "gravity",
        angle <= GRAVITY_ANGLE and abs(size / GRAVITY - 1) <= GRAVITY_NORM,
        f"accelerometer {size:.2f} m/s^2, {math.degrees(angle):.1f} deg from the orientation's "
        f"vertical, limit {math.degrees(GRAVITY_ANGLE):.0f} deg",
        f"let the robot {_rest(watch)} still; if it does, the IMU's axes, quaternion order (wxyz) "
        "or mounting differ from robot.yaml",
    )


def gyro_bias(watch: Watch) -> Check:
    """A robot at rest does not turn."""
    bias = float(np.linalg.norm(watch.gyro.mean(axis=0, dtype=float)))
    return Check(
        "gyro bias",
        bias <= GYRO_BIAS,
        f"{bias:.3f} rad/s at rest, limit {GYRO_BIAS}",
        f"let the robot {_rest(watch)} still; if it does, calibrate the IMU",
    )


def at_rest(watch: Watch) -> Check:
    """No joint moves."""
    half = max(watch.ticks // 2, 1)
    ordered = np.roll(watch.joints, -(watch.count % watch.ticks), axis=0).astype(float)
    moved = np.abs(ordered[half:].mean(axis=0) - ordered[:half].mean(axis=0))
    i = int(moved.argmax())
    return Check(
        "at rest",
        bool(moved[i] <= STILL),
        f"{_name(watch, i)} moved {moved[i]:.3f} rad, limit {STILL}",
        f"let the robot {_rest(watch)} still",
    )


def joint_range(watch: Watch) -> Check:
    """Every joint is where its mechanics let it be."""
    position = watch.joints.mean(axis=0, dtype=float)
    low, high = watch.contract.robot.vector("range").T
    excess = np.maximum(low - position, position - high)
    i = int(excess.argmax())
    return Check(
        "joint range",
        bool(excess[i] <= RANGE_SLACK),
        f"{_name(watch, i)} at {position[i]:.3f} rad, range {low[i]:.3f} to {high[i]:.3f}",
        "its zero, sign or order differs from robot.yaml: move it by hand, see which angle changes",
    )


def pose_distance(watch: Watch) -> Check:
    """Every joint is near the rest or the default pose, so that standing up is what it seems."""
    position = watch.joints.mean(axis=0, dtype=float)
    robot = watch.contract.robot
    near = np.abs(position - robot.vector("default"))
    if robot.rest_pose:
        near = np.minimum(near, np.abs(position - robot.rest()))
    i = int(near.argmax())
    has_rest = robot.life_cycle.has_rest
    poses = f"the {robot.life_cycle.start} and the default pose" if has_rest else "the default pose"
    return Check(
        "pose",
        bool(near[i] <= POSE_DISTANCE),
        f"{_name(watch, i)} is {near[i]:.2f} rad from {poses}, limit {POSE_DISTANCE}",
        f"let it {_rest(watch)} in {'its rest_pose' if has_rest else 'its default pose'}; if it "
        "does, that joint's zero is wrong",
    )


def feet_free(watch: Watch) -> Check | None:
    """The feet of a robot that hangs carry nothing; where it does not measure them, look."""
    robot = watch.contract.robot
    if robot.life_cycle.start != "hanging" or "foot_force" not in watch.signals:
        return None
    force = watch.feet.mean(axis=0, dtype=float)
    i = int(force.argmax())
    return Check(
        "feet free",
        bool(force[i] <= FREE_FORCE),
        f"{robot.feet[i]} carries {force[i]:.1f} N, limit {FREE_FORCE:g}",
        "raise the robot until its feet are in the air",
    )


def state_rate(watch: Watch) -> Check:
    """New states come at least once per tick."""
    share = float(watch.fresh.mean())
    rate = 1 / watch.contract.control_period
    return Check(
        "state rate",
        share >= FRESH_SHARE,
        f"{share:.0%} of the ticks at {rate:g} Hz found a new state, limit {FRESH_SHARE:.0%}",
        f"let the robot send states at {2 * rate:g} Hz or more; is the network lossy?",
    )


def state_jitter(watch: Watch) -> Check:
    """States come regularly."""
    gap = float(np.diff(np.sort(watch.times)).max())
    limit = watch.contract.robot.safety.stale_after / 2
    return Check(
        "state jitter",
        gap <= limit,
        f"up to {gap * 1e3:.0f} ms between two states, limit {limit * 1e3:.0f} ms",
        "lossy network or busy computer: robot-ppo-node doctor",
    )


CHECKS: tuple[Callable[[Watch], Check | None], ...] = (
    *(quaternion_norm, gravity, gyro_bias, at_rest),
    *(joint_range, pose_distance, feet_free, state_rate, state_jitter),
)


def _rest(watch: Watch) -> str:
    """Return what the robot does before it stands up."""
    words = {"lying": "lie", "sitting": "sit", "standing": "stand", "hanging": "hang"}
    return words[watch.contract.robot.life_cycle.start]


def _name(watch: Watch, joint: int) -> str:
    return watch.contract.robot.joint_names[joint]
