"""robot.yaml: what is refused, what must agree with the MJCF, and the two models made of both."""

import math

import msgspec
import mujoco
import numpy as np
import pytest
from contract_helpers import JOINTS, ROOT, robot, robot_with

from robot_ppo import project
from robot_ppo.config import Physics
from robot_ppo.robot_model import variants
from robot_ppo_export.contract import spec
from robot_ppo_export.errors import InputError

XML = ROOT / "robots" / "go2" / "go2.xml"
HIP = "FR_hip_joint"


def load(data):
    return spec.from_data(data, "robot.yaml")


def replace(**changes):
    return msgspec.structs.replace(robot(), **changes)


def with_joint(index, **changes):
    joints = list(robot().joints)
    joints[index] = msgspec.structs.replace(joints[index], **changes)
    return replace(joints=tuple(joints))


@pytest.fixture(scope="module")
def train():
    return variants.train_model(robot(), XML, Physics(timestep=0.01), max_delay=0.03)


@pytest.fixture(scope="module")
def evaluation():
    return variants.eval_model(robot(), XML)


# Every shipped robot


@pytest.mark.parametrize("name", project.robot_names())
def test_every_shipped_robot_loads_and_gives_both_models(name):
    shipped = project.load_robot(name)
    xml = project.robot_folder(name) / shipped.model
    assert shipped.name == name
    for made in (
        variants.train_model(shipped, xml, Physics(timestep=0.01), 0.03),
        variants.eval_model(shipped, xml),
    ):
        assert made.nu == len(shipped.joints)
        assert made.nv == 6 + len(shipped.joints)


def test_vectors_are_in_joint_order_and_float64():
    loaded = robot()
    assert loaded.joint_names[:3] == ("FR_hip_joint", "FR_thigh_joint", "FR_calf_joint")
    for field in ("default", "kp", "kd", "velocity_limit", "torque_limit"):
        vector = loaded.vector(field)
        assert vector.dtype == np.float64
        assert vector.tolist() == [getattr(j, field) for j in loaded.joints]
    assert loaded.vector("range").shape == (JOINTS, 2)
    assert loaded.rest().tolist() == [loaded.rest_pose[name] for name in loaded.joint_names]


def test_the_rest_pose_follows_joint_order_not_the_order_of_the_file():
    backwards = dict(reversed(robot().rest_pose.items()))
    assert replace(rest_pose=backwards).rest().tolist() == robot().rest().tolist()


# What robot.yaml is refused for

