"""What a model file may hold: every property is handled, with a number, or refused, in a sentence.

The rows change one thing of a small quadruped each. docs/robots.md lists the same properties.
"""

import functools
import re

import msgspec
import mujoco
import numpy as np
import pytest
import yaml
from contract_helpers import ROOT
from quadruped_helpers import HEIGHT, LEGS, POSE, mjcf, models, robot, write

from robot_ppo import cli, project
from robot_ppo.config import Physics
from robot_ppo.robot_model import assembly, geometry, source, validation, variants
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo_export.errors import InputError

FREE = '<freejoint name="root"/>'
TRUNK = '<body name="trunk" pos="0 0 0.4">'
FOOT = 'size="0.02" pos="0 0 -0.2"/>'
CALF_MASS = '<inertial mass="0.2" pos="0 0 -0.1" diaginertia="0.001 0.001 0.0001"/>'
WORLD = "<worldbody>"
END = "</mujoco>"
MOTOR = '<motor name="FR_hip" joint="FR_hip"/>'
HIP = '<joint name="FR_hip" axis="0 1 0" range="-1.5 1.5"/>'
CUBE = '<mesh name="cube" vertex="0 0 0  1 0 0  0 1 0  0 0 1  1 1 0  1 0 1  0 1 1  1 1 1" {}/>'


def foot(id):
    return f'<geom name="{id}" {FOOT}'


def settle(model, described, seconds=1.5):
    """The robot after it held its default pose for a while, by the law of either variant."""
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    joints = [model.joint(j.name) for j in described.joints]
    qpos, qvel = ([getattr(j, a)[0] for j in joints] for a in ("qposadr", "dofadr"))
    default = described.vector("default")
    limit = described.vector("torque_limit")
    torque = model.actuator_biastype[0] == mujoco.mjtBias.mjBIAS_NONE
    for _ in range(round(seconds / model.opt.timestep)):
        wanted = described.vector("kp") * (default - data.qpos[qpos])
        wanted -= described.vector("kd") * data.qvel[qvel]
        data.ctrl[:] = np.clip(wanted, -limit, limit) if torque else default
        mujoco.mj_step(model, data)
    return data


def clearance(model, data, described):
    feet = geometry.FootGeometry(model, described)
    return feet.clearance(data.geom_xpos[None], data.geom_xmat[None])[0]


def force(model, data, described):
    return np.array([data.sensor(f"{name}_contact").data[0] for name in described.feet])


def stands(model, described):
    """It stands on all of its feet, carries its weight on them, and the clearance says so."""
    data = settle(model, described)
    mass = float(model.body("trunk").subtreemass[0])
    assert data.qpos[2] == pytest.approx(model.key("home").qpos[2], abs=0.03)
    assert np.abs(clearance(model, data, described)).max() < 0.004
    assert force(model, data, described).min() > 0.05 * mass * 9.81
    assert force(model, data, described).sum() == pytest.approx(mass * 9.81, rel=0.03)
    return data


def same_bodies(one, other):
    for field in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        assert np.array_equal(getattr(one, field), getattr(other, field)), field


def floor_friction(model, described):
    """The sliding friction of every contact of a foot with the floor."""
    data = settle(model, described, 0.5)
    return {round(float(c.friction[0]), 6) for c in data.contact}


def nothing(*_):
    """Standing on equal bodies, which every handled row is tested for, says it all."""


def check_friction(value):
    def check(described, _, *made):
        assert all(floor_friction(m, described) == {value} for m in made)

    return check


def check_ground_gives_no_friction(_, file, __, evaluation):
    """Of two geoms of one priority the larger friction acts."""
    assert evaluation.geom("floor").friction[0] < evaluation.geom("trunk").friction[0] == 0.7
    assert evaluation.geom("floor").priority == evaluation.geom("trunk").priority


def check_mass(value):
    def check(_, file, train, evaluation):
        for model in (file, train, evaluation):
            assert model.body("FR_calf").mass[0] == pytest.approx(value, rel=1e-9)

    return check


def check_options(described, _, train, evaluation):
    for model, timestep in ((train, 0.005), (evaluation, 0.002)):
        assert model.opt.timestep == timestep
        assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        assert model.opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
        assert model.opt.disableflags in (0, int(mujoco.mjtDisableBit.mjDSBL_ISLAND))
    assert evaluation.opt.iterations == 100


def check_one_floor(_, __, train, evaluation):
    for model in (train, evaluation):
        assert source.names(model, "geom", np.flatnonzero(source.static_geoms(model))) == ["floor"]
        assert model.npair == 0 and model.nexclude == 0


