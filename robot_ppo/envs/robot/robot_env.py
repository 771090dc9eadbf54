"""One task as a `gymnasium.vector.VectorEnv` over native simulations.

One control step, in this order and no other:

1. action -> joint target (the contract's own arithmetic)
2. the target reaches the motors after the actuator delay; `substeps` physics steps
3. events at an interval that are due
4. sensors and truth are read (sensors one physics step old, plus the sensor delay)
5. terminations and the time limit
6. reward, summed over weighted terms
7. metrics, and figures of episodes that end
8. commands that are due are redrawn
9. the observation of every simulation; where an episode ended it is the true final observation
10. the curriculum hears of what ended, and that is reset
11. the observation of what was reset

A command is redrawn after the reward and before the observation, so every reward belongs to the
command that was observed, and the final observation is the one that a longer episode would have
seen: it is what the value of time that is cut off needs.
"""

import logging
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from robot_ppo import config, project
from robot_ppo.envs import serialization
from robot_ppo.envs.environment import Observations
from robot_ppo.envs.robot import observations, trials
from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.curriculum import Curriculum
from robot_ppo.envs.robot.events import Clocks, Events
from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.metrics import METRICS, RobotMetrics
from robot_ppo.envs.robot.randomization import Randomizer
from robot_ppo.envs.robot.rewards import Rewards
from robot_ppo.envs.robot.starts import Starts
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.envs.robot.terms import parts
from robot_ppo.envs.robot.world import Constants, World
from robot_ppo.robot_model import variants
from robot_ppo.sim import sensors
from robot_ppo.sim.fields import Ids
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.action import ActionMap
from robot_ppo_export.contract.layout import Observer
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.terms import Inputs, gait_phase

log = logging.getLogger(__name__)


def make(task: str, num_envs: int = 1, threads: int = 0, seed: int | None = None) -> "RobotEnv":
    """Return the environment of a shipped task."""
    settings = config.robot_task(config.load(task), "this environment")
    robot = project.load_robot(settings.robot)
    with config.layers_of(task).naming():
        return RobotEnv(settings, robot, num_envs, threads, seed)


