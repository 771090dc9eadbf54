"""The policies that ship: proven, scored, and still walking with today's code."""

import json
from pathlib import Path

import msgspec
import pytest

from robot_ppo import config, project
from robot_ppo.derived import walk
from robot_ppo.envs.robot import observations
from robot_ppo.playback.play import play
from robot_ppo_export.contract.terms import TERMS
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import cli

GOLDEN = Path(__file__).parent / "golden"
ROUGH = GOLDEN / "go2_rough.onnx"
SCAN = GOLDEN / "go2_rough_scan.onnx"
DERIVED = ("go1", "spot", "g1", "h1", "anymal_c")
"""Robots whose policy was trained on the derived task, with no number of their own."""
ROBOTS = ("go2", *DERIVED)


def shipped(robot: str) -> Path:
    return GOLDEN / f"{robot}_walk.onnx"


def task_of(robot: str) -> config.Task:
    named = walk.resolve(robot).named if robot in DERIVED else f"{robot}_walk"
    return config.robot_task(config.load(named), "this test")


@pytest.mark.parametrize("robot", ROBOTS)
def test_it_proves_itself_on_this_machine(robot, capsys):
    assert cli.main(["check", str(shipped(robot))]) == 0
    assert "golden" in capsys.readouterr().out


@pytest.mark.parametrize("robot", ROBOTS)
def test_it_is_small(robot):
    assert shipped(robot).stat().st_size < 400_000


@pytest.mark.parametrize("robot", ROBOTS)
def test_its_scorecard_says_that_it_walks(robot):
    card = json.loads((GOLDEN / f"{robot}_walk_scorecard.json").read_text())
    evaluation = task_of(robot).evaluation
    assert evaluation is not None
    limits = evaluation.limits
    assert card["walking"] is True
    assert all(card[name] <= limits[name] for name in ("velocity_error", "yaw_error", "falls"))
    assert limits["falls"] == 0
    assert card["source"]["steps"] == Policy(shipped(robot)).contract.training.steps


def complete(spec):
    """The term with its default parameters, which a file from before there were any leaves out."""
    parameters = TERMS.defaults(spec.name) | spec.parameters
    return msgspec.structs.replace(spec, parameters=parameters)


@pytest.mark.parametrize("robot", ROBOTS)
def test_it_is_of_the_robot_and_the_observation_that_we_ship(robot):
    """A change of robot.yaml or of the task's observation needs a new policy."""
    contract = Policy(shipped(robot)).contract
    task = task_of(robot)
    assert contract.robot == project.load_robot(robot)
    ours = observations.layout(task, contract.robot).specs
    assert [complete(spec) for spec in contract.observation] == [complete(spec) for spec in ours]
    assert contract.action == task.action
    assert task.gait is not None and contract.gait_frequency == task.gait.frequency


COMMANDS = {
    "go2": [(0.5, 0.0, 0.0), (0.0, 0.3, 0.0), (0.3, 0.0, 0.7)],
    "go1": [(0.3, 0.2, 0.5)],
    "spot": [(0.4, 0.0, 0.4)],
    "g1": [(0.4, 0.0, 0.0), (0.2, 0.0, 0.4)],
    "h1": [(0.4, 0.0, 0.0), (0.2, 0.0, 0.3)],
    "anymal_c": [(0.4, 0.0, 0.3)],
}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("robot", "command"), [(robot, command) for robot in ROBOTS for command in COMMANDS[robot]]
)
def test_the_node_walks_it_in_the_simulation(robot, command, tmp_path):
    """Behaviour, not reward: through the unchanged node, on the evaluation model."""
    summary = play(
        shipped(robot),
        plot=tmp_path / "walk.png",
        seconds=3.0,
        command=command,
        say=lambda _: None,
    )
    assert summary.falls == 0 and summary.fault is None
    assert summary.velocity_error < 0.2  # from standing still, so the start is in it
    assert summary.yaw_error < 0.3


# -- the blind walk on rough ground


@pytest.mark.parametrize("file", [ROUGH, SCAN], ids=["blind", "scan"])
def test_the_walk_on_rough_ground_proves_itself_and_is_small(file, capsys):
    assert cli.main(["check", str(file)]) == 0
    assert "golden" in capsys.readouterr().out
    assert file.stat().st_size < 2_000_000


@pytest.mark.parametrize("file", [ROUGH, SCAN], ids=["blind", "scan"])
def test_the_walk_on_rough_ground_is_of_the_task_that_we_ship(file):
    contract = Policy(file).contract
    task = config.robot_task(config.load(file.stem), "this test")
    assert contract.robot == project.load_robot("go2")
    ours = observations.layout(task, contract.robot).specs
    assert [complete(spec) for spec in contract.observation] == [complete(spec) for spec in ours]
    assert ("height_scan" in {spec.name for spec in contract.observation}) == (file == SCAN)


def test_the_scorecards_of_the_blind_walk_say_what_it_crosses():
    card = json.loads((GOLDEN / "go2_rough_ground.json").read_text())
    highest = card["highest_level"]["nominal"]
    assert highest["random_rough"] == 1.0 and highest["waves"] == 1.0
    assert highest["slope_up"] == 1.0 and highest["slope_down"] == 1.0
    assert highest["stairs_up"] >= 0.2 and highest["stairs_down"] >= 0.4
    level = json.loads((GOLDEN / "go2_rough_scorecard.json").read_text())
    assert level["walking"] and level["falls"] == 0


def test_who_sees_crosses_more_than_who_does_not():
    blind, sees = (
        json.loads((GOLDEN / f"{file.stem}_ground.json").read_text()) for file in (ROUGH, SCAN)
    )
    crossed = {}
    for name, card in (("blind", blind), ("sees", sees)):
        for one in card["crossings"]:
            key = one["kind"], one["condition"]
            crossed.setdefault(key, {"blind": 0, "sees": 0})[name] += one["crossed"]
    assert all(crossed[key]["sees"] >= crossed[key]["blind"] for key in crossed)
    for kind in ("stairs_up", "stairs_down"):
        ours, theirs = (card["highest_level"]["nominal"][kind] for card in (sees, blind))
        assert ours > theirs + 0.1
    level = json.loads((GOLDEN / f"{SCAN.stem}_scorecard.json").read_text())
    assert level["walking"] and level["falls"] == 0


@pytest.mark.usefixtures("undrawn")
def test_the_blind_walk_climbs_stairs(tmp_path):
    """Through the unchanged node, without seeing, up out of the pit."""
    summary = play(
        ROUGH,
        plot=tmp_path / "stairs.png",
        seconds=5.0,
        command=(0.5, 0.0, 0.0),
        terrain="stairs_up:0.3",
        say=lambda _: None,
    )
    assert summary.falls == 0 and not summary.failed and summary.distance > 1.5


@pytest.mark.slow
def test_the_shipped_walk_gets_up_from_a_pit_of_low_stairs(tmp_path):
    """It stands up on the platform below height 0, walks out, and has not fallen for that."""
    summary = play(
        shipped("go2"),
        plot=tmp_path / "stairs.png",
        seconds=6.0,
        command=(0.5, 0.0, 0.0),
        terrain="stairs_up:0.0",
        say=lambda _: None,
    )
    assert summary.falls == 0 and not summary.failed and summary.distance > 2.0
