"""What `robot-ppo import` takes from a model file: frames, IMU, friction, keyframes, units."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import quadruped_helpers as quadruped
from import_helpers import URDF, imported, options, urdf

from robot_ppo.derived import biped as derived_biped
from robot_ppo.robot_model import source, validation
from robot_ppo.robot_model.importing import discovery, drawing, posed_leg, reading
from robot_ppo_export.contract import spec
from robot_ppo_export.errors import InputError

TORQUE = {"*": 20.0}


def found(folder, text, **flags):
    """Return what is found in a file, without the trials in simulation."""
    file = folder / ("dog.urdf" if "<robot" in text else "dog.xml")
    file.write_text(text)
    torque = flags.pop("torque", TORQUE)
    tree = reading.read(file, flags.get("base"))
    return discovery.found(tree, options.Options(file, torque=torque, **flags), "dog")[0]


def hips(findings):
    """Return where the legs begin, in the base's frame: (feet, 2), x and y."""
    frames = findings.tree.frames(findings.pose)
    return np.array([frames[foot.leg.links[0]].pos[:2] for foot in findings.feet])


# -- which way it looks

TRUNK = '<body name="trunk" pos="0 0 0.4">'
HIPS = np.array(list(quadruped.LEGS.values()))
TURNS = {
    "yaw 180": "0 0 0 1",
    "yaw 45": "0.9238795 0 0 0.3826834",
    "yaw 90": "0.7071068 0 0 0.7071068",
    "yaw -60 and a pitch of 20": "0.8528686 0.0868241 0.1503837 -0.4924039",
}


@pytest.mark.parametrize("turn", TURNS)
def test_the_base_keeps_its_x_axis_however_it_is_turned_in_the_file(turn, tmp_path):
    body = TRUNK.replace(">", f' quat="{TURNS[turn]}">')
    seen = found(tmp_path, quadruped.mjcf((TRUNK, body)))
    order = [foot.leg.foot.removesuffix("_calf") for foot in seen.feet]
    assert order == list(quadruped.LEGS)
    got = hips(seen)
    assert np.array_equal(np.sign(got), np.sign(HIPS))
    if "pitch" not in turn:
        np.testing.assert_allclose(got, HIPS, atol=1e-5)


def test_a_urdf_that_is_turned_against_its_world_looks_ahead(tmp_path):
    world = (
        '<link name="world"/><joint name="stand" type="fixed"><parent link="world"/>'
        '<child link="trunk"/><origin xyz="0 0 0.4" rpy="0 0 3.14159"/></joint>'
    )
    np.testing.assert_allclose(
        hips(found(tmp_path, urdf(world))), hips(found(tmp_path, URDF)), atol=1e-5
    )


# -- keyframes


def key(name, height, pose, quat="1 0 0 0"):
    angles = " ".join([pose] * 4)
    return f'<key name="{name}" qpos="0 0 {height} {quat} {angles}"/>'


def with_keys(*keys):
    return quadruped.mjcf(("</mujoco>", f"<keyframe>{''.join(keys)}</keyframe></mujoco>"))


CROUCH = key("crouch", 0.2, "1.2 -2.3")
KEYS = {
    "the one that is called so": ([CROUCH, key("home", 0.37, "0.5 -1")], "home", "crouch"),
    "the tallest": (
        [CROUCH, key("up", 0.37, "0.5 -1"), key("z", 0.3, "0.8 -1.6")],
        "up",
        "crouch, z",
    ),
}


@pytest.mark.parametrize("what", KEYS)
def test_of_several_keyframes_it_stands_in(what, tmp_path):
    keys, name, others = KEYS[what]
    seen = found(tmp_path, with_keys(*keys))
    assert seen.pose["FR_hip"] == 0.5
    where = f"keyframe {name} of the file; --pose takes another that stands level: {others}"
    assert seen.pose_from == where


