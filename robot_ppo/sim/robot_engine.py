"""n simulations of one robot: step towards targets, read, reset rows.

    engine = RobotEngine(train_model, robot, n=1024, threads=2, substeps=2)
    diverged = engine.step(targets)     # (n, joints) [rad]; ids of simulations to be reset
    state = engine.measure()            # RobotState, float32
    engine.reset(ids, qpos, qvel, rows)

The training model's position actuators follow the targets by themselves. A model with torque motors
is given `motors`, whose PD law is computed before each physics step.

`qpos` and `qvel` are current after `step`; what MuJoCo derives (sensors, foot positions) describes
the state before the last physics step. After `reset` all is current for the simulations that were
reset.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

from robot_ppo.robot_model.geometry import Outline
from robot_ppo.sim import ground
from robot_ppo.sim.batch_engine import BatchEngine
from robot_ppo.sim.device import CPU
from robot_ppo.sim.fields import (
    MEASUREMENT_FIELDS,
    PACKET_FIELDS,
    Rows,
    check_factors,
    measurement,
)
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.robot_readings import RobotReadings
from robot_ppo_export.contract.spec import RobotSpec

DELAYS = ("sensor_delay", "actuator_delay")
"""Fields [s] of sensors and actuators that have a buffer."""


class RobotEngine(RobotReadings, BatchEngine):
    """n simulations of one robot on a pool of threads (0: all CPUs)."""

    def __init__(
        self,
        model: mujoco.MjModel,
        robot: RobotSpec,
        n: int,
        threads: int = 0,
        substeps: int = 1,
        motors: PdMotors | None = None,
        persistent: bool = False,
    ) -> None:
        """Allocate the simulations, all in the keyframe `home`.

        Args:
            model: a variant of the robot; with torque motors where `motors` are given.
            robot: names and limits.
            n: number of simulations.
            threads: of the physics; 0: all CPUs.
            substeps: physics steps per control period.
            motors: compute the torques; None: the model's actuators take targets.
            persistent: see `BatchEngine`.
        """
        super().__init__(model, n, threads, persistent)
        self._find_parts(model, robot, CPU)
        self.substeps = substeps
        self.motors = motors
        self._blank = self.batch.state[0].copy()
        """MuJoCo's default state: copied into a row, it resets a simulation at a tenth of the cost
        of `Batch.reset`, which wakes all threads."""
        self.batch.reset(keyframe=self.home)
        self.sensordata = self.batch.bind("sensordata")
        """(n, nsensordata)"""
        self._geom_xpos = self.batch.bind("geom_xpos")
        self._history = self.batch.bind("history")
        self.ground = ground.of(self)
        self._geom_xmat = self.batch.bind("geom_xmat") if self._feet.needs_rotation else None
        self._filled, self._fillers = self._history_columns()
        self._forces = self.batch.bind("xfrc_applied")
        self._measurement = measurement(n, len(robot.joints), CPU)
        self._fields = {}
        self._needs_constants = False

    @functools.cached_property
    def outline(self) -> Outline:
        """The robot's lowest point in any pose, for initial states."""
        return Outline(self.model)

    def vary(self, fields: tuple[str, ...]) -> None:
        """Give model fields a value per simulation; `MEASUREMENT_FIELDS` have one already.

        Raises:
            InputError: a field that is multiplied is 0 (`fields.check_factors`).
        """
        check_factors(self.model, self._robot, fields)
        for name in fields:
            if name in PACKET_FIELDS:
                self._measurement[name] = np.zeros((self.n, 1))
            elif name not in MEASUREMENT_FIELDS:
                self._fields[name] = self.batch.expand(name)
                self._needs_constants |= name in mujoco.MjModel._setconst_inputs

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that the next steps depend on, not copies; `derive` after a write."""
        return {
            **super().arrays(),
            "fields": self._fields,
            "measurement": self._measurement,
        }

    def derive(self, ids: np.ndarray | None = None) -> None:
        """Compute again what MuJoCo derives from the varied fields of `ids`, by default of all."""
        if self._needs_constants:
            self.batch.set_const(ids)

    def step(self, targets: np.ndarray, substeps: int | None = None) -> np.ndarray:
        """Advance one control period towards `targets` (n, joints) [rad].

        Args:
            targets: what the motors are to hold.
            substeps: physics steps, by default those of a control period.

        Returns:
            Ids of simulations that have diverged. With the model's own actuators they are to be
            reset now; with `motors` they stand in the keyframe `home`.
        """
        count = self.substeps if substeps is None else substeps
        if self.motors is None:
            self.ctrl[:] = targets
            return self.advance(count)
        wanted = np.asarray(targets, np.float64)
        lost = np.zeros(self.n, bool)
        for _ in range(count):
            pos = self.qpos[:, self.joint_qpos]
            vel = self.qvel[:, self.joint_qvel]
            self.ctrl[:] = self.motors.torque(wanted, pos, vel)
            diverged = self.advance()
            lost[diverged] = True
            self.restart(diverged, self.home)
        return np.flatnonzero(lost)

    def reset(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, rows: Rows) -> None:
        """Start simulations `ids` anew.

        Args:
            ids: (m,) sorted.
            qpos: (m, nq).
            qvel: (m, nv).
            rows: values of the varied fields, (m, ...) each.
        """
        self.batch.state[ids] = self._blank
        for name, values in rows.items():
            store = self._measurement if name in self._measurement else self._fields
            store[name][ids] = values
        if self._needs_constants:
            self.batch.set_const(ids)
        self.qpos[ids] = qpos
        self.qvel[ids] = qvel
        self.ctrl[ids] = qpos[:, self.joint_qpos]
        with self._undelayed(ids):
            self.batch.forward(ids, mujoco.mjtStage.mjSTAGE_ACC.value)
        self._fill_history(ids)

    def nominal(self, fields: tuple[str, ...], m: int) -> Rows:
        """Return `m` copies of the model's own values of `fields`."""
        return {
            name: np.zeros((m, *self._measurement[name].shape[1:]))
            if name in self._measurement
            else np.repeat(getattr(self.model, name)[None], m, axis=0)
            for name in fields
        }

    def _rotations(self) -> np.ndarray:
        return self.batch.bind("xmat")

    def packet_field(self, name: str, ids: Any = ...) -> np.ndarray:
        """Return a field of `PACKET_FIELDS`, (m,); 0 where no randomization varies it."""
        if name not in self._measurement:
            return np.zeros(self.n)[ids]
        return self._measurement[name][ids, 0]

    def _fill_history(self, ids: np.ndarray) -> None:
        """Let delayed sensors and actuators start with the present, not with zeros."""
        present = np.concatenate((self.sensordata[ids], self.ctrl[ids]), axis=1)
        self._history[ids[:, None], self._filled] = present[:, self._fillers]

    def _history_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of `history` that hold values, and the source of each.

        The source is a column of [sensordata, ctrl]. A buffer is
        [user, cursor, times (s), values (s * dim)], oldest first.
        """
        model = self.model
        buffers = [
            (model.sensor_historyadr[i], model.sensor_history[i, 0], model.sensor_adr[i], dim)
            for i, dim in enumerate(model.sensor_dim)
        ] + [
            (model.actuator_historyadr[i], samples, model.nsensordata + i, 1)
            for i, samples in enumerate(model.actuator_history[:, 0])
        ]
        filled = [np.arange(s * dim) + adr + 2 + s for adr, s, _, dim in buffers if s]
        fillers = [np.tile(np.arange(dim) + source, s) for _, s, source, dim in buffers if s]
        none = np.zeros(0, np.intp)
        return np.concatenate([none, *filled]), np.concatenate([none, *fillers])

    @contextmanager
    def _undelayed(self, ids: np.ndarray) -> Iterator[None]:
        """Leave out every delay of `ids` meanwhile: their buffers hold nothing yet."""
        delays = [self._fields[name] for name in DELAYS if name in self._fields]
        kept = [delay[ids] for delay in delays]
        for delay in delays:
            delay[ids] = 0.0
        yield
        for delay, values in zip(delays, kept, strict=True):
            delay[ids] = values
