"""One task as a `gymnasium.vector.VectorEnv` over native simulations.

One control step, in this order and no other:

1. action -> joint target (the contract's own arithmetic)
2. the target reaches the motors after the actuator delay; `substeps` physics steps
3. events at an interval that are due
4. sensors and truth are read (sensors one physics step old, plus the sensor delay)
5. terminations, the time limit, and robots that left their tile of rough ground
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

from typing import Any

import mujoco
import numpy as np

from robot_ppo import config, installed_terms
from robot_ppo.envs import serialization
from robot_ppo.envs.batch_env import BatchEnv, merged
from robot_ppo.envs.environment import EXPORTED, Observations
from robot_ppo.envs.robot import observations, parts, trials
from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.curriculum import Curriculum
from robot_ppo.envs.robot.events import Clocks, Events
from robot_ppo.envs.robot.gait import GaitClock, Schedule
from robot_ppo.envs.robot.metrics import METRICS, RobotMetrics
from robot_ppo.envs.robot.randomization import Randomizer
from robot_ppo.envs.robot.reader import WorldReader
from robot_ppo.envs.robot.rewards import Rewards
from robot_ppo.envs.robot.starts import Starts
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.envs.robot.world import Constants, World
from robot_ppo.sim import scan, sensors
from robot_ppo.sim.device import CPU, Device
from robot_ppo.sim.fields import Ids
from robot_ppo.sim.packets import Packets
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo_export.contract.action import ActionMap
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.layout import Observer
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Term
from robot_ppo_export.contract.terms import Inputs


class RobotEnv(BatchEnv):
    """n robots at one task. Observations are float32 (n, size): what a robot can measure.

    `info["observations"]` holds the task's observation groups; `actor` is what `reset` and `step`
    return, the others may hold what only a simulation knows. Where an episode ended,
    `info["final_obs"]` and each group of `info["final_observations"]` hold the true last
    observation in the rows that `info["_final_obs"]` names, and zeros in the others.
    """

    engine: RobotEngine
    metrics: RobotMetrics
    device: Device = CPU
    """Where observations, rewards and what terms read are."""

    def __init__(
        self,
        task: config.Task,
        robot: RobotSpec,
        num_envs: int,
        threads: int = 0,
        seed: int | None = None,
    ) -> None:
        """Resolve every name that the task uses, and compile the training model."""
        super().__init__(num_envs, seed)
        installed_terms.load()
        self.task = task
        self.robot = robot
        dt = task.control_period
        self.max_ticks = round(task.episode_length / dt)
        has = task.parts
        self._resolve(has)
        compiled = parts.compiled(task, robot, self.events, self.placement)
        ids = Ids.of(compiled, robot)
        events = self.events
        events.check_payload(float(compiled.body_mass[ids.base]))
        self.randomizer = Randomizer(events.ranges, ids, events.kept, events.parameters)
        self.engine = self._build_engine(compiled, threads)
        self.packets = parts.packets(task, robot, self.events, num_envs)
        self.starts = Starts(self.events, self.randomizer, self.engine)
        self.clocks = Clocks(self.events.intervals, num_envs, dt)
        self.gait_clock = GaitClock(task.gait, num_envs, dt)
        self.map = parts.height_map(task, robot, self.engine.ground, num_envs)
        self.reader = WorldReader(
            self.engine,
            task,
            robot,
            self.commands,
            self.gait_clock,
            self.constants,
            self.map,
            observations.scan_grids(task.observations, "height_scan_true"),
        )
        self._allocate(num_envs, self.actions.size)
        self.observer = Observer(self.layout, (num_envs,), self.device.xp, self.device.name)
        self.last_inputs: Inputs | None = None
        """Inputs of the newest observation (for golden traces)."""
        world = self._first_world()
        self.others = observations.observers(
            task.observations, robot, world, num_envs, has, self.device
        )
        """Observers of the groups that are not exported."""
        clip = np.full(self.actions.size, task.action.clip, np.float32)
        groups = self.reset(seed=seed)[1]["observations"]
        seen = {name: self.device.fetch(rows) for name, rows in groups.items()}
        self._declare_spaces(seen, -clip, clip)

    def step(self, actions: Array) -> tuple[Array, Array, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance one control period; `actions` (n, actions). See the module's order."""
        taken, wild = self._taken(actions, order="F")
        self._last_action = self._action
        self._action = taken
        target = self._action_map.target(taken, self._reference())
        diverged = merged(self.engine.step(target), wild)
        if diverged.size:
            self._quarantine(diverged)
        self.ticks += 1
        self.gait_clock.ticks += 1
        self.clocks.advance(self.engine, self._rng)
        if self.map:
            self.map.advance(scan.poses(self.engine), self._rng)
        world, state = self._read()
        failed = self.device.fetch(self._failed(world, diverged))
        crossed = self._crossed(world)
        reward, terms = self.rewards.compute(world)
        diverged = self._with_nonfinite(self.device.fetch(reward), diverged)
        failed[diverged] = True
        truncated = ((self.ticks >= self.max_ticks) | crossed) & ~failed
        if diverged.size:  # what else a reset robot would earn is not its episode's
            reward[diverged] = self.rewards.termination
            terms[:-1, diverged] = 0.0
        done = failed | truncated
        self.metrics.add(reward, terms)
        self.metrics.add_world(world)
        self.commands.advance(self._rng)
        groups = self._groups(world, state)
        info: dict[str, Any] = {"observations": groups}
        ended = np.flatnonzero(done)
        if ended.size:
            info |= self._ended(done, failed, groups)
            if self.placement:
                self.placement.end(ended, crossed, failed)
            if self.curriculum.terms:
                figures = info["episode_metrics"]
                self.curriculum.advance({name: rows[ended] for name, rows in figures.items()})
            self._begin(ended)
            for name, rows in self._present(ended).items():
                groups[name][ended] = rows
        return groups[EXPORTED], reward, failed, truncated, info

    def reached(self) -> serialization.State:
        """Return the levels of the curriculum."""
        return self.curriculum.reached()

    def go_on_from(self, reached: serialization.State) -> None:
        """Let the curriculum go on from levels that `reached` returned."""
        self.curriculum.go_on_from(reached, self._rng)

    # -- the parts of a step, in order --------------------------------------------------------

    def _reference(self) -> Array | None:
        """Return what the task's step in place adds to the targets (n, joints) [rad]; or None."""
        if self.task.action.stepping is None:
            return None
        told = (self.gait_clock.phase(), self.commands.values)
        return self._action_map.reference(*map(self.device.put, told))

    def _read(self, ids: Any = ...) -> tuple[World, RobotState]:
        """Return the truth about the simulations `ids`, and what their sensors say of it."""
        return self.reader.read(
            ids, self._action[ids], self._last_action[ids], self._randomized[ids]
        )

    def _failed(self, world: World, diverged: np.ndarray) -> Array:
        """Return which robots failed (n,), also as `world.failed`."""
        for term in self.terminations.values():
            world.failed |= term.function(world)
        world.failed[diverged] = True
        return world.failed

    def _crossed(self, world: World) -> np.ndarray:
        """Return which robots left their tile (n,), after another step on it."""
        if self.placement is None:
            return np.zeros(self.num_envs, bool)
        self.placement.advance(world)
        return self.placement.left(self.engine.qpos[:, self.engine.base_pos][:, :2])

    def _groups(self, world: World, state: RobotState, ids: Any = ...) -> Observations:
        """Return every observation group of `ids`; their measurements are made noisy in place."""
        world.inputs = self.last_inputs = self._measured(world, state, ids)
        groups = {EXPORTED: self.observer.observe(world.inputs, ids)}
        for name, observer in self.others.items():
            groups[name] = observer.observe(world, ids)  # type: ignore[arg-type]  # see GroupLayout
        return groups

    def _measured(self, world: World, state: RobotState, ids: Any) -> Inputs:
        """Return what the robots `ids` know of themselves."""
        self._add_noise(state)
        if self.packets is not None:
            state = self._arrived(self.packets, state, ids)
        return Inputs(
            state,
            # Copied, for it is redrawn in place, and newer than `world`'s.
            self.device.put(self.commands.values[ids].copy()),
            self._action[ids],
            world.phase,
            self._action_map.default_pose,
        )

    def _add_noise(self, state: RobotState) -> None:
        """Add the task's noise to measurements, in place."""
        sensors.add_noise(state, self._noise, self._rng)

    def _arrived(self, packets: Packets, state: RobotState, ids: Any) -> RobotState:
        """Return what has reached the policies of `ids` by now."""
        lost = self.engine.packet_field("packet_loss", ids)
        late = self.engine.packet_field("packet_delay", ids) / self.task.control_period
        return packets.arrive(state, ids, lost, late, self._rng)

    def _present(self, ids: Any = ...) -> Observations:
        """Return every observation group of `ids` after a reset."""
        return self._groups(*self._read(ids), ids)

    def _begin(self, ids: np.ndarray, anew: bool = False) -> None:
        """Start episodes: pose, randomization, command, clocks, histories."""
        rng = self._rng
        if anew:
            self.curriculum.restart()
            self.starts.clear()
        before = None
        if self.randomizer.kept.size and not anew:
            before = self.device.fetch(self._randomized[ids])
        begin = self.starts.take(len(ids), rng, before)
        self._randomized[ids] = self.device.put(begin.draws)
        qpos = begin.qpos if self.placement is None else self._placed(begin.qpos, ids, anew)
        self.engine.reset(ids, qpos, begin.qvel, begin.rows)
        self.reader.begin(ids, begin.qvel[:, self.engine.joint_qvel])
        if self.map:
            self.map.begin(ids, scan.poses(self.engine, ids), rng)
        self.ticks[ids] = 0
        self.gait_clock.start(ids, rng)
        self._action[ids] = 0.0
        self._last_action[ids] = 0.0
        self.commands.resample(ids, rng)
        self.clocks.schedule(ids, rng)
        for observer in (self.observer, *self.others.values()):
            observer.reset(ids)
        if self.packets is not None:
            self.packets.reset(ids)

    def _counts(self) -> dict[str, float]:
        """Return how many simulations are on each kind of ground, by the name of its level."""
        if self.placement is None:
            return {}
        names = self.placement.tiles.names
        found = np.bincount(self.placement.kind, minlength=len(names)).tolist()
        return {f"level_{name}": count for name, count in zip(names, found, strict=True)}

    def _figures(self) -> dict[str, float]:
        """Return the levels of the curriculum, for the log."""
        return self.curriculum.figures()

    def _placed(self, qpos: np.ndarray, ids: np.ndarray, anew: bool) -> np.ndarray:
        """Return positions (m, nq) in which the robots `ids` are on their next tiles."""
        assert self.placement is not None
        places = self.placement.begin(ids, self._rng, anew)
        moved = qpos.copy()
        moved[:, self.engine.base_pos] += np.column_stack(
            (places, self.engine.ground.height(*places.T))
        )
        return moved

    # -- what the next steps depend on ----------------------------------------------------------

    def _rows(self) -> serialization.State:
        """Return the arrays (n, ...), not copies; the action before the last is not one."""
        return {
            "ticks": self.ticks,
            "gait_ticks": self.gait_clock.ticks,
            "clocks": self.clocks.ticks_left,
            "action": self._action,
            **self.reader.arrays(),
            "randomized": self._randomized,
            "commands": self.commands.arrays(),
            "observer": self.observer.arrays(),
            "others": {name: o.arrays() for name, o in self.others.items()},
            **({} if self.packets is None else {"packets": self.packets.arrays()}),
            "engine": self.engine.arrays(),
            **({"placement": self.placement.arrays()} if self.placement else {}),
            **({"map": self.map.arrays()} if self.map else {}),
        }

    def _shared(self) -> serialization.State:
        """Return what has no row per simulation, arrays not copied; `ground` is a fingerprint."""
        shared = {"curriculum": self.curriculum.arrays(), "starts": self.starts.arrays()}
        ground = {"ground": self.placement.tiles.fingerprint()} if self.placement else {}
        return shared | ground

    def _restored(self, ids: np.ndarray | None) -> None:
        """Compute what follows from rows that were written."""
        self.engine.derive(ids)
        self.last_inputs = None
        if ids is None:
            self.starts.restore()
            self.curriculum.advance()

    # -- construction ---------------------------------------------------------------------------

    def _resolve(self, has: frozenset[str]) -> None:
        """Look up every name of the task; `has` are its parts."""
        task = self.task
        robot = self.robot
        dt = task.control_period
        sensors.check_noise(task.noise, observations.signals(task.observations))
        self._noise = sensors.noise_of_readings(task.noise)
        self.actions = parts.action_map(task, robot)
        self._action_map = self.device.moved(self.actions, ActionMap)
        if task.action.stepping and not {"gait", "commands.twist"} <= has:
            raise SettingError(
                "task.action.stepping",
                "needs `task.gait` and a twist command, and the task has not both; leave it out",
            )
        schedule = Schedule(task.gait, robot) if task.gait else None
        self.constants = Constants.of(robot, schedule)
        self.commands = CommandSource(task.commands, robot, self.num_envs, dt)
        self.layout = observations.layout(task, robot)
        self.rewards = Rewards(task.rewards, robot, dt, has, self.device)
        terminations = TERMINATIONS.resolve(
            "task.terminations", task.terminations, robot.joint_names, has
        )
        self.terminations = self.device.moved(terminations, Term)
        self.events = Events(task.events, robot)
        self.placement = parts.placement(task, robot, self.num_envs)
        self.curriculum = Curriculum(
            task.curriculum,
            robot,
            self.rewards,
            self.commands,
            task.episode_length,
            has,
            self.placement,
        )
        if task.evaluation is not None:  # told now, not when the policy is to be scored
            trials.plan(task.evaluation, self.layout.command, robot, dt, "task.evaluation")
        metrics = METRICS.resolve("task.metrics", task.metrics, robot.joint_names, has)
        self.metrics = RobotMetrics(
            self.num_envs,
            self.rewards.names,
            dt,
            self.device.moved(metrics, Term),
            self._figures,
            self.device,
            self._counts,
        )

    def _build_engine(self, compiled: mujoco.MjModel, threads: int) -> Any:
        """Return the simulations, whose randomized fields vary."""
        engine = RobotEngine(compiled, self.robot, self.num_envs, threads, self.substeps)
        engine.vary(self.randomizer.fields)
        return engine

    @property
    def substeps(self) -> int:
        """Physics steps per control period."""
        return round(self.task.control_period / self.task.physics.timestep)

    def _allocate(self, n: int, actions: int) -> None:
        # Laid out in memory as `step` leaves them: the order of a sum, its last bit, follows that.
        self._action = self.device.zeros(n, actions)
        self._last_action = self.device.zeros(n, actions)
        self._randomized = self.device.put(np.zeros((n, self.randomizer.size), np.float32))

    def _first_world(self) -> World:
        """Return a world after a reset, in which groups find the sizes of their terms."""
        self.others: dict[str, Observer] = {}
        self._begin(np.arange(self.num_envs), anew=True)
        world, state = self._read()
        world.inputs = self._measured(world, state, ...)
        return world
