"""Domain randomization: name -> a function that declares the fields that it writes.

It is an event at reset, or at the start: then what is drawn once stays for all episodes. At every
reset of a simulation, the declared fields start from the model's nominal values and each function
of the task changes its rows, in the order of this file. A draw is uniform in the task's
range; draws scaled to [-1, 1] go to the critic (`randomized`). Model fields from which MuJoCo
derives constants (`set_const`) are recognized by their name, so that cannot be forgotten.

A delay is MuJoCo's: between 0 and one physics step it would act as one whole step, because the
newest sample in a buffer is one step old; beyond that samples are interpolated. So that small
delays are not all made large, a draw below one step goes to 0 or to one step, whichever is nearer.

Fields that are not MuJoCo's are what our own sensor arithmetic adds (sim/fields.py).
"""

import functools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from robot_ppo.mirror import TURN, VECTOR, Mirror
from robot_ppo.robot_model.symmetry import RobotMirror
from robot_ppo.sim.fields import MEASUREMENT_FIELDS, PACKET_FIELDS, Ids, Rows
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import NOTHING, PerJoint, Range, Table
from robot_ppo_export.errors import InputError

RANDOMIZATIONS = Table("randomization", range=Range)
"""f(rows, draw, ids) changes its rows by draws uniform in `range`; `randomization` adds one."""


@dataclass(frozen=True)
class Bounds:
    """Meaning and bounds of a randomization's numbers."""

    meaning: str
    """Completes the sentence "it is ..."."""
    low: float = -math.inf
    high: float = math.inf
    beyond: bool = False
    """Numbers must be above `low`, not only at it."""

    def check(self, key: str, given: Range) -> None:
        """Raise `SettingError` for a range of draws that leaves the bounds."""
        low, high = given
        if low < self.low or (self.beyond and low == self.low):
            must = f"above {self.low:g}" if self.beyond else f"at least {self.low:g}"
            raise SettingError(key, f"{low:g} must be {must}: it is {self.meaning}")
        if high > self.high:
            raise SettingError(key, f"{high:g} must be at most {self.high:g}: it is {self.meaning}")


LIVE_FACTOR = Bounds("a factor, and 1 leaves the model as it is", low=0.0, beyond=True)
"""Nothing of it would be no robot: a mass, a motor."""
FACTOR = Bounds("a factor, and 1 leaves the model as it is", low=0.0)
COEFFICIENT = Bounds("a coefficient of friction", low=0.0)
PROBABILITY = Bounds("a probability", low=0.0, high=1.0)
MILLISECONDS = Bounds("a time in milliseconds", low=0.0)
OFFSET = Bounds("added to what there is")


@dataclass(frozen=True)
class Writes:
    """Declaration of one randomization: fields, numbers, mirror."""

    fields: tuple[str, ...]
    within: Bounds
    """Bounds of its range."""
    size: Callable[..., int]
    """Numbers drawn per simulation: f(ids, *, parameters)."""
    mirror: Callable[..., Mirror]
    """Mirror of the draws, with left and right exchanged: f(ids, robot, *, parameters)."""


OWN_FIELDS = (*MEASUREMENT_FIELDS, *PACKET_FIELDS)
"""Fields that are not MuJoCo's (sim/fields.py)."""
WRITES: dict[str, Writes] = {}
"""Randomization -> its declaration."""


def _same(ids: Ids, robot: RobotMirror) -> Mirror:
    return Mirror.identity(1)


def randomization(
    *fields: str,
    within: Bounds,
    size: Callable[..., int] = lambda _: 1,
    mirror: Callable[..., Mirror] = _same,
) -> Callable:
    """Return a decorator that adds a randomization and says what it writes.

    Args:
        fields: of MuJoCo's model, or of `MEASUREMENT_FIELDS` and `PACKET_FIELDS`; the function's
            `rows` are those of its task, each (m, ...), nominal before the first.
        within: see `Writes`, as the others.
        size: 1 without it.
        mirror: without it the draws are the same in the mirror.

    Raises:
        InputError: there is no such field.
    """
    for field in fields:
        if not hasattr(mujoco.MjModel, field) and field not in OWN_FIELDS:
            raise InputError(
                f"a randomization says that it writes {field!r}, and neither MuJoCo's model nor "
                f"ours has such a field: give the name of one of MjModel's, or {list(OWN_FIELDS)}"
            )

    def register(function: Callable[..., None]) -> Callable:
        added = RANDOMIZATIONS.add()(function)
        WRITES[function.__name__] = Writes(fields, within, size, mirror)
        return added

    return register


def _joints(ids: Ids) -> int:
    return len(ids.dofs)


def _vector(ids: Ids, robot: RobotMirror) -> Mirror:
    return VECTOR


def _turn(ids: Ids, robot: RobotMirror) -> Mirror:
    return TURN


def _angles(ids: Ids, robot: RobotMirror) -> Mirror:
    return robot.joints


