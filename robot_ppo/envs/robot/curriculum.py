"""Curriculum: name -> f(progress, *, parameters) -> the level, between 0 and 1.

Called when episodes have ended, with what they achieved; the level it returns is kept, is part of
the environment's state and is a column of the log, `curriculum_<name>`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.placement import Placement
from robot_ppo.envs.robot.rewards import Rewards
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Entries, Fraction, Positive, Table

CURRICULUM = Table("curriculum term")
FEWEST = 64
"""Episodes that are judged together, at least."""


@dataclass(frozen=True)
class Progress:
    """Progress of a training, and the parts that a curriculum may change."""

    level: float
    """Level, as this term left it; 0 at the start."""
    sums: np.ndarray
    """(3,) what this term adds up between calls, in place; 0 at the start, part of the state."""
    episode: Mapping[str, np.ndarray] | None
    """Figures of the episodes that ended, (m,) each: length [s], reward sums, whether they failed.
    None at the start, and where a state was loaded: the level stays, and is to be applied."""
    full: float
    """Length of an episode up to its time limit [s]."""
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

    def mean_reward(self, name: str) -> float | None:
        """Return the mean of a reward's value, unweighted, over the steps of many episodes.

        It is known when as many have ended as there are simulations, `FEWEST` at least, since it
        was known last; else it is None. One that failed counts with its full length, of which it
        earned nothing in the rest: who falls at once would else be judged by its best moment.
        """
        if self.episode is not None:
            weight = self.rewards.terms[name].own["weight"]
            lengths = np.where(self.episode["failed"] > 0, self.full, self.episode["length"])
            earned = self.episode[f"reward_{name}"].sum() / weight
            self.sums[:] += (earned, lengths.sum(), len(lengths))
        earned, seconds, episodes = self.sums.tolist()
        if episodes < max(FEWEST, len(self.commands.values)):
            return None
        self.sums[:] = 0.0
        return earned / seconds


@CURRICULUM.add()
def command_range(
    progress: Progress, *, reward: str, above: float, step: Positive, narrowest: Fraction
) -> float:
    """Commands are drawn from `narrowest` of their ranges at first, from all of them in the end.

    Whenever as many episodes have ended as there are simulations, 64 at least, they are judged
    together: the level rises by `step` if they earned more than `above` of `reward` (unweighted,
    its mean over their steps, those too that one that failed did not come to). It never falls.
    """
    progress.check_watched(reward, "task.curriculum.command_range.reward")
    level = progress.level
    mean = progress.mean_reward(reward)
    if mean is not None and mean > above:
        level = min(1.0, level + step)
    progress.commands.width = narrowest + (1.0 - narrowest) * level
    return level


@CURRICULUM.add("terrain", "commands.twist")
def terrain_level(progress: Progress, *, fraction: Fraction = 0.5) -> float:
    """Each simulation's ground gets harder when it left its tile, and easier when it failed.

    It failed too when it went less than `fraction` of the way that its commands asked for by the
    time limit. Who leaves the hardest tile gets any. The level is the mean over simulations.
    """
    assert progress.placement is not None
    progress.placement.change_levels(fraction)
    return progress.placement.level()


class Curriculum:
    """The levels of a task's curriculum terms."""

    def __init__(
        self,
        entries: Entries,
        robot: RobotSpec,
        rewards: Rewards,
        commands: CommandSource,
        episode_length: float,
        has: frozenset[str] = frozenset(),
        placement: Placement | None = None,
    ) -> None:
        """Resolve the terms and start at level 0; an episode's time limit is `episode_length` [s].

        `has` are the task's parts.
        """
        self.terms = CURRICULUM.resolve("task.curriculum", entries, robot.joint_names, has)
        self.rewards = rewards
        self.commands = commands
        self.placement = placement
        self.episode_length = episode_length
        self.levels = np.zeros(len(self.terms))
        self.sums = np.zeros((len(self.terms), 3))
        self.restart()

    def restart(self) -> None:
        """Put every level to 0 and everyone on no tile, and apply that."""
        if self.placement is not None:
            self.placement.restart()
        self.levels[:] = 0.0
        self.sums[:] = 0.0
        self.advance()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next steps depend on, not copies."""
        return {"levels": self.levels, "sums": self.sums} if self.terms else {}

    def reached(self) -> dict[str, Any]:
        """Return the levels in plain numbers: of each term, and who is where on the ground."""
        if not self.terms:
            return {}
        levels = dict(zip(self.terms, self.levels.tolist(), strict=True))
        if self.placement is None or not self.placement.rising:
            return {"levels": levels}
        return {"levels": levels, "grounds": self.placement.counts()}

    def go_on_from(self, reached: Mapping[str, Any], rng: np.random.Generator) -> None:
        """Take up what `reached` returned, of another number of simulations or on other ground."""
        for i, name in enumerate(self.terms):
            self.levels[i] = reached.get("levels", {}).get(name, self.levels[i])
        if self.placement is not None and self.placement.rising:
            self.placement.take_up(reached.get("grounds", {}), rng)
        self.advance()

    def figures(self) -> dict[str, float]:
        """Return the levels for the log."""
        levels = dict(zip(self.terms, self.levels.tolist(), strict=True))
        grounds = {}
        if self.placement is not None and self.placement.rising:
            levels["terrain_level"] = self.placement.level()  # with those drawn since it was asked
            grounds = self.placement.figures()
        return {f"curriculum_{name}": level for name, level in levels.items()} | grounds

    def advance(self, episode: Mapping[str, np.ndarray] | None = None) -> None:
        """Take the episodes that ended into account; without any, apply the levels as they are."""
        for i, term in enumerate(self.terms.values()):
            progress = Progress(
                float(self.levels[i]),
                self.sums[i],
                episode,
                self.episode_length,
                self.rewards,
                self.commands,
                self.placement,
            )
            self.levels[i] = term.function(progress)
