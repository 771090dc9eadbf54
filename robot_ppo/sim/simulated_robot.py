"""MuJoCo playing the robot, in lockstep with a node in this process.

The physics are the eval variant's: 2 ms, every collision geom, torque motors whose PD law runs at
the physics rate. In lockstep the node's clock *is* the simulation, so nothing can be late and a
run is the same, bit for bit, every time:

    robot = SimulatedRobot(project.load_robot("go2"))
    node = Node(policy, LockstepDriver(robot), LockstepClock(robot), ...)

As a process of its own it is `robot-ppo sim go2` (server.py).

`state()` describes the state before the last physics step, as MuJoCo's sensors do; the truth
(`velocity_b` and so on) is the present one. A robot that diverges is not put on its feet, as
MuJoCo would: it is a `DivergedRobotError`, until `reset`.
"""

from collections import deque
from collections.abc import Mapping

import mujoco
import numpy as np

from robot_ppo import project
from robot_ppo.robot_model import geometry, source
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Mjcf
from robot_ppo.robot_model.variants import EVAL_TIMESTEP, eval_model
from robot_ppo.sim import ground
from robot_ppo.sim.engine import FASTEST
from robot_ppo.sim.gantry import CLEARANCE, Gantry
from robot_ppo.sim.motors import PdMotors
from robot_ppo.sim.scan import Poses, scan
from robot_ppo.sim.sensors import CONTACT_FORCE, SensorMap, add_noise, check_noise
from robot_ppo.sim.single_engine import SingleEngine
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import BASIC, NO_WIDTHS, RobotState
from robot_ppo_export.errors import RefusedError
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.drivers import capabilities
from robot_ppo_node.drivers.base import MotorCommand, Sample
from robot_ppo_node.drivers.joint_map import JointMap, StateMap

SETTLING = 2.0
"""Time [s] in which limp legs come to rest before the robot is handed out."""


class DivergedRobotError(RefusedError):
    """The simulated robot's state is not finite, or moves faster than anything does."""


