"""robot.yaml against the MJCF, guard by guard: each copy of go2.xml here is wrong in one place."""

import msgspec
import pytest
from contract_helpers import ROOT, robot

from robot_ppo.envs import model
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
    texts = []
    for make in (lambda: model.train_model(made, xml, 0.01, 0.03), lambda: model.eval_model(made, xml)):
        made = spec or robot()
        with pytest.raises(InputError) as error:
            make()
        texts.append(str(error.value))
    assert texts[0] == texts[1]
    return texts[0]


@pytest.mark.parametrize(
    "old, new, says",
    [
        pytest.param(MOTOR, MOTOR + MOTOR.replace("FR_hip_joint", "tail", 1),
            ["joint names in order", "'tail'", "robot.yaml says", "go2.xml actuators says"],
            id="an actuator that robot.yaml does not have"),
        pytest.param(MOTOR, MOTOR.replace("joint=\"FR_hip", "joint=\"FL_hip"),
            ["actuator 'FR_hip_joint'", "robot.yaml says FR_hip_joint", "go2.xml says FL_hip_joint"],
            id="an actuator that drives another joint"),
        pytest.param(MOTOR, MOTOR.replace("/>", ' gear="2"/>'),
            ["robot.yaml's torques", "'FR_hip_joint' in go2.xml has gear 2.0"], id="a gear"),
        pytest.param(MOTOR, MOTOR.replace("motor", "position").replace("/>", ' kp="40"/>'),
            ["robot.yaml gives the gains", "'FR_hip_joint' in go2.xml", "<motor>"],
            id="an actuator with gains of its own"),
        pytest.param(HIP_TORQUE, HIP_TORQUE.replace('ctrlrange="-23.7 23.7"', 'ctrlrange="-23.7 20"'),
            ["FR_hip_joint.torque_limit", "robot.yaml says 23.7", "ctrlrange", "[-23.7, 20.0]"],
            id="a motor whose control is cut off above"),
        pytest.param(HIP_TORQUE, HIP_TORQUE.replace('ctrlrange="-23.7 23.7"', 'ctrlrange="-20 23.7"'),
            ["FR_hip_joint.torque_limit", "robot.yaml says 23.7", "ctrlrange", "[-20.0, 23.7]"],
            id="a motor whose control is cut off below"),
        pytest.param(MOTOR, MOTOR.replace("/>", ' forcerange="-9 9"/>'),
            ["FR_hip_joint.torque_limit", "robot.yaml says 23.7", "forcerange", "[-9.0, 9.0]"],
            id="a motor whose force is cut off"),
        pytest.param('actuatorfrcrange="-23.7 23.7"', 'actuatorfrcrange="-20 23.7"',
            ["FR_hip_joint.torque_limit", "negative", "robot.yaml says -23.7", "go2.xml says -20.0"],
            id="a joint that is weaker in one direction"),
        pytest.param(GYRO, "", ["robot.yaml's site 'imu'", "'imu_gyro'", "go2.xml does not have"],
            id="a sensor that is missing"),
        pytest.param('<jointvel name="FR_calf_joint_vel" joint="FR_calf_joint"/>', "",
            ["robot.yaml's joint 'FR_calf_joint'", "'FR_calf_joint_vel' (jointvel", "go2.xml does"],
            id="an encoder that is missing"),
        pytest.param(GYRO, GYRO.replace("gyro ", "velocimeter "),
            ["robot.yaml needs the sensor 'imu_gyro'", "gyro of the site 'imu'", "go2.xml"],
            id="a sensor of another kind"),
        pytest.param(GYRO, GYRO.replace('site="imu"', 'site="FR_touch"'),
            ["robot.yaml needs the sensor 'imu_gyro'", "gyro of the site 'imu'", "go2.xml"],
            id="a sensor in another place"),
        pytest.param('<touch name="FR_contact" site="FR_touch"/>', '<touch name="FR_contact" site="RL_touch"/>',
            ["robot.yaml needs the sensor 'FR_contact'", "touch of the geom 'FR'", "go2.xml"],
            id="a foot sensor on another foot"),
        pytest.param('<key name="home"', '<key name="away"',
            ["robot.yaml gives a default pose", "go2.xml has no keyframe 'home'"],
            id="no keyframe home"),
    ],
)  # fmt: skip
def test_an_mjcf_that_contradicts_robot_yaml_is_refused(tmp_path, old, new, says):
    text = complaints(edited(tmp_path, old, new))
    for part in says:
        assert part in text, text


def with_base(body):
    return msgspec.structs.replace(
        robot(), base=msgspec.structs.replace(robot().base, body=body)
    )


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
    wide = HIP_TORQUE.replace('ctrlrange="-23.7 23.7"', 'ctrlrange="-50 50"')
    assert model.eval_model(robot(), edited(tmp_path, HIP_TORQUE, wide)).nu == 12


def test_the_unchanged_mjcf_is_accepted(tmp_path):
    """Negative control for the tables above."""
    copy = edited(tmp_path, MOTOR, MOTOR)
    assert model.train_model(robot(), copy, 0.01, 0.03).nu == 12
    assert model.eval_model(robot(), copy).nu == 12
