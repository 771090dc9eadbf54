"""The environment that training stands on, and its observation groups."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium.spaces import Box

from robot_ppo.envs.episode_metrics import EpisodeMetrics
from robot_ppo.envs.serialization import State
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError

Observations = dict[str, Array]
"""Group -> (n, size of the group)."""
EXPORTED = "actor"
"""The group that `reset` and `step` return, and that leaves the lab: what a robot can measure."""


class Environment(Protocol):
    """n simulations of one task: a `gymnasium.vector.VectorEnv` and a little more.

    `batch_env.BatchEnv` is what those on the native engine share.

    An observation comes in groups, each an array (n, k); networks name the groups that they read.
    Every `info["observations"]` holds all groups by name; group `actor` is also what `reset` and
    `step` return. Where episodes ended, `final_obs` (n, size) and `final_observations`, all groups,
    hold the true last observations in the rows of `_final_obs` (n,) bool.
    """

    @property
    def num_envs(self) -> int:
        """Number of simulations, n."""
        ...

    @property
    def observation_groups(self) -> dict[str, int]:
        """Name -> size of every group; `actor` is one of them."""
        ...

    @property
    def single_observation_space(self) -> Box:
        """(size,) of group `actor`."""
        ...

    @property
    def single_action_space(self) -> Box:
        """(k,); actions outside are clipped by the environment."""
        ...

    @property
    def metrics(self) -> EpisodeMetrics:
        """Figures of the episodes."""
        ...

    @property
    def diverged(self) -> int:
        """Simulations that left the finite numbers, since the start."""
        ...

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time spent in physics so far [s]."""
        ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start every episode anew; `options["spread_episodes"]`: at different ages, if it can."""
        ...

    def step(self, actions: Array) -> tuple[Array, Array, np.ndarray, np.ndarray, dict[str, Any]]:
        """Return observation, reward, terminated, truncated and info after actions (n, k)."""
        ...

    def state_dict(self) -> State:
        """Return a copy of all that the next steps depend on; nothing where it is out of reach."""
        ...

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Make simulations `target` (m,) exact copies of `source` (m,), or raise `InputError`.

        With equal actions they stay equal but for what is drawn on the way (noise, pushes, new
        commands, resets). No id stands twice in `target`.
        """
        ...

    def load_state_dict(self, state: State) -> None:
        """Go on, bit for bit, from a `state_dict`; an `InputError` where that cannot be."""
        ...

    def reached(self) -> State:
        """Return what training made of the environment, in plain numbers by name; often nothing.

        It is for another number of simulations, other settings: what a `state_dict` is not.
        """
        ...

    def go_on_from(self, reached: State) -> None:
        """Let episodes from the next `reset` on, one without a seed, go on from what was reached.

        What it does not name stays, and what the environment does not have is passed over.
        """
        ...


def group_size(env: Environment, groups: Sequence[str], key: str) -> int:
    """Return the size of several observation groups side by side.

    Args:
        env: that has them.
        groups: names.
        key: of the configuration that names them, for the error.

    Raises:
        InputError: the task has no such group, or one is named twice.
    """
    known = env.observation_groups
    for i, name in enumerate(groups):
        if name in groups[:i]:
            raise InputError(f"`{key}`: names the group {name!r} twice; name each once")
        if name not in known:
            hint = did_you_mean(name, known)
            raise InputError(f"`{key}`: the task has no observation group {name!r}{hint}")
    return sum(known[name] for name in groups)


def join(observations: Mapping[str, Array], groups: Sequence[str]) -> Array:
    """Return several groups side by side, (n, their size); a single group is not copied."""
    if len(groups) == 1:
        return observations[groups[0]]
    parts = [observations[name] for name in groups]
    return namespace(parts[0]).concat(parts, axis=-1)