class SimulatedRobot:
    """One robot. Joint vectors are (joints,) in the order of robot.yaml."""

    def __init__(
        self,
        robot: RobotSpec,
        *,
        xml: Mjcf | None = None,
        with_visuals: bool = False,
        field: HeightField | None = None,
        scan_grid: ScanGrid | None = None,
        noise: Mapping[str, float] | None = None,
        motor_delay: float = 0.0,
        sensor_delay: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Build the model and start as robot.yaml's life cycle says.

        Args:
            robot: names, gains and limits.
            xml: its MJCF; by default that in the folder of its name.
            with_visuals: keep what only eyes need.
            field: heights of the ground, on which it starts at x = y = 0; None: level ground.
            scan_grid: points of the height scan that it measures; None: it measures none.
            noise: signal -> half-width of its uniform noise, in its unit (base_quat: [rad]).
            motor_delay: from a command to its effect [s], rounded to physics steps.
            sensor_delay: from a measurement to `state()` [s], rounded to physics steps.
            seed: of the noise.
        """
        self.spec = robot
        xml = xml or project.robot_folder(robot.name) / robot.model
        self.model = eval_model(robot, xml, with_visuals, field)
        self.engine = SingleEngine(self.model)
        self.ground = ground.of(self.engine)
        """Ground that it stands on."""
        self.data = self.engine.data
        self.motors = PdMotors(robot, 1, EVAL_TIMESTEP, motor_delay)
        self.motors.summing = False
        self.noise = dict(noise or {})
        self.scan_grid = scan_grid
        optional = {"height_scan": scan_grid}
        self.signals = frozenset((*BASIC, *(name for name, has in optional.items() if has)))
        """Signals that it measures."""
        check_noise(self.noise, self.signals)
        self._sensors = SensorMap(self.model, robot)
        joints = [self.model.joint(name) for name in robot.joint_names]
        self._qpos = np.array([j.qposadr[0] for j in joints])
        self._qvel = np.array([j.dofadr[0] for j in joints])
        base = self.model.joint(int(self.model.body(robot.base.body).jntadr[0]))
        self._base_qpos = int(base.qposadr[0])
        self._base_qvel = int(base.dofadr[0])
        self._range = robot.vector("range").T
        self._rng = np.random.default_rng(seed)
        self._past: deque[np.ndarray] = deque(maxlen=1 + round(sensor_delay / EVAL_TIMESTEP))
        self._gantry: Gantry | None = None
        self.reset()

    def reset(self, pose: str = "start") -> None:
        """Start at time 0, limp.

        Args:
            pose: "start" as the life cycle says, on a gantry where the robot cannot lie down;
                "rest" or "home" (the default pose) on the ground, with nothing that holds it.
        """
        cycle = self.spec.life_cycle
        held = pose == "start" and not cycle.has_rest
        self._gantry = None
        self._place(self.spec.vector("default") if pose == "home" else self.spec.rest())
        if held:
            self._gantry = Gantry(self.model, self.spec)
            self._gantry.hold(self.data)
        if cycle.start == "hanging" and self._gantry:
            self._hang_up(self._gantry)
        self.steps = 0
        self._past.clear()
        self._past.append(self.data.sensordata.copy())
        self.target = self.data.qpos[self._qpos].copy()
        self.damp()

    def drive(self, target: np.ndarray, kp: np.ndarray, kd: np.ndarray) -> None:
        """Let every motor hold `target` [rad] with these gains until told otherwise.

        A target beyond the joint's range is held at its end, as by a motor that knows its stops.
        """
        self.target = np.clip(np.asarray(target, np.float64), *self._range)
        self.motors.kp[0] = kp
        self.motors.kd[0] = kd
        if self._gantry:
            self._gantry.command(self.target, self.motors.kp[0], self.time)

    def damp(self) -> None:
        """Only brake, with the damping of robot.yaml, as motors do without a command."""
        self.motors.kp[0] = 0.0
        self.motors.kd[0] = self.spec.damping_gains()
        if self._gantry:
            self._gantry.command(self.target, self.motors.kp[0], self.time)

    @property
    def time(self) -> float:
        """Simulated time since the reset [s]; counted in steps, so it does not drift."""
        return self.steps * EVAL_TIMESTEP

    def advance(self, seconds: float) -> None:
        """Simulate `seconds` from now, rounded to physics steps."""
        self.advance_to(self.time + seconds)

    def advance_to(self, time: float) -> None:
        """Simulate until `time` [s], rounded to physics steps; the past is left as it is.

        Raises:
            DivergedRobotError: its state is no longer one of physics.
        """
        while self.steps < round(time / EVAL_TIMESTEP):
            self._step()

    def state(self) -> RobotState:
        """Return what the robot measures now, delayed and noisy; noise is drawn at every call."""
        state = self._sensors.read_mounted(self._past[0])
        if self.scan_grid:
            state.height_scan = self._scan(self.scan_grid)
        add_noise(state, self.noise, self._rng)
        return state

    def _scan(self, grid: ScanGrid) -> np.ndarray:
        """Return the height of the ground over the base at the points of a grid (k,) [m]."""
        start = self._base_qpos
        x, y, z = self.data.qpos[start : start + 3, None]
        yaw = np.atleast_1d(frames.yaw(self.data.qpos[start + 3 : start + 7]))
        return scan(self.ground, grid, Poses(x, y, z, yaw))[0]

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

    def pose_w(self) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) [m] and orientation (4,) wxyz of the base in the world."""
        start = self._base_qpos
        return self.position_w(), self.data.qpos[start + 3 : start + 7].copy()

    def ground_height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights (...,) [m] of the ground at places (...,) [m]."""
        return self.ground.height(x, y)

    def height(self) -> float:
        """Return how high the base is above the ground below it [m]."""
        x, y, z = self.position_w()
        return float(z - self.ground.height(x, y))

    def tilt(self) -> float:
        """Return the true angle between body z and world z [rad]."""
        return float(frames.tilt(self.data.qpos[self._base_qpos + 3 : self._base_qpos + 7]))

    def set_base_mass(self, mass: float) -> None:
        """Give the base another mass [kg]; its inertia stays as it is."""
        self.model.body(self.spec.base.body).mass[:] = mass
        mujoco.mj_setConst(self.model, mujoco.MjData(self.model))

    def push(self, velocity_b: np.ndarray) -> None:
        """Change the base's velocity by (2,) [m/s], forward and left as the robot is heading."""
        quat = self.data.qpos[self._base_qpos + 3 : self._base_qpos + 7]
        heading = float(frames.yaw(quat))
        forward = np.array([np.cos(heading), np.sin(heading)])
        left = np.array([-forward[1], forward[0]])
        change = velocity_b[0] * forward + velocity_b[1] * left
        self.data.qvel[self._base_qvel : self._base_qvel + 2] += change

    def joint_positions(self) -> np.ndarray:
        """Return the true angles of the joints (joints,) [rad]."""
        return self.data.qpos[self._qpos].copy()

    def joint_velocities(self) -> np.ndarray:
        """Return the true velocities of the joints (joints,) [rad/s]."""
        return self.data.qvel[self._qvel].copy()

    def torques(self) -> np.ndarray:
        """Return the motors' torques of the last physics step (joints,) [N m]."""
        return self.data.ctrl.copy()

    def contacts(self) -> np.ndarray:
        """Return which feet touch the ground (feet,) bool."""
        return self._sensors.read(self.data.sensordata).foot_force > CONTACT_FORCE

    def _step(self) -> None:
        data = self.data
        pos = data.qpos[self._qpos]
        vel = data.qvel[self._qvel]
        if self._gantry:
            self._gantry.apply(data, self.time)
        data.ctrl[:] = self.motors.torque(self.target, pos, vel)[0]
        lost = self.engine.advance()
        self.steps += 1
        if lost.size:
            raise DivergedRobotError(
                f"the simulated robot diverged after {self.time:.3f} s: its state is not finite, "
                f"or faster than {FASTEST:g} m/s or rad/s"
            )
        self._past.append(data.sensordata.copy())

    def standing_qpos(self) -> np.ndarray:
        """Return the position (nq,) of the default pose, somewhere above the ground."""
        qpos = self.model.qpos0.copy()
        qpos[self._qpos] = self.spec.vector("default")
        return qpos

    def _place(self, pose: np.ndarray) -> None:
        """Put the robot on the ground with its joints at `pose` (joints,) [rad], at rest."""
        self.engine.restart(np.zeros(1, np.int64))
        self.data.qpos[self._qpos] = pose
        self._put_on_the_ground()

    def _hang_up(self, gantry: Gantry) -> None:
        """Hang the limp robot up, with air under its feet once its legs are at rest."""
        self.data.qpos[self._base_qpos + 2] += 1.0
        self.target = self.data.qpos[self._qpos].copy()
        self.steps = 0
        self.damp()
        gantry.hold(self.data)
        while self.time < SETTLING:
            self._step()
        self._put_on_the_ground()
        self.data.qpos[self._base_qpos + 2] += CLEARANCE
        self.data.qvel[:] = 0
        self.data.time = 0.0
        mujoco.mj_forward(self.model, self.data)
        gantry.hold(self.data)

    def _put_on_the_ground(self) -> None:
        """Set the height at which the lowest point just touches the ground."""
        height = self._base_qpos + 2
        self.data.qpos[height] = 0.0
        mujoco.mj_forward(self.model, self.data)
        self.data.qpos[height] = -self._lowest()
        mujoco.mj_forward(self.model, self.data)

    def _lowest(self) -> float:
        """Return the least height of a geom that can touch something, above the ground [m]."""
        if isinstance(self.ground, ground.Plane):
            # Sunk into a plane, each geom's contact depth is exact.
            return float(self.data.contact.dist.min(initial=0.0))
        mine = source.colliding_geoms(self.model) & ~source.static_geoms(self.model)
        x, y = self.data.geom_xpos[:, :2].T
        above = geometry.lowest_points(self.model, self.data) - self.ground.height(x, y)
        return float(above[mine].min())


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
        self.signals = robot.signals
        self.capabilities = capabilities.of_robot(robot.spec)
        self._sequence = -1

    def open(
        self,
        joints: tuple[str, ...],
        feet: tuple[str, ...] = (),
        signals: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Map to the contract's joints and feet by name; `RefusedError` where they differ."""
        self._map = JointMap(joints, self.joint_names, self.name)
        self._states = StateMap(self._map, feet, self.feet, self.signals)

    def read(self) -> Sample | None:
        """Return the present measurement, or None when no time has passed since the last call."""
        robot = self.robot
        if robot.steps == self._sequence:
            return None
        self._sequence = robot.steps
        state = self._states.from_robot(robot.state())
        return Sample(state, robot.steps, robot.time)

    def write(self, command: MotorCommand) -> None:
        """Hand the command to the motors, which hold it until the next one."""
        values = (command.target, command.kp, command.kd)
        self.robot.drive(*(self._map.to_robot(v) for v in values))

    def damp(self) -> None:
        """Let the motors brake."""
        self.robot.damp()

    def close(self) -> None:
        """Let the motors brake."""
        self.damp()
