"""MuJoCo playing the robot: in lockstep with a node in this process, or as a process of its own.

The physics are the eval variant's: 2 ms, every collision geom, torque motors whose PD law runs at
the physics rate. In lockstep the node's clock *is* the simulation, so nothing can be late and a
run is the same, bit for bit, every time:

    robot = SimulatedRobot(assets.load_robot("go2"))
    node = Node(policy, LockstepDriver(robot), LockstepClock(robot), ...)

As a process, `robot-ppo sim go2`, it runs in real time and is reached by the UDP protocol.

`state()` describes the state before the last physics step, as MuJoCo's sensors do; the truth
(`velocity_b` and so on) is the present one.
"""

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import mujoco
import numpy as np

from robot_ppo import assets
from robot_ppo.envs.model import EVAL_TIMESTEP, eval_model
from robot_ppo.envs.motors import PdMotors
from robot_ppo.envs.sensors import SensorMap, add_noise, check_noise
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import SIGNAL_NAMES, RobotState
from robot_ppo_export.node.clock import MonotonicClock, SteppedClock
from robot_ppo_export.node.drivers.base import JointMap, MotorCommand, Sample
from robot_ppo_export.node.drivers.udp_protocol import DEFAULT_PORT, Hello, RobotEndpoint

CONTACT_FORCE = 1.0
"""[N] A foot that presses harder than this touches the ground."""

PERIOD = 0.002
"""[s] Between two states of the process, as of the real robot's low-level interface."""
SLIP = 0.1
"""[s] So far behind real time, the process lets the lost time go and says so."""
FLICKER = {"base_ang_vel": 0.01, "base_lin_acc": 0.02}
"""Noise of the process [rad/s] [m/s^2]: a real IMU never gives the same bits twice."""