class RobotEnv(gymnasium.vector.VectorEnv):
    """n robots at one task. Observations are float32 (n, size): what a robot can measure.

    `info["observations"]` holds the task's observation groups; `actor` is what `reset` and `step`
    return, the others may hold what only a simulation knows. Where an episode ended,
    `info["final_obs"]` and each group of `info["final_observations"]` hold the true last
    observation in the rows that `info["_final_obs"]` names, and zeros in the others.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        task: config.Task,
        robot: RobotSpec,
        num_envs: int,
        threads: int = 0,
        seed: int | None = None,
    ) -> None:
        """Resolve every name that the task uses, and compile the training model."""
        self.task, self.robot, self.num_envs = task, robot, num_envs
        dt, has = task.control_period, parts(task)
        sensors.check_noise(task.noise)
        self.actions = _action_map(task, robot)
        self.schedule = Schedule(task.gait, robot) if task.gait else None
        self.constants = Constants.of(robot, self.schedule)
        self.commands = CommandSource(task.commands, robot, num_envs, dt)
        self.layout = observations.layout(task, robot)
        self.rewards = Rewards(task.rewards, robot, dt, has)
        self.terminations = TERMINATIONS.resolve("task.terminations", task.terminations, robot, has)
        self.events = Events(task.events, robot)
        self.clocks = Clocks(self.events.intervals, num_envs, dt)
        self.curriculum = Curriculum(task.curriculum, robot, self.rewards, self.commands, has)
        metrics = METRICS.resolve("task.metrics", task.metrics, robot, has)
        levels = self.curriculum.figures
        if task.evaluation is not None:  # told now, not when the policy is to be scored
            trials.plan(task.evaluation, self.layout.command, robot, "task.evaluation")
        self.metrics = RobotMetrics(num_envs, self.rewards.names, dt, metrics, levels)
        self.engine = self._build_engine(threads)
        ids = Ids.of(self.engine.model, robot)
        self.randomizer = Randomizer(self.events.ranges, ids, self.events.kept)
        self.engine.vary(self.randomizer.fields)
        self.starts = Starts(self.events, self.randomizer, self.engine)
        self.observer = Observer(self.layout, (num_envs,))
        self.max_ticks = round(task.episode_length / dt)
        self.diverged = 0
        """Simulations that left the finite numbers, since the start."""
        self.on_end: Callable[[np.ndarray], None] | None = None
        """Is called with the ids of episodes that ended, before they start anew."""
        self._allocate(num_envs, len(robot.joints))
        self._rng = np.random.default_rng(seed)
        self.last_inputs: Inputs | None = None
        """What the newest observation was computed from (for golden traces)."""
        world = self._first_world()
        self.others = observations.observers(task.observations, robot, world, num_envs, has)
        """Observers of the groups that are not exported."""
        groups = self.reset(seed=seed)[1]["observations"]
        self.observation_groups = {name: rows.shape[1] for name, rows in groups.items()}
        """Name -> size."""
        self._declare_spaces()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start every episode anew; `seed` (an int, or a list whose first entry counts)."""
        if isinstance(seed, list):
            seed = seed[0]
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        everyone = np.arange(self.num_envs)
        self.starts.clear()
        self._reset(everyone, start=True)
        self.metrics.clear(everyone)
        # Simulations that start together must not end together: their clocks are spread.
        if options and options.get("spread_episodes"):
            self.ticks[:] = self._rng.integers(0, self.max_ticks, self.num_envs)
        world, state = self._read()
        groups = self._groups(world, state)
        return groups["actor"], {"observations": groups}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance one control period; `actions` (n, joints). See the module's order."""
        self._last_action, self._action = self._action, np.array(actions, np.float32, order="F")
        diverged = self.engine.step(self.actions.target(self._action))
        if diverged.size:
            self._quarantine(diverged)
        self.ticks += 1
        self._gait_ticks += 1
        self.clocks.advance(self.engine, self._rng)
        world, state = self._read()
        failed = self._failed(world, diverged)
        truncated = (self.ticks >= self.max_ticks) & ~failed
        reward, terms = self.rewards.compute(world)
        if diverged.size:  # what else a reset robot would earn is not its episode's
            reward[diverged], terms[:-1, diverged] = self.rewards.termination, 0.0
        done = failed | truncated
        self.metrics.add(reward, terms)
        self.metrics.add_world(world)
        self.commands.advance(self._rng)
        groups = self._groups(world, state)
        info: dict[str, Any] = {"observations": groups}
        ended = np.flatnonzero(done)
        if ended.size:
            info |= self._final(ended, done, failed, groups)
            figures = info["episode_figures"]
            self.curriculum.advance({name: rows[ended] for name, rows in figures.items()})
            if self.on_end:
                self.on_end(ended)
            self._reset(ended)
            world, state = self._read(ended)
            for name, rows in self._groups(world, state, ended).items():
                groups[name][ended] = rows
        return groups["actor"], reward, failed, truncated, info

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
        self.engine.derive()
        self._rng.bit_generator.state = state["rng"]
        self.diverged = state["diverged"]
        self.starts.restore()
        self.curriculum.advance()
        self.last_inputs = None

    def copy_rows(self, source: np.ndarray, target: np.ndarray) -> None:
        """Make simulations `target` (m,) exact copies of `source` (m,), no target twice.

        Physics, randomization, command, clocks, histories and the episode's sums so far: with equal
        actions they differ from then on only in what is drawn (noise, pushes, commands, resets).
        What they observed last is the caller's to copy.
        """
        serialization.copy_rows(self._rows(), source, target)
        self.metrics.copy_rows(source, target)
        self.engine.derive(target)
        self.last_inputs = None

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing to close: threads end with the object."""

    # -- the parts of a step, in order ------------------------------------------------------

    def _read(self, ids: Any = ...) -> tuple[World, RobotState]:
        """Return the truth about the simulations `ids`, and what their sensors say of it."""
        engine = self.engine
        qpos, qvel = engine.positions(ids)
        quat = qpos[:, engine.base_quat]
        ang_vel = qvel[:, engine.base_ang_vel]
        joint_vel = qvel[:, engine.joint_qvel]
        change = joint_vel - self._joint_vel[ids]
        self._joint_vel[ids] = joint_vel
        values = engine.sensor_values(ids)
        state = engine.measure(ids, (qpos, qvel), values)
        command = self.commands.values[ids].copy(order="F")  # it is redrawn in place
        moving, phase = self.commands.moving(command), self._phase(ids)
        world = World(
            base_height=qpos[:, engine.base_pos.stop - 1],
            base_quat=quat,
            base_lin_vel=frames.to_body(quat, qvel[:, engine.base_lin_vel_w]),
            base_ang_vel=ang_vel,
            projected_gravity=frames.projected_gravity(quat),
            joint_pos=qpos[:, engine.joint_qpos],
            joint_vel=joint_vel,
            joint_acc=change / np.float32(self.task.control_period),
            torque=state.joint_torque,
            foot_height=engine.foot_heights(ids),
            foot_vel_w=engine.sensors.foot_velocities_w(values),
            foot_contact=state.foot_force > sensors.CONTACT_FORCE,
            command=command,
            moving=moving,
            phase=phase,
            swing=self._swing(phase, moving),
            action=self._action[ids],
            last_action=self._last_action[ids],
            randomized=self._randomized[ids],
            failed=np.zeros(len(qpos), bool),
            constants=self.constants,
        )
        return world, state

    def _failed(self, world: World, diverged: np.ndarray) -> np.ndarray:
        """Return which robots failed (n,), also as `world.failed`."""
        for term in self.terminations.values():
            world.failed |= term.function(world)
        world.failed[diverged] = True
        return world.failed

    def _observe(self, state: RobotState, phase: np.ndarray, ids: Any = ...) -> np.ndarray:
        """Return the observation of `ids` from their measurements, made noisy in place."""
        sensors.add_noise(state, self.task.noise, self._rng)
        self.last_inputs = Inputs(
            state,
            self.commands.values[ids].copy(),  # it is redrawn in place
            self._action[ids],
            phase,
            self.actions.default_pose,
        )
        return self.observer.observe(self.last_inputs, ids)

    def _groups(self, world: World, state: RobotState, ids: Any = ...) -> Observations:
        """Return every observation group of `ids`."""
        groups = {observations.EXPORTED: self._observe(state, world.phase, ids)}
        world.inputs = self.last_inputs
        for name, observer in self.others.items():
            groups[name] = observer.observe(world, ids)  # type: ignore[arg-type]  # see GroupLayout
        return groups

    def _final(
        self, ended: np.ndarray, done: np.ndarray, failed: np.ndarray, groups: Observations
    ) -> dict[str, Any]:
        """Return what `info` says about episodes that ended."""
        final = {name: _only(ended, rows) for name, rows in groups.items()}
        return {
            "final_obs": final["actor"],
            "_final_obs": done,
            "final_observations": final,
            "_final_observations": done,
            **self.metrics.finished(done, failed[ended]),
        }

    def _quarantine(self, ids: np.ndarray) -> None:
        """Take diverged simulations out of the arithmetic; they count as failures."""
        self.diverged += len(ids)
        log.warning(
            "simulations %s diverged and were reset (%d so far)", ids.tolist(), self.diverged
        )
        self._reset(ids)

    # -- resets -----------------------------------------------------------------------------

    def _reset(self, ids: np.ndarray, start: bool = False) -> None:
        """Start episodes anew: pose, randomization, command, clocks, histories.

        With `start`, what is drawn once is drawn, too.
        """
        engine, rng = self.engine, self._rng
        before = None if start else self._randomized[ids]
        begin = self.starts.take(len(ids), rng, before)
        self._randomized[ids] = begin.draws
        engine.reset(ids, begin.qpos, begin.qvel, begin.rows)
        self._joint_vel[ids] = begin.qvel[:, engine.joint_qvel]
        self.ticks[ids] = 0
        self._gait_ticks[ids] = rng.integers(0, self._gait_cycle, len(ids))
        self._action[ids] = self._last_action[ids] = 0.0
        self.commands.resample(ids, rng)
        self.clocks.schedule(ids, rng)
        for observer in (self.observer, *self.others.values()):
            observer.reset(ids)

    def _state(self) -> serialization.State:
        """Return what the next steps depend on, arrays as they are."""
        return self._rows() | {
            "rng": self._rng.bit_generator.state,
            "diverged": self.diverged,
            "metrics": self.metrics.arrays(),
            "curriculum": self.curriculum.arrays(),
            "starts": self.starts.arrays(),
        }

    def _rows(self) -> serialization.State:
        """Return the arrays (n, ...) among them; the action before the last is not one."""
        return {
            "ticks": self.ticks,
            "gait_ticks": self._gait_ticks,
            "clocks": self.clocks.ticks_left,
            "action": self._action,
            "joint_vel": self._joint_vel,
            "randomized": self._randomized,
            "commands": self.commands.arrays(),
            "observer": self.observer.arrays(),
            "others": {name: o.arrays() for name, o in self.others.items()},
            "engine": self.engine.arrays(),
        }

    def _phase(self, ids: Any) -> np.ndarray:
        gait = self.task.gait
        frequency = gait.frequency if gait else None
        return gait_phase(self._gait_ticks[ids], self.task.control_period, frequency)

    def _swing(self, phase: np.ndarray, moving: np.ndarray) -> np.ndarray:
        if self.schedule is None:
            return np.zeros((len(phase), len(self.robot.feet)), np.float32, order="F")
        return self.schedule.swing(phase, moving)

    # -- construction -----------------------------------------------------------------------

    def _build_engine(self, threads: int) -> RobotEngine:
        task = self.task
        ranges = self.events.ranges
        longest = max(ranges.get(k, (0, 0))[1] for k in ("actuator_delay", "sensor_delay"))
        compiled = variants.train_model(
            self.robot,
            project.robot_folder(task.robot) / self.robot.model,
            task.physics,
            max_delay=longest * 1e-3,
        )
        substeps = round(task.control_period / task.physics.timestep)
        return RobotEngine(compiled, self.robot, self.num_envs, threads, substeps)

    def _first_world(self) -> World:
        """Return a world after a reset, in which groups find the sizes of their terms."""
        self.others: dict[str, Observer] = {}
        self._reset(np.arange(self.num_envs), start=True)
        world, state = self._read()
        self._observe(state, world.phase)
        world.inputs = self.last_inputs
        return world

    def _allocate(self, n: int, joints: int) -> None:
        # Laid out in memory as `step` leaves them: the order of a sum, its last bit, follows that.
        self.ticks = np.zeros(n, np.int64)
        self._gait_ticks = np.zeros(n, np.int64)
        gait = self.task.gait
        self._gait_cycle = round(1 / (self.task.control_period * gait.frequency)) if gait else 1
        self._action = np.zeros((n, joints), np.float32, order="F")
        self._last_action = np.zeros((n, joints), np.float32, order="F")
        self._joint_vel = np.zeros((n, joints), np.float32, order="F")
        self._randomized = np.zeros((n, self.randomizer.size), np.float32)

    def _declare_spaces(self) -> None:
        joints, clip = len(self.robot.joints), self.task.action.clip
        box = gymnasium.spaces.Box
        self.single_observation_space = box(-np.inf, np.inf, (self.layout.size,), np.float32)
        self.single_action_space = box(-clip, clip, (joints,), np.float32)
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, self.num_envs)
        self.action_space = batch(self.single_action_space, self.num_envs)


def _action_map(task: config.Task, robot: RobotSpec) -> ActionMap:
    """Return the action's arithmetic; an error names the key in the task."""
    try:
        return ActionMap(task.action, robot)
    except SettingError as error:
        raise SettingError(f"task.{error.key}", error.text) from None


def _only(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows (n, k) of which all but `ids` are zero: few are copied where few ended."""
    some = np.zeros(rows.shape, rows.dtype)
    some[ids] = rows[ids]
    return some