SIDE = "0.7071068 -0.7071068 0 0"


def test_up_is_that_of_the_keyframe_it_stands_in_where_the_reference_pose_lies(tmp_path):
    """The base of the file lies on its side at the reference; its keyframe sets it upright."""
    text = with_keys(key("stand", 0.37, "0.5 -1", "0.7071068 0.7071068 0 0"))
    text = text.replace('<site name="imu"/>', f'<site name="imu"/><frame quat="{SIDE}">')
    text = text.replace("\n  </body>\n  </worldbody>", "</frame></body></worldbody>")
    seen = found(tmp_path, text)
    assert len(seen.feet) == 4
    np.testing.assert_allclose(hips(seen), HIPS, atol=1e-5)
    assert "up is that of the keyframe stand, not of the file's reference pose" in seen.steps


def test_a_keyframe_of_a_fallen_robot_is_not_taken_for_upright(tmp_path):
    seen = found(tmp_path, with_keys(key("fallen", 0.1, "0.5 -1", SIDE)))
    assert seen.pose_from.startswith("optimized") and len(seen.feet) == 4


def test_a_biped_whose_legs_do_not_swing_ahead_is_refused_in_a_sentence():
    hip = SimpleNamespace(name="hip", pitch=False)
    body = SimpleNamespace(
        robot=SimpleNamespace(name="dog"), feet=[SimpleNamespace(name="left", joints=[hip])]
    )
    with pytest.raises(InputError, match="the foot 'left' turns about the axis across the body"):
        derived_biped.stepping(body, {"swing_height": 0.05, "offsets": {"left": 0}, "stance": 0.6})


# -- the IMU

SITE = '<site name="imu"/>'
ROLLED = '<site name="imu" pos="0.1 0 0" quat="0.7071068 0.7071068 0 0"/>'
LOWER = '<geom name="FR" size="0.02" pos="0 0 -0.2"/>'
ON_LEG = (LOWER, LOWER + '<site name="shank"/>')
SENSORS = {
    "the one on the base, not the first": '<gyro site="shank"/><gyro site="imu"/>',
    "a bare orientation": '<framequat objtype="site" objname="imu"/>',
    "an accelerometer on the base, an orientation on a leg": (
        '<framequat objtype="site" objname="shank"/><accelerometer site="imu"/>'
    ),
    "not an orientation against another site": (
        '<framequat objtype="site" objname="toes" reftype="site" refname="shank"/>'
        '<framequat objtype="site" objname="imu"/>'
    ),
}


def with_sensors(sensors):
    base = f'{ROLLED}<site name="toes"/>'
    end = ("</mujoco>", f"<sensor>{sensors}</sensor></mujoco>")
    return quadruped.mjcf(ON_LEG, (SITE, base), end)


@pytest.mark.parametrize("what", SENSORS)
def test_the_imu_is_the_first_inertial_sensor_that_is_fixed_to_the_base(what, tmp_path):
    seen = found(tmp_path, with_sensors(SENSORS[what]))
    assert seen.imu_from == "site imu of the file's sensors"
    np.testing.assert_allclose(seen.mounting, (0.7071068, 0.7071068, 0, 0), atol=1e-6)


@pytest.mark.parametrize("sensors", ["", '<gyro site="shank"/>'])
def test_where_no_sensor_tells_names_are_offered(sensors, tmp_path):
    seen = found(tmp_path, with_sensors(sensors))
    np.testing.assert_array_equal(seen.mounting, (1, 0, 0, 0))
    [warning] = seen.tree.warnings
    assert warning.endswith("by their names it may be --imu imu")


