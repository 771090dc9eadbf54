"""The scorecard: what a policy does, not what it was rewarded for.

The eval variant (2 ms, every collision geom, torque motors with the PD law at the physics rate),
sensor noise and errors of maps as in training, deterministic action. What is tried (commands,
seconds, conditions, initial states) and what passes stands in the task's `evaluation:`, which
travels in the policy file; a twist policy of a file without one is tried on the first edition's: 45
commands, 8 s each, the first 2 s not scored; nominal, with pushes, and at the corners of what a
robot may meet. The policy under test is
the policy file itself, or the arrays of a checkpoint, behind the same observation function.

A simulation that diverges has fallen, and each of its figures is `LOST` from then on: nothing
that it does afterwards is to its credit.
"""

from collections.abc import Callable, Sequence

import numpy as np

from robot_ppo import project
from robot_ppo.config import Condition, Evaluation, MapErrors
from robot_ppo.envs.robot import trials
from robot_ppo.envs.robot.commands import KINDS, Motion
from robot_ppo.envs.robot.events import Start
from robot_ppo.envs.robot.trials import Plan
from robot_ppo.evaluation.card import Scorecard
from robot_ppo.evaluation.conditions import AppliedConditions
from robot_ppo.robot_model import variants
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.sim import sensors
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.sim.scan import HeightMap, poses
from robot_ppo_export.contract import frames, strict
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.layout import Observer
from robot_ppo_export.contract.terms import Inputs, gait_phase
from robot_ppo_export.errors import InputError

LOST = 10.0
"""Value of a figure that has none: far from that of a robot that stands."""


def plan(contract: Contract, section: Evaluation | None = None) -> Plan:
    """Return what a policy is tried on: a section, or its file's, or the first edition's.

    Raises:
        InputError: the section contradicts the command or names what does not exist, or there is
            none for a policy without a twist.
    """
    command = contract.command
    period = contract.control_period
    if section is not None:
        return trials.plan(section, command, contract.robot, period, "task.evaluation")
    if contract.evaluation is not None:
        given = strict.convert(Evaluation, contract.evaluation, path="evaluation")
        return trials.plan(given, command, contract.robot, period, "evaluation")
    if command.kind != "twist":
        raise InputError(
            f"the task {contract.task!r} has no `evaluation:`, which says how a policy without "
            "a twist command is scored; add it to the task"
        )
    return trials.first_edition()


def evaluate(
    contract: Contract,
    act: Callable[[np.ndarray], np.ndarray],
    conditions: Sequence[Condition] | None = None,
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    xml: Mjcf | None = None,
    planned: Plan | None = None,
) -> Scorecard:
    """Return the scorecard of a policy.

    Args:
        contract: what the policy assumes; observation, action, gains and noise come from here.
        act: observations (n, size) -> deterministic raw actions (n, actions).
        conditions: passes over the commands, by default all of the plan; the first is judged.
        threads: for physics; 0: all CPUs.
        seed: of noise and pushes.
        progress: called with the fraction that is done.
        xml: the robot's MJCF; by default that in the folder of its name.
        planned: what is tried; by default `plan(contract)`.
    """
    if contract.control_period < variants.EVAL_TIMESTEP:
        raise InputError(
            f"the control period, {contract.control_period} s, is shorter than a physics step of "
            f"the scorecard, {variants.EVAL_TIMESTEP} s: it cannot be scored"
        )
    planned = planned or plan(contract)
    chosen = planned.conditions if conditions is None else conditions
    run = Run(contract, list(chosen), threads, seed, xml, planned)
    ticks = round(planned.seconds / contract.control_period)
    for t in range(ticks):
        run.tick(act, scored=t * contract.control_period >= planned.unscored)
        progress((t + 1) / ticks)
    return run.scorecard()