ZERO_MEANS = ("joint_range_margin", "max_joint_overrun", "max_lost_motors", "min_voltage")
NOT_NUMBERS = (math.nan, math.inf, -math.inf)
REFUSED = [
    (("joints", 0, "default"), 5.0, rf"`joints\.{HIP}\.default`: 5\.0 is outside \[-1\.0472, "),
    (("joints", 0, "default"), 1.03, r"is outside \[-1\.0472, 1\.0472\] with its margin of 0\.05"),
    (("joints", 0, "range"), [1.0, -1.0], rf"`joints\.{HIP}\.range`: \[1\.0, -1\.0\] is empty"),
    (("joints", 0, "range"), [1.0], r"`joints\[0\]\.range`: Expected `array` of length 2, got 1"),
    (("joints", 1, "name"), HIP, rf"`joints`: two joints share a name: {HIP}"),
    (("feet",), ["FR", "FL", "FL", "RL"], r"`feet`: two feet share a name: FL"),
    (("rest_pose",), {HIP: 0.0}, r"`rest_pose`: must name every joint once; differs by \['FL_calf"),
    (
        ("rest_pose",),
        {},
        r"`rest_pose`: is missing, and the robot starts lying: give the joint ang",
    ),
    (("life_cycle",), {"start": "flying"}, r"`life_cycle\.start`: Invalid enum value 'flying'"),
    (("rest_pose", "tail"), 0.0, r"`rest_pose`: must name every joint once; differs by \['tail'\]"),
    (("rest_pose", HIP), 2.0, rf"`rest_pose\.{HIP}`: 2\.0 is outside \[-1\.0472, 1\.0472\]"),
    *(
        (("joints", 0, key), value, rf"`joints\.{HIP}\.{key}`: {value} must be above 0")
        for key in ("kp", "kd", "torque_limit", "velocity_limit")
        for value in (-1.0, 0.0)
    ),
    *(((*path, "kd"), -3.0, r"kd`: -3\.0 must be above 0") for path in (("stand",), ("damping",))),
    (("stand", "kp"), -1.0, r"`stand\.kp`: -1\.0 must be above 0"),
    (("stand", "duration"), 0.0, r"`stand\.duration`: 0\.0 must be above 0"),
    (("base", "height"), -0.3, r"`base\.height`: -0\.3 must be above 0"),
    *(
        (("safety", key), -1, rf"`safety\.{key}`: -1(\.0)? must not be negative")
        for key in spec.Limits.__struct_fields__
    ),
    *(
        (("safety", key), 0, rf"`safety\.{key}`: 0(\.0)? must be above 0")
        for key in spec.Limits.__struct_fields__
        if key not in (*ZERO_MEANS, "frozen_ticks")
    ),
    *(
        (("safety", "frozen_ticks"), n, rf"`safety\.frozen_ticks`: {n} must be at least 2")
        for n in (0, 1)
    ),
    (("safety", "max_tilt"), 57, r"`safety\.max_tilt`: 57\.0 must be below 3\.1416: .* rad"),
    (("safety", "max_lost_motors"), 12, r"`safety\.max_lost_motors`: 12 must be below 12"),
    *(
        (path, value, rf"`{where}`: {value} is not a finite number")
        for value in NOT_NUMBERS
        for path, where in (
            (("joints", 3, "kp"), r"joints\[3\]\.kp"),
            (("joints", 3, "range"), r"joints\[3\]\.range\[1\]"),
            (("safety", "max_tilt"), r"safety\.max_tilt"),
            (("base", "height"), r"base\.height"),
            (("damping", "kd"), r"damping\.kd"),
        )
    ),
    (("imu", "quaternion"), "xyzw", r"`imu\.quaternion`: 'xyzw' is not wxyz, the only order"),
    (("units",), {"angle": "deg"}, r"`units\.angle`: 'deg' is not a unit.*write angle in rad"),
    (("units",), {"angel": "rad"}, r"`units\.angel`: is unknown; did you mean 'angle'"),
    (("units",), ["rad"], r"`units`: must map quantities to units"),
    (("feet",), [], r"`feet`: is empty: name what stands on the ground"),
    (("feet",), [{"name": "FR"}], r"`feet\[0\]`: .*missing required field `geoms`"),
    (("damping", "kd"), {HIP: 3.0}, r"`damping\.kd`: must be one number, or name every joint once"),
    (("stand", "kp"), {"tail": 3.0}, r"`stand\.kp`: must be one number, or name every joint once"),
    (("joints", 0, "action_scale"), 0.0, rf"`joints\.{HIP}\.action_scale`: 0\.0 must be above 0"),
    (
        ("joints", 3, "kq"),
        1.0,
        r"unknown key `joints\[3\]\.kq`; did you mean 'kp'\? Known: action_scale, def",
    ),
    (("safety", "frozen_ticks"), 5.5, r"`safety\.frozen_ticks`: Expected `int`, got `float`"),
]


@pytest.mark.parametrize("path, value, text", REFUSED)
def test_a_robot_is_refused_with_the_key_and_the_reason(path, value, text):
    if path[-1] == "range" and value in NOT_NUMBERS:
        value = [0.0, value]
    with pytest.raises(InputError, match=r"^robot\.yaml: .*" + text):
        load(robot_with(path, value))


def test_the_unchanged_robot_is_not_refused():
    """Negative control for the table above."""
    assert load(robot_with(("joints", 0, "default"), -0.1)) == robot()


def test_units_and_the_quaternions_order_may_be_stated_and_are_not_kept():
    stated = robot_with(("units",), spec.UNITS)
    stated["imu"]["quaternion"] = "wxyz"
    assert load(stated) == robot()


def test_gains_of_standing_and_damping_are_one_number_or_one_per_joint():
    assert robot().damping_gains().tolist() == [robot().damping.kd] * JOINTS
    each = {name: 1.0 + i for i, name in enumerate(reversed(robot().joint_names))}
    changed = load(robot_with(("damping", "kd"), each))
    assert changed.damping_gains().tolist() == [each[name] for name in robot().joint_names]
    changed = load(robot_with(("stand", "kp"), each))
    kp, kd = changed.stand_gains()
    assert kp.tolist() == [each[name] for name in robot().joint_names]
    assert kd.tolist() == [robot().stand.kd] * JOINTS


