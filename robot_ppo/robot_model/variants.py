"""One MJCF -> the two MuJoCo models of a robot.

*train*: only the feet collide, pyramidal cone, position actuators that MuJoCo integrates
implicitly, sensors and actuators with history buffers so that delays can be randomized.
*eval*: every collision geom, 2 ms, elliptic cone, torque motors; whoever steps it computes the PD
law at the physics rate, as a motor controller does (`motors.py`).

Both come from the same file, so a mass changed there changes in both; and the file is compared
with robot.yaml before either is made (`agreement.py`).
"""

import math
from collections.abc import Callable
from pathlib import Path

import mujoco

from robot_ppo.robot_model import validation
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

EVAL_TIMESTEP = 0.002
"""[s] Physics step of the eval variant."""

_VISUAL_GROUP = 2

_DELAYED_SENSORS = (
    mujoco.mjtSensor.mjSENS_JOINTPOS,
    mujoco.mjtSensor.mjSENS_JOINTVEL,
    mujoco.mjtSensor.mjSENS_FRAMEQUAT,
    mujoco.mjtSensor.mjSENS_GYRO,
)
"""What gets a history buffer: all that a policy reads. By type, because a sensor's `needstage` is
known in the compiled model only, not in the spec."""


def train_model(robot: RobotSpec, xml: Path, timestep: float, max_delay: float) -> mujoco.MjModel:
    """Return the training model of `robot`.

    Args:
        robot: the figures that the MJCF must agree with; gains come from here.
        xml: the robot's MJCF.
        timestep: physics step [s].
        max_delay: longest delay of a sensor or an actuator [s]; sizes the history buffers.
    """
    spec = _source(robot, xml)
    _add_floor(spec)
    _delete_geoms(spec, lambda geom: geom.name not in (*robot.feet, "floor"))
    option = spec.option
    option.timestep = timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.iterations, option.ls_iterations = 3, 6
    # One tree is one island: to look for more costs 4 % of a step and changes no bit.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
    samples = 2 + math.ceil(max_delay / timestep)
    for actuator in spec.actuators:
        joint = robot.joints[robot.joint_names.index(actuator.name)]
        actuator.set_to_position(kp=joint.kp, kv=joint.kd)
        actuator.ctrllimited, actuator.forcelimited = False, True
        actuator.forcerange = (-joint.torque_limit, joint.torque_limit)
        actuator.nsample, actuator.interp = samples, 1
    for hinge in spec.joints:  # the actuator's limit alone counts, so that strength can move it
        hinge.actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE
    for sensor in spec.sensors:
        if sensor.type in _DELAYED_SENSORS:
            sensor.nsample, sensor.interp = samples, 1
    _add_truth_sensors(spec, robot)
    return _compile(spec, xml)


def eval_model(robot: RobotSpec, xml: Path, looks: bool = False) -> mujoco.MjModel:
    """Return the evaluation model of `robot`: fine physics, torque motors.

    Args:
        robot: the figures that the MJCF must agree with.
        xml: the robot's MJCF.
        looks: keep what only eyes need (visual geoms, lights, sky); for videos and windows.
    """
    spec = _source(robot, xml)
    _add_floor(spec)
    if looks:
        _add_looks(spec)
    else:
        _delete_geoms(spec, lambda geom: geom.group == _VISUAL_GROUP)
    spec.option.timestep = EVAL_TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    _add_truth_sensors(spec, robot)
    return _compile(spec, xml)


def _source(robot: RobotSpec, xml: Path) -> mujoco.MjSpec:
    """Return the MJCF, which agrees with `robot`, to be changed into a variant."""
    if not xml.is_file():
        raise InputError(f"{xml}: no such MJCF; robot.yaml's `model` names it")
    try:
        spec = mujoco.MjSpec.from_file(str(xml))
    except ValueError as error:
        raise InputError(f"{xml}: MuJoCo cannot read it: {' '.join(str(error).split())}") from None
    validation.check(_compile(spec, xml), robot, xml.name)
    return spec


def _compile(spec: mujoco.MjSpec, xml: Path) -> mujoco.MjModel:
    try:
        return spec.compile()
    except ValueError as error:
        raise InputError(f"{xml}: MuJoCo rejects it: {' '.join(str(error).split())}") from None


def _delete_geoms(spec: mujoco.MjSpec, unwanted: Callable[[mujoco.MjsGeom], bool]) -> None:
    for geom in [g for g in spec.geoms if unwanted(g)]:
        spec.delete(geom)


def _add_floor(spec: mujoco.MjSpec) -> None:
    """Add the ground: contype 1, so that everything of the robot that may touch it does."""
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=(0, 0, 0.05),
        contype=1,
        conaffinity=0,
    )


def _add_looks(spec: mujoco.MjSpec) -> None:
    """Add a soft sun that follows the robot, a sky and a tiled floor."""
    horizon = (0.80, 0.84, 0.88)
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=(0.42, 0.56, 0.72),
        rgb2=horizon,
        width=256,
        height=1536,
    )
    spec.add_texture(
        name="tiles",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        mark=mujoco.mjtMark.mjMARK_EDGE,
        rgb1=(0.36, 0.40, 0.45),
        rgb2=(0.32, 0.36, 0.41),
        markrgb=(0.52, 0.56, 0.60),
        width=1024,
        height=1024,
    )
    material = spec.add_material(
        name="floor", texrepeat=(1, 1), texuniform=True, reflectance=0.0, specular=0.0
    )
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    spec.geom("floor").material = "floor"
    # It tracks the robot's root, so that the shadow map, a few metres wide, is always around it.
    spec.worldbody.first_body().add_light(
        pos=(-1.0, -1.4, 3.0),
        dir=(0.3, 0.42, -0.9),
        mode=mujoco.mjtCamLight.mjCAMLIGHT_TRACK,
        diffuse=(0.75, 0.73, 0.70),
        specular=(0.25, 0.25, 0.25),
        castshadow=True,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
    )
    visual = spec.visual
    visual.headlight.ambient = (0.38, 0.39, 0.41)
    visual.headlight.diffuse = (0.22, 0.22, 0.22)
    visual.headlight.specular = (0.05, 0.05, 0.05)
    visual.rgba.haze = (*horizon, 1)
    visual.map.haze = 0.4
    # Wide: near the border of the shadow map the infinite floor shades itself in stripes.
    visual.map.shadowclip = 6
    visual.quality.shadowsize = 4096
    visual.quality.offsamples = 4
    # Without a GPU the vertices are what a frame costs.
    visual.quality.numslices, visual.quality.numstacks = 20, 12
    visual.global_.offwidth, visual.global_.offheight = 1280, 720


def _add_truth_sensors(spec: mujoco.MjSpec, robot: RobotSpec) -> None:
    """Add what only a simulator knows: the velocity of each foot in the world."""
    for foot in robot.feet:
        spec.add_sensor(
            name=f"{foot}_velocity",
            type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
            objtype=mujoco.mjtObj.mjOBJ_GEOM,
            objname=foot,
        )
