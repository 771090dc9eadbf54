"""The node's figures on the shipped policy, against a simulated robot in another process."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.common import shipped_policy
from benchmarks.speed.engine_ratio import TASK
from robot_ppo import config, project
from robot_ppo.envs.robot import observations
from robot_ppo.ppo.networks import Actor
from robot_ppo.training import policy_network
from robot_ppo_export import policy, to_onnx
from robot_ppo_export.errors import InputError
from robot_ppo_node.app import node_bench


def bench_node(seconds: float = 20.0) -> dict[str, Any]:
    """Return the figures of `robot-ppo-node bench`, and the error of the ONNX file."""
    file = shipped_policy()
    with _simulated_robot() as port:
        results = node_bench.measure(file, node_bench.Target("udp", port=port), seconds)
    print(node_bench.page(results))
    return results.figures | {"onnx_torch_difference": onnx_torch_difference()}


@contextlib.contextmanager
def _simulated_robot() -> Iterator[int]:
    """Run `robot-ppo sim` in another process; yields its port."""
    command = [sys.executable, "-u", "-m", "robot_ppo.cli", "sim", "go2", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None, "it is a pipe"
    try:
        ports = (re.search(r"UDP 127\.0\.0\.1:(\d+)", line) for line in process.stdout)
        found = next(filter(None, ports), None)
        if found is None:
            raise InputError("the simulated robot did not start")
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate()


def onnx_torch_difference(count: int = 10_000) -> float:
    """Return the largest |ONNX - torch| over random observations, default preset's network."""
    settings = config.load(TASK)
    torch.manual_seed(0)
    task = config.robot_task(settings, "this bench")
    robot = project.load_robot(task.robot)
    size = observations.layout(task, robot).size
    actor = Actor(size, len(robot.joints), settings.networks)
    observation = np.random.default_rng(0).normal(0, 3, (count, size))
    actor.normalizer.update(torch.from_numpy(observation).float())
    torch.nn.init.orthogonal_(actor.mlp[-1].get_parameter("weight"))
    data = to_onnx.network(policy_network.blocks(actor)).SerializeToString()
    session = policy.onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = observation.astype(np.float32)
    with torch.inference_mode():
        wanted = actor(torch.from_numpy(x)).numpy()
    return float(np.abs(session.run(None, {"observation": x})[0] - wanted).max())
