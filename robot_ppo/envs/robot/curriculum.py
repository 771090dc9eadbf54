"""Curriculum: name -> f(progress, *, parameters) -> the level, between 0 and 1.

Called when episodes have ended, with what they achieved; the level it returns is kept, is part of
the environment's state and is a column of the log, `curriculum_<name>`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.placement import Placement
from robot_ppo.envs.robot.rewards import Rewards
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Entries, Fraction, Positive, Table

CURRICULUM = Table("curriculum term")


@dataclass(frozen=True)
class Progress:
    """Progress of a training, and the parts that a curriculum may change."""

    level: float
    """Level, as this term left it; 0 at the start."""
    episode: Mapping[str, np.ndarray] | None
    """Figures of the episodes that ended, (m,) each: length [s], reward sums. None at the start,
    and where a state was loaded: the level stays, and is to be applied."""
    rewards: Rewards
    commands: CommandSource
    placement: Placement | None
    """None on level ground."""

    def check_watched(self, name: str, key: str) -> None:
        """Raise `SettingError` at a key that names a reward of which nothing can be known."""
        if name not in self.rewards.terms:
            hint = strict.did_you_mean(name, self.rewards.terms)
            raise SettingError(key, f"unknown {name!r}{hint}")
        if self.rewards.terms[name].own["weight"] == 0:
            raise SettingError(
                key,
                f"{name!r} has weight 0, by which it cannot be told what was earned; give "
                f"`task.rewards.{name}` a weight, or watch another reward",
            )

    def mean_reward(self, name: str) -> float:
        """Return the mean of a reward's value, unweighted, over the steps of those episodes."""
        assert self.episode is not None
        weight = self.rewards.terms[name].own["weight"]
        return float(self.episode[f"reward_{name}"].sum() / weight / self.episode["length"].sum())


@CURRICULUM.add()
def command_range(
    progress: Progress, *, reward: str, above: float, step: Positive, narrowest: Fraction
) -> float:
    """Commands are drawn from `narrowest` of their ranges at first, from all of them in the end.

    Whenever the episodes that end earn more than `above` of `reward` (unweighted, its mean over
    their steps), the level rises by `step` per simulation that ended, over all simulations.
    """
    progress.check_watched(reward, "task.curriculum.command_range.reward")
    level = progress.level
    if progress.episode is not None and progress.mean_reward(reward) > above:
        share = len(progress.episode["length"]) / len(progress.commands.values)
        level = min(1.0, level + step * share)
    progress.commands.width = narrowest + (1.0 - narrowest) * level
    return level


@CURRICULUM.add("terrain")
def terrain_level(progress: Progress, *, fraction: Fraction = 0.5) -> float:
    """Each simulation's ground gets harder when it left its tile, and easier when it failed.

    It failed too when it went less than `fraction` of the way that its commands asked for by the
    time limit. Who leaves the hardest tile gets any. The level is the mean over simulations.
    """
    assert progress.placement is not None
    return progress.placement.change_levels(fraction)


class Curriculum:
    """The levels of a task's curriculum terms."""

    def __init__(
        self,
        entries: Entries,
        robot: RobotSpec,
        rewards: Rewards,
        commands: CommandSource,
        has: frozenset[str] = frozenset(),
        placement: Placement | None = None,
    ) -> None:
        """Resolve the terms and start at level 0."""
        self.terms = CURRICULUM.resolve("task.curriculum", entries, robot.joint_names, has)
        self.rewards = rewards
        self.commands = commands
        self.placement = placement
        self.levels = np.zeros(len(self.terms))
        self.restart()

    def restart(self) -> None:
        """Put every level to 0 and everyone on no tile, and apply that."""
        if self.placement is not None:
            self.placement.restart()
        self.levels[:] = 0.0
        self.advance()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next steps depend on, not copies."""
        return {"levels": self.levels} if self.terms else {}

    def figures(self) -> dict[str, float]:
        """Return the levels for the log."""
        levels = zip(self.terms, self.levels.tolist(), strict=True)
        grounds = self.placement.figures() if self.placement else {}
        return {f"curriculum_{name}": level for name, level in levels} | grounds

    def advance(self, episode: Mapping[str, np.ndarray] | None = None) -> None:
        """Take the episodes that ended into account; without any, apply the levels as they are."""
        for i, term in enumerate(self.terms.values()):
            level = float(self.levels[i])
            progress = Progress(level, episode, self.rewards, self.commands, self.placement)
            self.levels[i] = term.function(progress)
