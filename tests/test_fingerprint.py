"""A run and a policy file know the robot that they were trained with."""

import logging
import shutil

import pytest
import quadruped_helpers as quadruped
import yaml
from contract_helpers import ROOT

from robot_ppo import project
from robot_ppo.robot_model import fingerprint
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

LEG = '<inertial mass="0.2" pos="0 0 -0.1" diaginertia="0.001 0.001 0.0001"/>'
CHANGES = {
    "a mass": (LEG, LEG.replace("0.2", "0.21", 1)),
    "a foot's size": ('size="0.02" pos="0 0 -0.2"/>', 'size="0.021" pos="0 0 -0.2"/>'),
    "a friction": ('friction="0.7"', 'friction="0.8"'),
    "a damping": ('damping="0.1"', 'damping="0.2"'),
    "a place of the IMU": ('<site name="imu"/>', '<site name="imu" pos="0 0 0.1"/>'),
    "a name": ('<geom name="trunk"', '<geom name="body"'),
    "a limit": ('range="-1.5 1.5"', 'range="-1.5 1.50001"'),
}
TAIL = '<body name="tail"><joint name="tail" axis="0 1 0" stiffness="9"/>'
TAIL += '<inertial pos="-0.1 0 0" mass="0.1" diaginertia="1 1 1"/></body>'
TENDON = '<tendon><fixed name="t"><joint joint="FR_hip" coef="1"/></fixed></tendon>'
EQUALITY = '<equality><joint joint1="FR_hip" joint2="FL_hip" active="false"/></equality>'
PAIR = '<contact><pair geom1="FR" geom2="FL"/></contact>'
HOME = '<keyframe><key name="home" qpos="0 0 0.3 1 0 0 0 0.1 0 0 0 0 0 0 0 0"/></keyframe>'
WITH = (
    ('<site name="imu"/>', f'<site name="imu"/>{TAIL}'),
    ("<actuator>", f"{TENDON}{EQUALITY}{PAIR}{HOME}<actuator>"),
)
"""A quadruped with one of everything."""
HIP = '<joint name="FR_hip"'
UNUSUAL = {
    "a joint's zero": (HIP, f'{HIP} ref="0.2"'),
    "a spring's zero": ('stiffness="9"', 'stiffness="9" springref="0.4"'),
    "a spring that is not linear": ('stiffness="9"', 'stiffness="9 1"'),
    "a damper that is not linear": ('damping="0.1"', 'damping="0.1 0.1"'),
    "a margin of a limit": (HIP, f'{HIP} margin="0.1"'),
    "a softness of a friction": (HIP, f'{HIP} solreffriction="0.5 1"'),
    "the impedance of a friction": (HIP, f'{HIP} solimpfriction="0.8 0.9 0.01"'),
    "an equality that holds": ('active="false"', 'active="true"'),
    "a tendon's friction": ('<fixed name="t"', '<fixed name="t" frictionloss="3"'),
    "a tendon's inertia": ('<fixed name="t"', '<fixed name="t" armature="1"'),
    "a tendon's margin": ('<fixed name="t"', '<fixed name="t" margin="0.1"'),
    "a tendon's softness": ('<fixed name="t"', '<fixed name="t" solreflimit="0.5 1"'),
    "a pair's dimension": ('geom2="FL"', 'geom2="FL" condim="6"'),
    "where a tail begins": ("0 0 0 0.1 0", "0 0 0 0.2 0"),
}
"""What counts where it is not what MuJoCo assumes."""
LOOKS = {
    "a comment": ("<worldbody>", "<!-- new --><worldbody>"),
    "colours": ('friction="0.7"', 'friction="0.7" rgba="1 0 0 1"'),
    "a geom for the eye": (
        '<site name="imu"/>',
        '<site name="imu"/><geom size="0.1" contype="0" conaffinity="0" mass="0"/>',
    ),
    "a light": ("<worldbody>", '<worldbody><light pos="0 0 3"/>'),
    "options, which the variants set": ('timestep="0.002"', 'timestep="0.003"'),
}


def of(folder, *edits, **changes):
    path = quadruped.write(folder, quadruped.mjcf(*edits))
    return fingerprint.of(quadruped.robot(**changes), path)


@pytest.mark.parametrize("what", CHANGES)
def test_what_moves_a_robot_changes_it(tmp_path, what):
    assert of(tmp_path, CHANGES[what]) != of(tmp_path)


@pytest.mark.parametrize("what", UNUSUAL)
def test_so_does_what_few_files_say(tmp_path, what):
    assert of(tmp_path, *WITH, UNUSUAL[what]) != of(tmp_path, *WITH)


def test_what_mujoco_assumes_changes_nothing(tmp_path):
    assert of(tmp_path, (HIP, f'{HIP} ref="0" springref="0" margin="0"')) == of(tmp_path)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "tests" / "golden").glob("*_*.onnx")), ids=lambda p: p.stem
)
def test_a_policy_file_of_before_knows_its_robot(file):
    contract = Policy(file).contract
    known = contract.model_fingerprint
    assert known in (None, fingerprint.of_robot(contract.robot.name))


@pytest.mark.parametrize("what", LOOKS)
def test_what_only_eyes_see_does_not(tmp_path, what):
    assert of(tmp_path, LOOKS[what]) == of(tmp_path)


def test_robot_yaml_is_part_of_it_but_not_its_description(tmp_path):
    assert of(tmp_path, stand={"kp": 51.0, "kd": 2.0, "duration": 2.0}) != of(tmp_path)
    assert of(tmp_path, description="another text") == of(tmp_path)


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A copy of the shipped robot in a folder of its own, and a function that edits it."""
    folder = tmp_path / "robots" / "go2"
    shutil.copytree(project.robot_folder("go2"), folder)
    monkeypatch.setattr(project, "robot_folder", lambda name: folder)

    def edit():
        path = folder / "go2.xml"
        path.write_text(path.read_text().replace('mass="6.921"', 'mass="8"'))

    return edit


def test_a_run_keeps_the_models_that_it_was_trained_with(tmp_path, edited):
    assert fingerprint.newest(tmp_path) is None
    fingerprint.record(tmp_path, "go2")
    fingerprint.record(tmp_path, "go2")
    before = fingerprint.recorded(tmp_path)
    assert before == [fingerprint.of_robot("go2")]
    edited()
    fingerprint.record(tmp_path, "go2")
    assert fingerprint.recorded(tmp_path) == [*before, fingerprint.of_robot("go2")]


def test_a_robot_that_was_edited_since_is_told_in_one_sentence(caplog, edited):
    known = fingerprint.of_robot("go2")
    with caplog.at_level(logging.WARNING):
        fingerprint.warn_if_edited(known, "go2", "runs/x")
        fingerprint.warn_if_edited(None, "go2", "a file of an older release")
        assert not caplog.records
        edited()
        fingerprint.warn_if_edited(known, "go2", "runs/x")
    assert len(caplog.records) == 1
    text = caplog.records[0].getMessage()
    assert text.startswith(
        f"runs/x was trained with another model of go2 than {project.robot_folder('go2')} holds now"
    )
    assert known[:12] in text and fingerprint.of_robot("go2")[:12] in text


def test_a_robot_that_is_called_otherwise_than_its_folder_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "go2_heavy"
    folder.mkdir()
    data = yaml.safe_load((ROOT / "robots" / "go2" / "robot.yaml").read_text())
    (folder / "robot.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setattr(project, "robot_folder", lambda name: folder)
    with pytest.raises(InputError, match=r"`name`: is 'go2' in the folder 'go2_heavy'"):
        project.load_robot("go2_heavy")
