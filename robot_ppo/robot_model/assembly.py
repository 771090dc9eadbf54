"""The steps from a robot's MJCF to one of its variants; `variants.py` puts them together.

Each step replaces what the file says of one matter by what the project needs, and the same in
every variant: masses as the file's own compiled model has them, one ground, contacts of the feet
that obey the feet alone, motors and sensors in the order of robot.yaml, one keyframe.
"""

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry, source
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Source
from robot_ppo_export.contract.spec import Joint, RobotSpec

Geoms = dict[int, mujoco.MjsGeom]
Bodies = dict[int, mujoco.MjsBody]
"""The spec's elements by their id in the file's compiled model: an id of the spec itself changes
with every element that is deleted."""

FLOOR = "floor"
"""Name of the ground's geom in every variant."""

_BLANK = mujoco.MjSpec()
"""MuJoCo's own defaults: an element that is added must not take those of the robot's file."""

_TOUCH_MARGIN = 0.004
"""Distance by which the zone in which a foot feels reaches beyond its geoms [m]."""

_PRIMITIVES = (
    mujoco.mjtGeom.mjGEOM_SPHERE,
    mujoco.mjtGeom.mjGEOM_CAPSULE,
    mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    mujoco.mjtGeom.mjGEOM_CYLINDER,
    mujoco.mjtGeom.mjGEOM_BOX,
)


def pin_masses(spec: mujoco.MjSpec, model: mujoco.MjModel) -> None:
    """Write mass and inertia of every body into the spec, as `model` has them.

    After that they do not depend on geoms, nor on what the file tells the compiler about them.
    """
    for body in spec.bodies[1:]:
        body.mass = model.body_mass[body.id]
        body.ipos = model.body_ipos[body.id]
        body.iquat = model.body_iquat[body.id]
        body.ialt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
        body.inertia = model.body_inertia[body.id]
        body.fullinertia[0] = np.nan
        body.explicitinertial = True
    compiler = spec.compiler
    compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    compiler.boundmass = compiler.boundinertia = 0.0
    compiler.balanceinertia = False
    compiler.settotalmass = -1.0


def set_contacts(
    spec: mujoco.MjSpec,
    geoms: Geoms,
    source_model: mujoco.MjModel,
    feet: np.ndarray,
    ground: HeightField | None = None,
) -> None:
    """Replace the file's ground by one geom, which everything that can touch something touches.

    The ground's contact type is a bit that no geom of the robot has, so that what the robot's parts
    do among themselves stays as written. Friction is that of the robot's geom, whatever the ground
    says, and so is a foot's softness. A foot touches where its surface is: with a margin it would
    stand that high above the ground, outside of the zone in which it feels.

    Args:
        spec: is changed.
        geoms: the spec's geoms by id.
        source_model: the file's compiled model.
        feet: ids of the feet's geoms.
        ground: its heights; None: a plane at height 0.
    """
    colliding = source.colliding_geoms(source_model)
    static = source.static_geoms(source_model)
    _take_over_pairs(spec, geoms, static)
    for exclude in list(spec.excludes):
        if "world" in (exclude.bodyname1, exclude.bodyname2):
            spec.delete(exclude)
    bit = _free_bit([geom for id, geom in geoms.items() if not static[id]])
    for id, geom in geoms.items():
        if colliding[id] and not static[id]:
            geom.conaffinity |= bit
    for id in feet:
        geoms[id].priority = max(1, geoms[id].priority)
        geoms[id].condim = max(3, geoms[id].condim)
        geoms[id].margin = geoms[id].gap = 0.0
    delete_geoms(spec, geoms, set(np.flatnonzero(~static).tolist()))
    floor = spec.worldbody.add_geom(_BLANK.default, name=FLOOR, contype=bit, conaffinity=0)
    floor.friction = np.zeros(3)  # of two geoms of one priority the larger friction acts
    if ground is None:
        floor.type = mujoco.mjtGeom.mjGEOM_PLANE
        floor.size = (0, 0, 0.05)
        return
    ground.add_to(spec, FLOOR)
    floor.type = mujoco.mjtGeom.mjGEOM_HFIELD
    floor.hfieldname = FLOOR
    floor.pos = ground.centre


