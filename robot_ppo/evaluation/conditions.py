"""Conditions of a scorecard, applied: each is a block of simulations beside the others.

    applied = AppliedConditions(conditions, trials, contract, engine, motors)
    applied.disturb(ticks, every, rng)              # before the physics of each control period
    state = applied.arrived(state, rng)             # what the policies have of a measurement

All that they change varies per simulation: fields of the model, motors, pushes, state packets.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from robot_ppo.config import Condition
from robot_ppo.envs.robot import trials
from robot_ppo.robot_model.geometry import FootGeometry
from robot_ppo.sim import variations
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.packets import Packets
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.errors import InputError


class AppliedConditions:
    """The conditions of n simulations, and what they do while these run."""

    def __init__(
        self,
        conditions: Sequence[Condition],
        count: int,
        contract: Contract,
        engine: RobotEngine,
        motors: PdMotors,
    ) -> None:
        """Change engine and motors.

        Args:
            conditions: in the order of their blocks.
            count: trials in each block.
            contract: names the robot's parts, and has the control period.
            engine: n = conditions * count simulations.
            motors: theirs.
        """
        self.conditions = conditions
        self.count = count
        self.contract = contract
        self.engine = engine
        self.motors = motors
        self._change_model()
        motors.strength[:] = self._of("strength")[:, None]
        self._delay()
        self._vary()
        self.push_speed = self._of("push")
        self.punch_force = self._of("punch")
        self.lost = self._of("lost")
        self.late = self._of("late") / contract.control_period
        self.packets = self._packets()

    def disturb(self, ticks: int, every: int, rng: np.random.Generator) -> None:
        """Push and punch every robot when that is due, and end a punch that is over.

        Args:
            ticks: control periods since the start.
            every: so many control periods lie between two pushes.
            rng: draws their directions.
        """
        since = ticks % every if ticks >= every else -1
        everyone = np.arange(self.engine.n)
        if since == 0:
            angle = rng.uniform(-np.pi, np.pi, self.engine.n)
            direction = np.stack((np.cos(angle), np.sin(angle)), axis=1)
            self.engine.push(everyone, self.push_speed[:, None] * direction)
            if self.punch_force.any():
                self.engine.pull(everyone, self.punch_force[:, None] * direction)
        elif since == trials.ticks(trials.PUNCH, self.contract.control_period):
            self.engine.pull(everyone, np.zeros(2))

    def arrived(self, state: RobotState, rng: np.random.Generator) -> RobotState:
        """Return what the policies have of the measurements `state` by now."""
        if self.packets is None:
            return state
        return self.packets.arrive(state, ..., self.lost, self.late, rng)

    def _of(self, attribute: str) -> np.ndarray:
        """Return an attribute of each simulation's condition, (n,)."""
        return self._each([getattr(c, attribute) for c in self.conditions], np.float64)

    def _each(self, values: list[Any], dtype: Any) -> np.ndarray:
        """Return the values of the conditions for each simulation, (n, ...)."""
        return np.repeat(np.array(values, dtype), self.count, axis=0)

    def _change_model(self) -> None:
        batch = self.engine.batch
        model = self.engine.model
        robot = self.contract.robot
        friction = batch.expand("geom_friction")
        mass = batch.expand("body_mass")
        wanted = self._of("friction")
        given = ~np.isnan(wanted)
        feet = FootGeometry(model, robot).geoms
        friction[np.ix_(given, feet, np.array([0]))] = wanted[given, None, None]
        base = model.body(robot.base.body).id
        mass[:, base] += self._of("payload")
        self._check_masses(mass[:, base])
        batch.set_const()
        self.weight = mass.sum(axis=1) * abs(float(model.opt.gravity[2]))
        """(n,) [N]"""

    def _check_masses(self, base: np.ndarray) -> None:
        """Raise `InputError` where a payload leaves nothing of the bases' masses (n,) [kg]."""
        for condition, mass in zip(self.conditions, base[:: self.count].tolist(), strict=True):
            if mass <= 0:
                raise InputError(
                    f"condition {condition.name!r}: a payload of {condition.payload:g} kg leaves "
                    f"the base {mass:g} kg; it must be above {condition.payload - mass:g} kg"
                )

    def _delay(self) -> None:
        """Give the motors the delays of their conditions, one for each joint where one says so."""
        if not any(isinstance(c.delay, dict) for c in self.conditions):
            self.motors.set_delay(self._of("delay"))
            return
        joints = self.contract.robot.joint_names
        rows = [trials.delays(c, joints) for c in self.conditions]
        self.motors.set_delay(self._each(rows, np.float64))

    def _vary(self) -> None:
        """Give each simulation solver and motors of its condition, where one says so."""
        if any(c.solver for c in self.conditions):
            names = [c.solver or "newton" for c in self.conditions]
            variations.set_solvers(self.engine, self._each(names, str).tolist())
        implicit = self._each([c.motors == "implicit" for c in self.conditions], bool)
        if implicit.any():
            variations.integrate_motors(self.engine, self.motors, implicit)

    def _packets(self) -> Packets | None:
        """Return the state packets on their way, or None where all arrive at once."""
        longest = round(float(self.late.max()))
        if not self.late.any() and not self.lost.any():
            return None
        return Packets(self.contract.robot, self.engine.n, longest)
