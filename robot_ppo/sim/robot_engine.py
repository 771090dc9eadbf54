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

from robot_ppo.robot_model.geometry import FootGeometry, Outline
from robot_ppo.robot_model.soles import Soles
from robot_ppo.sim import ground
from robot_ppo.sim.batch_engine import BatchEngine
from robot_ppo.sim.fields import MEASUREMENT_FIELDS, PACKET_FIELDS, Rows, check_factors
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.sensors import SensorMap, converted
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState

DELAYS = ("sensor_delay", "actuator_delay")
"""Fields [s] of sensors and actuators that have a buffer."""


class RobotEngine(BatchEngine):
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
        self.substeps = substeps
        self.motors = motors
        self._robot = robot
        self.home = model.key("home").id
        """Keyframe in which everything stands."""
        self._blank = self.batch.state[0].copy()
        """MuJoCo's default state: copied into a row, it resets a simulation at a tenth of the cost
        of `Batch.reset`, which wakes all threads."""
        self.batch.reset(keyframe=self.home)
        self.sensors = SensorMap(model, robot)
        self.sensordata = self.batch.bind("sensordata")
        """(n, nsensordata)"""
        self._geom_xpos = self.batch.bind("geom_xpos")
        self._history = self.batch.bind("history")
        self.ground = ground.of(self)
        """Ground that the robots stand on; heights are measured from it."""
        self._feet = FootGeometry(model, robot)
        self._geom_xmat = self.batch.bind("geom_xmat") if self._feet.needs_rotation else None
        self._imu = model.site(robot.imu.site).id
        self._filled, self._fillers = self._history_columns()
        joints = [model.joint(name) for name in robot.joint_names]
        self.joint_qpos = _columns([j.qposadr[0] for j in joints])
        self.joint_qvel = _columns([j.dofadr[0] for j in joints])
        self._find_base(robot)
        self._forces = self.batch.bind("xfrc_applied")
        """(n, bodies, 6) [N] [N m], world frame, at each body's centre of mass"""
        self._measurement: dict[str, np.ndarray] = {
            "encoder_offset": np.zeros((n, len(joints)), np.float32, order="F"),
            "gyro_bias": np.zeros((n, 3), np.float32),
            "freshness": np.zeros((n, 1), np.float32),
        }
        self._fields: dict[str, np.ndarray] = {}
        self._needs_constants = False
        self.foot_pairs: list[tuple[int, int]] = []
        """Left and right foot of each of `foot_gaps`, once soles are watched."""

    def _find_base(self, robot: RobotSpec) -> None:
        """Find the floating base's columns, wherever its joint stands in the model."""
        model = self.model
        self._base = model.body(robot.base.body).id
        base = model.joint(int(model.body_jntadr[self._base]))
        at_qpos = int(base.qposadr[0])
        at_qvel = int(base.dofadr[0])
        self.base_pos = slice(at_qpos, at_qpos + 3)
        """Columns of qpos: position of the base in the world [m]."""
        self.base_quat = slice(at_qpos + 3, at_qpos + 7)
        """Columns of qpos: orientation of the base, wxyz, body to world."""
        self.base_lin_vel_w = slice(at_qvel, at_qvel + 3)
        """Columns of qvel: velocity of the base in the world [m/s]."""
        self.base_ang_vel = slice(at_qvel + 3, at_qvel + 6)
        """Columns of qvel: angular velocity of the base in its own frame [rad/s]."""

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

    def positions(self, ids: Any = ...) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of qpos (m, nq) and qvel (m, nv), float32, column by column in memory."""
        qpos = self.qpos[ids]
        qvel = self.qvel[ids]
        return qpos.astype(np.float32, order="F"), qvel.astype(np.float32, order="F")

    def sensor_values(self, ids: Any = ...) -> np.ndarray:
        """Return a copy of `sensordata` (m, nsensordata), float32, column by column in memory."""
        return converted(self.sensordata[ids])

    def measure(
        self,
        ids: Any = ...,
        present: tuple[np.ndarray, np.ndarray] | None = None,
        values: np.ndarray | None = None,
    ) -> RobotState:
        """Return what the sensors of `ids` say, with bias and delay, without noise.

        Args:
            ids: simulations.
            present: their `positions`, where the caller has them already.
            values: their `sensor_values`, likewise; the state's signals are views of them.
        """
        state = self.sensors.state(self.sensor_values(ids) if values is None else values)
        self._freshen(state, ids, *(present or self.positions(ids)))
        state.joint_pos += self._measurement["encoder_offset"][ids]
        state.base_ang_vel += self._measurement["gyro_bias"][ids]
        return state

    def _freshen(self, state: RobotState, ids: Any, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Move measurements that are a physics step old towards the present, by `freshness`."""
        fraction = self._measurement["freshness"][ids]
        if not fraction.any():
            return
        mounting = self._fields.get("site_quat")
        mounting = self.model.site_quat if mounting is None else mounting[ids]
        site_quat = mounting[..., self._imu, :].astype(np.float32, order="F")
        imu = self.sensors.imu_error(site_quat)
        now = {
            "joint_pos": qpos[:, self.joint_qpos],
            "joint_vel": qvel[:, self.joint_qvel],
            "base_quat": frames.multiply(qpos[:, self.base_quat], imu),
            "base_ang_vel": frames.to_body(imu, qvel[:, self.base_ang_vel]),
        }
        for name, value in now.items():
            stale = getattr(state, name)
            stale += fraction * (value - stale)
        state.base_quat = frames.normalize(state.base_quat)

    def foot_heights(self, ids: Any = ...) -> np.ndarray:
        """Return the clearance of each foot's lowest point (m, feet) [m], float32."""
        turned = None if self._geom_xmat is None else self._geom_xmat[ids]
        return self._feet.clearance(self._geom_xpos[ids], turned, self.ground.height)

    def base_heights(self, qpos: np.ndarray) -> np.ndarray:
        """Return how high above the ground the bases are (m,) [m] in positions (m, nq)."""
        x, y, z = qpos[:, self.base_pos].T
        return z - self.ground.height(x, y)

    def watch_soles(self) -> None:
        """Have rotations of bodies copied after every step, for `sole_levels` and `foot_gaps`."""
        self._soles = Soles(self.model, self._robot)
        self.foot_pairs = self._soles.pairs
        self._xmat = self.batch.bind("xmat")

    def sole_levels(self, ids: Any = ...) -> np.ndarray:
        """Return the cosine of each sole's tilt (m, feet), float32; `watch_soles` came before."""
        return self._soles.level(self._xmat[ids])

    def foot_gaps(self, quat: np.ndarray, ids: Any = ...) -> np.ndarray:
        """Return the sideways distances of left from right feet (m, pairs) [m]; see `Soles.gap`."""
        return self._soles.gap(self._geom_xpos[ids], quat)

    def foot_velocities_w(self, ids: Any = ...) -> np.ndarray:
        """Return the feet's velocities (m, feet, 3) [m/s], world frame, float32."""
        return self.sensors.foot_velocities_w(self.sensor_values(ids))

    def push(self, ids: np.ndarray, velocity_w: np.ndarray) -> None:
        """Add a horizontal velocity (m, 2) [m/s] to the base of `ids`."""
        start = self.base_lin_vel_w.start
        self.qvel[ids, start : start + 2] += velocity_w

    def pull(self, ids: np.ndarray, force_w: np.ndarray) -> None:
        """Pull the base of `ids` by a horizontal force (m, 2) [N] until the next call or reset."""
        self._forces[ids, self._base, :2] = force_w

    def packet_field(self, name: str, ids: Any = ...) -> np.ndarray:
        """Return a field of `PACKET_FIELDS`, (m,); 0 where no randomization varies it."""
        if name not in self._measurement:
            return np.zeros(self.n)[ids]
        return self._measurement[name][ids, 0]

    def _fill_history(self, ids: np.ndarray) -> None:
        """Let delayed sensors and actuators start with the present, not with zeros."""
        present = np.concatenate((self.sensordata[ids], self.ctrl[ids]), axis=1)
        self._history[np.ix_(ids, self._filled)] = present[:, self._fillers]

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


def _columns(places: list[int]) -> Any:
    """Return an index of the columns `places`: a slice, which copies nothing, where one will do."""
    first = int(places[0])
    count = len(places)
    if [int(i) for i in places] == list(range(first, first + count)):
        return slice(first, first + count)
    return np.array(places)
