"""The node as a robot has it: which tests run there, and a run in its own Python."""

import os
import subprocess
import sys

import numpy as np
import pytest
from node_helpers import ROOT
from process_helpers import free_port

from robot_ppo_node.drivers.dds.dds_config import free_domain
from robot_ppo_node.log import log_file

ROBOT_SIDE = ROOT / ".venv-node" / "bin"
"""The install of `make test-node`: Python 3.10 by default, nothing of the workstation."""
SHIPPED = ROOT / "tests" / "golden" / "go2_walk.onnx"
FILES = {
    "test_base.py": "def test_it(): import numpy",
    "test_file.py": "from torch import nn\ndef test_it(): pass",
    "test_ours.py": "from robot_ppo.envs import model\ndef test_it(): pass",
    "test_lazy.py": "def test_it(): import mujoco.viewer",
    "test_newer.py": "from enum import NoSuchEnum\ndef test_it(): pass",
    "test_lost.py": "def test_it(): import numpi",
}


def test_what_cannot_be_imported_on_a_robot_is_left_out_and_other_errors_are_errors(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").touch()
    words = ["-p", "base_install", "-p", "no:cacheprovider", "-rA"]
    words += ["--continue-on-collection-errors"]
    path = os.pathsep.join(map(str, (ROOT / "tests", ROOT / "export", ROOT, tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        **{"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": path}},
        **{"capture_output": True, "text": True, "timeout": 60},
    )
    assert "PASSED test_base.py::test_it" in done.stdout
    assert "SKIPPED [1]" in done.stdout and "needs mujoco" in done.stdout
    assert "ERROR test_newer.py" in done.stdout
    assert "FAILED test_lost.py::test_it" in done.stdout
    assert "test_file" not in done.stdout and "test_ours" not in done.stdout
    assert "1 failed, 1 passed, 1 skipped, 1 error" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not ROBOT_SIDE.exists(), reason="make test-node makes .venv-node")
@pytest.mark.parametrize("transport", ["udp", "unitree", "ros2"])
def test_in_its_own_python_the_node_walks_a_robot_that_the_workstation_simulates(
    transport, tmp_path
):
    bare = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    here = {"cwd": tmp_path, "env": {**bare, "XDG_STATE_HOME": str(tmp_path)}, "text": True}
    asked = "import importlib.util as i; print(*filter(i.find_spec, ('torch', 'mujoco')))"
    has = subprocess.check_output([ROBOT_SIDE / "python", "-c", asked], **here)
    assert not has.strip(), "this is no robot's install"
    place = ("--port", free_port()) if transport == "udp" else ("--domain", free_domain())
    common = [*map(str, place), "--seconds"]
    sim = [sys.executable, "-m", "robot_ppo.cli", "sim", "go2", "--transport", transport]
    # A busy computer may stall the node, and a watchdog would end the run for it.
    node = [ROBOT_SIDE / "robot-ppo-node", "run", SHIPPED, "--driver", transport, "--no-watchdog"]
    node += ["--arm", "--command", "0.5,0,0", "--record", "walk.rlog"]
    robot = subprocess.Popen([*sim, *common, "60"], stdout=subprocess.DEVNULL, **here)
    try:
        done = subprocess.run([*node, *common, "8"], capture_output=True, timeout=120, **here)
    finally:
        robot.kill()
        robot.wait()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "HALT: the 8 s are over" in done.stdout, done.stdout
    ticks, meta = log_file.load(tmp_path / "walk.rlog")
    walking = ticks["measured"][ticks["node_state"] == meta["states"].index("POLICY")]
    at = meta["measured"].index
    assert len(walking) > 100
    assert np.ptp(walking[:, at("joint_pos[1]")]) > 0.3  # [rad] the thigh swings
    x, y = (walking[-1, at(f"base_quat[{i}]")] for i in (1, 2))
    assert 1 - 2 * (x * x + y * y) > 0.9  # it is upright