IMU_LINK = (
    '<link name="imu_link"/><joint name="imu_joint" type="fixed"><parent link="trunk"/>'
    '<child link="imu_link"/><origin xyz="0.05 0 0.03" rpy="3.14159265 0 0"/></joint>'
)
GAZEBO = '<gazebo reference="{}"><sensor name="{}" type="imu">{}</sensor></gazebo>'
POSE = "<pose>0 0 0.01 0 1.5707963 0</pose>"
UPSIDE_DOWN = (0, 1, 0, 0)
IMUS = {
    "of a link": (GAZEBO.format("imu_link", "s", ""), "s", UPSIDE_DOWN, (0.05, 0, 0.03)),
    "of the link's name": (
        GAZEBO.format("imu_link", "imu_link", ""),
        "imu_link",
        UPSIDE_DOWN,
        (0.05, 0, 0.03),
    ),
    "after one on a leg": (
        GAZEBO.format("FL_calf", "s", "") + GAZEBO.format("imu_link", "s", ""),
        "imu_link",
        UPSIDE_DOWN,
        (0.05, 0, 0.03),
    ),
    "turned in its link": (
        GAZEBO.format("imu_link", "s", POSE),
        "s",
        (0, 0.7071068, 0, 0.7071068),
        (0.05, 0, 0.02),
    ),
    "of the base": (
        GAZEBO.format("trunk", "s", POSE),
        "s",
        (0.7071068, 0, 0.7071068, 0),
        (0, 0, 0.01),
    ),
}


