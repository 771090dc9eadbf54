"""Environment and training beside the raw engine: `Batch.step` of the same model and nothing else.

The engine is MuJoCo as it ships, on both sides of every ratio.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mujoco.batch import Batch

from benchmarks.common import shipped_policy
from robot_ppo import config, envs
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.training.threads import single_threaded
from robot_ppo.training.train import Trainer
from robot_ppo_export.policy import Policy

TASK = "go2_walk"
SIMULATIONS = 1024
WARM_UP = 50
"""First steps that do not count."""
NOISE = 0.3
"""Standard deviation of the actions around the shipped policy's."""


class Raw:
    """The yardstick: raw steps of a batch that starts from the environment's present states.

    It drives the robots towards the targets that the environment drives them to next: robots that
    are told to stand are less work, and so are those whose targets stay, for the solver then starts
    from its solution (3 % on Go2).
    """

    def __init__(self, env: RobotEnv) -> None:
        """Make a batch of the environment's model, with as many simulations and threads."""
        self.env = env
        self.batch = Batch(env.engine.model, env.num_envs, env.engine.batch.nthread)
        self._ctrl = self.batch.bind("ctrl")

    def seconds(self, actions: np.ndarray) -> float:
        """Return the time [s] of one control step with `actions` (n, joints)."""
        self.batch.state[:] = self.env.engine.batch.state
        self._ctrl[:] = self.env.actions.target(actions)
        begin = time.perf_counter()
        self.batch.step(nstep=self.env.engine.substeps)
        return time.perf_counter() - begin


def walking_times(steps: int, simulations: int = SIMULATIONS, warm_up: int = WARM_UP) -> np.ndarray:
    """Return the times [s] of our step and of the raw one, (steps, 2), of robots that walk."""
    act = Policy(shipped_policy()).for_many()
    env = envs.make_named(TASK, simulations, seed=1)
    assert isinstance(env, RobotEnv)
    raw = Raw(env)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=1, options={"spread_episodes": True})
    times: list[tuple[float, float]] = []
    for _ in range(warm_up + steps):
        action = act(observation)
        action += rng.normal(0, NOISE, action.shape).astype(np.float32)
        yardstick = raw.seconds(action)
        begin = time.perf_counter()
        observation = env.step(action)[0]
        times.append((time.perf_counter() - begin, yardstick))
    return np.array(times[warm_up:])


def raw_steps_per_second(steps: int = 60) -> float:
    """Return the raw environment steps/s of this machine, now, of robots that walk."""
    return SIMULATIONS / float(np.median(walking_times(steps)[:, 1]))


def bench_env(steps: int = 200) -> dict[str, Any]:
    """Return environment steps/s over raw `Batch.step`, robots walking with exploration noise."""
    ours, theirs = np.median(walking_times(steps), axis=0)
    return {
        "env_ratio": round(float(theirs / ours), 3),
        "env_steps_per_second": round(SIMULATIONS / float(ours)),
        "raw_steps_per_second": round(SIMULATIONS / float(theirs)),
    }


class _Watch:
    """Takes the logger's place: after each iteration, the yardstick takes as many steps."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.times: list[tuple[float, float]] = []

    def log(self, trainer: Trainer, metrics: dict[str, float], times: dict[str, float]) -> None:
        """Note the iteration's time and the yardstick's."""
        # The rollout's last actions are of the states before: other draws, and as likely now.
        actions = trainer.rollout.actions[-1].numpy()
        yardstick = sum(self.raw.seconds(actions) for _ in range(trainer.config.rollout))
        self.times.append((times["collect"] + times["learn"], yardstick))


@single_threaded()
def bench_train(iterations: int = 60) -> dict[str, Any]:
    """Return training steps/s, learning included, over raw `Batch.step`, default preset."""
    settings = config.load(TASK)
    batch = settings.num_envs * settings.rollout
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config.load(TASK, steps=iterations * batch), Path(folder))
        assert isinstance(trainer.env, RobotEnv)
        watch = _Watch(Raw(trainer.env))
        trainer.run(watch)
    ours, theirs = np.array(watch.times[5:]).T
    return {
        "train_ratio": round(float(np.median(theirs) / np.median(ours)), 3),
        "train_steps_per_second": round(batch / float(np.median(ours))),
        "raw_steps_per_second": round(batch / float(np.median(theirs))),
    }
