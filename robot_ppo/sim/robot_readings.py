"""Readings of n simulations of one robot, and pushes on them, on any engine.

An engine of robots mixes `RobotReadings` in and has the arrays that are declared there: numpy's on
`mujoco.batch` (`robot_engine.RobotEngine`), tensors on mujoco_warp (`warp_robot.WarpRobot`).

`qpos` and `qvel` are current after a step; what MuJoCo derives (sensors, foot positions) describes
the state before the last physics step.
"""

from typing import Any

import mujoco
import numpy as np

from robot_ppo.robot_model.geometry import FootGeometry, Shape
from robot_ppo.robot_model.soles import Soles
from robot_ppo.sim.device import Device
from robot_ppo.sim.ground import Ground
from robot_ppo.sim.sensors import SensorMap
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState


class RobotReadings:
    """The part of a robot's engine that computes with arrays, whichever kind they are."""

    model: mujoco.MjModel
    n: int
    device: Device
    """Where the arrays are."""
    qpos: Array
    qvel: Array
    ctrl: Array
    sensordata: Array
    ground: Ground
    """Ground that the robots stand on; heights are measured from it."""
    _geom_xpos: Array
    _geom_xmat: Array | None
    """None where nothing reads it."""
    _xmat: Array
    _forces: Array
    """(n, bodies, 6) [N] [N m], world frame, at each body's centre of mass"""
    _fields: dict[str, Array]
    _measurement: dict[str, Array]

    def _find_parts(self, model: mujoco.MjModel, robot: RobotSpec, device: Device) -> None:
        """Find sensors, feet, joints and base in the model, by name."""
        self.device = device
        self._robot = robot
        self.home = model.key("home").id
        """Keyframe in which everything stands."""
        self.sensors = SensorMap(model, robot, device)
        self._feet = device.moved(FootGeometry(model, robot), FootGeometry, Shape)
        self._imu = model.site(robot.imu.site).id
        joints = [model.joint(name) for name in robot.joint_names]
        self.joint_qpos = _columns([j.qposadr[0] for j in joints])
        self.joint_qvel = _columns([j.dofadr[0] for j in joints])
        self._find_base(model, robot)
        self.foot_pairs: list[tuple[int, int]] = []
        """Left and right foot of each of `foot_gaps`, once soles are watched."""

    def _find_base(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Find the floating base's columns, wherever its joint stands in the model."""
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

    def positions(self, ids: Any = ...) -> tuple[Array, Array]:
        """Return copies of qpos (m, nq) and qvel (m, nv), float32; see `Device.copied`."""
        return self.device.copied(self.qpos[ids]), self.device.copied(self.qvel[ids])

    def sensor_values(self, ids: Any = ...) -> Array:
        """Return a copy of `sensordata` (m, nsensordata), float32; see `Device.copied`."""
        return self.device.copied(self.sensordata[ids])

    def measure(
        self,
        ids: Any = ...,
        present: tuple[Array, Array] | None = None,
        values: Array | None = None,
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

    def _freshen(self, state: RobotState, ids: Any, qpos: Array, qvel: Array) -> None:
        """Move measurements that are a physics step old towards the present, by `freshness`."""
        fraction = self._measurement["freshness"][ids]
        if self.device.numpy and not fraction.any():  # a GPU would have to be waited for
            return
        varied = self._fields.get("site_quat")
        mounting = self.device.put(self.model.site_quat) if varied is None else varied[ids]
        site_quat = self.device.copied(mounting[..., self._imu, :])
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

    def foot_heights(self, ids: Any = ...) -> Array:
        """Return the clearance of each foot's lowest point (m, feet) [m], float32."""
        turned = None if self._geom_xmat is None else self._geom_xmat[ids]
        heights = self._feet.clearance(self._geom_xpos[ids], turned, self.ground.height)
        return self.device.copied(heights)

    def base_heights(self, qpos: Array) -> Array:
        """Return how high above the ground the bases are (m,) [m] in positions (m, nq)."""
        x, y, z = qpos[:, self.base_pos].T
        return z - self.ground.height(x, y)

    def watch_soles(self) -> None:
        """Have rotations of bodies at hand after every step, for `sole_levels` and `foot_gaps`."""
        self._soles = self.device.moved(Soles(self.model, self._robot), Soles)
        self.foot_pairs = self._soles.pairs
        self._xmat = self._rotations()

    def _rotations(self) -> Array:
        """Return the rotations of bodies (n, bodies, 9) or (n, bodies, 3, 3), not a copy."""
        raise NotImplementedError

    def sole_levels(self, ids: Any = ...) -> Array:
        """Return the cosine of each sole's tilt (m, feet), float32; `watch_soles` came before."""
        return self._soles.level(self._xmat[ids])

    def foot_gaps(self, quat: Array, ids: Any = ...) -> Array:
        """Return the sideways distances of left from right feet (m, pairs) [m]; see `Soles.gap`."""
        return self._soles.gap(self._geom_xpos[ids], quat)

    def foot_velocities_w(self, ids: Any = ...) -> Array:
        """Return the feet's velocities (m, feet, 3) [m/s], world frame, float32."""
        return self.sensors.foot_velocities_w(self.sensor_values(ids))

    def push(self, ids: np.ndarray, velocity_w: np.ndarray) -> None:
        """Add a horizontal velocity (m, 2) [m/s] to the base of `ids`."""
        start = self.base_lin_vel_w.start
        self.qvel[ids, start : start + 2] += self.device.put(velocity_w)

    def pull(self, ids: np.ndarray, force_w: np.ndarray) -> None:
        """Pull the base of `ids` by a horizontal force (m, 2) [N] until the next call or reset."""
        force = self.device.put(np.broadcast_to(force_w, (len(ids), 2)).copy())
        self._forces[ids, self._base, :2] = force


def _columns(places: list[int]) -> Any:
    """Return an index of the columns `places`: a slice, which copies nothing, where one will do."""
    first = int(places[0])
    count = len(places)
    if [int(i) for i in places] == list(range(first, first + count)):
        return slice(first, first + count)
    return np.array(places)
