"""`robot-ppo bench`: every figure that we publish, from one place, beside its yardstick.

Timings are medians over repeats that are interleaved with those of the yardstick in one process,
so that a noisy machine disturbs both alike: ratios mean more than absolute numbers.
"""

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from rich.console import Console
from rich.table import Table

from robot_ppo import config, export, project
from robot_ppo.bench_gym import bench_gym
from robot_ppo.envs.robot import robot_env
from robot_ppo.evaluation import evaluate, scorecard
from robot_ppo.ppo.networks import Actor
from robot_ppo.sim import batches
from robot_ppo.training.checkpoint import Checkpoints, load
from robot_ppo.training.train import Trainer
from robot_ppo_export import to_onnx
from robot_ppo_export.contract.layout import Layout
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically
from robot_ppo_export.policy import Policy
from robot_ppo_node.app import node_bench

TASK = "go2_walk"
SHIPPED = "tests/golden/go2_walk.onnx"
SIMULATIONS = 1024
RUNS = Path("runs/bench")
"""The trainings of `bench walk` stay here."""


def run(what: str, out: Path | None, seeds: int = 3) -> dict[str, Any]:
    """Measure one group of figures, print it, and write it as JSON if asked."""
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: must be at least 1")
    begin = time.perf_counter()
    figures = {"env": bench_env, "gym": bench_gym, "train": bench_train, "node": bench_node}
    measured = bench_walk(seeds) if what == "walk" else figures[what]()
    result = {"machine": machine(), "bench": what, **measured}
    result["bench_seconds"] = round(time.perf_counter() - begin, 1)
    table = Table("figure", "value", title=f"robot-ppo bench {what}")
    for name, value in result.items():
        table.add_row(name, json.dumps(value))
    Console().print(table)
    if out:
        write_atomically(out, json.dumps(result, indent=2).encode() + b"\n")
    return result


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"model name\s*:\s*(.*)", text)
    return {
        "cpu": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def shipped_policy() -> Path:
    """Return the policy that ships with a checkout."""
    path = project.root() / SHIPPED
    if not path.is_file():
        raise InputError(f"{path}: missing; this figure is measured from a checkout of the project")
    return path


# -- environment and training -------------------------------------------------------------------


class _Raw:
    """The yardstick: `Batch.step` of the same model, and nothing else, with MuJoCo's stopwatch on.

    That is what a program gets that calls it. From the same states towards the same targets: robots
    that are told to stand are less work.
    """

    def __init__(self, env: robot_env.RobotEnv) -> None:
        self.env = env
        self.batch = batches.create(env.engine.model, env.num_envs, env.engine.batch.nthread)
        self._ctrl, self._targets = self.batch.bind("ctrl"), env.engine.batch.bind("ctrl")

    def seconds(self) -> float:
        """Return the time of one control step from the environment's present states [s]."""
        self.batch.state[:], self._ctrl[:] = self.env.engine.batch.state, self._targets
        with batches.stopwatch():
            begin = time.perf_counter()
            self.batch.step(nstep=self.env.engine.substeps)
            return time.perf_counter() - begin


def bench_env(steps: int = 200) -> dict[str, Any]:
    """Return environment steps/s over raw `Batch.step`, robots walking with exploration noise."""
    policy = Policy(shipped_policy())
    env = robot_env.make(TASK, SIMULATIONS, seed=1)
    raw = _Raw(env)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=1, options={"spread_episodes": True})
    times: list[tuple[float, float]] = []
    for _ in range(50 + steps):
        action = policy.act_many(observation)
        action += rng.normal(0, 0.3, action.shape).astype(np.float32)
        yardstick = raw.seconds()
        begin = time.perf_counter()
        observation = env.step(action)[0]
        times.append((time.perf_counter() - begin, yardstick))
    ours, theirs = np.array(times[50:]).T
    return {
        "env_ratio": round(float(np.median(theirs) / np.median(ours)), 3),
        "env_steps_per_second": round(SIMULATIONS / float(np.median(ours))),
        "raw_steps_per_second": round(SIMULATIONS / float(np.median(theirs))),
    }


