"""The comparison: settings, tasks, and the order of the runs.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), section 6.1
and Table 1. All runs share the settings in configs/train/ppo_paper.yaml.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from robot_ppo import config
from robot_ppo.config import Config
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

PRESET = "ppo_paper"
TASKS = (
    "HalfCheetah-v5",
    "Hopper-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
)


class Setting(NamedTuple):
    """One row of the table."""

    objective: str
    key: str | None
    """The key that differs between settings of one objective; None if there is one setting."""
    value: float
    paper: float | None = None
    """The paper's average normalized score; None: the paper does not have it."""

    @property
    def name(self) -> str:
        """The objective, and the value if there are several."""
        return self.objective if self.key is None else f"{self.objective}_{self.value:g}"

    def overrides(self) -> list[str]:
        """Return what it changes in the preset."""
        chosen = [] if self.key is None else [f"ppo.{self.key}={self.value}"]
        return [f"ppo.objective={self.objective}", *chosen]


_ROWS = (
    Setting("unclipped", None, 0.0, -0.39),
    Setting("clip", "clip", 0.1, 0.76),
    Setting("clip", "clip", 0.2, 0.82),
    Setting("clip", "clip", 0.3, 0.70),
    Setting("kl_adaptive", "kl_bound", 0.003, 0.68),
    Setting("kl_adaptive", "kl_bound", 0.01, 0.74),
    Setting("kl_adaptive", "kl_bound", 0.03, 0.71),
    Setting("kl_fixed", "beta", 0.3, 0.62),
    Setting("kl_fixed", "beta", 1.0, 0.71),
    Setting("kl_fixed", "beta", 3.0, 0.72),
    Setting("kl_fixed", "beta", 10.0, 0.69),
    Setting("kl_dual", "kl_bound", 0.01),
    Setting("trpo", "kl_bound", 0.01),
)
SETTINGS = {row.name: row for row in _ROWS}

RANDOM = "random"
"""The policy as it is before learning: the zero of every task's scale."""
RANDOM_STEPS = 2**17
"""Enough for 100 episodes of any of the tasks."""
_NO_LEARNING = (
    *("ppo.learning_rate=0", "ppo.critic_learning_rate=0"),
    *("ppo.epochs=1", "ppo.minibatches=1"),
)


class Run(NamedTuple):
    """One training."""

    setting: str
    task: str
    seed: int

    def __str__(self) -> str:
        """Return the run's name."""
        return f"{self.setting} {self.task} seed {self.seed}"

    def config(self, steps: int) -> Config:
        """Return its configuration; `steps` is the budget of a run that learns."""
        if self.setting == RANDOM:
            overrides = list(_NO_LEARNING)
            steps = min(steps, RANDOM_STEPS)
        else:
            overrides = SETTINGS[self.setting].overrides()
        return config.load(self.task, PRESET, overrides, steps=steps, seed=self.seed)


def chosen(names: Sequence[str] | None, known: Collection[str], what: str) -> list[str]:
    """Return those of `known` that are named, all if None, or raise `InputError`."""
    for name in names or ():
        if name not in known:
            raise InputError(f"unknown {what} {name!r}{did_you_mean(name, known)}")
    return [name for name in known if names is None or name in names]


def plan(settings: Sequence[str], tasks: Sequence[str], seeds: int) -> list[Run]:
    """Return all runs in an order of which every beginning is as balanced as can be.

    First the zeros of the scales, then seed by seed all settings of all tasks, task by task: a
    task is comparable as soon as all its settings are there.
    """
    zeros = [Run(RANDOM, task, 1) for task in tasks]
    seeds_ = range(1, seeds + 1)
    return zeros + [Run(s, task, seed) for seed in seeds_ for task in tasks for s in settings]
