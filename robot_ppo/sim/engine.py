"""`mujoco.batch.Batch` behind a few verbs: step targets, read, reset rows.

    engine = Engine(model, robot, n=1024, threads=2, substeps=2)
    failed = engine.step(targets)       # (n, joints) [rad]; ids of diverged simulations
    state = engine.measure()            # RobotState, float32
    engine.reset(ids, qpos, qvel, rows)

Stale or not: `qpos` and `qvel` are current after `step`; everything MuJoCo derives (sensors, foot
positions) describes the state before the last physics step. After `reset` all is current for the
simulations that were reset.
"""

import time
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import SimulationError

from robot_ppo.envs.robot.randomization import MEASUREMENT_FIELDS, Rows
from robot_ppo.robot_model.geometry import FootGeometry
from robot_ppo.sim import batches
from robot_ppo.sim.sensors import SensorMap
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState

FASTEST = 1e3
"""Nothing moves faster [m/s] or [rad/s]: a simulation in which it does has left physics, and one
such number in a running mean would stay there."""


class Engine:
    """n simulations of one robot on a pool of threads (0: all CPUs)."""

    def __init__(
        self, model: mujoco.MjModel, robot: RobotSpec, n: int, threads: int, substeps: int
    ) -> None:
        """Allocate the simulations, all in the keyframe `home`."""
        self.model, self.n, self.substeps = model, n, substeps
        self.batch = batches.create(model, n, threads)
        self.batch.reset(keyframe=model.key("home").id)
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self.sensors = SensorMap(model, robot)
        self._ctrl = self.batch.bind("ctrl")
        self._sensordata = self.batch.bind("sensordata")
        self._geom_xpos = self.batch.bind("geom_xpos")
        self._history = self.batch.bind("history")
        self._feet = FootGeometry(model, robot)
        self._geom_xmat = self.batch.bind("geom_xmat") if self._feet.needs_rotation else None
        self._imu = model.site(robot.imu.site).id
        self._filled, self._fillers = self._history_columns()
        self.joint_qpos = _columns([model.joint(j).qposadr[0] for j in robot.joint_names])
        self.joint_qvel = _columns([model.joint(j).dofadr[0] for j in robot.joint_names])
        self._measurement = {
            "encoder_offset": np.zeros((n, len(robot.joints)), np.float32, order="F"),
            "gyro_bias": np.zeros((n, 3), np.float32),
            "freshness": np.zeros((n, 1), np.float32),
        }
        self._fields: dict[str, np.ndarray] = {}
        self._needs_constants = False
        self.seconds = 0.0
        """Wall-clock time spent in physics steps [s]."""

    def vary(self, fields: tuple[str, ...]) -> None:
        """Give model fields a value per simulation; those of `Measurement` have one already."""
        for name in fields:
            if name not in MEASUREMENT_FIELDS:
                self._fields[name] = self.batch.expand(name)
                self._needs_constants |= name in mujoco.MjModel._setconst_inputs

    def arrays(self) -> dict[str, Any]:
        """Return the arrays that the next steps depend on, not copies; `derive` after a write.

        A row of `simulations` is MuJoCo's integration state: time, positions, velocities, controls,
        the solver's warm start, the buffers of delayed sensors and actuators.
        """
        return {
            "simulations": self.batch.state,
            "fields": self._fields,
            "measurement": self._measurement,
        }

    def derive(self, ids: np.ndarray | None = None) -> None:
        """Compute again what MuJoCo derives from the varied fields of `ids`, by default of all."""
        if self._needs_constants:
            self.batch.set_const(ids)

    def step(self, targets: np.ndarray) -> np.ndarray:
        """Advance one control period towards `targets` (n, joints) [rad].

        Returns:
            Ids of simulations whose state is not finite, or beyond `FASTEST`; reset them now.
        """
        self._ctrl[:] = targets
        broken = np.zeros(0, np.int64)
        begin = time.perf_counter()
        try:
            self.batch.step(nstep=self.substeps)
        except SimulationError as error:
            broken = np.asarray(error.ids, np.int64)
        self.seconds += time.perf_counter() - begin
        # Compared so that NaN, too, is not within.
        if np.abs(self.qvel).max() <= FASTEST and np.isfinite(self.qpos.sum()) and not broken.size:
            return broken
        sane = np.abs(self.qvel).max(axis=1) <= FASTEST
        sane &= np.isfinite(self.qpos.sum(axis=1))
        return np.union1d(broken, np.flatnonzero(~sane))

    def reset(self, ids: np.ndarray, qpos: np.ndarray, qvel: np.ndarray, rows: Rows) -> None:
        """Start simulations `ids` anew.

        Args:
            ids: (m,) sorted.
            qpos: (m, nq).
            qvel: (m, nv).
            rows: values of the varied fields, (m, ...) each.
        """
        none = mujoco.mjtStage.mjSTAGE_NONE.value
        self.batch.reset(ids, stage=none)
        for name, values in rows.items():
            store = self._measurement if name in MEASUREMENT_FIELDS else self._fields
            store[name][ids] = values
        if self._needs_constants:
            self.batch.set_const(ids)
        self.qpos[ids], self.qvel[ids] = qpos, qvel
        self._ctrl[ids] = qpos[:, self.joint_qpos]
        self._fill_history(ids)
        self.batch.forward(ids, mujoco.mjtStage.mjSTAGE_ACC.value)

    def nominal(self, fields: tuple[str, ...], m: int) -> Rows:
        """Return `m` copies of the model's own values of `fields`."""
        return {
            name: np.zeros((m, *self._measurement[name].shape[1:]))
            if name in MEASUREMENT_FIELDS
            else np.repeat(getattr(self.model, name)[None], m, axis=0)
            for name in fields
        }

    def positions(self, ids: Any = ...) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of qpos (m, nq) and qvel (m, nv), float32, column by column in memory."""
        qpos, qvel = self.qpos[ids], self.qvel[ids]
        return qpos.astype(np.float32, order="F"), qvel.astype(np.float32, order="F")

    def measure(
        self, ids: Any = ..., present: tuple[np.ndarray, np.ndarray] | None = None
    ) -> RobotState:
        """Return what the sensors of `ids` say, with bias and delay, without noise.

        Args:
            ids: simulations.
            present: their `positions`, where the caller has them already.
        """
        state = self.sensors.read(self._sensordata[ids])
        self._freshen(state, ids, *(present or self.positions(ids)))
        state.joint_pos += self._measurement["encoder_offset"][ids]
        state.base_ang_vel += self._measurement["gyro_bias"][ids]
        return state

    def _freshen(self, state: RobotState, ids: Any, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Move measurements that are a physics step old towards the present, by `freshness`."""
        share = self._measurement["freshness"][ids]
        if not share.any():
            return
        mounting = self._fields.get("site_quat")
        mounting = self.model.site_quat if mounting is None else mounting[ids]
        imu = mounting[..., self._imu, :].astype(np.float32, order="F")
        now = {
            "joint_pos": qpos[:, self.joint_qpos],
            "joint_vel": qvel[:, self.joint_qvel],
            "base_quat": frames.multiply(qpos[:, 3:7], imu),
            "base_ang_vel": frames.to_body(imu, qvel[:, 3:6]),
        }
        for name, value in now.items():
            stale = getattr(state, name)
            stale += share * (value - stale)
        state.base_quat = frames.normalize(state.base_quat)

    def foot_heights(self, ids: Any = ...) -> np.ndarray:
        """Return the clearance of each foot's lowest point (m, feet) [m], float32."""
        turned = None if self._geom_xmat is None else self._geom_xmat[ids]
        return self._feet.clearance(self._geom_xpos[ids], turned)

    def foot_velocities_w(self, ids: Any = ...) -> np.ndarray:
        """Return the feet's velocities (m, feet, 3) [m/s], world frame, float32."""
        return self.sensors.foot_velocities_w(self._sensordata[ids])

    def push(self, ids: np.ndarray, velocity_w: np.ndarray) -> None:
        """Add a horizontal velocity (m, 2) [m/s] to the base of `ids`."""
        self.qvel[ids, :2] += velocity_w

    def _fill_history(self, ids: np.ndarray) -> None:
        """Let delayed sensors and actuators start with the present, not with zeros."""
        present = np.concatenate((self._undelayed(ids), self._ctrl[ids]), axis=1)
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
        return np.concatenate(filled), np.concatenate(fillers)

    def _undelayed(self, ids: np.ndarray) -> np.ndarray:
        """Return `sensordata` rows (m, nsensordata) of `ids` with every delay left out."""
        delay = self._fields.get("sensor_delay")
        if delay is not None:
            kept, delay[ids] = delay[ids], 0.0
        self.batch.forward(ids, mujoco.mjtStage.mjSTAGE_VEL.value)
        values = self._sensordata[ids].copy()
        if delay is not None:
            delay[ids] = kept
        return values


def _columns(places: list[int]) -> Any:
    """Return an index of the columns `places`: a slice, which copies nothing, where one will do."""
    first, count = int(places[0]), len(places)
    if [int(i) for i in places] == list(range(first, first + count)):
        return slice(first, first + count)
    return np.array(places)