def check_motors(described, _, train, evaluation):
    for model in (train, evaluation):
        assert source.names(model, "actuator", range(model.nu)) == list(described.joint_names)
        assert model.na == 0
    assert np.array_equal(train.actuator_gainprm[:, 0], described.vector("kp"))
    assert (evaluation.actuator_gear[:, 0] == 1).all()


def check_stops(_, __, train, evaluation):
    for model in (train, evaluation):
        assert model.joint("FR_hip").range.tolist() == [-1.5, 1.5]
        assert model.jnt_limited[model.joint("FR_hip").id]


def check_contacts(count):
    """So many contacts in the standing pose of the evaluation variant."""

    def check(described, _, __, evaluation):
        assert settle(evaluation, described, 0.5).ncon == count

    return check


def check_self_collision(_, file, train, evaluation):
    for model in (train, evaluation):
        for name in source.names(model, "geom", range(model.ngeom)):
            if name != "floor":
                assert model.geom(name).contype == file.geom(name).contype
                assert model.geom(name).conaffinity & model.geom("floor").contype
                assert not model.geom(name).contype & model.geom("floor").contype


def check_spring(_, __, train, evaluation):
    for model in (train, evaluation):
        assert model.joint("tail").stiffness[0] == 3
        assert model.nu == len(POSE)


def check_tendon(_, __, train, evaluation):
    assert train.ntendon == evaluation.ntendon == 1


def check_equality(_, __, train, evaluation):
    assert train.neq == evaluation.neq == 1


def mesh_foot(scale, old=FOOT):
    """Edits that make the feet cubes of 4 cm, out of a mesh."""
    asset = CUBE.format(f'scale="{scale} {scale} {scale}"')
    return (
        (WORLD, f"<asset>{asset}</asset>{WORLD}"),
        (old, 'type="mesh" mesh="cube" pos="0 0 -0.2"/>'),
    )


BOX = 'type="box" size="0.03 0.02 0.02" pos="0 0 -0.2" euler="0 0.6 0"/>'
LEVEL_BOX = (FOOT, BOX)
CAPSULE = 'type="capsule" size="0.02 0.03" pos="0 0 -0.2" euler="0 2.170796 0"/>'
CYLINDER = 'type="cylinder" size="0.02 0.03" pos="0 0 -0.2" euler="1.570796 0 0"/>'
ELLIPSOID = 'type="ellipsoid" size="0.03 0.03 0.02" pos="0 0 -0.2" euler="0 0.6 0"/>'
TWO = 'size="0.02" pos="0.03 0 -0.18"/><geom size="0.02" pos="-0.03 0 -0.22"/>'

