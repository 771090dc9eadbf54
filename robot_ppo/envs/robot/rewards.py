"""Reward terms: name -> f(world, *, parameters) -> (n,).

Each is multiplied by its weight [1/s] and the control period. The word in the task's YAML, in the
log and here is the same. What belongs to joints or feet is a mean over them, so that a weight
means the same on another robot.
"""

import math

from robot_ppo.envs.robot.world import World
from robot_ppo.sim.device import CPU, Device
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.tables import Entries, NonNegative, PerJoint, Positive, Table

REWARDS = Table("reward", weight=float)
TERMINATION = "termination"
"""The one reward whose weight is not per second."""


def _sum2(x: Array) -> Array:
    return namespace(x).sum(x * x, axis=-1)


def _mean(x: Array) -> Array:
    # Not xp.mean, which takes twice as long for a dozen numbers.
    return namespace(x).sum(x, axis=-1) / x.shape[-1]


def _mean2(x: Array) -> Array:
    return _mean(x * x)


@REWARDS.add("commands.twist")
def lin_vel_tracking(world: World, *, sigma2: Positive) -> Array:
    """exp(-|v_xy - command|^2 / sigma2); sigma2 in [m^2/s^2]."""
    error = world.base_lin_vel[:, :2] - world.command[:, :2]
    return namespace(error).exp(-_sum2(error) / sigma2)


@REWARDS.add("commands.twist")
def yaw_rate_tracking(world: World, *, sigma2: Positive) -> Array:
    """exp(-(yaw rate - command)^2 / sigma2); sigma2 in [rad^2/s^2]."""
    error = world.base_ang_vel[:, 2] - world.command[:, 2]
    return namespace(error).exp(-error * error / sigma2)


@REWARDS.add("commands.joint_pos")
def joint_pos_tracking(world: World, *, sigma2: Positive) -> Array:
    """exp(-mean squared distance of joints to their commands / sigma2); sigma2 in [rad^2]."""
    error = _mean2(world.joint_pos - world.command)
    return namespace(error).exp(-error / sigma2)


@REWARDS.add()
def default_pose_tracking(world: World, *, sigma2: Positive) -> Array:
    """exp(-mean squared distance of joints to the default pose / sigma2); sigma2 in [rad^2]."""
    error = _mean2(world.joint_pos - world.constants.default_pose)
    return namespace(error).exp(-error / sigma2)


@REWARDS.add()
def upright(world: World) -> Array:
    """1 - tilt / pi: 1 upright, 0.5 on the side, 0 on the back; every degree counts the same."""
    xp = namespace(world.projected_gravity)
    return 1.0 - xp.acos(xp.clip(-world.projected_gravity[:, 2], -1.0, 1.0)) / math.pi


@REWARDS.add()
def raised(world: World) -> Array:
    """`upright` times the height of the base over its home height, between 0 and 1."""
    height = world.base_height / world.constants.home_height
    return upright(world) * namespace(height).clip(height, 0.0, 1.0)


@REWARDS.add()
def standing_pose_tracking(world: World, *, sigma2: Positive) -> Array:
    """`default_pose_tracking` times the square of `raised`: little for a robot that lies."""
    return raised(world) ** 2 * default_pose_tracking(world, sigma2=sigma2)


@REWARDS.add()
def standing_joint_vel(world: World) -> Array:
    """`joint_vel` times the square of `raised`: little while a robot gets up and must move."""
    return raised(world) ** 2 * joint_vel(world)


@REWARDS.add()
def standing_action_rate(world: World) -> Array:
    """`action_rate` times the square of `raised`: little for a robot that lies."""
    return raised(world) ** 2 * action_rate(world)


@REWARDS.add()
def base_height_tracking(world: World, *, target: Positive, sigma2: Positive) -> Array:
    """exp(-(height - target)^2 / sigma2); target in [m], sigma2 in [m^2]."""
    error = world.base_height - target
    return namespace(error).exp(-error * error / sigma2)


@REWARDS.add()
def base_height(world: World, *, target: Positive) -> Array:
    """(height - target)^2 [m^2]."""
    return (world.base_height - target) ** 2


@REWARDS.add()
def lin_vel_z(world: World) -> Array:
    """Vertical velocity squared [m^2/s^2]."""
    return world.base_lin_vel[:, 2] ** 2


@REWARDS.add()
def ang_vel_xy(world: World) -> Array:
    """Roll and pitch rate squared [rad^2/s^2]."""
    return _sum2(world.base_ang_vel[:, :2])


@REWARDS.add()
def orientation(world: World) -> Array:
    """Squared horizontal part of gravity in the body frame: sin^2 of the tilt."""
    return _sum2(world.projected_gravity[:, :2])


@REWARDS.add()
def torque(world: World) -> Array:
    """Mean squared torque of the joints [N^2 m^2]."""
    return _mean2(world.torque)


@REWARDS.add()
def power(world: World) -> Array:
    """Mean over joints of |torque times velocity| [W]: braking costs what driving costs."""
    xp = namespace(world.torque)
    return _mean(xp.abs(world.torque * world.joint_vel))


@REWARDS.add()
def action_rate(world: World) -> Array:
    """Mean squared change of the raw action."""
    return _mean2(world.action - world.last_action)


@REWARDS.add()
def joint_vel(world: World) -> Array:
    """Mean squared joint velocity [rad^2/s^2]."""
    return _mean2(world.joint_vel)


@REWARDS.add()
def joint_acc(world: World) -> Array:
    """Mean squared joint acceleration [rad^2/s^4]."""
    return _mean2(world.joint_acc)


