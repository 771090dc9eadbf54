"""Test that a robot stands by its motors alone, in the evaluation model: no policy, PD in place.

standing.tested(robot, xml)                         # with the gains of standing up
standing.gets_up(robot, xml)                        # from its rest pose, as the node lets it
"""

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, source, variants
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_node.control import exits, setpoints

SECONDS = 5.0
LEVEL = 0.3
"""[rad] A base that is tilted by more has fallen over."""
SUNK = 0.6
"""A base below this fraction of its height has sunk down."""
_FLAT = 0.35
"""[rad] A robot that rests is tilted by no more."""
_STILL_AFTER = 2.0
"""Time [s] in which a limp robot comes to rest, and one that gets up stands still."""


@dataclass(frozen=True)
class Standing:
    """Result of a trial of standing."""

    fell_after: float | None
    """[s]; None: it stood to the end."""
    why: str
    """Reason of the fall, "" without one."""
    tilt: float
    """Tilt at the end [rad]."""
    height: float
    """Height of the base at the end [m]."""
    torque: float
    """Largest torque at the end, as a fraction of its joint's limit."""
    torque_joint: str


class _Trial:
    """A robot in the evaluation model, which its motors move or nothing does."""

    def __init__(self, robot: RobotSpec, xml: Path) -> None:
        """Put it on the ground in its default pose, held by the gains of standing up."""
        self.model = variants.eval_model(robot, xml)
        self.engine = SingleEngine(self.model)
        self.engine.restart(np.zeros(1, np.int64), self.model.key("home").id)
        self.data = self.engine.data
        self.motors = PdMotors(robot, 1, variants.EVAL_TIMESTEP)
        self.motors.kp[:], self.motors.kd[:] = robot.stand_gains()
        self.torque = np.zeros(len(robot.joints))
        joints = [self.model.joint(name) for name in robot.joint_names]
        self._qpos = np.array([j.qposadr[0] for j in joints])
        self._qvel = np.array([j.dofadr[0] for j in joints])
        self._base = self.model.body(robot.base.body).id

    @property
    def pose(self) -> np.ndarray:
        """Angles (joints,) [rad]."""
        return self.data.qpos[self._qpos]

    @property
    def height(self) -> float:
        """Height of the base [m]."""
        return float(self.data.xpos[self._base, 2])

    @property
    def tilt(self) -> float:
        """Tilt of the base [rad]."""
        return float(np.arccos(np.clip(self.data.xmat[self._base, 8], -1, 1)))

    def put_down(self, pose: np.ndarray) -> None:
        """Let the lowest point of the robot touch the ground, its joints at `pose`."""
        self.data.qpos[self._qpos] = pose
        mujoco.mj_forward(self.model, self.data)
        mine = source.colliding_geoms(self.model) & ~source.static_geoms(self.model)
        height = self.model.jnt_qposadr[self.model.body_jntadr[self._base]] + 2
        self.data.qpos[height] -= geometry.lowest_points(self.model, self.data)[mine].min()
        mujoco.mj_forward(self.model, self.data)

    def advance(self, target: np.ndarray | None) -> bool:
        """Go on by a step, limp without a target; return whether physics is still sound."""
        self.torque[:] = 0.0
        if target is not None:
            self.torque[:] = self.motors.torque(
                target[None], self.pose[None], self.data.qvel[self._qvel][None]
            )[0]
        self.data.ctrl[:] = self.torque
        return not self.engine.advance().size


def tested(
    robot: RobotSpec, xml: Path, seconds: float = SECONDS, policy_gains: bool = False
) -> Standing:
    """Return how a robot stands that begins in its default pose on the ground.

    Args:
        robot: gains and pose.
        xml: its MJCF.
        seconds: how long it has to stand.
        policy_gains: hold with kp and kd of the joints, not with those of `stand`.
    """
    trial = _Trial(robot, xml)
    if policy_gains:
        trial.motors.kp[:] = robot.vector("kp")
        trial.motors.kd[:] = robot.vector("kd")
    start = trial.height
    fell = None
    why = ""
    for step in range(round(seconds / variants.EVAL_TIMESTEP)):
        sound = trial.advance(robot.vector("default"))
        why = _fallen(trial, start) if sound else "it diverges"
        if why:
            fell = step * variants.EVAL_TIMESTEP
            break
    shares = np.abs(trial.torque) / trial.motors.limit
    worst = int(np.argmax(shares))
    name = robot.joint_names[worst]
    return Standing(fell, why, trial.tilt, trial.height, float(shares[worst]), name)