def _take_over_pairs(spec: mujoco.MjSpec, geoms: Geoms, static: np.ndarray) -> None:
    """Give what a `<pair>` with the file's ground says to the robot's geom; delete the pair."""
    ids = {geom.name: id for id, geom in geoms.items() if geom.name}
    for pair in list(spec.pairs):
        robots = [ids[name] for name in (pair.geomname1, pair.geomname2) if not static[ids[name]]]
        if len(robots) == 1:
            geom = geoms[robots[0]]
            geom.condim = pair.condim
            geom.friction = (pair.friction[0], pair.friction[2], pair.friction[3])
            geom.solref = pair.solref
            geom.solimp = pair.solimp
            geom.margin = pair.margin
            geom.gap = pair.gap
            geom.priority = max(1, geom.priority)
        if len(robots) < 2:
            spec.delete(pair)


def _free_bit(geoms: list[mujoco.MjsGeom]) -> int:
    """Return the lowest contact type that none of `geoms` has."""
    used = 0
    for geom in geoms:
        used |= geom.contype
    return next(1 << i for i in range(31) if not used >> i & 1)


def delete_geoms(spec: mujoco.MjSpec, geoms: Geoms, kept: set[int]) -> None:
    """Delete the `geoms` that are not `kept`, from the dictionary too, and pairs of theirs."""
    for geom in _taken_out(spec, geoms, kept):
        spec.delete(geom)


def discard_geoms(spec: mujoco.MjSpec, geoms: Geoms, kept: set[int]) -> None:
    """Let the compiler leave out all geoms that are not `kept`; take them out of the dictionary.

    It does so at once, with everything else that only eyes need. To delete a geom from a spec takes
    half a millisecond, and a robot has a hundred.
    """
    for geom in _taken_out(spec, geoms, kept):
        geom.contype = geom.conaffinity = 0
    spec.compiler.discardvisual = True


def _taken_out(spec: mujoco.MjSpec, geoms: Geoms, kept: set[int]) -> list[mujoco.MjsGeom]:
    """Take what is not `kept` out of `geoms` and delete its pairs; return it."""
    unwanted = [geoms.pop(id) for id in list(geoms) if id not in kept]
    gone = {geom.name for geom in unwanted} - {""}
    for pair in list(spec.pairs):
        if {pair.geomname1, pair.geomname2} & gone:
            spec.delete(pair)
    return unwanted


def spare_the_ground(spec: mujoco.MjSpec, geoms: Geoms, kept: set[int]) -> None:
    """Let the geoms `kept` touch the robot's own parts, as the file says, and not the ground."""
    ground = spec.geom(FLOOR).contype
    for id in kept:
        geoms[id].conaffinity &= ~ground


def untouchable(geoms: Geoms, kept: set[int]) -> None:
    """Let the `geoms` that are not `kept` touch nothing; a tendon may lie on them all the same."""
    for id, geom in geoms.items():
        if id not in kept:
            geom.contype = geom.conaffinity = 0


def set_options(spec: mujoco.MjSpec, timestep: float) -> mujoco.MjOption:
    """Replace every physics option of the file by MuJoCo's default; return them to be changed."""
    for name in (name for name in dir(_BLANK.option) if not name.startswith("_")):
        setattr(spec.option, name, getattr(_BLANK.option, name))
    spec.stat.meaninertia = _BLANK.stat.meaninertia  # the solver's tolerance is relative to it
    spec.option.timestep = timestep
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    return spec.option


def set_joints(spec: mujoco.MjSpec, robot: RobotSpec, joint_limit: bool) -> None:
    """Give every joint of `robot` its range and its torque limit.

    Args:
        spec: is changed.
        robot: the figures.
        joint_limit: limit the torque at the joint; otherwise the actuator alone limits it.
    """
    for joint in robot.joints:
        hinge = spec.joint(joint.name)
        if not np.any(hinge.range):
            unit = np.pi / 180 if hinge.compiler.degree else 1.0
            hinge.range = np.array(joint.range) / unit
        hinge.limited = mujoco.mjtLimited.mjLIMITED_TRUE
        hinge.actfrcrange = (-joint.torque_limit, joint.torque_limit)
        limits = mujoco.mjtLimited
        hinge.actfrclimited = limits.mjLIMITED_TRUE if joint_limit else limits.mjLIMITED_FALSE