@pytest.mark.parametrize("what", IMUS)
def test_the_imu_of_a_urdf_is_that_of_its_gazebo_elements(what, tmp_path):
    gazebo, name, quat, pos = IMUS[what]
    seen = found(tmp_path, urdf(IMU_LINK + gazebo))
    assert seen.imu_from == f"site {name} of the file's sensors"
    assert abs(np.dot(seen.mounting, quat)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(seen.tree.sites["imu"][1].pos, pos, atol=1e-6)


def test_the_imu_of_a_massless_root_goes_with_it(tmp_path):
    root = (
        '<link name="root"/><joint name="up" type="fixed"><parent link="root"/>'
        '<child link="trunk"/><origin xyz="0 0 -0.1"/></joint>'
    )
    seen = found(tmp_path, urdf(root + GAZEBO.format("root", "s", "")))
    np.testing.assert_allclose(seen.tree.sites["imu"][1].pos, (0, 0, 0.1), atol=1e-9)


def test_a_urdf_without_a_sensor_offers_what_is_called_so_in_the_terminal_too(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())
    folder = imported(tmp_path, urdf(IMU_LINK), "dog.urdf")
    shown = (folder / "report.md").read_text().partition("## Proof")[2].partition("##")[0]
    assert "- look at this: the IMU is assumed " in shown
    assert "by their names it may be --imu imu_link\n" in shown


# -- friction, and what is left out

FLOOR = ("<worldbody>", '<worldbody><geom name="floor" type="plane" size="1 1 1"/>')
PAIR = '<contact><pair geom1="{}" geom2="{}" friction="0.3 0.3 0.01 0.001 0.001"/></contact>'
FRICTION = {
    "the floor of the file": (PAIR.format("FR", "floor"), 0.3),
    "the other way round": (PAIR.format("floor", "FR"), 0.3),
    "a floor of another file": (PAIR.format("FR", "ground"), 0.3),
    "no friction of its own, which is 1": (
        '<contact><pair geom1="FR" geom2="floor"/></contact>',
        1.0,
    ),
    "another leg": (PAIR.format("FR", "FL"), 0.7),
}


@pytest.mark.parametrize("what", FRICTION)
def test_a_pair_with_the_ground_gives_a_foot_its_friction(what, tmp_path):
    pair, friction = FRICTION[what]
    seen = found(tmp_path, quadruped.mjcf(FLOOR, ("</mujoco>", f"{pair}</mujoco>")))
    got = {foot.leg.foot: foot.shapes[0].friction for foot in seen.feet}
    assert got == {"FR_calf": friction, "FL_calf": 0.7, "RR_calf": 0.7, "RL_calf": 0.7}


LOST = {
    "a tendon": (
        '<tendon><fixed name="coil" stiffness="9"><joint joint="FR_hip" coef="1"/></fixed>'
        "</tendon>",
        "the tendons of the file (coil) are left out",
    ),
    "an equality with a constant": (
        '<equality><joint joint1="FR_hip" polycoef="0.5 0 0 0 0"/></equality>',
        "the equality that holds the joint FR_hip is left out: --hold FR_hip=0.5 holds it",
    ),
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_left_out_is_told(what, tmp_path):
    text, sentence = LOST[what]
    text = quadruped.mjcf((SITE, ""), ("</mujoco>", f"{text}</mujoco>"))
    assert found(tmp_path, text).tree.warnings[0].startswith(sentence)


# -- units, and figures that no robot has


def scaled(factor, *keys):
    """Return the URDF with attributes multiplied, as one in other units has them."""

    def times(match):
        numbers = " ".join(repr(float(x) * factor) for x in match[2].split())
        return f'{match[1]}="{numbers}"'

    return re.sub(rf'\b({"|".join(keys)})="([-0-9. e]+)"', times, URDF)


LENGTHS = ("xyz", "size", "radius", "length")
KNEE = 'lower="-2.6" upper="-0.3"'
DEGREES = scaled(57.29578, "lower", "upper")
REFUSED = {
    "degrees": (DEGREES, r"'FL_hip' has the range -45.8\d* to 45.8\d* rad; .* degrees: convert it"),
    "radians read as degrees": (
        quadruped.mjcf(('angle="radian"', 'angle="degree"')),
        r"no joint of the legs turns far enough .*'.._hip' by 0.0524 rad; .*angle=\"radian\"",
    ),
    "degrees read as radians": (
        quadruped.mjcf(('"-1.5 1.5"', '"-90 90"')),
        r"'FR_hip' has the range -90 to 90 rad; .*add <compiler angle=\"degree\"/>",
    ),
    "inertias in kg cm^2": (
        scaled(1e4, "ixx", "iyy", "izz"),
        r"'trunk' has 4 kg and an inertia of up to 160 kg m\^2, .* \(1 kg cm\^2 is 1e-4 kg m\^2\)",
    ),
    "inertias in kg mm^2": (scaled(1e6, "ixx", "iyy", "izz"), r"'trunk' has .* are in kg m\^2"),
    "millimetres": (scaled(1000, *LENGTHS), r"is 200 m from its parent.* lengths are in metres"),
    "centimetres": (scaled(100, *LENGTHS), r"weighs 8.6 kg and is 72\.3 m across, .*in metres"),
    "grams": (scaled(1000, "value"), r"weighs 8.6e\+03 kg and is .* by the link 'trunk'; masses"),
    "a shape in millimetres": (
        URDF.replace('size="0.4 0.15 0.1"', 'size="400 150 100"'),
        r"is \d+ m across, most of it by the link 'trunk'",
    ),
    "a negative mass": (
        URDF.replace('value="0.4"', 'value="-0.4"'),
        r"the link 'FL_thigh': its mass is -0.4 kg; give it one of 0 or more",
    ),
    "limits the wrong way round": (
        URDF.replace(KNEE, 'lower="-0.3" upper="-2.6"'),
        r"the joint 'FL_knee': its lower limit -0.3 is above its upper one -2.6; swap them",
    ),
    "xacro": (
        URDF.replace('<mass value="0.4"/>', '<mass value="${thigh}"/>'),
        r"the link 'FL_thigh': <mass value='\$\{thigh\}'> is xacro; expand it first",
    ),
    "a leader that is none": (
        URDF.replace(f"<limit {KNEE}", f'<mimic joint="FL_thig"/><limit {KNEE}', 1),
        r"the joint 'FL_knee' mimics 'FL_thig', which is no joint; did you mean 'FL_thigh'",
    ),
    "no links": ('<robot name="dog"/>', r"has no <link>, so there is no robot in it"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_units_and_figures_of_no_robot_are_refused(what, tmp_path):
    text, sentence = REFUSED[what]
    with pytest.raises(InputError, match=sentence):
        found(tmp_path, text)


FLAGS = {
    "a hold beyond the range": (
        {"hold": {"FR_thigh": 5.0}},
        r"--hold FR_thigh=5: is outside of the joint's range -1 to 2.5",
    ),
    "a range in degrees": (
        {"range": {"FR_thigh": (-60.0, 90.0)}},
        r"--range FR_thigh=-60,90: ranges are in radians, and this looks like degrees",
    ),
}


@pytest.mark.parametrize("what", FLAGS)
def test_flags_in_degrees_are_refused(what, tmp_path):
    flags, sentence = FLAGS[what]
    with pytest.raises(InputError, match=sentence):
        found(tmp_path, URDF, **flags)


TURNING = (
    '<link name="fan"><inertial><mass value="0.1"/><inertia ixx="1e-4" iyy="1e-4" izz="1e-4"/>'
    '</inertial></link><joint name="spin" type="revolute"><parent link="trunk"/>'
    '<child link="fan"/><origin xyz="0 0 0.05"/><axis xyz="0 0 1"/>'
    '<limit lower="{}" upper="{}" effort="1" velocity="9"/></joint>'
)
WIDE = {
    "a turn and a half to either side": ((-9.4248, 9.4248), "spin", (-9.4248, 9.4248)),
    "bounds that are none": ((-1e16, 1e16), "spin", None),
}


@pytest.mark.parametrize("what", WIDE)
def test_a_wide_range_is_no_mistake(what, tmp_path):
    ends, name, span = WIDE[what]
    seen = found(tmp_path, urdf(TURNING.format(*ends)))
    assert (seen.tree.joint(name).range if name in seen.order else None) == span


def test_a_held_joint_stays_at_its_angle_near_the_stop_too(tmp_path):
    seen = found(tmp_path, urdf(TURNING.format(-1, 1)), hold={"spin": 0.99})
    assert seen.pose["spin"] == 0.99


def test_a_placeholder_of_a_light_link_is_no_inertia_in_other_units(tmp_path):
    text = TURNING.format(-1, 1).replace("0.1", "0.001").replace('"1e-4"', '"1e-3"')
    assert len(found(tmp_path, urdf(text)).feet) == 4


def test_a_namespace_of_the_root_is_every_elements(tmp_path):
    text = URDF.replace("<robot ", '<robot xmlns="http://www.ros.org" ')
    assert len(found(tmp_path, text).feet) == 4


def test_an_equality_that_is_not_active_is_none(tmp_path):
    off = (
        '<equality><joint joint1="FR_hip" joint2="FL_hip" active="false"/>'
        '<connect body1="FR_calf" body2="FL_calf" anchor="0 0 0" active="false"/>'
        '<joint joint1="RR_hip" polycoef="0.5 0 0 0 0" active="false"/></equality></mujoco>'
    )
    seen = found(tmp_path, quadruped.mjcf((SITE, ""), ("</mujoco>", off)))
    assert len(seen.order) == 8 and seen.tree.warnings == []


# -- names


def test_any_name_is_written_as_it_is(tmp_path, monkeypatch):
    """Quotes, signs of XML, a joint with the name of the free joint, and dashes in the file's."""
    monkeypatch.setattr(drawing, "draw", lambda path, *_: path.touch())
    text = URDF.replace('"FL_calf"', "'FL&quot;c&lt;a&amp;lf&gt;'")
    text = text.replace('"FL_hip"', "'FL&quot;&lt;&amp;hip'").replace('"FR_hip"', '"root"')
    folder = imported(tmp_path, text, "my--dog.urdf")
    robot = spec.load(folder / "robot.yaml")
    model = source.read(folder / robot.model).model
    assert robot.joint_names[0] == 'FL"<&hip' and "root" in robot.joint_names
    assert 'FL"c<a&lf>' in robot.feet
    assert validation.problems(source.read(folder / robot.model), robot) == []
    assert model.joint(0).name == "root_"


def test_a_robot_whose_base_is_the_world_is_refused(tmp_path):
    text = URDF.replace('"trunk"', '"world"')
    with pytest.raises(InputError, match=r"the link 'world' is part of the robot, .* rename"):
        found(tmp_path, text)


# -- torque limits

JOINT = '<joint name="FR_hip" axis="0 1 0" range="-1.5 1.5"/>'
LIMITED = JOINT.replace("/>", ' actuatorfrcrange="-18 18"/>')
MOTOR = '<motor name="FR_hip" joint="FR_hip"/>'
SERVOS = (
    '<position name="FR_hip" joint="FR_hip" kp="40"{}/>'
    '<velocity name="FR_hip_v" joint="FR_hip" kv="1" forcerange="-2 2"/>'
)
ACTUATORS = {
    "a servo with a limit beside one without": ((LIMITED, SERVOS.format("")), 18.0),
    "two servos with limits": ((JOINT, SERVOS.format(' forcerange="-13 13"')), 15.0),
    "the joint's limit below the sum of them": (
        (LIMITED, SERVOS.format(' forcerange="-17 17"')),
        18.0,
    ),
}


@pytest.mark.parametrize("what", ACTUATORS)
def test_several_actuators_of_a_joint_add_up(what, tmp_path):
    (joint, actuators), limit = ACTUATORS[what]
    seen = found(tmp_path, quadruped.mjcf((JOINT, joint), (MOTOR, actuators)))
    assert seen.tree.joint("FR_hip").torque == limit


def test_friction_is_not_assumed_of_a_placeholder(tmp_path):
    seen = found(tmp_path, URDF.replace('effort="20"', 'effort="1000"'))
    weight = seen.tree.mass * 9.81 * seen.length
    assert seen.tree.joint("FL_knee").frictionloss == pytest.approx(0.008 * weight, rel=0.01)
    [warning] = seen.tree.warnings
    assert "and of 11 more, 1000 N m, is 1" in warning and "--torque FL_hip=NM" in warning


def test_a_motor_of_a_robot_is_no_placeholder(tmp_path):
    seen = found(tmp_path, URDF)
    assert seen.tree.joint("FL_knee").frictionloss == 0.16
    assert seen.tree.warnings == []


# -- the search for the standing pose


def test_the_length_of_a_leg_is_searched_once(tmp_path, monkeypatch):
    """By hundreds of poses: a third of an import, where every extension searched it anew."""
    searched = []  # the legs themselves: an id may be used again
    reach = posed_leg.PosedLeg.reach
    monkeypatch.setattr(posed_leg.PosedLeg, "reach", lambda leg: searched.append(leg) or reach(leg))
    found(tmp_path, urdf())
    assert searched and len({id(leg) for leg in searched}) == len(searched)


def test_a_joint_carries_the_moment_of_the_force_at_its_foot(tmp_path):
    findings = found(tmp_path, urdf())
    leg = posed_leg.PosedLeg(findings.tree, findings.feet[0], findings.pose, set())
    angles = leg.reference + 0.1
    frames = leg.frames(angles)
    torques = leg.torques(frames, 30.0)
    foot = leg.foot_at(frames)
    placed = [(frames[link.name], joint) for link in leg.links for joint in link.joints]
    for torque, (frame, joint) in zip(torques, placed, strict=True):
        lever = foot - frame.pos - frame.mat @ joint.pos
        moment = np.cross(lever, (0, 0, 30.0)) @ frame.mat @ joint.axis
        assert torque * joint.torque == pytest.approx(moment, rel=1e-12)
    assert np.abs(torques).max() > 0.01
