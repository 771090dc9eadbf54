"""From an installed wheel, in a folder of one's own: robots and tasks by name and by path."""

import os
import shutil
import subprocess
import sys

import pytest
from contract_helpers import ROOT

WALK = "extends: go2_walk\nrobot: dog\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The packages as a wheel lays them out, with robots and configs inside `robot_ppo`."""
    site = tmp_path_factory.mktemp("site-packages")
    for package in ("robot_ppo", "export/robot_ppo_export", "export/robot_ppo_node"):
        shutil.copytree(ROOT / package, site / package.split("/")[-1])
    for data in ("robots", "configs"):
        shutil.copytree(ROOT / data, site / "robot_ppo" / "_assets" / data)
    return site


@pytest.fixture
def own(tmp_path):
    """A folder with a robot and a task of one's own."""
    dog = tmp_path / "robots" / "dog"
    shutil.copytree(ROOT / "robots" / "go2", dog)
    text = (dog / "robot.yaml").read_text()
    (dog / "robot.yaml").write_text(text.replace("\nname: go2\n", "\nname: dog\n"))
    tasks = tmp_path / "configs" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "dog_walk.yaml").write_text(WALK)
    return tmp_path


def run(installed, folder, *arguments, **variables):
    """Run `robot-ppo` of the installed copy in a folder; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(installed), **variables}
    done = subprocess.run(
        [sys.executable, "-m", "robot_ppo.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_list_holds_ones_own_beside_what_is_shipped(installed, own, tmp_path_factory):
    words = [line.split() for line in run(installed, own, "list").splitlines()]
    assert ["dog", "robots/dog"] in words and ["go2", "shipped"] in words
    assert ["dog_walk", "configs/tasks/dog_walk.yaml"] in words
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    told = run(installed, elsewhere, "list", ROBOT_PPO_PATH=str(own))
    assert ["dog", f"{own}/robots/dog"] in [line.split() for line in told.splitlines()]


TRAIN = ("--steps", "1", "--set", "num_envs=8", "--set", "rollout=8", "--set", "ppo.minibatches=1")


@pytest.mark.slow
def test_a_task_of_ones_own_trains_by_name_and_from_elsewhere_by_path(
    installed, own, tmp_path_factory
):
    assert "done after 64 steps" in run(installed, own, "train", "dog_walk", *TRAIN)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = str(own / "configs" / "tasks" / "dog_walk.yaml")
    assert "checkpoint in runs/dog_walk" in run(installed, elsewhere, "train", path, *TRAIN)
    assert (
        "robot: " + str(own / "robots" / "dog")
        in (elsewhere / "runs" / "dog_walk" / "config.yaml").read_text()
    )
