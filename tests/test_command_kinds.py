"""Commands that are no twist: none at all, and one number per joint, from file to log."""

import argparse

import numpy as np
import pytest
from node_helpers import TERMS, contract, rig, robot, write_policy
from test_node_cli import call

from robot_ppo.logs import mcap, plot
from robot_ppo.logs.log import Log
from robot_ppo.playback.play import play
from robot_ppo_export.contract.command import NO_COMMAND, CommandEntry, CommandSpec
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import TOLERANCE, Policy
from robot_ppo_node.app import report
from robot_ppo_node.app.replay import replay
from robot_ppo_node.app.shadow import ReadOnly, Shadow
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand, OperatorActions, parse
from robot_ppo_node.commands.choose import choose
from robot_ppo_node.commands.keyboard import Keyboard
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.fake import FakeDriver

NAMES = robot().joint_names
JOINTS = CommandSpec(
    kind="joint_pos",
    entries=tuple(CommandEntry(name=n, unit="rad", low=-0.5, high=0.5) for n in NAMES),
)
POSE = tuple(0.01 * i for i in range(len(NAMES)))


def without(*names):
    return tuple(spec for spec in TERMS if spec.name not in names)


@pytest.fixture(scope="module")
def files():
    """Policy files: one that is told nothing and has no gait, one that is told joint angles."""
    mute = contract(without("command", "gait_clock"), command=NO_COMMAND, gait_frequency=None)
    told = contract(without("gait_clock"), command=JOINTS, gait_frequency=None)
    return {"none": write_policy(mute), "joint_pos": write_policy(told)}


@pytest.fixture(params=["none", "joint_pos"])
def kind(request):
    return request.param


COMMAND = {"none": (), "joint_pos": POSE}


def walked(path, command):
    """The node of a run that was stopped, and its log."""
    r = rig(p=Policy(path), commands=FixedCommand(command), ring=10).until(State.POLICY).ticks(30)
    r.node.stop("enough")
    return r.ticks(20).node


def test_it_proves_itself_without_the_inputs_that_it_has_not(files, kind):
    policy = Policy(files[kind])
    assert policy.check_golden().value <= TOLERANCE
    assert ("command" in policy.golden.inputs) == (kind == "joint_pos")
    assert "phase" not in policy.golden.inputs


def test_the_node_runs_it_and_its_log_replays(files, kind, tmp_path):
    node = walked(files[kind], COMMAND[kind])
    path = tmp_path / "run.rlog"
    node.recorder.save(path)
    log = Log.load(path)
    assert replay(Policy(files[kind]), log.rows, log.meta) == len(log)
    names = {"none": [], "joint_pos": list(NAMES)}
    assert list(log.meta["command"]) == names[kind]
    assert log.rows["command"].shape == log.rows["wanted"].shape == (len(log), len(names[kind]))
    # A stop tells a twist to stand still; other commands stay what they are.
    halted = log.rows["node_state"] == State.HALT
    assert halted.any() and np.allclose(log.rows["command"][halted], COMMAND[kind])


def test_its_log_becomes_a_picture_and_an_mcap_file(files, kind, tmp_path):
    node = walked(files[kind], COMMAND[kind])
    path = tmp_path / "run.rlog"
    node.recorder.save(path)
    plot.write(Log.load(path), tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 10_000
    pytest.importorskip("mcap")
    mcap.write(Log.load(path), tmp_path / "run.mcap")
    assert (b"FR_hip_joint" in (tmp_path / "run.mcap").read_bytes()) is True


def test_describe_says_what_it_takes(files):
    assert "none: the policy is not told anything" in report.describe_page(Policy(files["none"]))
    page = report.describe_page(Policy(files["joint_pos"]))
    assert "joint_pos, frame joint" in page and "no gait" in page


def test_shadow_mode_computes_its_targets(files, kind):
    clock = SteppedClock()
    policy = Policy(files[kind])
    shadow = Shadow(policy, ReadOnly(FakeDriver(clock)), clock, FixedCommand(COMMAND[kind]))
    shadow.prepare()
    shadow.run(1.0)
    assert shadow.ticks >= 49 and "ticks" in shadow.report()


def test_it_plays_in_lockstep(files, kind, tmp_path):
    text = {"none": None, "joint_pos": ",".join("0.0" for _ in NAMES)}[kind]
    options = {"plot": tmp_path / "play.png", "seconds": 0.2, "say": lambda line: None}
    summary = play(files[kind], command=text, **options)
    assert summary.seconds > 0 and np.isnan(summary.velocity_error)


# The command line


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        (JOINTS, None, "no source sends a command of kind 'joint_pos': give --command FR_HIP"),
        (JOINTS, "1,2", "'1,2' is not 12 numbers FR_HIP_JOINT,"),
        (JOINTS, ",".join(["nan"] * 12), "is not 12 numbers"),
        (NO_COMMAND, "0,0,0", "the policy takes no command; leave it out"),
    ],
)
def test_a_command_of_another_kind_is_refused_by_name(command, text, message):
    with pytest.raises(InputError, match=message):
        parse(text, command)


def test_a_constant_of_every_kind_is_read():
    assert parse(None, NO_COMMAND) == ()
    assert parse(",".join("0.25" for _ in NAMES), JOINTS) == (0.25,) * len(NAMES)
    assert parse(None) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("source", ["keyboard", "gamepad", "udp", "remote", "cmd_vel"])
def test_what_sends_a_twist_is_refused(source, kind):
    command = {"none": NO_COMMAND, "joint_pos": JOINTS}[kind]
    options = argparse.Namespace(source=source, command=None)
    with pytest.raises(InputError, match=f"{source} sends a twist, the policy takes '{kind}'"):
        choose(options, command, OperatorActions(), object(), Connection(), None)


def test_keys_still_stop_a_policy_that_takes_no_twist():
    keyboard = Keyboard(np.zeros((3, 2)), (0.0, 0.0, 0.0), {}, file=0)
    options = argparse.Namespace(source=None, command=None)
    source = choose(options, NO_COMMAND, OperatorActions(), object(), Connection(), keyboard)
    assert source.name == "fixed" and source.others == (keyboard,)
    keyboard.press("w")
    assert not keyboard.command.any()


def test_run_refuses_a_constant_that_is_missing_with_exit_code_2(files, capsys):
    code, _, err = call(capsys, "run", files["joint_pos"], "--driver", "fake", "--no-record")
    assert code == 2 and "of kind 'joint_pos'" in err


def test_run_runs_a_policy_without_a_command(files, capsys):
    arguments = ("--driver", "fake", "--no-record", "--no-watchdog", "--seconds", "0.2")
    code, out, _ = call(capsys, "run", files["none"], *arguments)
    assert code == 0, out
