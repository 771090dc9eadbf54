"""One of Gymnasium's MuJoCo tasks as a `gymnasium.vector.VectorEnv` over native simulations.

    envs = MujocoVectorEnv("HalfCheetah-v5", num_envs=64, seed=1)
    observation, info = envs.reset()                            # (64, 17) float64
    observation, reward, terminated, truncated, info = envs.step(actions)

Same states, actions and numbers as `gymnasium.make(id)`; actions outside the space are clipped to
it. An episode that ends is reset in the same step: `info["final_obs"]` (n, size) then holds the
true last observation in the rows of `info["_final_obs"]`. There is one observation group, `actor`,
in `info["observations"]`. The models are those of the installed
gymnasium package.
"""

import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode

from robot_ppo.envs import serialization
from robot_ppo.envs.gymnasium.gym_tasks import TASKS, State
from robot_ppo.envs.robot.metrics import EpisodeMetrics
from robot_ppo.sim.batch_engine import BatchEngine

log = logging.getLogger(__name__)

MODELS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


class MujocoVectorEnv(gymnasium.vector.VectorEnv):
    """n simulations of one task. Observations are float64 (n, size), rewards float64 (n,)."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self, task: str, num_envs: int = 1, threads: int = 0, seed: int | None = None
    ) -> None:
        """Load the model of `task`, a key of `TASKS`; `threads` 0: all CPUs."""
        model = _load(MODELS / TASKS[task].xml)
        if not TASKS[task].islands:
            model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
        self.model, self.num_envs, self.task = model, num_envs, TASKS[task](model)
        # Contact forces are computed from what a step leaves behind in an MjData.
        persistent = self.task.contact_forces
        self.engine = BatchEngine(model, num_envs, threads, persistent)
        self.batch = self.engine.batch
        self._blank = self.batch.state[0].copy()
        self._limits = np.ascontiguousarray(model.actuator_ctrlrange.T.astype(np.float32))
        """Lowest and highest action, (2, k)."""
        self._derived = {name: self.batch.bind(name) for name in self.task.derived}
        if self.task.contact_forces:
            self._scratch, self._contacts = mujoco.MjData(model), self.batch.bind("ncon")
            self._derived["cfrc_ext"] = np.zeros((num_envs, model.nbody, 6))
        self.metrics = EpisodeMetrics(num_envs, self.task.terms, ("episode_steps", 1.0))
        self.ticks = np.zeros(num_envs, np.int64)
        self._position = np.zeros(num_envs)
        self._forces_seconds = 0.0
        self.diverged = 0
        """Simulations that diverged, since the start."""
        self.on_end: Callable[[np.ndarray], None] | None = None
        """Is called with the ids of episodes that ended, before they start anew."""
        self._rng = np.random.default_rng(seed)
        self._declare_spaces(self.reset()[0].shape[1])

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every episode anew; `seed` (an int, or a list whose first entry counts)."""
        if isinstance(seed, list):
            seed = seed[0]
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        everyone = np.arange(self.num_envs)
        self._start(everyone)
        self.metrics.clear(everyone)
        # Simulations that start together must not end together: their clocks are spread.
        if options and options.get("spread_episodes"):
            self.ticks[:] = self._rng.integers(0, self.task.max_steps, self.num_envs)
        observation = self.task.observe(self._state())
        return observation, {"observations": {"actor": observation}}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance by one action each, (n, k)."""
        task, before = self.task, self._position.copy()
        action = np.clip(np.asarray(actions, np.float32), *self._limits)
        self.engine.ctrl[:] = action
        diverged = self._advance()
        if diverged.size:
            self._quarantine(diverged)
        self.ticks += 1
        state = self._state()
        self._position[:] = task.position(state)
        failed = task.failed(state)
        reward, terms = task.reward(state, (self._position - before) / task.dt, action, failed)
        parts = np.array([terms[name] for name in task.terms])
        if diverged.size:
            failed[diverged], reward[diverged], parts[:, diverged] = True, 0.0, 0.0
        truncated = (self.ticks >= task.max_steps) & ~failed
        self.metrics.add(reward, parts)
        observation = task.observe(state)
        info: dict[str, Any] = {}
        done = failed | truncated
        ended = np.flatnonzero(done)
        if ended.size:
            info |= {"final_obs": observation, "_final_obs": done}
            info |= {"final_observations": {"actor": observation}, "_final_observations": done}
            info |= self.metrics.finished(done, failed[ended])
            if self.on_end:
                self.on_end(ended)
            self._start(ended)
            observation = observation.copy()
            observation[ended] = task.observe(self._state(ended))
        info["observations"] = {"actor": observation}
        return observation, reward, failed, truncated, info

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time spent in physics so far [s]."""
        return self.engine.seconds + self._forces_seconds

    def state_dict(self) -> serialization.State:
        """Return a copy of all that the next steps depend on."""
        return serialization.copy(self._arrays())

    def load_state_dict(self, state: serialization.State) -> None:
        """Go on, bit for bit, from the `state_dict` of as many simulations of the same task.

        Raises:
            InputError: the settings differ in what they need; nothing has changed then.
        """
        serialization.fill(self._arrays(), state)
        self._rng.bit_generator.state = state["rng"]
        self.diverged = state["diverged"]

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Make simulations `target` (m,) exact copies of `source` (m,), no target twice.

        With equal actions they stay equal until an episode ends and another start is drawn.
        """
        serialization.copy_rows(self._rows(), source, target)
        self.metrics.copy_rows(source, target)

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing to close: threads end with the object."""

    def _arrays(self) -> serialization.State:
        """Return what the next steps depend on, arrays as they are."""
        return self._rows() | {
            "rng": self._rng.bit_generator.state,
            "diverged": self.diverged,
            "metrics": self.metrics.arrays(),
        }

    def _rows(self) -> serialization.State:
        """Return the arrays (n, ...) among them."""
        return {
            "ticks": self.ticks,
            "position": self._position,
            "simulations": self.batch.state,
        }

    # -- simulations --------------------------------------------------------------------------

    def _advance(self) -> np.ndarray:
        """Run the physics of one action; return the ids of simulations that have diverged."""
        diverged = self.engine.advance(self.task.frame_skip)
        if self.task.contact_forces:
            begin = time.perf_counter()
            self._read_contact_forces()
            self._forces_seconds += time.perf_counter() - begin
        return diverged

    def _read_contact_forces(self) -> None:
        """Compute `cfrc_ext` as Gymnasium does after a step: from the last substep's contacts.

        With the integrator RK4 these are those of its last stage, which no sensor sees, so every
        simulation's MjData is asked that has a contact; 2 of 10 tasks need it.
        """
        forces, data = self._derived["cfrc_ext"], self._scratch
        forces[:] = 0.0
        for i in np.flatnonzero(self._contacts).tolist():
            self.batch.get_data(i, data)
            mujoco.mj_rnePostConstraint(self.model, data)
            forces[i] = data.cfrc_ext

    def _state(self, ids: Any = ...) -> State:
        """Return the rows `ids`; all of them are views that the next step overwrites."""
        derived = {name: values[ids] for name, values in self._derived.items()}
        return State(self.engine.qpos[ids], self.engine.qvel[ids], derived)

    def _start(self, ids: np.ndarray) -> None:
        """Start episodes anew."""
        qpos, qvel = self.task.start(len(ids), self._rng)
        self.batch.state[ids] = self._blank
        self.engine.qpos[ids], self.engine.qvel[ids] = qpos, qvel
        self.place(ids)

    def place(self, ids: np.ndarray) -> None:
        """Take the positions and velocities that `ids` have now for the start of an episode."""
        self.batch.forward(ids, mujoco.mjtStage.mjSTAGE_ACC.value)
        if self.task.contact_forces:
            self._derived["cfrc_ext"][ids] = 0.0  # as Gymnasium, which has not asked for them yet
        self.ticks[ids] = 0
        self._position[ids] = self.task.position(self._state(ids))

    def _quarantine(self, ids: np.ndarray) -> None:
        """Take diverged simulations out of the arithmetic; they count as failures."""
        self.diverged += len(ids)
        log.warning(
            "simulations %s diverged and were reset (%d so far)", ids.tolist(), self.diverged
        )
        self._start(ids)

    def _declare_spaces(self, size: int) -> None:
        self.observation_groups = {"actor": size}
        box = gymnasium.spaces.Box
        self.single_observation_space = box(-np.inf, np.inf, (size,), np.float64)
        self.single_action_space = box(*self._limits, dtype=np.float32)
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, self.num_envs)
        self.action_space = batch(self.single_action_space, self.num_envs)


def _load(xml: Path) -> mujoco.MjModel:
    """Return the model in `xml`, without MuJoCo's warnings: the files are Gymnasium's to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mujoco.MjModel.from_xml_path(str(xml))
