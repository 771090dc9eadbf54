"""Any other Gymnasium environment with Box spaces, through `gymnasium.make_vec`.

Its simulations are stepped one after the other by Gymnasium, with episodes that end reset in the
same step. Observations and actions are flattened. Where an action has finite bounds, [-1, 1] is
scaled to them, because that is where a policy starts to explore; with one finite bound it is the
range of width 2 at that bound. Actions are clipped to the space, and rounded where it has integers.
A reward or an observation that is not a finite number ends the run before it is learned from.
"""

import logging
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from robot_ppo.envs.environment import EXPORTED
from robot_ppo.envs.episode_metrics import EpisodeMetrics
from robot_ppo.envs.gymnasium import foreign_ids
from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)

UNBOUNDED = 1e30
"""A bound from here on says no more than that the number is finite; nothing is scaled to it."""
UNBOUNDED_INTEGER = 2.0**31 - 1.0
"""The same for integers: the largest of 32 bits."""


class ForeignVectorEnv:
    """n environments of the Gymnasium id. Observations are float32 (n, size)."""

    diverged = 0

    def __init__(
        self, id: str, num_envs: int = 1, seed: int | None = None, render_mode: str | None = None
    ) -> None:
        """Make them, or raise `InputError` that says what cannot be trained or shown."""
        self.num_envs = num_envs
        self._seed = seed
        self._id = id
        self._envs = foreign_ids.make(id, num_envs, render_mode)
        self.time_limit = foreign_ids.time_limit(id)
        """The registered `max_episode_steps`; None: an episode may have no end."""
        if self.time_limit is None:
            log.warning(
                "gym:%s is registered without max_episode_steps: an episode has no time limit but "
                "what the environment itself may have",
                id,
            )
        self._observations = _box(id, "observation", self._envs.single_observation_space)
        self._actions = _box(id, "action", self._envs.single_action_space)
        self.single_observation_space = _flat(self._observations)
        self._scaling = _Scaling(self._actions)
        self.single_action_space = self._scaling.space
        self.observation_groups = {EXPORTED: self.single_observation_space.shape[0]}
        self.metrics = EpisodeMetrics(num_envs, (), ("episode_steps", 1.0))
        self.physics_seconds = 0.0
        """Wall-clock time spent in the environments so far [s]."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every episode anew; all at age 0, for their clocks are their own."""
        if seed is None:
            seed = self._seed
        self._seed = None
        observation, _ = self._envs.reset(seed=seed)
        self.metrics.clear(np.arange(self.num_envs))
        flat = self._finite("observation", _rows(observation))
        return flat, {"observations": {EXPORTED: flat}}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance by one action each, (n, k).

        Raises:
            InputError: an observation or a reward is not a finite float32, or the environment
                raises.
        """
        action = self._scaling.apply(actions)
        begin = time.perf_counter()
        stepped = self._envs.step(action.reshape(self.num_envs, *self._actions.shape))
        self.physics_seconds += time.perf_counter() - begin
        rows = _rows(stepped[0])
        reward, failed, cut = stepped[1:4]
        cut = cut & ~failed
        done = failed | cut
        ended = np.flatnonzero(done)
        last = rows.copy()
        if ended.size:
            last[ended] = _rows(np.stack(stepped[4]["final_obs"][ended]))
        self._finite("reward", np.reshape(reward, (-1, 1)))
        final = self._finite("observation", last)
        observation = self._finite("observation", rows)
        self.metrics.add(reward, np.zeros((0, self.num_envs)))
        info: dict[str, Any] = {"observations": {EXPORTED: observation}}
        if ended.size:
            info |= {"final_obs": final, "_final_obs": done}
            info |= {"final_observations": {EXPORTED: final}, "_final_observations": done}
            info |= self.metrics.finished(done, failed[ended])
        return observation, reward, failed, cut, info

    @property
    def metadata(self) -> dict[str, Any]:
        """The environments' own."""
        return self._envs.metadata

    def render(self) -> Any:
        """Return what the environments' own `render` gives: as a rule one picture of each.

        Raises:
            InputError: drawing fails, often as a library of theirs is missing.
        """
        try:
            return self._envs.render()
        except Exception as error:  # whatever the code of its author raises
            raise InputError(f"gym:{self._id}: cannot be drawn ({error})") from error

    def close(self) -> None:
        """Close the environments, and their windows."""
        self._envs.close()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: Gymnasium cannot ask an environment for its state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise `InputError`: a resumed run starts new episodes."""
        raise InputError("Gymnasium's environments cannot be saved")

    def reached(self) -> dict[str, Any]:
        """Return nothing: what training made of an environment is in the networks alone."""
        return {}

    def go_on_from(self, reached: dict[str, Any]) -> None:
        """Pass over everything."""

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Raise `InputError`: one environment cannot take over another's state."""
        raise InputError("Gymnasium's environments cannot be copied")

    def _finite(self, what: str, rows: np.ndarray) -> np.ndarray:
        """Return `rows` (n, k) as float32, or raise `InputError` that names an entry beyond it."""
        with np.errstate(over="ignore"):
            learned = rows.astype(np.float32)
        if np.isfinite(learned).all():
            return learned
        simulation, entry = np.argwhere(~np.isfinite(learned))[0].tolist()
        value = rows[simulation, entry]
        which = f"entry {entry} of the {what}" if what == "observation" else f"the {what}"
        large = ", too large for float32 (at most 3.4e38)," if np.isfinite(value) else ""
        step = self.metrics.counts[simulation] + 1
        raise InputError(
            f"gym:{self._id}: {which} is {value}{large} in simulation {simulation}, "
            f"step {step} of its episode; mend the environment: nothing was learned from it"
        )