class Run:
    """All conditions times all commands, side by side."""

    def __init__(
        self,
        contract: Contract,
        conditions: list[Condition],
        threads: int,
        seed: int,
        xml: Mjcf | None = None,
        planned: Plan | None = None,
        field: HeightField | None = None,
    ) -> None:
        self.contract = contract
        self.conditions = conditions
        self.plan = planned or plan(contract)
        robot = contract.robot
        xml = xml or project.robot_folder(robot.name) / robot.model
        self.model = variants.eval_model(robot, xml, ground=field)
        self.n = n = len(conditions) * len(self.plan.commands)
        self.motors = PdMotors(robot, n, self.model.opt.timestep)
        self.engine = RobotEngine(self.model, robot, n, threads, motors=self.motors)
        self.rng = np.random.default_rng(seed)
        self.actions = contract.action_map()
        self.layout = contract.resolve()
        self.observer = Observer(self.layout, (n,))
        self.map = self._height_map()
        self.noise = sensors.noise_of_readings(contract.training.noise)
        self.command = np.tile(self.plan.commands, (len(conditions), 1))
        self.last_action = np.zeros((n, self.actions.size), np.float32)
        self.ticks = self.steps = 0
        self.alive = np.ones(n, bool)
        self.lost = np.zeros(n, bool)
        self.sums = {name: np.zeros(n) for name in self.plan.units if name != "cost_of_transport"}
        self.power = np.zeros(n)
        self.distance = np.zeros(n)
        self.scored = np.zeros(n)
        self.twist = np.zeros((n, 3))
        """Sum of the measured vx, vy [m/s] and yaw rate [rad/s]; a lost robot adds nothing."""
        trials_each = len(self.plan.commands)
        self.applied = AppliedConditions(
            conditions, trials_each, contract, self.engine, self.motors
        )
        self.weight = self.applied.weight
        self.engine.restart(np.arange(n), self.engine.home)
        if self.plan.states:
            self._place()

    def _height_map(self) -> HeightMap | None:
        """Return the maps that the policies are told of, as wrong as in training; None: of none."""
        grid = self.layout.scan_grid
        if grid is None:
            return None
        contract = self.contract
        errors = strict.convert(MapErrors, contract.training.map, path="training.map")
        return HeightMap(
            self.engine.ground,
            grid,
            errors,
            self.n,
            contract.control_period,
            unknown=-contract.robot.base.height,
            noise=contract.training.noise.get("height_scan", 0.0),
        )

    def _place(self) -> None:
        """Put every robot into the trial's initial state, at rest."""
        engine = self.engine
        start = Start(engine.qpos.copy(), engine.qvel.copy(), engine, self.contract.robot)
        for state in self.plan.states:
            state(start, self.rng)
        engine.qpos[:] = start.qpos
        engine.qvel[:] = start.qvel
        engine.batch.forward()

    def tick(self, act: Callable[[np.ndarray], np.ndarray], scored: bool) -> None:
        """Advance one control period."""
        inputs = self._inputs()
        observation = self.observer.observe(inputs)
        action = act(observation)
        rate = np.abs(action - self.last_action).mean(axis=1) / self.contract.control_period
        self.last_action = action
        self._push()
        reference = self.actions.reference(inputs.phase, inputs.command)
        power, saturated = self._physics(self.actions.target(action, reference))
        self.ticks += 1
        if scored or not self.plan.states:  # who starts lying has not fallen
            self._judge()
        if scored:
            self._score(power, saturated, rate)

    def _inputs(self) -> Inputs:
        state = self.engine.measure()
        if self.map:
            state.height_scan = self._told(self.map)
        sensors.add_noise(state, self.noise, self.rng)
        c = self.contract
        state = self.applied.arrived(state, self.rng)
        ticks = np.full(self.n, self.ticks)
        phase = gait_phase(ticks, c.control_period, c.gait_frequency or 0.0)
        return Inputs(state, self.command, self.last_action, phase, self.actions.default_pose)

    def _told(self, heights: HeightMap) -> np.ndarray:
        """Return the scans of this tick, (n, points) [m]."""
        here = poses(self.engine)
        if self.ticks:
            heights.advance(here, self.rng)
        else:
            heights.begin(np.arange(self.n), here, self.rng)
        return heights.values.copy()

    def _physics(self, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean mechanical power [W] and the fraction of saturated torques, (n,) each.

        What diverges is lost, for good.
        """
        # Rounded from the start on, so that a period of any length has its rate.
        until = round((self.ticks + 1) * self.contract.control_period / self.model.opt.timestep)
        substeps = until - self.steps
        self.steps = until
        self.motors.clear_sums()
        self.lost[self.engine.step(target, substeps)] = True
        return self.motors.power_sum / substeps, self.motors.saturation_sum / substeps

    def _push(self) -> None:
        every = trials.ticks(self.plan.push_every, self.contract.control_period)
        self.applied.disturb(self.ticks, every, self.rng)

    def _judge(self) -> None:
        """A robot that tilts over 1 rad, or whose trunk is on the ground, or is lost has fallen."""
        fallen = self._is_down() | self.lost
        self.sums["falls"][self.alive & fallen] = 1
        self.alive &= ~fallen

    def _is_down(self) -> np.ndarray:
        engine = self.engine
        quat = engine.qpos[:, engine.base_quat]
        height = engine.base_heights(engine.qpos)
        return (frames.tilt(quat) > 1.0) | (height < 0.4 * self.contract.robot.base.height)

    def _score(self, power: np.ndarray, saturated: np.ndarray, rate: np.ndarray) -> None:
        """Add one tick; a fallen robot does not follow its command, and that counts."""
        engine = self.engine
        foot = engine.foot_velocities_w()[:, :, :2]
        down = engine.sensordata[:, engine.sensors.foot_force] > sensors.CONTACT_FORCE
        speed = np.sqrt(np.square(foot).sum(axis=2))
        slip = (speed * down).sum(axis=1) / np.maximum(down.sum(axis=1), 1)
        ticked = {
            **self._followed(),
            "torque_saturation": saturated,
            "action_rate": rate,
            "foot_slip": slip,
        }
        for name, value in ticked.items():
            self.sums[name] += np.where(self.lost, LOST, np.nan_to_num(value, nan=LOST))
        self.power += power
        self.twist += np.where(self.lost[:, None], 0.0, np.nan_to_num(self._twist()))
        velocity_w = engine.qvel[:, engine.base_lin_vel_w]
        self.distance += np.sqrt(np.square(velocity_w[:, :2]).sum(axis=1))
        self.scored += 1

    def _followed(self) -> dict[str, np.ndarray]:
        """Return how far each robot is from what it is to do, (n,) per figure."""
        joints = self.engine.qpos[:, self.engine.joint_qpos]
        default = self.actions.default_pose
        motion = Motion(self.command, self._twist(), joints, default, self._is_down())
        return KINDS[self.contract.command.kind].figures(motion)

    def _twist(self) -> np.ndarray:
        """Return vx, vy [m/s] and the yaw rate [rad/s] in the base's frame, (n, 3)."""
        engine = self.engine
        velocity_w = engine.qvel[:, engine.base_lin_vel_w]
        velocity = frames.to_body(engine.qpos[:, engine.base_quat], velocity_w)[:, :2]
        return np.column_stack((velocity, engine.qvel[:, engine.base_ang_vel.stop - 1]))

    def scorecard(self) -> Scorecard:
        """Return the figures, (conditions, commands) each."""
        shape = (len(self.conditions), len(self.plan.commands))
        figures = {
            name: (total if name == "falls" else total / self.scored).reshape(shape)
            for name, total in self.sums.items()
        }
        speed = np.maximum(self.distance / self.scored, 0.1)
        transport = self.power / self.scored / (self.weight * speed)
        transport[self.lost] = LOST
        figures["cost_of_transport"] = transport.reshape(shape)
        ordered = {name: figures[name] for name in self.plan.units}
        names = [condition.name for condition in self.conditions]
        card = Scorecard(names, self.plan.commands, self.plan.limits, self.plan.units, ordered)
        if card.is_twist:
            means = (self.twist / self.scored[:, None]).T.reshape(3, *shape)
            card.measured = dict(zip(self.contract.command.names, means, strict=True))
        return card