@pytest.mark.parametrize("start", ["standing", "hanging"])
def test_a_robot_that_cannot_lie_down_needs_no_rest_pose(start):
    data = robot_with(("life_cycle",), {"start": start})
    del data["rest_pose"]
    loaded = load(data)
    assert not loaded.life_cycle.has_rest
    assert loaded.rest().tolist() == loaded.vector("default").tolist()


def test_a_rest_pose_that_is_given_is_checked_whatever_the_robot_starts_from():
    data = robot_with(("life_cycle",), {"start": "hanging"})
    data["rest_pose"] = {HIP: 0.0}
    with pytest.raises(InputError, match="must name every joint once"):
        load(data)


def test_a_missing_robot_yaml_says_so(tmp_path):
    with pytest.raises(InputError, match=r"robot\.yaml: cannot be read \(.*No such file"):
        spec.load(tmp_path / "robot.yaml")


# robot.yaml against the MJCF: both values are named


def disagree(*texts, robot_spec=None, xml=XML):
    with pytest.raises(InputError) as error:
        variants.eval_model(robot_spec or robot(), xml)
    for text in texts:
        assert text in str(error.value), str(error.value)


def edited(tmp_path, old, new):
    """The MJCF with one edit."""
    text = XML.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "go2.xml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize("index, name", [(0, "FR_hip_joint"), (8, "RR_calf_joint")])
def test_a_changed_range_disagrees(index, name):
    low, high = robot().joints[index].range
    changed = with_joint(index, range=(low, high + 0.01))
    disagree(
        f"{name}.range [rad]: robot.yaml says ({low}, {high + 0.01})",
        f"go2.xml says ({low}, {high})",
        robot_spec=changed,
    )


def test_a_changed_range_in_the_mjcf_disagrees(tmp_path):
    xml = edited(tmp_path, 'range="-1.0472 1.0472"', 'range="-1.0472 1.05"')
    texts = "FR_hip_joint.range", "says (-1.0472, 1.0472)", "says (-1.0472, 1.05)"
    disagree(*texts, xml=xml)


def test_a_changed_torque_limit_disagrees(tmp_path):
    disagree(
        "FR_calf_joint.torque_limit [N m]: robot.yaml says 40.0",
        "go2.xml (actuatorfrcrange) says 45.43",
        robot_spec=with_joint(2, torque_limit=40.0),
    )
    xml = edited(tmp_path, 'actuatorfrcrange="-23.7 23.7"', 'actuatorfrcrange="-20 20"')
    disagree("FR_hip_joint.torque_limit", "robot.yaml says 23.7", "says 20.0", xml=xml)


def test_a_changed_default_pose_disagrees():
    disagree(
        "default pose [rad]: robot.yaml says", "0.123", robot_spec=with_joint(0, default=0.123)
    )


def test_a_changed_height_disagrees():
    base = msgspec.structs.replace(robot().base, height=0.3)
    texts = "base.height [m]: robot.yaml says 0.3", "keyframe home says 0.29370919"
    disagree(*texts, robot_spec=replace(base=base))


def test_a_foot_that_the_mjcf_lacks_is_named():
    disagree("'XX'", "go2.xml", robot_spec=replace(feet=("FR", "FL", "RR", "XX")))


def test_an_mjcf_that_is_missing_or_broken_is_named(tmp_path):
    disagree("nothing.xml: no such MJCF", xml=tmp_path / "nothing.xml")
    broken = edited(tmp_path, "<worldbody>", "<wurldbody>")
    disagree("go2.xml: MuJoCo cannot read it", xml=broken)


@pytest.mark.parametrize("timestep", [0.002, 0.005, 0.01])
def test_the_training_model_is_checked_too(timestep):
    with pytest.raises(InputError, match=r"FR_hip_joint\.torque_limit"):
        variants.train_model(with_joint(0, torque_limit=20.0), XML, Physics(timestep=timestep), 0.0)


# The two variants


def names(m, kind, count):
    return [mujoco.mj_id2name(m, kind, i) for i in range(count)]


def geoms(m):
    return names(m, mujoco.mjtObj.mjOBJ_GEOM, m.ngeom)


