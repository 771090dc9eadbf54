"""A run is of the joints that it was trained with, in their order, and is refused with others."""

import dataclasses

import msgspec
import pytest
from test_train import result

from robot_ppo import cli, config, export, project
from robot_ppo.training import joints
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.errors import InputError

pytestmark = pytest.mark.usefixtures("short_rollouts")

ROBOT = project.load_robot("go2")
FIRST, SECOND, *REST = ROBOT.joints
EXTRA = msgspec.structs.replace(FIRST, name="tail")
CHANGED = {
    "a joint is gone": ((SECOND, *REST), "lack 'FR_hip_joint', with which"),
    "a joint is new": ((*ROBOT.joints, EXTRA), "have 'tail', without which"),
    "two joints changed places": ((SECOND, FIRST, *REST), "have 'FR_thigh_joint' in place 0"),
}
COMMANDS = {
    "eval": lambda run: ["eval", str(run), "--quick"],
    "export": lambda run: ["export", str(run), "-o", str(run.parent / "x.onnx")],
    "play": lambda run: ["play", str(run), "--plot", str(run.parent / "x.png")],
    "train": lambda run: ["train", "go2_walk", "--out", str(run), "--resume"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two iterations."""
    out = tmp_path_factory.mktemp("runs") / "run"
    result(out)
    return out


@pytest.fixture
def changed(monkeypatch):
    """Let robot.yaml list other joints."""

    def change(what):
        robot = msgspec.structs.replace(ROBOT, joints=CHANGED[what][0])
        monkeypatch.setattr(project, "load_robot", lambda name: robot)
        return CHANGED[what][1]

    return change


def test_a_checkpoint_names_the_joints_and_a_run_of_other_robots_none(run):
    assert Checkpoints(run).newest().joints == list(ROBOT.joint_names)
    assert joints.of(config.load("gym:Hopper-v5")) is None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_joints_in_another_order(command, run, changed, capsys):
    text = changed("two joints changed places")
    assert cli.main(COMMANDS[command](run)) == 2
    said = capsys.readouterr().err
    assert f"robot.yaml: `joints`: {text}" in said and "restore the list" in said


def contract(checkpoint):
    actor = load_actor(checkpoint.settings, checkpoint)
    return export.build_contract(checkpoint.settings, checkpoint, actor)


@pytest.mark.parametrize("what", CHANGED)
def test_a_policy_file_is_refused_where_the_joints_are_not_those_of_the_weights(what, run, changed):
    text = changed(what)
    with pytest.raises(InputError, match=f"`joints`: {text}"):
        contract(Checkpoints(run).newest())


@pytest.mark.parametrize("what", ["a joint is gone", "a joint is new"])
def test_weights_that_name_no_joints_are_compared_by_their_numbers(what, run, changed):
    """As of an older release."""
    changed(what)
    old = dataclasses.replace(Checkpoints(run).newest(), joints=None)
    with pytest.raises(InputError, match=r"`joints`: make .* the run's weights have 47 and 12"):
        contract(old)
