"""The policy that ships: proven, scored, and still walking with today's code."""

import json
from pathlib import Path

import msgspec
import pytest

from robot_ppo import config, project
from robot_ppo.envs.robot import observations
from robot_ppo.playback.play import play
from robot_ppo_export.contract.terms import TERMS
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import cli

SHIPPED = Path(__file__).parent / "golden" / "go2_walk.onnx"
SCORECARD = SHIPPED.with_name("go2_walk_scorecard.json")


def test_it_proves_itself_on_this_machine(capsys):
    assert cli.main(["check", str(SHIPPED)]) == 0
    assert "golden" in capsys.readouterr().out


def test_it_is_small():
    assert SHIPPED.stat().st_size < 1_000_000


def test_its_scorecard_says_that_it_walks():
    card = json.loads(SCORECARD.read_text())
    assert card["walking"] is True
    assert card["velocity_error"] <= 0.15 and card["yaw_error"] <= 0.20 and card["falls"] == 0
    assert card["source"]["steps"] == Policy(SHIPPED).contract.training.steps


def complete(spec):
    """The term with its default parameters, which a file from before there were any leaves out."""
    parameters = TERMS.defaults(spec.name) | spec.parameters
    return msgspec.structs.replace(spec, parameters=parameters)


def test_it_is_of_the_robot_and_the_observation_that_we_ship():
    """A change of robot.yaml or of the task's observation needs a new policy."""
    contract = Policy(SHIPPED).contract
    task = config.load("go2_walk").task
    assert contract.robot == project.load_robot("go2")
    ours = observations.layout(task, contract.robot).specs
    assert [complete(spec) for spec in contract.observation] == [complete(spec) for spec in ours]
    assert contract.action == task.action
    assert contract.gait_frequency == task.gait.frequency


@pytest.mark.parametrize("command", [(0.5, 0.0, 0.0), (0.0, 0.3, 0.0), (0.3, 0.0, 0.7)])
def test_the_node_walks_it_in_the_simulation(command, tmp_path):
    """Behaviour, not reward: through the unchanged node, on the evaluation model."""
    summary = play(
        SHIPPED, plot=tmp_path / "walk.png", seconds=3.0, command=command, say=lambda _: None
    )
    assert summary.falls == 0 and summary.fault is None
    assert summary.velocity_error < 0.2  # from standing still, so the start is in it
    assert summary.yaw_error < 0.3


@pytest.mark.slow
def test_the_shipped_walk_gets_up_from_a_pit_of_low_stairs(tmp_path):
    """It stands up on the platform below height 0, walks out, and has not fallen for that."""
    summary = play(
        SHIPPED,
        plot=tmp_path / "stairs.png",
        seconds=6.0,
        command=(0.5, 0.0, 0.0),
        terrain="stairs_up:0.0",
        say=lambda _: None,
    )
    assert summary.falls == 0 and not summary.failed and summary.distance > 2.0
