"""Base of every environment on the native engine: seeds, ages, ends, states, spaces.

A subclass builds its engine, declares its spaces with the observation of its first reset, and
writes `step`, with `_quarantine` and `_ended` at their places in it. What a task is, it says in

- `_begin(ids, anew)`: start the episodes `ids`; `anew`: everything begins, as after a seed;
- `_present()`: the observation groups of everyone, now;
- `_rows()`, `_shared()`, `_restored()`: the arrays that the next steps depend on, those with a
  row per simulation and the others, and what follows from them.
"""

import logging
from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

from robot_ppo.envs import serialization
from robot_ppo.envs.environment import EXPORTED, Observations
from robot_ppo.envs.episode_metrics import EpisodeMetrics
from robot_ppo.sim.batch_engine import BatchEngine
from robot_ppo_export.contract.frames import Array, namespace

log = logging.getLogger(__name__)


class BatchEnv(gymnasium.vector.VectorEnv):
    """n simulations of one task on one engine; an episode that ends starts anew in its step."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012
    engine: BatchEngine
    metrics: EpisodeMetrics
    single_observation_space: Box
    single_action_space: Box

    def __init__(self, num_envs: int, seed: int | None) -> None:
        """Start with no age, no divergence, and a generator from `seed`."""
        self.num_envs = num_envs
        self.max_ticks = 0
        """An episode is cut off after so many control steps."""
        self.ticks = np.zeros(num_envs, np.int64)
        """(n,) age of the running episodes in control steps"""
        self.diverged = 0
        """Simulations that left the finite numbers, since the start."""
        self.observation_groups: dict[str, int] = {}
        """Name -> size."""
        self.on_end: Callable[[np.ndarray], None] | None = None
        """Is called with the ids of episodes that ended, before they start anew."""
        self._rng = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start every episode anew.

        Args:
            seed: an int: what follows is the same after the same seed, so a curriculum begins
                again, and what is drawn once is drawn again; None: generator, curriculum and what
                was drawn once go on. A list must be the n consecutive numbers that Gymnasium makes
                of an int.
            options: `spread_episodes`: at different ages, because simulations that start together
                must not end together.

        Raises:
            ValueError: another list, or a `reset_mask`.
        """
        if options and options.get("reset_mask") is not None:
            raise ValueError(
                "reset_mask: some of the simulations cannot be reset; each starts anew in the step "
                "in which its episode ends, and reset() without a mask starts all"
            )
        first = _first_seed(seed, self.num_envs)
        if first is not None:
            self._rng = np.random.default_rng(first)
        everyone = np.arange(self.num_envs)
        self._begin(everyone, anew=first is not None)
        self.metrics.clear(everyone)
        if options and options.get("spread_episodes"):
            self.ticks[:] = self._rng.integers(0, self.max_ticks, self.num_envs)
        groups = self._present()
        return groups[EXPORTED], {"observations": groups}

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time spent in physics so far [s]."""
        return self.engine.seconds

    def state_dict(self) -> serialization.State:
        """Return a copy of all that the next steps depend on."""
        return serialization.copy(self._state())

    def load_state_dict(self, state: serialization.State) -> None:
        """Go on, bit for bit, from the `state_dict` of an environment with the same settings.

        Raises:
            InputError: the settings differ in what they need; nothing has changed then.
        """
        serialization.fill(self._state(), state)
        self._rng.bit_generator.state = state["rng"]
        self.diverged = state["diverged"]
        self._restored(None)

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Make simulations `target` (m,) exact copies of `source` (m,), no target twice.

        Physics, clocks, histories, the episode's sums so far: with equal actions they differ from
        then on only in what is drawn (noise, pushes, commands, resets). What they observed last is
        the caller's to copy.
        """
        serialization.copy_rows(self._rows(), source, target)
        self.metrics.copy_rows(source, target)
        self._restored(target)

    def reached(self) -> serialization.State:
        """Return what training made of the environment: nothing, unless a task says otherwise."""
        return {}

    def go_on_from(self, reached: serialization.State) -> None:
        """Let the episodes after the next reset go on from what an earlier run had reached."""

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing to close: threads end with the object."""

    # -- what a task says ---------------------------------------------------------------------

    def _begin(self, ids: np.ndarray, anew: bool = False) -> None:
        """Start the episodes of `ids`.

        With `anew`, which is for all of them at once, what was drawn once is drawn again, and what
        training made of the environment is back at its beginning.
        """
        raise NotImplementedError

    def _present(self) -> Observations:
        """Return every observation group of all simulations."""
        raise NotImplementedError

    def _rows(self) -> serialization.State:
        """Return the arrays (n, ...) that the next steps depend on, not copies."""
        raise NotImplementedError

    def _shared(self) -> serialization.State:
        """Return the arrays without a row per simulation that they depend on, not copies.

        A text among them says what the state belongs to: with another, it is refused.
        """
        return {}

    def _restored(self, ids: np.ndarray | None) -> None:
        """Compute what follows from `_rows` that were written, of `ids`; None: all, and `_shared`.

        Nothing, unless a task says otherwise.
        """

    # -- the parts of a step that are everyone's ------------------------------------------------

    def _taken(self, actions: Array, order: Literal["C", "F"] = "C") -> tuple[Array, np.ndarray]:
        """Return a copy of actions (n, k), float32, and the ids of those that are not finite.

        Theirs are zero in it, and they count as diverged.

        Raises:
            ValueError: there is not one row of k numbers for each simulation.
        """
        with np.errstate(over="ignore"):
            taken = np.array(actions, np.float32, order=order)
        self._check_shape(taken.shape)
        wild = np.flatnonzero(~np.isfinite(taken).all(axis=1))
        taken[wild] = 0.0
        return taken, wild

    def _check_shape(self, given: tuple[int, ...]) -> None:
        """Raise `ValueError` unless there is one row of k numbers for each simulation."""
        shape = (self.num_envs, *self.single_action_space.shape)
        if tuple(given) != shape:
            raise ValueError(
                f"the actions have shape {tuple(given)}, and {shape} is needed: one row for each "
                "simulation"
            )

    def _quarantine(self, ids: np.ndarray) -> None:
        """Take diverged simulations out of the arithmetic; they count as failures."""
        self._count_diverged(ids)
        self._begin(ids)

    def _with_nonfinite(self, reward: np.ndarray, diverged: np.ndarray) -> np.ndarray:
        """Return `diverged` and the ids of rewards (n,) that are not finite, which it counts."""
        ids = np.flatnonzero(~np.isfinite(reward))
        if not ids.size:
            return diverged
        more = np.setdiff1d(ids, diverged)
        if more.size:
            self._count_diverged(more)
        return np.union1d(diverged, more)

    def _count_diverged(self, ids: np.ndarray) -> None:
        self.diverged += len(ids)
        log.warning(
            "simulations %s diverged and were reset (%d so far)", ids.tolist(), self.diverged
        )

    def _ended(self, done: np.ndarray, failed: np.ndarray, groups: Observations) -> dict[str, Any]:
        """Return what `info` says about episodes that ended, and count them.

        Args:
            done: (n,) bool.
            failed: (n,) bool.
            groups: everyone's true last observations; what is returned holds copies of the rows
                that ended, and zeros.
        """
        ids = np.flatnonzero(done)
        if self.on_end:
            self.on_end(ids)
        final = {name: _only(ids, rows) for name, rows in groups.items()}
        return {
            "final_obs": final[EXPORTED],
            "_final_obs": done,
            "final_observations": final,
            "_final_observations": done,
            **self.metrics.finished(done, failed[ids]),
        }

    # -- construction ---------------------------------------------------------------------------

    def _declare_spaces(self, groups: Observations, low: Any, high: Any) -> None:
        """Declare observations like `groups`, without bounds, and actions from `low` to `high`."""
        self.observation_groups = {name: rows.shape[1] for name, rows in groups.items()}
        rows = groups[EXPORTED]
        self.single_observation_space = Box(-np.inf, np.inf, rows.shape[1:], rows.dtype.type)
        self.single_action_space = Box(low, high, dtype=np.float32)
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, self.num_envs)
        self.action_space = batch(self.single_action_space, self.num_envs)

    def _state(self) -> serialization.State:
        """Return what the next steps depend on, arrays as they are."""
        return {
            **self._rows(),
            **self._shared(),
            "rng": self._rng.bit_generator.state,
            "diverged": self.diverged,
            "metrics": self.metrics.arrays(),
        }


def merged(ids: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Return the sorted ids of both; often there are no more."""
    return np.union1d(ids, more) if more.size else ids


def _first_seed(seed: int | list[int | None] | None, n: int) -> int | None:
    """Return the one seed of n simulations that share a generator, or raise `ValueError`."""
    if not isinstance(seed, list | tuple | np.ndarray):
        return seed
    given = list(seed)
    if given == [None] * n:
        return None
    first = given[0] if given else None
    if first is None or given != [first + i for i in range(n)]:
        raise ValueError(
            f"seed={given}: the {n} simulations share one random generator; give one int, or the "
            f"{n} consecutive ones that Gymnasium makes of it"
        )
    return first


def _only(ids: np.ndarray, rows: Array) -> Array:
    """Return rows (n, k) of which all but `ids` are zero: few are copied where few ended."""
    xp = namespace(rows)
    some = xp.zeros(rows.shape, dtype=rows.dtype, device=rows.device)
    some[ids] = rows[ids]
    return some