def _factors(ids: Ids, robot: RobotMirror) -> Mirror:
    return Mirror(robot.joints.index, np.abs(robot.joints.sign))


def _links(ids: Ids, robot: RobotMirror) -> Mirror:
    places = {int(body): i for i, body in enumerate(ids.links)}
    return Mirror.of([places[int(robot.bodies[b])] for b in ids.links], [1.0] * len(ids.links))


@randomization("geom_friction", within=COEFFICIENT)
def friction(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Sliding friction of the feet, which have priority over the floor."""
    rows["geom_friction"][:, ids.feet, 0] = draw


@randomization("body_mass", within=OFFSET)
def payload(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """A point mass [kg] at the centre of mass of the base, so the inertia about it stays."""
    rows["body_mass"][:, ids.base] += draw[:, 0]


@randomization("body_ipos", within=OFFSET, size=lambda _: 3, mirror=_vector)
def base_com(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Offset of the base's centre of mass [m]."""
    rows["body_ipos"][:, ids.base] += draw


@randomization(
    "body_mass", "body_inertia", within=LIVE_FACTOR, size=lambda ids: len(ids.links), mirror=_links
)
def link_mass(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Factor on each link's mass and inertia together: another density, always physical."""
    rows["body_mass"][:, ids.links] *= draw
    rows["body_inertia"][:, ids.links] *= draw[:, :, None]


@randomization("dof_damping", within=FACTOR, size=_joints, mirror=_factors)
def joint_damping(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Factor on viscous joint friction."""
    rows["dof_damping"][:, ids.dofs] *= draw


@randomization("dof_frictionloss", within=FACTOR, size=_joints, mirror=_factors)
def friction_loss(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Factor on dry joint friction."""
    rows["dof_frictionloss"][:, ids.dofs] *= draw


@randomization("dof_armature", within=FACTOR)
def armature(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Factor on the rotors' reflected inertia."""
    rows["dof_armature"][:, ids.dofs] *= draw


@randomization(
    "actuator_gainprm", "actuator_biasprm", within=LIVE_FACTOR, size=_joints, mirror=_factors
)
def kp(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Factor on the position gain."""
    rows["actuator_gainprm"][..., 0] *= draw
    rows["actuator_biasprm"][..., 1] *= draw


@randomization("actuator_biasprm", within=LIVE_FACTOR, size=_joints, mirror=_factors)
def kd(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Factor on the velocity gain."""
    rows["actuator_biasprm"][..., 2] *= draw


@randomization("actuator_gainprm", "actuator_biasprm", "actuator_forcerange", within=LIVE_FACTOR)
def motor_strength(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Factor on the torque of all motors, and on its limit."""
    rows["actuator_gainprm"][..., 0] *= draw
    rows["actuator_biasprm"][..., :3] *= draw[..., None]
    rows["actuator_forcerange"][...] *= draw[..., None]


@randomization("actuator_biasprm", "encoder_offset", within=OFFSET, size=_joints, mirror=_angles)
def encoder_offset(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Error of the encoders' zero [rad]: the policy reads it, and the motor servoes to it."""
    rows["encoder_offset"][...] = draw
    rows["actuator_biasprm"][..., 0] += rows["actuator_biasprm"][..., 1] * draw


@randomization("gyro_bias", within=OFFSET, size=lambda _: 3, mirror=_turn)
def imu_bias(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Constant error of the gyroscope [rad/s]."""
    rows["gyro_bias"][...] = draw


@randomization("site_quat", within=OFFSET, size=lambda _: 3, mirror=_turn)
def imu_mounting(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """The IMU is screwed on askew: a small rotation vector [rad]."""
    nominal = rows["site_quat"][:, ids.imu]
    rows["site_quat"][:, ids.imu] = frames.multiply(nominal, frames.from_rotation_vector(draw))


@randomization("actuator_delay", within=MILLISECONDS)
def actuator_delay(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Time from a target to its effect [ms], the same for all motors."""
    rows["actuator_delay"][...] = _reachable(draw * 1e-3, ids.timestep)


def _labels(groups: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the group of each joint, (joints,) from 0 on, and how many groups there are."""
    labels, index = np.unique(groups, return_inverse=True)
    return index, len(labels)


def _group_count(_: Ids, *, groups: np.ndarray) -> int:
    return _labels(groups)[1]


def _groups(_: Ids, robot: RobotMirror, *, groups: np.ndarray) -> Mirror:
    index, count = _labels(groups)
    partner = index[robot.joints.index]
    partners = [np.unique(partner[index == group]) for group in range(count)]
    if any(len(found) != 1 for found in partners):
        raise InputError(
            "the groups of the randomization group_delay have no mirror image: the partners of "
            "one group's joints are in several; leave `networks.symmetric` false for this task"
        )
    return Mirror.of([int(found[0]) for found in partners], [1.0] * count)


@randomization("actuator_delay", within=MILLISECONDS, size=_group_count, mirror=_groups)
def group_delay(rows: Rows, draw: np.ndarray, ids: Ids, *, groups: PerJoint) -> None:
    """Extra time from a target to its effect [ms], one for each group of joints.

    `groups` labels joints with numbers: those of one number are a group, such as the motors of one
    bus.
    """
    extra = draw[:, _labels(np.asarray(groups))[0]] * 1e-3
    rows["actuator_delay"][...] = _reachable(rows["actuator_delay"] + extra, ids.timestep)


@randomization("packet_loss", within=PROBABILITY)
def packet_loss(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """Probability that a state packet, one every control period, never arrives."""
    rows["packet_loss"][...] = draw


@randomization("packet_delay", within=MILLISECONDS)
def packet_delay(rows: Rows, draw: np.ndarray, _: Ids) -> None:
    """State packets arrive up to so late [ms], each by a time of its own."""
    rows["packet_delay"][...] = draw * 1e-3


@randomization("sensor_delay", "freshness", within=MILLISECONDS)
def sensor_delay(rows: Rows, draw: np.ndarray, ids: Ids) -> None:
    """Age of what is measured [ms], the same for all sensors.

    MuJoCo's sensors are one physics step old by themselves, and with its delay at least two. Up to
    that age, the measurement is interpolated between the present and what MuJoCo says; beyond it,
    MuJoCo's delay does all.
    """
    age = draw * 1e-3
    step = ids.timestep
    delay = np.where(age > step, np.maximum(age - step, step), 0.0)
    rows["freshness"][...] = np.clip(1 - age / (step + delay), 0.0, 1.0)
    rows["sensor_delay"][:, ids.delayed] = delay


def _reachable(delay: np.ndarray, timestep: float) -> np.ndarray:
    """Return delays [s] that MuJoCo can render: 0, one physics step, or anything above."""
    return np.where(delay < timestep / 2, 0.0, np.maximum(delay, timestep))


class Randomizer:
    """Draws a task's randomizations and applies them to rows of fields."""

    def __init__(
        self,
        ranges: Mapping[str, Range],
        ids: Ids,
        kept: Collection[str] = (),
        parameters: Mapping[str, Mapping[str, Any]] = NOTHING,
    ) -> None:
        """Order the randomizations as in this file.

        Args:
            ranges: name -> what a draw is uniform in.
            ids: of the objects that they change.
            kept: names of those that are drawn once, at the start, and stay.
            parameters: name -> parameters, of those that take any.
        """
        self.ids = ids
        names = [name for name in RANDOMIZATIONS.functions if name in ranges]
        self.names = names
        self.parameters = {name: dict(parameters.get(name, {})) for name in names}
        self.functions = [
            functools.partial(RANDOMIZATIONS.functions[name], **self.parameters[name])
            for name in names
        ]
        self.fields = tuple(dict.fromkeys(f for n in names for f in WRITES[n].fields))
        sizes = [WRITES[name].size(ids, **self.parameters[name]) for name in names]
        self.size = sum(sizes)
        """Numbers drawn per simulation in all."""
        low, high = np.array([ranges[name] for name in names]).reshape(-1, 2).T
        self._middle = np.repeat(0.5 * (low + high), sizes)
        self._half = np.repeat(0.5 * (high - low), sizes)
        self.kept = np.flatnonzero(np.repeat([name in kept for name in names], sizes))
        ends = np.cumsum(sizes).tolist()
        self._slices = [slice(e - s, e) for e, s in zip(ends, sizes, strict=True)]

    def apply(
        self, rows: Rows, m: int, rng: np.random.Generator, before: np.ndarray | None = None
    ) -> np.ndarray:
        """Change nominal `rows` (m, ...) in place; return the draws in [-1, 1], (m, size).

        `before` are the draws of the episodes before, for what stays; None: all are new.
        """
        units = rng.uniform(-1.0, 1.0, (m, self.size))
        if before is not None:
            units[:, self.kept] = before[:, self.kept]
        units = units.astype(np.float32)
        draws = self._middle + self._half * units
        for function, mine in zip(self.functions, self._slices, strict=True):
            function(rows, draws[:, mine], self.ids)
        return units

    def mirror(self, robot: RobotMirror) -> Mirror:
        """Return how the draws look with left and right exchanged.

        Raises:
            InputError: a range whose numbers change sign in the mirror is not centred on 0.
        """
        mirrors = []
        for name, mine in zip(self.names, self._slices, strict=True):
            one = WRITES[name].mirror(self.ids, robot, **self.parameters[name])
            middle = self._middle[mine]
            half = self._half[mine]
            if ((one.sign < 0) & (np.abs(middle) > 1e-6 * half)).any():
                low = middle[0] - half[0]
                high = middle[0] + half[0]
                raise InputError(
                    f"`task.events: {name}`: the range [{low:g}, {high:g}] has no mirror image, "
                    "because what it draws changes sign there; centre it on 0, or leave "
                    "`networks.symmetric` false for this task"
                )
            mirrors.append(one)
        return Mirror.joined(mirrors)