@REWARDS.add()
def joint_limits(world: World) -> Array:
    """Mean over joints of what they are beyond the middle 95 % of their range [rad]."""
    xp = namespace(world.joint_pos)
    soft = world.constants.soft_range
    beyond = xp.abs(world.joint_pos - soft[:, 0]) - soft[:, 1]
    return _mean(xp.maximum(beyond, xp.zeros_like(beyond)))


@REWARDS.add()
def joint_vel_limits(world: World, *, fraction: Positive) -> Array:
    """Mean over joints of the squared speed beyond a fraction of the velocity limit, in limits."""
    xp = namespace(world.joint_vel)
    beyond = xp.abs(world.joint_vel) / world.constants.velocity_limit - fraction
    return _mean2(xp.maximum(beyond, xp.zeros_like(beyond)))


@REWARDS.add()
def joint_pose(world: World, *, joints: PerJoint) -> Array:
    """Mean squared distance to the default pose [rad^2], each joint times its number."""
    error = world.joint_pos - world.constants.default_pose
    return _mean(error * error * joints)


@REWARDS.add("gait")
def contact_schedule(world: World) -> Array:
    """Fraction of feet that are down in stance and up in swing."""
    xp = namespace(world.phase)
    agrees = xp.astype(world.foot_contact == (world.swing == 0), world.phase.dtype)
    return _mean(agrees)


@REWARDS.add("gait")
def swing_height(world: World) -> Array:
    """Mean over feet of ((height - wanted) / swing height)^2, 0 for those in stance."""
    xp = namespace(world.phase)
    schedule = world.constants.schedule
    assert schedule is not None
    error = (world.foot_height - schedule.height(world.swing)) / schedule.swing_height
    return _mean2(xp.where(world.swing > 0, error, xp.zeros_like(error)))


@REWARDS.add()
def slip(world: World) -> Array:
    """Mean over feet of the squared horizontal velocity on the ground [m^2/s^2]."""
    xp = namespace(world.phase)
    speed2 = _sum2(world.foot_vel_w[:, :, :2])
    return _mean(xp.where(world.foot_contact, speed2, xp.zeros_like(speed2)))


@REWARDS.add("commands.twist", reads=("air_time",))
def feet_air_time(world: World, *, threshold: NonNegative) -> Array:
    """While told to move: mean over feet of the flight less `threshold` [s], of those that land.

    The formula of legged_gym's term of that name, as a mean over feet: a landing that ends a flight
    of more than `threshold` earns, one of less costs, and no other step does either.
    """
    flight = world.air_time
    assert flight is not None
    xp = namespace(flight)
    nothing = xp.zeros_like(flight)
    earned = xp.where(world.foot_contact & (flight > 0), flight - threshold, nothing)
    mean = _mean(earned)
    return xp.where(world.moving, mean, xp.zeros_like(mean))


@REWARDS.add(reads=("sole_level",))
def sole_flat(world: World) -> Array:
    """Mean over feet of sin^2 of the sole's tilt against the ground that the robot stands on."""
    level = world.sole_level
    assert level is not None
    return 1.0 - _mean(level * level)


@REWARDS.add(reads=("foot_gap",))
def feet_apart(world: World, *, least: Positive) -> Array:
    """Mean over pairs of a left and a right foot of what lacks to `least` [m] sideways, squared."""
    gap = world.foot_gap
    assert gap is not None
    xp = namespace(gap)
    return _mean2(xp.maximum(least - gap, xp.zeros_like(gap)))


@REWARDS.add("commands.twist")
def stand_still(world: World) -> Array:
    """While told to stand: mean absolute distance of the joints to the default pose [rad]."""
    xp = namespace(world.phase)
    distance = _mean(xp.abs(world.joint_pos - world.constants.default_pose))
    return xp.where(world.moving, xp.zeros_like(distance), distance)


@REWARDS.add()
def termination(world: World) -> Array:
    """1 where the episode ends in a failure; its weight is in [1], given once."""
    return namespace(world.phase).astype(world.failed, world.phase.dtype)


class Rewards:
    """The weighted sum of a task's terms; `termination` is always among them, as the last."""

    def __init__(
        self,
        entries: Entries,
        robot: RobotSpec,
        dt: float,
        has: frozenset[str] = frozenset(),
        on: Device = CPU,
    ) -> None:
        """Resolve the terms.

        Args:
            entries: name -> weight and parameters; weights in [1/s], that of `termination` in [1].
            robot: whose joints the parameters name.
            dt: control period [s].
            has: see `Table.resolve`.
            on: where the worlds' arrays are.
        """
        others = {name: given for name, given in entries.items() if name != TERMINATION}
        ordered = others | {TERMINATION: entries.get(TERMINATION, {"weight": 0.0})}
        self.terms = REWARDS.resolve("task.rewards", ordered, robot.joint_names, has)
        self.names = tuple(self.terms)
        scales = [1.0 if name == TERMINATION else dt for name in self.names]
        weights = [t.own["weight"] * s for t, s in zip(self.terms.values(), scales, strict=True)]
        self.termination = weights[-1]
        """Reward of a failure."""
        functions = [on.moved(term.function) for term in self.terms.values()]
        self._plan = list(zip(functions, weights, strict=True))

    def compute(self, world: World) -> tuple[Array, Array]:
        """Return the reward (n,) and every weighted term (len(names), n)."""
        xp = namespace(world.phase)
        shape = (len(self.names), world.phase.shape[0])
        rows = xp.empty(shape, dtype=xp.float32, device=world.phase.device)
        for i, (function, weight) in enumerate(self._plan):
            value = function(world)
            if value.shape != world.phase.shape:
                raise ValueError(
                    f"reward {self.names[i]!r} has shape {tuple(value.shape)}, "
                    f"not {tuple(world.phase.shape)}"
                )
            rows[i] = value * weight
        return xp.sum(rows, axis=0), rows