class _Scaling:
    """Maps a policy's actions (n, k) into the bounds of an environment's."""

    def __init__(self, bounds: Box) -> None:
        self._dtype = bounds.dtype
        self._low = bounds.low.ravel().astype(np.float64)
        self._high = bounds.high.ravel().astype(np.float64)
        self._whole = not np.issubdtype(bounds.dtype, np.floating)
        unbounded = UNBOUNDED_INTEGER if self._whole else UNBOUNDED
        above = np.abs(self._low) < unbounded
        below = np.abs(self._high) < unbounded
        lowest = np.where(above, self._low, np.where(below, self._high - 2.0, -1.0))
        highest = np.where(below, self._high, np.where(above, self._low + 2.0, 1.0))
        if self._whole:  # every integer is as wide as the others, the first and the last, too
            lowest -= 0.5
            highest += 0.5
        self._middle = (lowest + highest) / 2
        self._half = (highest - lowest) / 2
        space_low = np.where(above, -1.0, -np.inf).astype(np.float32)
        space_high = np.where(below, 1.0, np.inf).astype(np.float32)
        self.space = Box(space_low, space_high, dtype=np.float32)
        """Space of the policy's actions."""

    def apply(self, actions: np.ndarray) -> np.ndarray:
        """Return actions in the environment's units and dtype, clipped to its bounds."""
        scaled = self._middle + self._half * actions
        if self._whole:
            scaled = np.rint(scaled)
        return np.clip(scaled, self._low, self._high).astype(self._dtype)


def _box(id: str, what: str, space: gymnasium.Space) -> Box:
    """Return a Box space that has numbers, or say that it is not one."""
    if not isinstance(space, Box):
        raise InputError(
            f"gym:{id}: its {what} space is {type(space).__name__}; only continuous tasks can be "
            "trained, with a Box of observations and a Box of actions"
        )
    if 0 in space.shape:
        raise InputError(
            f"gym:{id}: its {what} space has shape {space.shape}, which holds no number; give it "
            "one or more"
        )
    if not (space.low <= space.high).all():
        raise InputError(
            f"gym:{id}: its {what} space has a bound that is not a number, or low above high; "
            "mend its bounds"
        )
    return space


def _rows(observations: np.ndarray) -> np.ndarray:
    """Return observations (n, ...) as (n, size)."""
    return observations.reshape(len(observations), -1)


def _flat(space: Box) -> Box:
    low = space.low.ravel().astype(np.float32)
    high = space.high.ravel().astype(np.float32)
    return Box(low, high, dtype=np.float32)
