"""Holds a simulated robot that cannot lie down: a gantry, with an operator at its winch.

    gantry = Gantry(model, robot)
    gantry.hold(data)                        # from the base's present pose on
    gantry.command(target, kp, time)         # what the motors are told
    gantry.apply(data, time)                 # before every physics step

A rope carries the base and only pulls; as much as it carries, it also keeps the base upright and
above one place, as two straps at the shoulders do. The operator sees no more of the node than its
commands: once the motors hold the default pose, the robot is lowered until its feet carry it; once
they leave that pose, the policy runs, and the rope is let go. Where no position gain was commanded
for `TAKE_AFTER`, the robot is pulled up again.
"""

import math

import mujoco
import numpy as np

from robot_ppo_export.contract.spec import RobotSpec

GRAVITY = 9.81
STIFFNESS = 20.0
"""Natural frequency of robot and rope [rad/s]: the rope gives by 2.5 cm under the whole weight."""
SAG = GRAVITY / STIFFNESS**2
"""Length by which the rope gives [m]."""
SPEED = 0.1
"""Speed of the winch [m/s]."""
CLEARANCE = 0.05
"""Clearance of the feet of a robot that hangs, its legs limp [m]."""
CARRIED = 0.2
"""Share of the weight in the rope below which the feet carry the robot. A biped that only holds a
pose leans over in a rope that is slack; this much keeps it upright until the policy runs."""
POSED = 0.02
POSED_FOR = 0.5
"""Targets that near [rad] to the default pose hold it; the winch begins so long [s] after it."""
TAKE_AFTER = 2.0
"""[s]"""
LARGEST_TURN = 0.3
"""[rad] Orientation error that is acted on: a robot that lies is not torn up."""


class Gantry:
    """A rope at the base of one robot, and the operator of its winch."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec) -> None:
        """Find the base; nothing is held before `hold`."""
        base = model.body(robot.base.body)
        joint = model.joint(int(base.jntadr[0]))
        self._qpos = int(joint.qposadr[0])
        self._qvel = int(joint.dofadr[0])
        self._mass = float(model.body_subtreemass[base.id])
        self._inertia = np.zeros(3)
        """About the base's axes [kg m^2] that the straps turn: the robot's, or less; see `hold`."""
        self._model = model
        self._default = robot.vector("default")
        self._place = np.zeros(7)
        """Pose in which the base is held: position [m], quaternion."""
        self.rope = self.top = 0.0
        """Height of the base [m] at which the rope begins to pull, now and before it is lowered."""
        self.released = True
        """The rope hangs loose, whatever the robot does."""
        self._lowered = False
        self._idle_since: float | None = None
        """Time [s] since which no position gain is commanded."""
        self._posed_since: float | None = None
        """Time at which the motors first held the default pose [s], since a gain was commanded."""

    def hold(self, data: mujoco.MjData) -> None:
        """Carry the robot where it is, from now on."""
        mass = np.zeros((self._model.nv, self._model.nv))
        mujoco.mj_fullM(self._model, data, mass)
        turning = slice(self._qvel + 3, self._qvel + 6)
        whole = np.diag(mass)[turning]
        # What the straps turn within one step is the base alone: a light one must not overshoot.
        alone = 1 / np.diag(np.linalg.inv(mass))[turning]
        self._inertia = whole / (1 + 2 * STIFFNESS * self._model.opt.timestep * whole / alone)
        self._take(data)
        self.top = self.rope
        self._idle_since = self._posed_since = None

    def command(self, target: np.ndarray, kp: np.ndarray, time: float) -> None:
        """Watch what the motors are told: targets (joints,) [rad] and position gains."""
        driven = bool(np.any(kp))
        posed = driven and float(np.abs(target - self._default).max()) < POSED
        if driven and not posed and self._lowered:
            self.released = True
        if not driven:
            self._posed_since = None
        elif posed and self._posed_since is None:
            self._posed_since = time
        if driven:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time

    def apply(self, data: mujoco.MjData, time: float) -> None:
        """Work the winch and pull, for one physics step."""
        idle = self._idle_since is not None and time - self._idle_since >= TAKE_AFTER
        if self.released and idle:
            self._take(data)
        force = data.qfrc_applied[self._qvel : self._qvel + 6]
        force[:] = 0
        if self.released:
            return
        tension = self._tension(data)
        share = min(tension / (self._mass * GRAVITY), 1.0)
        self._work(time, idle, share)
        force[:2] = share * self._mass * self._pull(self._place - data.qpos[self._base()], data)[:2]
        force[2] = tension
        force[3:] = share * self._inertia * self._turn(data)

    def _work(self, time: float, idle: bool, share: float) -> None:
        """Let the winch run: up while nobody commands, down once the motors hold the robot."""
        step = SPEED * self._model.opt.timestep
        if idle:
            self.rope = min(self.rope + step, self.top)
            self._lowered = False
        elif self._posed_since is not None and time - self._posed_since >= POSED_FOR:
            self._lowered = self._lowered or share < CARRIED
            self.rope -= 0.0 if self._lowered else step

    def _take(self, data: mujoco.MjData) -> None:
        """Take the rope in until it carries the robot where it is now; keep its heading."""
        self._place = data.qpos[self._base()].copy()
        w, x, y, z = self._place[3:]
        heading = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        self._place[3:] = math.cos(heading / 2), 0, 0, math.sin(heading / 2)
        self.rope = float(self._place[2]) + SAG
        self.released = self._lowered = False

    def _tension(self, data: mujoco.MjData) -> float:
        """Return the force in the rope [N]: it pulls, and never pushes."""
        below = self.rope - data.qpos[self._qpos + 2]
        pull = STIFFNESS**2 * below - 2 * STIFFNESS * data.qvel[self._qvel + 2]
        return self._mass * max(float(pull), 0.0) if below > 0 else 0.0

    def _pull(self, error: np.ndarray, data: mujoco.MjData) -> np.ndarray:
        """Return the acceleration (3,) [m/s^2] towards the place, critically damped."""
        velocity = data.qvel[self._qvel : self._qvel + 3]
        return STIFFNESS**2 * error[:3] - 2 * STIFFNESS * velocity

    def _turn(self, data: mujoco.MjData) -> np.ndarray:
        """Return the angular acceleration (3,) [rad/s^2] in the base's frame that rights it."""
        error = np.zeros(3)
        mujoco.mju_subQuat(error, self._place[3:], data.qpos[self._base()][3:])
        size = float(np.linalg.norm(error))
        error *= min(LARGEST_TURN / max(size, 1e-9), 1.0)
        velocity = data.qvel[self._qvel + 3 : self._qvel + 6]
        return STIFFNESS**2 * error - 2 * STIFFNESS * velocity

    def _base(self) -> slice:
        return slice(self._qpos, self._qpos + 7)
