"""One MJCF -> the two MuJoCo models of a robot.

*train*: the task's `physics` (as a rule only the feet collide, pyramidal cone), position actuators
that MuJoCo integrates implicitly, sensors and actuators with history buffers so that delays can be
randomized.
*eval*: every collision geom, 2 ms, elliptic cone, torque motors; whoever steps it computes the PD
law at the physics rate, as a motor controller does (`sim/motors.py`).

Both weigh, body by body, what the file's own compiled model weighs, stand on the same ground, and
differ in physics options only where their functions say so. What the file says of ground, options,
actuators, sensors and keyframes is read (`validation.py`) and replaced.
"""

import math

import mujoco
import numpy as np

from robot_ppo.config import Physics
from robot_ppo.robot_model import assembly, geometry, source, validation, visuals
from robot_ppo.robot_model.assembly import Geoms
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Mjcf, Source
from robot_ppo_export.contract.spec import RobotSpec

EVAL_TIMESTEP = 0.002
"""[s] Physics step of the eval variant."""

_DELAYED_SENSORS = (
    mujoco.mjtSensor.mjSENS_JOINTPOS,
    mujoco.mjtSensor.mjSENS_JOINTVEL,
    mujoco.mjtSensor.mjSENS_FRAMEQUAT,
    mujoco.mjtSensor.mjSENS_GYRO,
)
"""What gets a history buffer: all that a policy reads. By type, because a sensor's `needstage` is
known in the compiled model only, not in the spec."""


def train_model(
    robot: RobotSpec,
    xml: Mjcf,
    physics: Physics,
    max_delay: float,
    ground: HeightField | None = None,
) -> mujoco.MjModel:
    """Return the training model of `robot`.

    Args:
        robot: the figures that the MJCF must agree with; gains come from here.
        xml: the robot's MJCF.
        physics: step, solver, and what collides.
        max_delay: longest delay of a sensor or an actuator [s]; sizes the history buffers.
        ground: its heights; None: a plane at height 0.
    """
    file = _checked(robot, xml)
    spec = file.spec
    feet = _feet(file, robot)
    geoms = _prepare(file, robot, feet, physics.timestep, ground)
    touching = _touching(file, feet, physics.collisions)
    if physics.collisions == "self":
        assembly.spare_the_ground(spec, geoms, touching - set(feet.tolist()))
    assembly.discard_geoms(spec, geoms, touching | source.wrapped_geoms(file.model))
    assembly.untouchable(geoms, touching)
    option = spec.option
    option.cone = getattr(mujoco.mjtCone, f"mjCONE_{physics.cone.upper()}")
    option.solver = getattr(mujoco.mjtSolver, f"mjSOL_{physics.solver.upper()}")
    option.iterations = physics.iterations
    option.ls_iterations = physics.ls_iterations
    # One tree is one island: to look for more costs 4 % of a step and changes no bit.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
    # The actuator's limit alone counts, so that strength can move it.
    assembly.set_joints(spec, robot, joint_limit=False)
    samples = 2 + math.ceil(max_delay / physics.timestep)
    for joint in robot.joints:
        actuator = assembly.add_motor(spec, joint)
        actuator.set_to_position(kp=joint.kp, kv=joint.kd)
        actuator.ctrllimited = False
        actuator.forcelimited = True
        actuator.forcerange = (-joint.torque_limit, joint.torque_limit)
        actuator.nsample = samples
        actuator.interp = 1
    for sensor in spec.sensors:
        if sensor.type in _DELAYED_SENSORS:
            sensor.nsample = samples
            sensor.interp = 1
    return source.compile_model(spec, xml)


def eval_model(
    robot: RobotSpec, xml: Mjcf, with_visuals: bool = False, ground: HeightField | None = None
) -> mujoco.MjModel:
    """Return the evaluation model of `robot`: fine physics, torque motors.

    Args:
        robot: the figures that the MJCF must agree with.
        xml: the robot's MJCF.
        with_visuals: keep what only eyes need (visual geoms, lights, sky); for videos and windows.
        ground: its heights; None: a plane at height 0.
    """
    file = _checked(robot, xml)
    spec = file.spec
    geoms = _prepare(file, robot, _feet(file, robot), EVAL_TIMESTEP, ground)
    if with_visuals:
        visuals.add(spec, robot.base.body)
    else:
        colliding = set(_colliding(file).tolist())
        assembly.discard_geoms(spec, geoms, colliding | source.wrapped_geoms(file.model))
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    assembly.set_joints(spec, robot, joint_limit=True)
    for joint in robot.joints:
        assembly.add_motor(spec, joint)
    return source.compile_model(spec, xml)


def _checked(robot: RobotSpec, xml: Mjcf) -> Source:
    """Return the MJCF, which agrees with `robot`, to be changed into a variant."""
    file = source.read(xml)
    validation.check(file, robot)
    return file


def _feet(file: Source, robot: RobotSpec) -> np.ndarray:
    """Return the ids of the geoms that the feet are made of."""
    return geometry.FootGeometry(file.model, robot).geoms


def _colliding(file: Source) -> np.ndarray:
    """Return the ids of all geoms that may touch the ground."""
    return np.flatnonzero(source.colliding_geoms(file.model))


def _touching(file: Source, feet: np.ndarray, collisions: str) -> set[int]:
    """Return the ids of the geoms that touch something in training; see `Physics.collisions`."""
    if collisions == "all":
        return set(_colliding(file).tolist())
    meeting = np.flatnonzero(source.meeting_geoms(file.model)) if collisions == "self" else []
    return {*feet.tolist(), *(int(id) for id in meeting)}


def _prepare(
    file: Source,
    robot: RobotSpec,
    feet: np.ndarray,
    timestep: float,
    ground: HeightField | None,
) -> Geoms:
    """Do what every variant needs; return the robot's geoms that are left."""
    spec = file.spec
    geoms = {geom.id: geom for geom in spec.geoms}
    bodies = {body.id: body for body in spec.bodies}
    assembly.pin_masses(spec, file.model)
    assembly.clear_outputs(spec, robot)
    assembly.set_contacts(spec, geoms, file.model, feet, ground)
    assembly.set_options(spec, timestep)
    zones = assembly.add_touch_zones(spec, bodies, file.model, robot)
    assembly.add_sensors(spec, robot, zones)
    assembly.add_home(spec, file, robot)
    return geoms