def clear_outputs(spec: mujoco.MjSpec, robot: RobotSpec) -> None:
    """Delete the file's keyframes, sensors, actuators and, where nothing hangs on them, sites.

    Tuples go, too: they are lists of names, of which some are deleted.
    """
    for elements in (spec.keys, spec.sensors, spec.actuators, spec.tuples):
        for element in list(elements):
            spec.delete(element)
    if not (len(spec.tendons) or len(spec.equalities)):
        for site in [site for site in spec.sites if site.name != robot.imu.site]:
            spec.delete(site)


def add_motor(spec: mujoco.MjSpec, joint: Joint) -> mujoco.MjsActuator:
    """Add an actuator of one joint, named as the joint; control = torque [N m]."""
    actuator = spec.add_actuator(_BLANK.default, name=joint.name)
    actuator.trntype = mujoco.mjtTrn.mjTRN_JOINT
    actuator.target = joint.name
    actuator.set_to_motor()
    actuator.ctrllimited = True
    actuator.ctrlrange = (-joint.torque_limit, joint.torque_limit)
    return actuator


def add_sensors(spec: mujoco.MjSpec, robot: RobotSpec, feet: list[str]) -> None:
    """Add a sensor for every signal, in the order in which `sim.sensors.SensorMap` finds them.

    Args:
        spec: is changed.
        robot: names of joints, feet and IMU.
        feet: names of the sites at which the feet feel.
    """
    kinds = mujoco.mjtSensor
    objects = mujoco.mjtObj
    joint = objects.mjOBJ_JOINT
    site = objects.mjOBJ_SITE
    imu = robot.imu.site
    wanted = [
        *((f"{j}_pos", kinds.mjSENS_JOINTPOS, joint, j) for j in robot.joint_names),
        *((f"{j}_vel", kinds.mjSENS_JOINTVEL, joint, j) for j in robot.joint_names),
        *((f"{j}_torque", kinds.mjSENS_JOINTACTFRC, joint, j) for j in robot.joint_names),
        (f"{imu}_quat", kinds.mjSENS_FRAMEQUAT, site, imu),
        (f"{imu}_gyro", kinds.mjSENS_GYRO, site, imu),
        (f"{imu}_accel", kinds.mjSENS_ACCELEROMETER, site, imu),
        *(
            (f"{foot}_contact", kinds.mjSENS_TOUCH, site, zone)
            for foot, zone in zip(robot.feet, feet, strict=True)
        ),
        *(
            (f"{foot}_velocity", kinds.mjSENS_FRAMELINVEL, site, zone)
            for foot, zone in zip(robot.feet, feet, strict=True)
        ),
    ]
    for name, kind, objtype, objname in wanted:
        spec.add_sensor(name=name, type=kind, objtype=objtype, objname=objname)


def add_touch_zones(
    spec: mujoco.MjSpec, bodies: Bodies, source_model: mujoco.MjModel, robot: RobotSpec
) -> list[str]:
    """Add a site around each foot, in which its contacts are felt; return their names.

    One geom is wrapped in its own shape, several or a mesh in the box around them.
    """
    taken = {site.name for site in spec.sites}
    names = []
    for foot, geoms in zip(robot.feet, geometry.foot_geoms(source_model, robot), strict=True):
        name = f"{foot}_touch"
        while name in taken:
            name += "_"
        site = bodies[int(source_model.geom_bodyid[geoms[0]])].add_site(_BLANK.default, name=name)
        site.type, site.pos, site.quat, site.size = _zone(source_model, geoms)
        names.append(name)
    return names


def _zone(model: mujoco.MjModel, geoms: np.ndarray) -> tuple[mujoco.mjtGeom, ...]:
    """Return type, position, quaternion and size of the zone around `geoms`, in their body."""
    kind = mujoco.mjtGeom(int(model.geom_type[geoms[0]]))
    if len(geoms) == 1 and kind in _PRIMITIVES:
        geom = int(geoms[0])
        size = model.geom_size[geom] + _TOUCH_MARGIN
        return kind, model.geom_pos[geom], model.geom_quat[geom], size
    centre, half = geometry.bounds(model, geoms)
    return mujoco.mjtGeom.mjGEOM_BOX, centre, np.array([1.0, 0, 0, 0]), half + _TOUCH_MARGIN


def add_home(spec: mujoco.MjSpec, source: Source, robot: RobotSpec) -> None:
    """Add the keyframe `home`: the default pose, level, at `base.height`."""
    qpos = geometry.home_qpos(source.model, robot)
    spec.add_key(name="home", qpos=qpos, ctrl=np.zeros(len(robot.joints)))