def told(robot: RobotSpec, xml: Path) -> str:
    """Return how a robot stands, in a sentence or two: what `import` and `check` say."""
    by_policy = tested(robot, xml, policy_gains=True)
    if by_policy.fell_after is None:
        return (
            f"It stands {SECONDS:g} s by the policy's gains alone: tilt {by_policy.tilt:.3f} rad, "
            f"at most {by_policy.torque:.0%} of a torque limit ({by_policy.torque_joint})."
        )
    by_stand = tested(robot, xml)
    first = f"By the policy's gains alone {by_policy.why} after {by_policy.fell_after:.1f} s"
    if by_stand.fell_after is None:
        return (
            f"It stands {SECONDS:g} s by the gains of standing up alone: tilt "
            f"{by_stand.tilt:.3f} rad, at most {by_stand.torque:.0%} of a torque limit "
            f"({by_stand.torque_joint}). {first}, so the policy has to balance it."
        )
    reason = "a biped is balanced by its policy, not by springs"
    if len(robot.feet) > 2 or by_stand.torque > 0.99:
        reason = (
            f"{by_stand.torque_joint} is at {by_stand.torque:.0%} of its torque limit: look at "
            "limits and pose"
        )
    then = f"by those of standing up {by_stand.why} after {by_stand.fell_after:.1f} s"
    return f"{first}; {then}: {reason}."


def _fallen(trial: _Trial, start: float) -> str:
    if trial.tilt > LEVEL:
        return "it tips over"
    return "it sinks down" if trial.height < SUNK * start else ""


def gets_up(robot: RobotSpec, xml: Path) -> str:
    """Return why a robot does not get up from its rest pose as the node lets it, "" if it does.

    It lies limp until it is still, then goes to the default pose in the time and by the gains of
    `stand`. A tilt beyond the robot's limit and a joint that stays away end it there, too.
    """
    trial = _Trial(robot, xml)
    trial.put_down(np.array(robot.rest()))
    for _ in range(round(_STILL_AFTER / variants.EVAL_TIMESTEP)):
        if not trial.advance(None):
            return "physics diverges as it lies"
    if trial.tilt > _FLAT:
        return f"it lies tilted by {trial.tilt:.2f} rad"
    lying = trial.pose.copy()
    standing = robot.vector("default")
    for step in range(round((robot.stand.duration + _STILL_AFTER) / variants.EVAL_TIMESTEP)):
        part = setpoints.eased(step * variants.EVAL_TIMESTEP, robot.stand.duration)
        if not trial.advance(lying + part * (standing - lying)):
            return "physics diverges as it gets up"
        if trial.tilt > robot.safety.max_tilt:
            return "it tips over as it gets up"
    away = np.abs(trial.pose - standing)
    worst = int(np.argmax(away))
    if away[worst] > exits.POSE_GATE:
        return f"{robot.joint_names[worst]} stays {away[worst]:.2f} rad away from the default pose"
    return ""


def touching(robot: RobotSpec, xml: Path) -> list[tuple[str, str, float]]:
    """Return the pairs of bodies that touch each other in the default pose, and how deep [m]."""
    model = variants.eval_model(robot, xml)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    found = {}
    for contact in data.contact:
        one, two = (int(model.geom_bodyid[g]) for g in contact.geom)
        if one and two and contact.dist < 0:
            pair = tuple(sorted((model.body(one).name, model.body(two).name)))
            found[pair] = max(found.get(pair, 0.0), -float(contact.dist))
    return [(one, two, depth) for (one, two), depth in sorted(found.items())]