class _Watch:
    """Stands in the logger's place: after each iteration, the yardstick takes as many steps."""

    def __init__(self, raw: _Raw) -> None:
        self.raw = raw
        self.times: list[tuple[float, float]] = []

    def log(self, trainer: Trainer, figures: dict[str, float], times: dict[str, float]) -> None:
        """Note the iteration's time and the yardstick's."""
        yardstick = sum(self.raw.seconds() for _ in range(trainer.config.rollout))
        self.times.append((times["collect"] + times["learn"], yardstick))


def bench_train(iterations: int = 60) -> dict[str, Any]:
    """Return training steps/s, learning included, over raw `Batch.step`, default preset."""
    settings = config.load(TASK)
    batch = settings.num_envs * settings.rollout
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config.load(TASK, steps=iterations * batch), Path(folder))
        assert isinstance(trainer.env, robot_env.RobotEnv)
        watch = _Watch(_Raw(trainer.env))
        trainer.run(watch)
    ours, theirs = np.array(watch.times[5:]).T
    return {
        "train_ratio": round(float(np.median(theirs) / np.median(ours)), 3),
        "train_steps_per_second": round(batch / float(np.median(ours))),
        "raw_steps_per_second": round(batch / float(np.median(theirs))),
    }


# -- time to walking ----------------------------------------------------------------------------


def bench_walk(seeds: int = 3) -> dict[str, Any]:
    """Return the wall-clock from `train` to walking, default preset, for each seed.

    A training saves a checkpoint every few seconds; afterwards each is scored on the nominal 45
    commands, oldest first. The clock starts with the process and stops when the first checkpoint
    that walks is on disk.
    """
    runs = []
    for seed in range(1, seeds + 1):
        runs.append(_time_to_walking(RUNS / f"walk_seed{seed}", seed))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    reached = [r["seconds_to_walking"] for r in runs]
    return {
        "seconds_to_walking": max(reached) if None not in reached else None,
        "peak_mb": max(r["peak_mb"] for r in runs),
        "seeds": runs,
    }


def _time_to_walking(out: Path, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "robot_ppo.cli", "train", TASK, "--out", str(out)]
    command += ["--seed", str(seed), "--set", "save_every=6", "--set", "keep=0"]
    command += ["--overwrite"]
    began = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"the training of seed {seed} ended with code {process.returncode}")
    result: dict[str, Any] = {
        "seed": seed,
        "seconds_to_walking": None,
        "seconds": round(time.time() - began, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }
    checkpoints = Checkpoints(out)
    for path in checkpoints.paths():
        checkpoint = load(path)
        scored = scorecard.from_checkpoint(checkpoints.settings(checkpoint), checkpoint)
        card = evaluate.evaluate(*scored, evaluate.CONDITIONS[:1])
        result |= {name: round(value, 4) for name, value in card.overall().items()}
        if card.walking:
            result["seconds_to_walking"] = round(path.stat().st_mtime - began, 1)
            result["steps_to_walking"] = checkpoint.steps
            break
    return result


# -- node ---------------------------------------------------------------------------------------


def bench_node(seconds: float = 20.0) -> dict[str, Any]:
    """Return the node's figures on the shipped policy, against the simulated robot by UDP."""
    policy = shipped_policy()
    with _simulated_robot() as port:
        results = node_bench.measure(policy, node_bench.Target("udp", port=port), seconds)
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
    size = Layout(task.observation, len(robot.joints)).size
    actor = Actor(size, len(robot.joints), settings.networks)
    observation = np.random.default_rng(0).normal(0, 3, (count, size))
    actor.normalizer.update(torch.from_numpy(observation).float())
    torch.nn.init.orthogonal_(actor.mlp[-1].get_parameter("weight"))
    data = to_onnx.network(export.arrays(settings, actor)).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = observation.astype(np.float32)
    with torch.inference_mode():
        wanted = actor(torch.from_numpy(x)).numpy()
    return float(np.abs(session.run(None, {"observation": x})[0] - wanted).max())
