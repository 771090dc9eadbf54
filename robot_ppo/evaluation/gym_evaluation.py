"""`robot-ppo eval` for a task of Gymnasium: the return of whole episodes, without exploration.

score = evaluate(config, load_actor(config, checkpoint))
print(score.mean, score.std)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_ppo import config as configs
from robot_ppo import envs
from robot_ppo.config import Config, GymTask
from robot_ppo.envs.environment import join
from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv
from robot_ppo.evaluation import recorded
from robot_ppo.ppo.acting import Acting
from robot_ppo.ppo.networks import Actor
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

EPISODES = 20
QUICK = 5
FRESH = 1_000_000
"""Is added to the seed: no training starts from there."""
LONGEST = 100_000
"""Steps after which an episode is taken for endless."""
LONGEST_UNLIMITED = 5_000
"""The same where Gymnasium knows no time limit: it would take minutes to find out otherwise."""


@dataclass(frozen=True)
class Returns:
    """The episodes of one policy."""

    returns: np.ndarray
    """(episodes,) sums of rewards"""
    lengths: np.ndarray
    """(episodes,) [steps]"""

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def std(self) -> float:
        """The standard deviation of the returns over episodes."""
        return float(self.returns.std())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "return_mean": self.mean,
            "return_std": self.std,
            "episodes": len(self.returns),
            "length_mean": float(self.lengths.mean()),
            "returns": self.returns.tolist(),
        }


def evaluate(
    config: Config,
    actor: Actor,
    episodes: int = EPISODES,
    seed: int = 0,
    longest: int | None = None,
) -> Returns:
    """Return the score of the actor's mean action, one episode in each of so many simulations.

    Args:
        config: of the training.
        actor: of observations (n, size).
        episodes: how many.
        seed: of the starts; another than any training's.
        longest: steps after which an episode that goes on is an `InputError`; None: `LONGEST`, or
            `LONGEST_UNLIMITED` where no time limit is registered, which is printed.
    """
    env = envs.make(config, episodes, FRESH + seed)
    unlimited = isinstance(env, ForeignVectorEnv) and env.time_limit is None
    if longest is None:
        longest = LONGEST_UNLIMITED if unlimited else LONGEST
    if unlimited:
        print(f"{config.task.name}: no time limit is registered; at most {longest} steps are taken")
    info = env.reset()[1]
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    running = np.ones(episodes, bool)
    act = Acting(actor)
    while running.any():
        inputs = join(info["observations"], config.networks.actor_groups)
        _, reward, failed, cut, info = env.step(act(inputs.astype(np.float32)))
        returns += np.where(running, reward, 0.0)
        lengths += running
        running &= ~(failed | cut)
        if lengths.max() >= longest and running.any():
            remedy = "; register the id with max_episode_steps to score it" if unlimited else ""
            raise InputError(
                f"{config.task.name}: an episode has no end after {longest} steps{remedy}"
            )
    return Returns(returns, lengths)


def is_run(source: Path) -> bool:
    """Return whether `source` is the folder of a run of a Gymnasium task."""
    if not (source / "config.yaml").is_file():
        return False
    return isinstance(configs.load_run(source).task, GymTask)


def run(
    source: Path, json: Path | None, quick: bool = False, threads: int = 0, seed: int = 0
) -> Returns:
    """Score the newest checkpoint of a run, print it, and write JSON if asked."""
    checkpoints = Checkpoints(source)
    checkpoint = checkpoints.newest()
    config = msgspec.structs.replace(checkpoints.settings(checkpoint), threads=threads)
    episodes = QUICK if quick else EPISODES
    score = evaluate(config, load_actor(config, checkpoint), episodes, seed)
    print(
        f"{config.task.name}: return {score.mean:.1f}, std {score.std:.1f}, over "
        f"{len(score.returns)} episodes of {score.lengths.mean():.0f} steps on average"
    )
    recorded.record(source, checkpoint.steps, {"": {"return": score.mean}})
    if json:
        source_ = {"run": str(source), "steps": checkpoint.steps, "seed": seed}
        data = {"task": config.task.name, **score.to_json(), "source": source_}
        write_atomically(json, msgspec.json.format(msgspec.json.encode(data)) + b"\n")
    return score