HANDLED = {  # what is in the file: (edits, changes of robot.yaml, what is measured besides)
    "nothing unusual": ((), {}, check_friction(0.7)),
    "box feet": ((LEVEL_BOX,), {}, nothing),
    "capsule feet": (((FOOT, CAPSULE),), {}, nothing),
    "cylinder feet": (((FOOT, CYLINDER),), {}, nothing),
    "ellipsoid feet": (((FOOT, ELLIPSOID),), {}, nothing),
    "mesh feet": (mesh_foot(0.04), {}, nothing),
    "feet named by their bodies": (
        ((FOOT, FOOT), *((f'<geom name="{leg}" ', "<geom ") for leg in LEGS)),
        {"feet": [f"{leg}_calf" for leg in LEGS]},
        nothing,
    ),
    "feet of two geoms, named by their bodies": (
        ((FOOT, TWO), *((f'<geom name="{leg}" ', "<geom ") for leg in LEGS)),
        {"feet": [f"{leg}_calf" for leg in LEGS]},
        nothing,
    ),
    "feet of several geoms, listed": (
        tuple(
            (foot(leg), f'<geom name="{leg}_a" {FOOT}<geom name="{leg}_b" {FOOT}') for leg in LEGS
        ),
        {"feet": [{"name": leg, "geoms": [f"{leg}_a", f"{leg}_b"]} for leg in LEGS]},
        nothing,
    ),
    "feet of priority 0 and little friction": (
        ((FOOT, FOOT.replace("/>", ' friction="0.4"/>')),),
        {},
        check_friction(0.4),
    ),
    "feet of condim 1": (((FOOT, FOOT.replace("/>", ' condim="1"/>')),), {}, check_friction(0.7)),
    "feet with a margin": (
        ((FOOT, FOOT.replace("/>", ' margin="0.02"/>')),),
        {},
        check_friction(0.7),
    ),
    "friction of other parts": (
        ((FOOT, FOOT),),
        {},
        check_ground_gives_no_friction,
    ),
    "a size of memory": (((END, f'<size memory="2K"/>{END}'),), {}, nothing),
    "contype 1, conaffinity 0": (
        (('contype="0" conaffinity="1"', 'contype="1" conaffinity="0"'),),
        {},
        check_self_collision,
    ),
    "contype and conaffinity of MuJoCo's default": (
        (('contype="0" conaffinity="1"', ""),),
        {},
        check_self_collision,
    ),
    "a bit of its own": (
        (('contype="0" conaffinity="1"', 'contype="2" conaffinity="4"'),),
        {},
        check_self_collision,
    ),
    "geoms in group 2": (((FOOT, FOOT.replace("/>", ' group="2"/>')),), {}, check_contacts(4)),
    "a floor of its own": (
        ((WORLD, f'{WORLD}<geom name="floor" type="plane" size="1 1 1" conaffinity="1"/>'),),
        {},
        check_one_floor,
    ),
    "a scene of its own": (
        (
            (
                WORLD,
                '<asset><texture type="skybox" builtin="flat" width="8" height="8"/></asset>'
                f'{WORLD}<light pos="0 0 3"/><camera name="c"/><geom name="ground" type="plane" '
                'size="1 1 1" contype="1"/>',
            ),
        ),
        {},
        check_one_floor,
    ),
    "pairs with its own ground": (
        (
            (WORLD, f'{WORLD}<geom name="ground" type="plane" size="1 1 1"/>'),
            (
                END,
                "<contact>"
                + "".join(
                    f'<pair geom1="{leg}" geom2="ground" condim="3" friction="0.45 0.45 0 0 0"/>'
                    for leg in LEGS
                )
                + f"</contact>{END}",
            ),
        ),
        {},
        check_friction(0.45),
    ),
    "pairs between other parts": (
        ((END, f'<contact><pair geom1="FR_thigh" geom2="FL_thigh"/></contact>{END}'),),
        {},
        lambda _, __, train, evaluation: (train.npair, evaluation.npair) == (0, 1),
    ),
    "an exclude of the world": (
        ((END, f'<contact><exclude body1="world" body2="FR_calf"/></contact>{END}'),),
        {},
        check_one_floor,
    ),
    "masses from geoms": (
        ((CALF_MASS, ""), (FOOT, FOOT.replace("/>", ' mass="0.2"/>'))),
        {},
        check_mass(0.2),
    ),
    "masses from geoms that no variant keeps": (
        (
            (CALF_MASS, '<geom type="sphere" size="0.01" contype="0" conaffinity="0" mass="0.1"/>'),
            (FOOT, FOOT.replace("/>", ' mass="0.1"/>')),
        ),
        {},
        check_mass(0.2),
    ),
    "inertiafromgeom": (
        (
            ('angle="radian"', 'angle="radian" inertiafromgeom="true"'),
            ('size="0.2 0.08 0.05"', 'size="0.2 0.08 0.05" mass="5"'),
            ('type="capsule" size="0.02"', 'type="capsule" size="0.02" mass="0.5"'),
            (FOOT, FOOT.replace("/>", ' mass="0.2"/>')),
        ),
        {},
        check_mass(0.2),
    ),
    "options of its own": (
        (
            (
                '<option timestep="0.002"/>',
                '<option timestep="0.01" integrator="RK4" cone="elliptic" solver="PGS" '
                'iterations="1" tolerance="0.1" impratio="3"><flag contact="disable" '
                'limit="disable" sensor="disable"/></option>',
            ),
        ),
        {},
        check_options,
    ),
    "position actuators": (
        ((MOTOR, '<position name="FR_hip" joint="FR_hip" kp="9" ctrlrange="-1 1"/>'),),
        {},
        check_motors,
    ),
    "a general actuator with a gear": (
        (
            (
                MOTOR,
                '<general name="x" joint="FR_hip" gear="10" ctrlrange="-2 2" ctrllimited="true"/>',
            ),
        ),
        {},
        check_motors,
    ),
    "actuators in another order, named otherwise": (
        ((MOTOR, ""), ("</actuator>", '<motor name="m1" joint="FR_hip"/></actuator>')),
        {},
        check_motors,
    ),
    "no actuators": (
        tuple((f'<motor name="{j}" joint="{j}"/>', "") for j in POSE),
        {},
        check_motors,
    ),
    "a torque limit as ctrlrange": (
        ((MOTOR, MOTOR.replace("/>", ' ctrllimited="true" ctrlrange="-20 20"/>')),),
        {},
        check_motors,
    ),
    "a motor that could do more than the joint": (
        (
            (HIP, HIP.replace("/>", ' actuatorfrcrange="-20 20" actuatorfrclimited="true"/>')),
            (MOTOR, MOTOR.replace("/>", ' ctrllimited="true" ctrlrange="-50 50"/>')),
        ),
        {},
        check_motors,
    ),
    "a joint without range": (((HIP, HIP.replace(' range="-1.5 1.5"', "")),), {}, check_stops),
    "a joint that is not limited": (
        ((HIP, HIP.replace("/>", ' limited="false"/>')),),
        {},
        check_stops,
    ),
    "a passive joint with a spring": (
        (
            (
                '<site name="imu"/>',
                '<site name="imu"/><body name="tail" pos="-0.2 0 0.1"><joint name="tail" '
                'stiffness="3"/><inertial mass="1e-3" pos="0 0 0" diaginertia="1e-6 1e-6 1e-6"/>'
                "</body>",
            ),
        ),
        {},
        check_spring,
    ),
    "a tendon with a spring": (
        (
            (
                END,
                '<tendon><fixed name="t" stiffness="0.1"><joint joint="FR_hip" coef="1"/><joint '
                f'joint="FL_hip" coef="-1"/></fixed></tendon>{END}',
            ),
        ),
        {},
        check_tendon,
    ),
    "a tendon that lies on a geom": (
        (
            (
                '<site name="imu"/>',
                '<site name="imu"/><site name="t1" pos="0 0 0.2"/><site name="t2" pos="0.1 0 0.2"/>'
                '<geom name="pulley" type="sphere" size="0.02" pos="0.05 0 0.2"/>',
            ),
            (
                END,
                '<tendon><spatial name="t"><site site="t1"/><geom geom="pulley"/><site site="t2"/>'
                f"</spatial></tendon>{END}",
            ),
        ),
        {},
        lambda _, __, train, evaluation: (
            not source.colliding_geoms(train)[train.geom("pulley").id]
            and bool(source.colliding_geoms(evaluation)[evaluation.geom("pulley").id])
        ),
    ),
    "a tuple of elements": (
        (
            (
                END,
                '<custom><tuple name="x"><element objtype="geom" objname="trunk" prm="0"/></tuple>'
                f"</custom>{END}",
            ),
        ),
        {},
        nothing,
    ),
    "an equality that the pose satisfies": (
        (
            (
                END,
                f'<equality><joint joint1="FR_hip" joint2="FL_hip"/></equality>{END}',
            ),
        ),
        {},
        check_equality,
    ),
    "defaults, classes and degrees": (
        (
            ('angle="radian"', 'angle="degree"'),
            ('range="-1.5 1.5"', 'range="-85.94366926962348 85.94366926962348"'),
            ('range="-2.5 -0.1"', 'range="-143.2394487827058 -5.729577951308232"'),
            ("<default>", '<default><site size="0.3"/><motor gear="7"/>'),
        ),
        {},
        check_motors,
    ),
    "a keyframe of another name": (
        (
            (
                END,
                f'<keyframe><key name="away" qpos="1 1 1 0 1 0 0 {"0 -1 " * 4}"/></keyframe>{END}',
            ),
        ),
        {},
        nothing,
    ),
    "sensors of its own, with a cutoff": (
        ((END, f'<sensor><gyro name="imu_gyro" site="imu" cutoff="0.1"/></sensor>{END}'),),
        {},
        lambda _, __, *made: all(m.sensor("imu_gyro").cutoff[0] == 0 for m in made),
    ),
    "a body of the world before the robot": (
        (
            (
                WORLD,
                f'{WORLD}<body name="mark"><geom size="0.1" contype="0" conaffinity="0"/></body>',
            ),
        ),
        {},
        check_one_floor,
    ),
}


