"""MuJoCo's `sensordata` -> `RobotState`: the simulated side of what a robot measures.

As with `mj_step`, sensor values describe the state before the last physics step: they are one
physics step old, plus the sensor's own delay where one is set.
"""

import math
from collections.abc import Callable, Collection, Mapping

import mujoco
import numpy as np

from robot_ppo.robot_model import geometry
from robot_ppo.sim.device import CPU, Device
from robot_ppo_export.contract import frames, strict
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.mounting import Mounting
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import SIGNALS, RobotState
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

CONTACT_FORCE = 1.0
"""A foot that presses with more than this is down [N]."""


class SensorMap:
    """Place of each signal in `sensordata`, found by name once."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec, device: Device = CPU) -> None:
        """Find the sensors; a missing one is an `InputError` that names it.

        Args:
            model: has them.
            robot: names them.
            device: where the `sensordata` are that are read.
        """
        joints = robot.joint_names
        feet = robot.feet
        self._imu_carrier = device.moved(geometry.imu_carrier(model, robot))
        self.mounting = device.moved(Mounting.of(robot), Mounting)
        """Rotation of the IMU's signals into the base's frame; None where they are in it."""
        self.joint_pos = _place(model, [f"{name}_pos" for name in joints])
        self.joint_vel = _place(model, [f"{name}_vel" for name in joints])
        self.joint_torque = _place(model, [f"{name}_torque" for name in joints])
        self.base_quat = _place(model, [f"{robot.imu.site}_quat"])
        self.base_ang_vel = _place(model, [f"{robot.imu.site}_gyro"])
        self.base_lin_acc = _place(model, [f"{robot.imu.site}_accel"])
        self.foot_force = _place(model, [f"{name}_contact" for name in feet])
        self.foot_velocity = _place(model, [f"{name}_velocity" for name in feet])

    def read(self, sensordata: np.ndarray) -> RobotState:
        """Return the measurements in `sensordata` (..., nsensordata), in the base's frame."""
        return self.state(CPU.copied(sensordata))

    def read_mounted(self, sensordata: np.ndarray) -> RobotState:
        """Return the measurements as the robot's IMU makes them where it is; float32 copies."""
        return self._mounted(CPU.copied(sensordata))

    def state(self, values: Array) -> RobotState:
        """Return the measurements in `Device.copied` sensordata; the signals are views of it."""
        state = self._mounted(values)
        return state if self.mounting is None else self.mounting.to_base(state)

    def _mounted(self, values: Array) -> RobotState:
        """Return the measurements as the IMU makes them where it is."""

        def take(where: slice) -> Array:
            return values[..., where]

        return RobotState(
            joint_pos=take(self.joint_pos),
            joint_vel=take(self.joint_vel),
            joint_torque=take(self.joint_torque),
            # Delayed ones are interpolated linearly, which makes them shorter.
            base_quat=frames.normalize(take(self.base_quat)),
            base_ang_vel=take(self.base_ang_vel),
            base_lin_acc=take(self.base_lin_acc),
            foot_force=take(self.foot_force),
        )

    def imu_error(self, site_quat: Array) -> Array:
        """Return how the IMU is turned against its stated mounting, in the base's frame (..., 4).

        Args:
            site_quat: orientation of its site in the body that carries it (..., 4), randomized
                or not.
        """
        if self._imu_carrier is not None:
            site_quat = frames.multiply(self._imu_carrier, site_quat)
        if self.mounting is None:
            return site_quat
        return frames.multiply(site_quat, self.mounting.to_imu_quat)

    def foot_velocities_w(self, values: Array) -> Array:
        """Return the feet's velocities in the world (..., feet, 3) [m/s].

        Args:
            values: sensordata, a `Device.copied` one; the velocities are views of it.
        """
        flat = values[..., self.foot_velocity]
        return flat.reshape(*flat.shape[:-1], -1, 3)


def _place(model: mujoco.MjModel, names: list[str]) -> slice:
    """Return the slice of `sensordata` that holds the sensors `names`, in that order."""
    ids = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name) for name in names]
    for name, sensor in zip(names, ids, strict=True):
        if sensor < 0:
            raise InputError(f"the MJCF has no sensor {name!r}; add it")
    start = int(model.sensor_adr[ids[0]])
    end = start
    for name, sensor in zip(names, ids, strict=True):
        if int(model.sensor_adr[sensor]) != end:
            raise InputError(f"sensor {name!r} must follow the one before it: order {names}")
        end += int(model.sensor_dim[sensor])
    return slice(start, end)


def add_noise(state: RobotState, noise: dict[str, float], rng: np.random.Generator) -> None:
    """Add uniform noise to measured signals, in place; base_quat by a small rotation [rad]."""
    add_drawn_noise(state, noise, lambda shape: uniform(rng, shape))


def add_drawn_noise(
    state: RobotState, noise: dict[str, float], draw: Callable[[tuple[int, ...]], Array]
) -> None:
    """Do the same with numbers that `draw` returns for a shape, uniform in (-1, 1), float32."""
    signals = {name: getattr(state, name) for name in noise}
    sizes = {name: 3 if name == "base_quat" else v.shape[-1] for name, v in signals.items()}
    lead = next((v.shape[:-1] for v in signals.values()), ())
    drawn = draw((sum(sizes.values()), *lead))  # once for all signals
    begin = 0
    for name, value in signals.items():
        own = drawn[begin : begin + sizes[name]]
        begin += sizes[name]
        own *= float(noise[name])
        if name == "base_quat":
            state.base_quat = frames.multiply(value, frames.from_rotation_vector(own.T))
        else:
            value += own.T


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers that are uniform in (-1, 1), float32, in steps of 2^-15.

    Sensors have fewer bits, and four of them from one word of the generator come five times as fast
    as float32 numbers do.
    """
    count = math.prod(shape)
    words = rng.bit_generator.random_raw(-(-count // 4))
    numbers = words.view(np.int16)[:count].astype(np.float32)
    numbers += np.float32(0.5)
    numbers *= np.float32(2**-15)
    return numbers.reshape(shape)


def noise_of_readings(noise: Mapping[str, float]) -> dict[str, float]:
    """Return the noise that is drawn whenever a robot is read: that of a height scan belongs to it.

    A scan stays until the next one (sim/scan.py), and with it what is wrong about it.
    """
    return {name: width for name, width in noise.items() if name != "height_scan"}


def check_noise(noise: dict[str, float], read: Collection[str] = ()) -> None:
    """Raise `SettingError` if `noise` names a signal that does not exist, or that is not there.

    Signals that are optional are there where they are among `read`.
    """
    for name in noise:
        if name not in SIGNALS:
            hint = strict.did_you_mean(name, SIGNALS)
            raise SettingError(f"task.noise.{name}", f"unknown signal {name!r}{hint}")
        if SIGNALS[name].optional and name not in read:
            raise SettingError(
                f"task.noise.{name}", "no observation reads that signal; leave this out"
            )
