"""One training each by robot-ppo, Stable-Baselines3 and rsl_rl, driven an iteration at a time."""

# pyright: reportMissingImports=false
# The extra `peers` is not part of a developer's setup.

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import gymnasium
import msgspec
import torch

from robot_ppo.config import Config
from robot_ppo.ppo.networks import mlp
from robot_ppo.training.threads import single_threaded
from robot_ppo.training.train import Trainer

Iterate = Callable[[], float]
"""Runs one iteration, learning included, and returns the time that it took [s]."""


class _Between:
    """Stands in the logger's place: notes an iteration's time, then lets the others have theirs."""

    def __init__(self, others: Callable[[float], None]) -> None:
        self.others = others
        self.mark = time.perf_counter()

    def log(self, trainer: Trainer, metrics: dict[str, float], times: dict[str, float]) -> None:
        """Hand over the time since the others were done."""
        self.others(time.perf_counter() - self.mark)
        torch.set_num_threads(1)  # ours
        self.mark = time.perf_counter()


def ours(config: Config, folder: Path, iterations: int, others: Callable[[float], None]) -> None:
    """Train by robot-ppo; after each iteration, call `others` with the time that it took [s]."""
    batch = config.num_envs * config.rollout
    settings = msgspec.structs.replace(config, steps=iterations * batch, save_every=1e9)
    with single_threaded():
        Trainer(settings, folder).run(_Between(others))


def useful_threads(config: Config, repeats: int = 20) -> list[int]:
    """Return with how many threads, 1 or 2, torch learns at less than twice its best time.

    Small layers are often slower with two, on some machines a hundred times: too long to race.
    """
    ppo = config.ppo
    networks = config.networks
    rows = config.num_envs * config.rollout // ppo.minibatches
    network = mlp((64, *networks.critic, 1), networks.activation, 1.0)
    inputs = torch.ones(rows, 64)
    best = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            network(inputs).sum().backward()
            times.append(time.perf_counter() - begin)
        best[threads] = median(times)
    torch.set_num_threads(1)
    return [threads for threads, seconds in best.items() if seconds < 2 * min(best.values())]


# -- Stable-Baselines3 --------------------------------------------------------------------------


@contextmanager
def sb3(config: Config, num_envs: int, kind: str, threads: int) -> Iterator[Iterate]:
    """Train Gymnasium's own task by Stable-Baselines3, with the batch and networks of `config`.

    It gets less to do than ours: no normalization of observations or returns.

    Args:
        config: task, batch, networks and hyperparameters.
        num_envs: environments that make up the batch.
        kind: "dummy" (one after the other) or "subproc" (a process each).
        threads: of torch.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    ppo = config.ppo
    networks = config.networks
    batch = config.num_envs * config.rollout
    task = config.task.name
    makers = [lambda: gymnasium.make(task) for _ in range(num_envs)]
    # Forked, because a spawned child would load torch: several gigabytes for 64.
    env = DummyVecEnv(makers) if kind == "dummy" else SubprocVecEnv(makers, start_method="fork")
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=batch // num_envs,
        batch_size=batch // ppo.minibatches,
        n_epochs=ppo.epochs,
        learning_rate=ppo.learning_rate,
        gamma=ppo.gamma,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip,
        ent_coef=ppo.entropy,
        max_grad_norm=ppo.max_grad_norm,
        policy_kwargs={
            "net_arch": {"pi": list(networks.actor), "vf": list(networks.critic)},
            "activation_fn": {"tanh": torch.nn.Tanh, "elu": torch.nn.ELU}[networks.activation],
        },
        seed=config.seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))

    def iterate() -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        model.learn(batch, reset_num_timesteps=False, log_interval=10**9)
        return time.perf_counter() - begin

    try:
        yield iterate
    finally:
        env.close()


# -- rsl_rl -------------------------------------------------------------------------------------


def rsl_rl_settings(config: Config, normalize: bool) -> dict[str, Any]:
    """Return the settings of rsl_rl that stand for those of `config`."""
    ppo = config.ppo
    networks = config.networks
    network = {
        "class_name": "MLPModel",
        "activation": networks.activation,
        "obs_normalization": normalize,
    }
    gaussian = {
        "class_name": "GaussianDistribution",
        "init_std": networks.init_std,
        "std_type": "log",
    }
    return {
        "num_steps_per_env": config.rollout,
        "save_interval": 10**9,
        "obs_groups": {
            "actor": list(networks.actor_groups),
            "critic": list(networks.critic_groups),
        },
        "actor": {**network, "hidden_dims": networks.actor, "distribution_cfg": gaussian},
        "critic": {**network, "hidden_dims": networks.critic},
        "algorithm": {
            "class_name": "PPO",
            "num_learning_epochs": ppo.epochs,
            "num_mini_batches": ppo.minibatches,
            "clip_param": ppo.clip,
            "gamma": ppo.gamma,
            "lam": ppo.gae_lambda,
            "entropy_coef": ppo.entropy,
            "learning_rate": ppo.learning_rate,
            "max_grad_norm": ppo.max_grad_norm,
            "use_clipped_value_loss": ppo.value_clip is not None,
            "schedule": "adaptive",
            "desired_kl": ppo.kl_target,
        },
    }


@contextmanager
def rsl_rl(config: Config, env_id: str, threads: int, normalize: bool) -> Iterator[Iterate]:
    """Train our environment by rsl_rl, with the batch and networks of `config`.

    The critic sees what ours sees, and episodes start at different ages, as ours do.

    Args:
        config: batch, networks and hyperparameters.
        env_id: of Gymnasium, ours.
        threads: of torch; the simulations take all CPUs, as in our training.
        normalize: whether its networks normalize observations, as ours do.
    """
    from rsl_rl.runners import OnPolicyRunner

    from robot_ppo.interop.rsl_rl import RslRlVecEnv

    envs = gymnasium.make_vec(env_id, num_envs=config.num_envs, seed=config.seed)
    silence = contextlib.redirect_stdout(io.StringIO())
    with silence:
        settings = rsl_rl_settings(config, normalize)
        runner = OnPolicyRunner(RslRlVecEnv(envs), settings, log_dir=None, device="cpu")
        runner.learn(0, init_at_random_ep_len=True)

    def iterate() -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        with silence:
            runner.learn(1)
        return time.perf_counter() - begin

    yield iterate
