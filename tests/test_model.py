"""robot.yaml against the MJCF, guard by guard: each copy of go2.xml here is wrong in one place."""

import msgspec
import pytest
from contract_helpers import ROOT, robot

from robot_ppo.robot_model import variants
from robot_ppo_export.errors import InputError

XML = ROOT / "robots" / "go2" / "go2.xml"
MOTOR = '<motor name="FR_hip_joint" joint="FR_hip_joint" class="hip"/>'
HIP_TORQUE = 'actuatorfrcrange="-23.7 23.7"/>\n        <motor ctrlrange="-23.7 23.7"/>'
GYRO = '<gyro name="imu_gyro" site="imu"/>'


def edited(folder, old, new):
    """go2.xml with its first `old` replaced."""
    text = XML.read_text()
    assert old in text
    path = folder / "go2.xml"
    path.write_text(text.replace(old, new, 1))
    return path


def complaints(xml, spec=None):
    """What both variants say about `xml`; they compare before they change anything."""
    spec = spec or robot()
    with pytest.raises(InputError) as training:
        variants.train_model(spec, xml, 0.01, 0.03)
    with pytest.raises(InputError) as evaluation:
        variants.eval_model(spec, xml)
    assert str(training.value) == str(evaluation.value)
    return str(training.value)


def hip_control(limits):
    return HIP_TORQUE.replace('ctrlrange="-23.7 23.7"', f'ctrlrange="{limits}"')


LIMIT = "FR_hip_joint.torque_limit"
WRONG = {  # what is wrong: (what stands there, what is put there, what the sentence says)
    "an actuator that robot.yaml does not have": (
        MOTOR,
        MOTOR + MOTOR.replace("FR_hip_joint", "tail", 1),
        ("joint names in order", "'tail'", "robot.yaml says", "go2.xml actuators says"),
    ),
    "an actuator that drives another joint": (
        MOTOR,
        MOTOR.replace('joint="FR_hip', 'joint="FL_hip'),
        ("actuator 'FR_hip_joint'", "robot.yaml says FR_hip", "go2.xml says FL_hip"),
    ),
    "a gear": (
        MOTOR,
        MOTOR.replace("/>", ' gear="2"/>'),
        ("robot.yaml's torques", "'FR_hip_joint' in go2.xml has gear 2.0"),
    ),
    "an actuator with gains of its own": (
        MOTOR,
        MOTOR.replace("motor", "position").replace("/>", ' kp="40"/>'),
        ("robot.yaml gives the gains", "'FR_hip_joint' in go2.xml", "<motor>"),
    ),
    "a motor whose control is cut off above": (
        HIP_TORQUE,
        hip_control("-23.7 20"),
        (LIMIT, "robot.yaml says 23.7", "ctrlrange", "go2.xml is [-23.7, 20.0]"),
    ),
    "a motor whose control is cut off below": (
        HIP_TORQUE,
        hip_control("-20 23.7"),
        (LIMIT, "robot.yaml says 23.7", "ctrlrange", "go2.xml is [-20.0, 23.7]"),
    ),
    "a motor whose force is cut off": (
        MOTOR,
        MOTOR.replace("/>", ' forcerange="-9 9"/>'),
        (LIMIT, "robot.yaml says 23.7", "forcerange", "go2.xml is [-9.0, 9.0]"),
    ),
    "a joint that is weaker in one direction": (
        'actuatorfrcrange="-23.7 23.7"',
        'actuatorfrcrange="-20 23.7"',
        (LIMIT, "negative", "robot.yaml says -23.7", "go2.xml says -20.0"),
    ),
    "a sensor that is missing": (
        GYRO,
        "",
        ("robot.yaml's site 'imu'", "'imu_gyro'", "go2.xml does not have"),
    ),
    "an encoder that is missing": (
        '<jointvel name="FR_calf_joint_vel" joint="FR_calf_joint"/>',
        "",
        ("robot.yaml's joint 'FR_calf_joint'", "'FR_calf_joint_vel' (jointvel", "go2.xml does"),
    ),
    "a sensor of another kind": (
        GYRO,
        GYRO.replace("gyro ", "velocimeter "),
        ("robot.yaml needs the sensor 'imu_gyro'", "gyro of the site 'imu'", "go2.xml"),
    ),
    "a sensor in another place": (
        GYRO,
        GYRO.replace('site="imu"', 'site="FR_touch"'),
        ("robot.yaml needs the sensor 'imu_gyro'", "gyro of the site 'imu'", "go2.xml"),
    ),
    "a foot sensor on another foot": (
        '<touch name="FR_contact" site="FR_touch"/>',
        '<touch name="FR_contact" site="RL_touch"/>',
        ("robot.yaml needs the sensor 'FR_contact'", "touch of the geom 'FR'", "go2.xml"),
    ),
    "no keyframe home": (
        '<key name="home"',
        '<key name="away"',
        ("robot.yaml gives a default pose", "go2.xml has no keyframe 'home'"),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_mjcf_that_contradicts_robot_yaml_is_refused(tmp_path, wrong):
    old, new, says = WRONG[wrong]
    text = complaints(edited(tmp_path, old, new))
    for part in says:
        assert part in text, text


def with_base(body):
    return msgspec.structs.replace(robot(), base=msgspec.structs.replace(robot().base, body=body))


def with_imu(site):
    return msgspec.structs.replace(robot(), imu=msgspec.structs.replace(robot().imu, site=site))


@pytest.mark.parametrize(
    "spec, says",
    [
        (with_base("trunk"), ["robot.yaml names the body 'trunk'", "go2.xml does not have"]),
        (with_base("FR_thigh"), ["base.body", "robot.yaml says ('FR_thigh',)", "('base_link',)"]),
        (with_imu("imv"), ["robot.yaml names the site 'imv'", "go2.xml does not have"]),
        (with_imu("FR_touch"), ["imu.site", "robot.yaml says base_link", "go2.xml says FR_calf"]),
    ],
)
def test_a_base_or_an_imu_that_is_somewhere_else_is_refused(spec, says):
    text = complaints(XML, spec)
    for part in says:
        assert part in text, text


def test_a_motor_that_could_do_more_than_the_joint_is_no_contradiction(tmp_path):
    """Negative control: the limit of the joint holds in any case."""
    wide = edited(tmp_path, HIP_TORQUE, hip_control("-50 50"))
    assert variants.eval_model(robot(), wide).nu == 12


def test_the_unchanged_mjcf_is_accepted(tmp_path):
    """Negative control for the tables above."""
    copy = edited(tmp_path, MOTOR, MOTOR)
    assert variants.train_model(robot(), copy, 0.01, 0.03).nu == 12
    assert variants.eval_model(robot(), copy).nu == 12
