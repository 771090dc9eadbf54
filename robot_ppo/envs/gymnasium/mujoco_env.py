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

import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from robot_ppo.envs import serialization
from robot_ppo.envs.batch_env import BatchEnv, merged
from robot_ppo.envs.environment import EXPORTED, Observations
from robot_ppo.envs.episode_metrics import EpisodeMetrics
from robot_ppo.envs.gymnasium.gym_tasks import TASKS, State
from robot_ppo.sim.batch_engine import BatchEngine

MODELS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


class MujocoVectorEnv(BatchEnv):
    """n simulations of one task. Observations are float64 (n, size), rewards float64 (n,)."""

    def __init__(
        self, task: str, num_envs: int = 1, threads: int = 0, seed: int | None = None
    ) -> None:
        """Load the model of `task`, a key of `TASKS`; `threads` 0: all CPUs."""
        super().__init__(num_envs, seed)
        model = _load(MODELS / TASKS[task].xml)
        if not TASKS[task].islands:
            model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
        self.model = model
        self.task = TASKS[task](model)
        self.max_ticks = self.task.max_steps
        # Contact forces are computed from what a step leaves behind in an MjData.
        persistent = self.task.contact_forces
        self.engine = BatchEngine(model, num_envs, threads, persistent)
        self.batch = self.engine.batch
        self._blank = self.batch.state[0].copy()
        self._limits = np.ascontiguousarray(model.actuator_ctrlrange.T.astype(np.float32))
        """Lowest and highest action, (2, k)."""
        self._derived = {name: self.batch.bind(name) for name in self.task.derived}
        if self.task.contact_forces:
            self._scratch = mujoco.MjData(model)
            self._contacts = self.batch.bind("ncon")
            self._derived["cfrc_ext"] = np.zeros((num_envs, model.nbody, 6))
        self.metrics = EpisodeMetrics(num_envs, self.task.terms, ("episode_steps", 1.0))
        self._position = np.zeros(num_envs)
        self._forces_seconds = 0.0
        self._declare_spaces(self.reset()[1]["observations"], *self._limits)

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance by one action each, (n, k)."""
        task = self.task
        taken, wild = self._taken(actions)
        before = self._position.copy()
        action = np.clip(taken, *self._limits)
        self.engine.ctrl[:] = action
        diverged = merged(self._advance(), wild)
        if diverged.size:
            self._quarantine(diverged)
        self.ticks += 1
        state = self._simulated()
        self._position[:] = task.position(state)
        failed = task.failed(state)
        reward, terms = task.reward(state, (self._position - before) / task.dt, action, failed)
        parts = np.array([terms[name] for name in task.terms])
        diverged = self._with_nonfinite(reward, diverged)
        if diverged.size:
            failed[diverged] = True
            reward[diverged] = 0.0
            parts[:, diverged] = 0.0
        truncated = (self.ticks >= self.max_ticks) & ~failed
        self.metrics.add(reward, parts)
        observation = task.observe(state)
        groups = {EXPORTED: observation}
        info: dict[str, Any] = {"observations": groups}
        done = failed | truncated
        ended = np.flatnonzero(done)
        if ended.size:
            info |= self._ended(done, failed, groups)
            self._begin(ended)
            observation[ended] = task.observe(self._simulated(ended))
        return observation, reward, failed, truncated, info

    @property
    def physics_seconds(self) -> float:
        """Wall-clock time spent in physics so far [s]."""
        return self.engine.seconds + self._forces_seconds

    def place(self, ids: np.ndarray) -> None:
        """Take the positions and velocities that `ids` have now for the start of an episode."""
        self.batch.forward(ids, mujoco.mjtStage.mjSTAGE_ACC.value)
        if self.task.contact_forces:
            self._derived["cfrc_ext"][ids] = 0.0  # as Gymnasium, which has not asked for them yet
        self.ticks[ids] = 0
        self._position[ids] = self.task.position(self._simulated(ids))

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
        forces = self._derived["cfrc_ext"]
        data = self._scratch
        forces[:] = 0.0
        for i in np.flatnonzero(self._contacts).tolist():
            self.batch.get_data(i, data)
            mujoco.mj_rnePostConstraint(self.model, data)
            forces[i] = data.cfrc_ext

    def _simulated(self, ids: Any = ...) -> State:
        """Return the rows `ids`; all of them are views that the next step overwrites."""
        derived = {name: values[ids] for name, values in self._derived.items()}
        return State(self.engine.qpos[ids], self.engine.qvel[ids], derived)

    def _present(self) -> Observations:
        """Return the one observation group."""
        return {EXPORTED: self.task.observe(self._simulated())}

    def _begin(self, ids: np.ndarray, anew: bool = False) -> None:
        """Start episodes; nothing is drawn only once."""
        qpos, qvel = self.task.start(len(ids), self._rng)
        self.batch.state[ids] = self._blank
        self.engine.qpos[ids] = qpos
        self.engine.qvel[ids] = qvel
        self.place(ids)

    def _rows(self) -> serialization.State:
        """Return the arrays (n, ...) that the next steps depend on, not copies."""
        return {
            "ticks": self.ticks,
            "position": self._position,
            "simulations": self.batch.state,
        }


def _load(xml: Path) -> mujoco.MjModel:
    """Return the model in `xml`, without MuJoCo's warnings: the files are Gymnasium's to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mujoco.MjModel.from_xml_path(str(xml))