class SimulatedRobot:
    """One robot. Joint vectors are (joints,) in the order of robot.yaml."""

    def __init__(
        self,
        robot: RobotSpec,
        *,
        looks: bool = False,
        noise: Mapping[str, float] | None = None,
        motor_delay: float = 0.0,
        sensor_delay: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Build the model and lie down.

        Args:
            robot: names, gains and limits.
            looks: keep what only eyes need.
            noise: signal -> half-width of its uniform noise, in its unit (base_quat: [rad]).
            motor_delay: from a command to its effect [s], rounded to physics steps.
            sensor_delay: from a measurement to `state()` [s], rounded to physics steps.
            seed: of the noise.
        """
        self.spec = robot
        self.model = eval_model(robot, assets.robot_folder(robot.name) / robot.model, looks)
        self.data = mujoco.MjData(self.model)
        self.motors = PdMotors(robot, 1, EVAL_TIMESTEP, motor_delay)
        self.noise = dict(noise or {})
        check_noise(self.noise)
        self._sensors = SensorMap(self.model, robot)
        joints = [self.model.joint(name) for name in robot.joint_names]
        self._qpos = np.array([j.qposadr[0] for j in joints])
        self._qvel = np.array([j.dofadr[0] for j in joints])
        base = self.model.joint(int(self.model.body(robot.base.body).jntadr[0]))
        self._base_qpos, self._base_qvel = int(base.qposadr[0]), int(base.dofadr[0])
        self._rng = np.random.default_rng(seed)
        self._past: deque[np.ndarray] = deque(maxlen=1 + round(sensor_delay / EVAL_TIMESTEP))
        self.reset()

    def reset(self, pose: str = "rest") -> None:
        """Put the robot on the ground at time 0, "rest" (lying) or "home" (standing), limp."""
        poses = {"rest": self.spec.rest(), "home": self.spec.vector("default")}
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = poses[pose]
        self._put_on_the_ground()
        self.steps = 0
        self._past.clear()
        self._past.append(self.data.sensordata.copy())
        self.target = self.data.qpos[self._qpos].copy()
        self.damp()

    def drive(self, target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> None:
        """Let every motor hold `target` [rad] with these gains until told otherwise."""
        self.target = np.array(target, np.float64)
        self.motors.kp[0], self.motors.kd[0] = kp, kd

    def damp(self) -> None:
        """Only brake, with the damping of robot.yaml: what motors do whom nobody commands."""
        self.motors.kp[0], self.motors.kd[0] = 0.0, self.spec.damping.kd

    @property
    def time(self) -> float:
        """Simulated time since the reset [s]; counted in steps, so it does not drift."""
        return self.steps * EVAL_TIMESTEP

    def advance(self, seconds: float) -> None:
        """Simulate `seconds` from now, rounded to physics steps."""
        self.advance_to(self.time + seconds)

    def advance_to(self, time: float) -> None:
        """Simulate until `time` [s], rounded to physics steps; the past is left as it is."""
        while self.steps < round(time / EVAL_TIMESTEP):
            self._step()

    def state(self) -> RobotState:
        """Return what the robot measures now, delayed and noisy; noise is drawn at every call."""
        state = self._sensors.read(self._past[0])
        add_noise(state, self.noise, self._rng)
        return state

    def velocity_b(self) -> np.ndarray:
        """Return the true velocity of the base (3,) [m/s] in the body frame."""
        quat = self.data.qpos[self._base_qpos + 3 : self._base_qpos + 7]
        return frames.to_body(quat, self.data.qvel[self._base_qvel : self._base_qvel + 3])

    def yaw_rate(self) -> float:
        """Return the true angular velocity about body z [rad/s]."""
        return float(self.data.qvel[self._base_qvel + 5])

    def position_w(self) -> np.ndarray:
        """Return the true position of the base (3,) [m] in the world; z is its height."""
        return self.data.qpos[self._base_qpos : self._base_qpos + 3].copy()

    def tilt(self) -> float:
        """Return the true angle between body z and world z [rad]."""
        return float(frames.tilt(self.data.qpos[self._base_qpos + 3 : self._base_qpos + 7]))

    def contacts(self) -> np.ndarray:
        """Return which feet touch the ground (feet,) bool."""
        return self._sensors.read(self.data.sensordata).foot_force > CONTACT_FORCE

    def _step(self) -> None:
        data = self.data
        pos, vel = data.qpos[self._qpos], data.qvel[self._qvel]
        data.ctrl[:] = self.motors.torque(self.target, pos, vel)[0]
        mujoco.mj_step(self.model, data)
        self.steps += 1
        self._past.append(data.sensordata.copy())

    def _put_on_the_ground(self) -> None:
        """Set the height at which the lowest point just touches the floor.

        Sunk into the floor, each geom's contact depth is exact: the deepest says how far to rise.
        """
        height = self._base_qpos + 2
        self.data.qpos[height] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self.data.qpos[height] = -self.data.contact.dist.min(initial=0.0)
        mujoco.mj_forward(self.model, self.data)


class LockstepClock(SteppedClock):
    """The node's time is the simulation's: waiting for a deadline simulates until then."""

    def __init__(self, robot: SimulatedRobot) -> None:
        """Start at the robot's present time."""
        super().__init__(robot.advance_to)
        self.time = robot.time


class LockstepDriver:
    """The simulated robot as a driver of the node, in the same process."""

    name = "lockstep"

    def __init__(self, robot: SimulatedRobot) -> None:
        """Offer everything that `robot` measures."""
        self.robot = robot
        self.joint_names = robot.spec.joint_names
        self.feet = robot.spec.feet
        self.signals = frozenset(SIGNAL_NAMES)
        self._sequence = -1

    def open(self, joints: tuple[str, ...], feet: tuple[str, ...] = ()) -> None:
        """Map to the contract's joints and feet by name; `RefusedError` where they differ."""
        self._map = JointMap(joints, self.joint_names, self.name)
        same = set(feet) == set(self.feet)
        self._feet = np.array([self.feet.index(name) for name in feet] if same else [], int)
        self._no_feet = None if same else np.zeros(len(feet), np.float32)

    def read(self) -> Sample | None:
        """Return the present measurement, or None when no time has passed since the last call."""
        robot = self.robot
        if robot.steps == self._sequence:
            return None
        self._sequence = robot.steps
        state = robot.state()
        for name in ("joint_pos", "joint_vel", "joint_torque"):
            setattr(state, name, self._map.from_robot(getattr(state, name)))
        force = state.foot_force[self._feet] if self._no_feet is None else self._no_feet
        state.foot_force = force
        return Sample(state, robot.steps, robot.time)

    def write(self, command: MotorCommand) -> None:
        """Hand the command to the motors, which hold it until the next one."""
        values = (command.target, command.kp, command.kd)
        self.robot.drive(*(self._map.to_robot(v) for v in values))

    def close(self) -> None:
        """Let the motors brake."""
        self.robot.damp()


def serve(
    robot_name: str,
    port: int = DEFAULT_PORT,
    seconds: float | None = None,
    noise: Mapping[str, float] | None = None,
    say: Callable[[str], None] = print,
    stop: threading.Event | None = None,
) -> None:
    """Be a robot over UDP on loopback, in real time, until Ctrl-C, SIGTERM or `stop`.

    Args:
        robot_name: a folder in robots/.
        port: where it listens; a port that is taken is an `InputError`, 0 takes a free one.
        seconds: real time after which it ends by itself.
        noise: of the sensors, by default `FLICKER`.
        say: takes what there is to tell, a line at a time.
        stop: ends it from another thread.
    """
    spec = assets.load_robot(robot_name)
    robot = SimulatedRobot(spec, noise=FLICKER if noise is None else noise)
    hello = Hello(spec.name, spec.joint_names, SIGNAL_NAMES, spec.feet)
    stop = stop or threading.Event()
    with RobotEndpoint(hello, port) as wire, _stopped_by_signals(stop):
        say(
            f"{spec.description}: simulated in real time, {1 / EVAL_TIMESTEP:.0f} steps/s, lying "
            f"on the ground.\nListening on UDP 127.0.0.1:{wire.port}. Connect with: "
            f"robot-ppo-node run FILE.onnx --driver udp --port {wire.port} --arm\nCtrl-C ends it."
        )
        lost = _live(robot, wire, seconds, say, stop)
        counters = wire.counters
    say(
        f"Simulated {robot.time:.1f} s, {lost:.1f} s behind real time; {counters.accepted} "
        f"commands taken, {sum(counters.malformed.values())} malformed datagrams dropped."
    )


def _live(
    robot: SimulatedRobot,
    wire: RobotEndpoint,
    seconds: float | None,
    say: Callable[[str], None],
    stop: threading.Event,
) -> float:
    """Simulate in real time with absolute deadlines; return how far it fell behind [s]."""
    clock = MonotonicClock()
    born = start = clock.now()
    lost, told = 0.0, -np.inf
    ticks = 0
    while not stop.is_set() and (seconds is None or clock.now() < born + seconds):
        ticks += 1
        clock.sleep_until(start + ticks * PERIOD)
        now = clock.now()
        late = now - (start + ticks * PERIOD)
        if late > SLIP:
            start, lost = start + late, lost + late
            if now - told > 1:
                told = now
                say(f"Behind real time by {lost:.1f} s in all: this machine is too busy.")
        command = wire.receive(now)
        if command:
            robot.drive(command.target, command.kp, command.kd)
        elif wire.silent(now):
            robot.damp()
        robot.advance_to(ticks * PERIOD)
        wire.send_state(robot.time, robot.state())
    return lost


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `stop` instead of raising; only the main thread may ask so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