@pytest.fixture(scope="module")
def handled(tmp_path_factory):
    """A function of a property: its file, the robot, and `models` of both, made once."""

    @functools.cache
    def made(what):
        edits, changes, _ = HANDLED[what]
        path = write(tmp_path_factory.mktemp("handled"), mjcf(*edits))
        described = robot(**changes)
        return path, described, models(path, described)

    return made


@pytest.mark.parametrize("what", HANDLED)
def test_a_property_is_handled(handled, what):
    """Both variants weigh what the file weighs, stand on all feet, and say so."""
    _, described, (file, train, evaluation) = handled(what)
    measure = HANDLED[what][2]
    for model in (train, evaluation):
        same_bodies(model, file)
        stands(model, described)
    assert measure(described, file, train, evaluation) in (None, True)


def figures(model):
    """Everything in a model that counts in a simulation: all but names, meshes and their looks."""
    eyes = ("mat_", "tex_", "mesh_", "name", "geom_dataid", "geom_matid", "text_")
    names = (n for n in dir(model) if not n.startswith(("_", *eyes)))
    values = {name: getattr(model, name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("what", HANDLED)
def test_what_the_compiler_discards_is_as_if_it_had_been_deleted(handled, what, monkeypatch):
    path, described, discarded = handled(what)
    made = [figures(model) for model in discarded]
    monkeypatch.setattr(assembly, "discard_geoms", assembly.delete_geoms)
    deleted = [figures(model) for model in models(path, described)]
    for one, other in zip(made, deleted, strict=True):
        assert len(one) > 300
        for name in one:
            assert np.array_equal(one[name], other[name], equal_nan=True), name


KEY = '<keyframe><key name="home" qpos="{}"/></keyframe>' + END
LEGS_QPOS = "0.6 -1.2 " * 4
REFUSED = {  # what is in the file: (edits, changes of robot.yaml, parts of the sentence)
    "no such joint": (
        ((HIP, HIP.replace("FR_hip", "FR_haunch")), (MOTOR, "")),
        {},
        ("names the joint 'FR_hip', which dog.xml does not have", "FR_haunch"),
    ),
    "no such foot": ((), {"feet": ["FR", "FL", "RR", "paw"]}, ("'paw'", "FR_calf, FL_calf")),
    "a foot that touches nothing": (
        ((foot("FR"), foot("FR").replace("/>", ' contype="0" conaffinity="0"/>')),),
        {},
        ("'FR' has a geom that touches nothing", "FL_calf"),
    ),
    "a foot on two bodies": (
        (),
        {"feet": [{"name": "front", "geoms": ["FR", "FL"]}, "RR", "RL"]},
        ("'front' has geoms on several bodies (FR_calf, FL_calf)",),
    ),
    "a slide joint": (
        ((HIP, HIP.replace("/>", ' type="slide"/>')),),
        {},
        ("'FR_hip' is a slide joint in dog.xml", "hinges"),
    ),
    "no free joint": (((FREE, ""),), {}, ("no free joint", "<freejoint/>", "'trunk'")),
    "a base that is not the free body": (
        (),
        {"base": {"body": "FR_calf", "height": HEIGHT}},
        ("base.body: robot.yaml says FR_calf, dog.xml has the free joint at trunk",),
    ),
    "no such site": (
        (),
        {"imu": {"site": "imv"}},
        ("names the site 'imv', which dog.xml does not have; it has imu",),
    ),
    "a joint that is weaker in one direction": (
        ((HIP, HIP.replace("/>", ' actuatorfrcrange="-15 20" actuatorfrclimited="true"/>')),),
        {},
        ("FR_hip.torque_limit [N m] in the negative direction: robot.yaml says -20.0", "-15.0"),
    ),
    "a second free body": (
        ((WORLD, f'{WORLD}<body name="ball"><freejoint/><geom size="0.1"/></body>'),),
        {},
        ("second free body 'ball'", "delete it"),
    ),
    "an IMU that moves against the base": (
        (('<site name="imu"/>', ""), (HIP, f'{HIP}<site name="imu"/>')),
        {},
        ("'imu'", "on FR_thigh, which moves against it"),
    ),
    "an IMU that is turned": (
        (('<site name="imu"/>', '<site name="imu" euler="0 0 1.5707963"/>'),),
        {},
        ("turned by 90.0 degrees", "mounting: [0.707107, 0, 0, 0.707107]"),
    ),
    "a joint that nothing holds": (
        ((f"{HIP}", f'{HIP}<joint name="loose" axis="1 0 0"/>'),),
        {},
        ("the joint 'loose', which robot.yaml does not list and no spring holds", "delete"),
    ),
    "a spring that holds nothing": (
        (
            (
                FREE,
                f'{FREE}<body pos="-0.2 0 0"><joint name="tail" axis="0 1 0" stiffness="0.001"/>'
                '<geom type="capsule" size="0.01" fromto="0 0 0 -0.2 0 0" mass="0.5" '
                'contype="0" conaffinity="0"/></body>',
            ),
        ),
        {},
        ("the joint 'tail'", "a spring of 0.001 N m/rad does not hold against 0.49"),
    ),
    "a coupling that is not active": (
        (
            (HIP, f'{HIP}<joint name="loose" axis="1 0 0"/>'),
            (
                END,
                f'<equality><joint joint1="loose" joint2="FR_hip" active="false"/></equality>{END}',
            ),
        ),
        {},
        ("the joint 'loose', which robot.yaml does not list and no spring holds",),
    ),
    "a foot that robot.yaml forgets": (
        (),
        {"feet": ["FR", "FL", "RR"]},
        ("the geom 'RL' of the body 'RL_calf' stands on the ground", "add it to the feet"),
    ),
    "every bit of contype": (
        ((foot("FR"), foot("FR").replace("/>", ' contype="2147483647"/>')),),
        {},
        ("have all 31 bits of contype", "give them contype 1"),
    ),
    "an actuator of a joint that is not listed": (
        (
            (HIP, f'{HIP}<joint name="arm" axis="1 0 0" stiffness="1"/>'),
            (MOTOR, f'{MOTOR}<motor name="arm" joint="arm"/>'),
        ),
        {},
        ("the actuator 'arm' in dog.xml drives 'arm', which robot.yaml does not list",),
    ),
    "an actuator of a site": (
        ((MOTOR, f'{MOTOR}<motor name="jet" site="imu"/>'),),
        {},
        ("the actuator 'jet' in dog.xml drives no joint", "delete"),
    ),
    "an actuator with a filter": (
        (
            (
                MOTOR,
                '<general name="FR_hip" joint="FR_hip" dyntype="filter" dynprm="0.1"/>',
            ),
        ),
        {},
        ("'FR_hip' in dog.xml has dynamics of its own", "actuator_delay"),
    ),
    "another torque limit": (
        ((MOTOR, MOTOR.replace("/>", ' forcelimited="true" forcerange="-9 9"/>')),),
        {},
        ("FR_hip.torque_limit [N m]: robot.yaml says 20.0, dog.xml (forcerange) says 9.0",),
    ),
    "another torque limit behind a gear": (
        ((MOTOR, MOTOR.replace("/>", ' gear="3" ctrllimited="true" ctrlrange="-5 5"/>')),),
        {},
        ("robot.yaml says 20.0, dog.xml (ctrlrange) says 15.0",),
    ),
    "another range": (
        ((HIP, HIP.replace("1.5 1.5", "1.5 1.4")),),
        {},
        ("FR_hip.range [rad]: robot.yaml says (-1.5, 1.5), dog.xml says (-1.5, 1.4)",),
    ),
    "an obstacle": (
        ((WORLD, f'{WORLD}<geom name="step" type="box" size="1 1 0.1"/>'),),
        {},
        ("has the box 'step' in the world", "delete it"),
    ),
    "a floor that is lower": (
        ((WORLD, f'{WORLD}<geom name="ground" type="plane" size="1 1 1" pos="0 0 -0.1"/>'),),
        {},
        ("has the ground 'ground' at a height of -0.1 m", "delete it"),
    ),
    "a robot's geom that is called floor": (
        (('<geom name="trunk"', '<geom name="floor"'),),
        {},
        ("calls a geom of the robot 'floor'", "rename it"),
    ),
    "a weld of the base to the world": (
        ((END, f'<equality><weld name="w" body1="trunk"/></equality>{END}'),),
        {},
        ("the equality 'w' ties the robot to the world", "delete it"),
    ),
    "a tendon to the world": (
        (
            (WORLD, f'{WORLD}<site name="hook" pos="0 0 2"/>'),
            (
                END,
                '<tendon><spatial name="rope"><site site="hook"/><site site="imu"/></spatial>'
                f"</tendon>{END}",
            ),
        ),
        {},
        ("the tendon 'rope' ties the robot to the world", "delete it"),
    ),
    "a free joint that is damped": (
        ((FREE, '<joint type="free"/>'),),
        {},
        ("the free joint of 'trunk' in dog.xml has damping", "<freejoint/>"),
    ),
    "two feet that share a geom": (
        (),
        {"feet": ["FR", "FR_calf", "RR", "RL"]},
        ("two feet share the geom FR",),
    ),
    "an equality that the pose misses": (
        (
            (
                END,
                '<equality><joint name="e" joint1="FR_hip" joint2="FL_hip" polycoef="0.3 1 0 0 0"/>'
                f"</equality>{END}",
            ),
        ),
        {},
        ("the default pose misses the equality 'e' by 0.3000",),
    ),
    "the moon": (
        (("<option ", '<option gravity="0 0 -1.62" '),),
        {},
        ("has the gravity [0.0, 0.0, -1.62]", "9.81"),
    ),
    "wind": (
        (("<option ", '<option wind="1 0 0" density="1.2" '),),
        {},
        ("has wind in its <option>", "delete it"),
    ),
    "gravcomp": (
        ((TRUNK, TRUNK.replace(">", ' gravcomp="1">')),),
        {},
        ("the body 'trunk' has gravcomp", "delete it"),
    ),
    "a home in another pose": (
        ((END, KEY.format(f"0 0 {HEIGHT} 1 0 0 0 0.7 -1.2 " + "0.6 -1.2 " * 3)),),
        {},
        ("default pose [rad]: robot.yaml says", "keyframe home says (0.7, "),
    ),
    "a home at another height": (
        ((END, KEY.format(f"0 0 0.5 1 0 0 0 {LEGS_QPOS}")),),
        {},
        (f"base.height [m]: robot.yaml says {HEIGHT}, dog.xml keyframe home says 0.5",),
    ),
    "a home that is tilted": (
        ((END, KEY.format(f"0 0 {HEIGHT} 0.7071068 0.7071068 0 0 {LEGS_QPOS}")),),
        {},
        ("keyframe home has the base turned by 90.0 degrees",),
    ),
    "a height far above the ground": (
        (),
        {"base": {"body": "trunk", "height": 0.6}},
        ("the lowest foot is then 0.2499 m above the ground; write 0.350134",),
    ),
    "a height far below it": (
        (),
        {"base": {"body": "trunk", "height": 0.2}},
        ("the lowest foot is then 0.1501 m below the ground; write 0.350134",),
    ),
    "a part in the ground": (
        (('size="0.2 0.08 0.05"', 'size="0.2 0.08 0.4"'),),
        {},
        ("the geom 'trunk' of the body 'trunk' is 0.0499 m in the ground",),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_property_is_refused_in_a_sentence(tmp_path, what):
    edits, changes, parts = REFUSED[what]
    described = robot(**changes)
    path = write(tmp_path, mjcf(*edits))
    with pytest.raises(InputError) as training:
        variants.train_model(described, path, Physics(timestep=0.005), 0.02)
    with pytest.raises(InputError) as evaluation:
        variants.eval_model(described, path)
    assert str(training.value) == str(evaluation.value)
    for part in parts:
        assert part in str(training.value), str(training.value)


def test_feet_that_are_an_empty_list_are_refused():
    with pytest.raises(InputError, match=r"`feet`: is empty: name what stands on the ground"):
        robot(feet=[])


def test_check_prints_both_variants_side_by_side(tmp_path, capsys):
    """Exit code 0 and the facts, or 3 and every problem, numbered."""
    folder = tmp_path / "dog"
    folder.mkdir()
    write(folder, mjcf())
    (folder / "robot.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(robot())))
    assert cli.main(["check", str(folder)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "mass [kg] 7.8000 7.8000 7.8000" in lines
    assert any(line.startswith("It stands 5 s by the ") for line in lines)
    assert "FR_calf 0.2000 0.2000 0.2000" in lines
    assert "FR sphere 0.0000" in lines
    calves = ", ".join(f"{leg}_calf" for leg in LEGS)
    assert f"standing on - {calves} {calves}" in lines
    write(folder, mjcf(('range="-1.5 1.5"', 'range="-1.5 1.4"'), (FREE, f"{FREE}<!-- x -->")))
    assert cli.main(["check", str(folder)]) == 3
    said = capsys.readouterr().out
    assert said.startswith("dog: 4 to mend\n1. FR_hip.range [rad]: robot.yaml says (-1.5, 1.5)")


def test_the_page_lists_every_property():
    """docs/robots.md says of each row above whether it is handled or refused."""
    text = (ROOT / "docs" / "robots.md").read_text()
    listed = re.findall(r"^\| ([^|]+?) \| (handled|refused) \|", text, flags=re.MULTILINE)
    assert {name for name, how in listed if how == "handled"} == set(HANDLED)
    assert {name for name, how in listed if how == "refused"} == set(REFUSED)
    assert len(listed) == len(HANDLED) + len(REFUSED)


def test_all_problems_are_found_at_once(tmp_path):
    text = mjcf(('range="-1.5 1.5"', 'range="-1.5 1.4"'), ("<option ", '<option wind="1 0 0" '))
    found = validation.problems(source.read(write(tmp_path, text)), robot())
    assert len(found) == 5
    with pytest.raises(InputError, match=r"\(4 more: robot-ppo check dog\)$"):
        variants.eval_model(robot(), tmp_path / "dog.xml")


def test_a_sole_that_is_not_level_stands_on_its_lowest_corner(tmp_path):
    """A box that leans by 0.6 rad reaches lower than `base.height` says."""
    path = write(tmp_path, mjcf((FOOT, 'type="box" size="0.03 0.02 0.02" pos="0 0 -0.2"/>')))
    for model in models(path, robot())[1:]:
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
        mujoco.mj_kinematics(model, data)
        reach = 0.03 * np.sin(0.6) + 0.02 * np.cos(0.6) - 0.02
        assert data.qpos[2] == pytest.approx(HEIGHT + reach, abs=1e-6)
        assert clearance(model, data, robot()) == pytest.approx(0, abs=1e-6)


def test_a_height_that_is_a_little_off_is_told_once(tmp_path, caplog):
    described = robot(base={"body": "trunk", "height": HEIGHT - 0.0123})
    path = write(tmp_path, mjcf())
    for _ in range(2):
        variants.eval_model(described, path)
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == 1 and f"touches the ground at {HEIGHT:.6f} m" in told[0]


@pytest.mark.parametrize(
    "field, name", [("armature", "armature"), ("frictionloss", "friction_loss")]
)
def test_a_factor_on_nothing_is_refused(tmp_path, field, name):
    """The quadruped's joints have damping and armature, and no friction loss."""
    edits = [] if field == "frictionloss" else [(' armature="0.01"', "")]
    model = variants.train_model(
        robot(), write(tmp_path, mjcf(*edits)), Physics(timestep=0.005), 0.02
    )
    engine = RobotEngine(model, robot(), n=1, threads=1)
    engine.vary(("dof_damping",))
    says = f"'FR_hip' has no {field} in dog.xml.*randomization '{name}' is a factor"
    with pytest.raises(InputError, match=says):
        engine.vary((f"dof_{field}",))


@pytest.mark.parametrize("shape", ["box", "capsule", "cylinder", "ellipsoid", "mesh", "sphere"])
def test_clearance_is_that_of_the_lowest_point_at_any_angle(tmp_path, shape):
    """Against the lowest of many points of the surface."""
    sizes = {"box": "0.03 0.02 0.01", "ellipsoid": "0.03 0.02 0.01", "sphere": "0.02"}
    size = f'size="{sizes.get(shape, "0.02 0.03")}"' if shape != "mesh" else 'mesh="cube"'
    edits = mesh_foot(0.03) if shape == "mesh" else ()
    text = mjcf(*edits[:1], (FOOT, f'type="{shape}" {size} pos="0 0 -0.2"/>'))
    described = robot()
    model = source.read(write(tmp_path, text)).model
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(10):
        data.qpos[:] = rng.normal(size=model.nq)
        data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
        mujoco.mj_kinematics(model, data)
        found = clearance(model, data, described)
        for name, height in zip(described.feet, found, strict=True):
            id = model.geom(name).id
            points = surface(model, id) @ data.geom_xmat[id].reshape(3, 3).T + data.geom_xpos[id]
            assert height == pytest.approx(points[:, 2].min(), abs=1e-4)


def surface(model, geom):
    """Many points of a geom's surface, in its frame."""
    kind = mujoco.mjtGeom(int(model.geom_type[geom]))
    size = model.geom_size[geom]
    angle = np.linspace(0, 2 * np.pi, 721)
    height = np.linspace(-1, 1, 361)
    around = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    ring = np.sqrt(1 - height**2)
    ball = np.stack(
        (
            np.outer(ring, around[:, 0]),
            np.outer(ring, around[:, 1]),
            np.outer(height, np.ones(len(angle))),
        ),
        axis=-1,
    ).reshape(-1, 3)
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        return model.mesh_vert
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return ball * size
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        return ball * size[0]
    ends = np.array([[0, 0, -size[1]], [0, 0, size[1]]])
    rim = (
        np.column_stack((around, np.zeros(len(angle))))
        if kind == mujoco.mjtGeom.mjGEOM_CYLINDER
        else ball
    )
    return np.concatenate([rim * size[0] + end for end in ends])


@pytest.mark.parametrize("name", project.robot_names())
def test_the_variants_of_every_shipped_robot_agree(name):
    """Mass and inertia body by body, options, and what stands on the ground."""
    described = project.load_robot(name)
    path = project.robot_folder(name) / described.model
    file, train, evaluation = models(path, described)
    same_bodies(train, file)
    same_bodies(evaluation, file)
    own = {"timestep", "cone", "impratio", "iterations", "ls_iterations", "disableflags"}
    for option in (o for o in dir(train.opt) if not o.startswith("_") and o not in own):
        assert np.array_equal(getattr(train.opt, option), getattr(evaluation.opt, option)), option
    contacts = []
    for model in (train, evaluation):
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
        data.qpos[2] -= 1e-3
        mujoco.mj_forward(model, data)
        bodies = model.geom_bodyid[data.contact.geom].tolist()
        contacts.append(sorted(map(tuple, bodies)))
        assert np.abs(force(model, data, described)).min() > 0
    assert contacts[0] == contacts[1]