@pytest.fixture(scope="module")
def source():
    return mujoco.MjModel.from_xml_path(str(XML))


def test_train_has_the_feet_and_the_floor_and_no_other_geom(train):
    assert sorted(geoms(train)) == sorted([*robot().feet, "floor"])


def test_eval_has_every_collision_geom_and_the_floor_and_no_other(evaluation, source):
    collides = (source.geom_contype | source.geom_conaffinity) != 0
    expected = [name for name, c in zip(geoms(source), collides, strict=True) if c]
    assert len(expected) > 4 * 4  # every leg has more than its foot
    assert sorted(geoms(evaluation)) == sorted([*expected, "floor"])


def test_every_geom_of_the_robot_meets_the_floor_and_no_other_part(train, evaluation):
    for m in (train, evaluation):
        floor = m.geom("floor").id
        for i in set(range(m.ngeom)) - {floor}:
            assert m.geom_contype[floor] & m.geom_conaffinity[i]
            assert m.geom_contype[i] == 0


def test_eval_is_fine_elliptic_and_moved_by_torque_motors(evaluation):
    assert evaluation.opt.timestep == 0.002
    assert evaluation.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert (evaluation.actuator_gaintype == mujoco.mjtGain.mjGAIN_FIXED).all()
    assert (evaluation.actuator_biastype == mujoco.mjtBias.mjBIAS_NONE).all()
    assert (evaluation.actuator_gainprm[:, 0] == 1).all()
    limit = robot().vector("torque_limit")
    assert np.array_equal(evaluation.actuator_ctrlrange, np.stack((-limit, limit), axis=1))


def test_train_is_fast_and_moved_by_position_actuators_with_the_robots_gains(train):
    assert train.opt.timestep == 0.01
    assert train.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL
    assert np.array_equal(train.actuator_gainprm[:, 0], robot().vector("kp"))
    assert np.array_equal(train.actuator_biasprm[:, 1], -robot().vector("kp"))
    assert np.array_equal(train.actuator_biasprm[:, 2], -robot().vector("kd"))
    limit = robot().vector("torque_limit")
    assert np.array_equal(train.actuator_forcerange, np.stack((-limit, limit), axis=1))
    assert not train.actuator_ctrllimited.any()  # targets are bounded by the contract alone


def test_both_variants_are_the_same_bodies_and_joints(train, evaluation, source):
    shown = variants.eval_model(robot(), XML, with_visuals=True)
    for m in (train, evaluation, shown):
        assert names(m, mujoco.mjtObj.mjOBJ_BODY, m.nbody) == names(
            source, mujoco.mjtObj.mjOBJ_BODY, source.nbody
        )
        for field in (
            *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_pos"),
            *("jnt_range", "jnt_axis", "dof_armature", "dof_damping", "dof_frictionloss"),
        ):
            assert np.array_equal(getattr(m, field), getattr(source, field)), field


def test_a_mass_changed_in_the_mjcf_changes_in_both(tmp_path, train, evaluation):
    xml = edited(tmp_path, 'mass="6.921"', 'mass="8.0"')
    for old, new in (
        (train, variants.train_model(robot(), xml, Physics(timestep=0.01), 0.03)),
        (evaluation, variants.eval_model(robot(), xml)),
    ):
        assert old.body("base_link").mass == 6.921
        assert new.body("base_link").mass == 8.0


def test_in_the_default_pose_the_feet_touch_the_ground(evaluation):
    data = mujoco.MjData(evaluation)
    mujoco.mj_resetDataKeyframe(evaluation, data, evaluation.key("home").id)
    mujoco.mj_forward(evaluation, data)
    for foot in robot().feet:
        lowest = data.geom(foot).xpos[2] - evaluation.geom(foot).size[0]
        assert lowest == pytest.approx(0, abs=1e-6)


def test_every_signal_that_the_robot_measures_has_its_sensors(train, evaluation):
    wanted = [f"{j}_{s}" for s in ("pos", "vel", "torque") for j in robot().joint_names]
    wanted += ["imu_quat", "imu_gyro", "imu_accel", *(f"{f}_contact" for f in robot().feet)]
    for m in (train, evaluation):
        assert set(wanted) <= set(names(m, mujoco.mjtObj.mjOBJ_SENSOR, m.nsensor))
