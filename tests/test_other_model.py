"""A policy on another model of its robot: joints by name, pose and gains of the policy."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from robot_ppo import cli, project
from robot_ppo.evaluation import other_model
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

FILE = Path(__file__).parent / "golden" / "go2_walk.onnx"


@pytest.fixture(scope="module")
def contract():
    return Policy(FILE).contract


@pytest.fixture
def other(tmp_path):
    """A Go2 whose robot.yaml has its joints in another order, other gains and another pose."""
    folder = tmp_path / "other"
    shutil.copytree(project.robot_folder("go2"), folder)
    given = yaml.safe_load((folder / "robot.yaml").read_text())
    given["name"] = "other"
    given["joints"].reverse()
    for joint in given["joints"]:
        joint |= {"kp": 99.0, "kd": 3.0, "default": joint["default"] + 0.05}
    (folder / "robot.yaml").write_text(yaml.safe_dump(given))
    return folder


def test_joints_have_the_policys_order_pose_and_gains(contract, other):
    found, xml = other_model.of(contract, str(other))
    assert xml == other / "go2.xml"
    assert found.robot.joints == contract.robot.joints
    assert found.robot.base.height == pytest.approx(contract.robot.base.height, abs=1e-6)
    assert found.robot.name == "other"


def test_what_is_no_model_of_the_robot_is_refused(contract, other):
    with pytest.raises(
        InputError, match=r"--robot spot: is no other model of go2: it lacks FR_hip"
    ):
        other_model.of(contract, "spot")
    path = other / "robot.yaml"
    more = yaml.safe_load(path.read_text())
    more["joints"].append(more["joints"][0] | {"name": "arm"})
    more["rest_pose"]["arm"] = -1.7
    path.write_text(yaml.safe_dump(more))
    with pytest.raises(InputError, match="it has arm besides"):
        other_model.of(contract, str(other))


def test_on_its_own_model_a_policy_scores_what_it_scores(tmp_path):
    cards = []
    for more in ([], ["--robot", "go2"]):
        out = tmp_path / "card.json"
        words = ["eval", str(FILE), "--trials", "6", "--seconds", "1", "--quick", *more]
        assert cli.main([*words, "--json", str(out)]) == 0
        cards.append(json.loads(out.read_text()))
    assert cards[1]["source"].pop("robot") == "go2" and "robot" not in cards[0]["source"]
    for name in ("velocity_error", "yaw_error", "cost_of_transport"):  # base.height is rounded
        assert cards[1][name] == pytest.approx(cards[0][name], rel=0.05)
