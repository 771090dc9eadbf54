"""Reads n simulations after a control step: the truth (`World`), and what sensors say of it.

Fields of the world that cost time are read where a term of the task declares that it reads them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_ppo import project
from robot_ppo.config import Task
from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.gait import GaitClock, Schedule
from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.rewards import REWARDS
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.envs.robot.world import Constants, World
from robot_ppo.robot_model import source
from robot_ppo.robot_model.base_geometry import BaseGeometry
from robot_ppo.robot_model.geometry import Shape
from robot_ppo.sim import sensors
from robot_ppo.sim.robot_readings import RobotReadings
from robot_ppo.sim.scan import HeightMap, poses, scan
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.frames import Array, namespace
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.errors import InputError


def declared(task: Task) -> frozenset[str]:
    """Return the fields of a world that the task's terms of every kind say they read."""
    kinds = [
        (REWARDS, task.rewards),
        (TERMINATIONS, task.terminations),
        (METRICS, task.metrics),
        *((OBSERVATIONS, terms) for terms in task.observations.values()),
    ]
    return frozenset(
        field for table, terms in kinds for name in terms for field in table.reads.get(name, ())
    )


class WorldReader:
    """Reads one engine's simulations; it remembers joint velocities and how long feet are up."""

    def __init__(
        self,
        engine: RobotReadings,
        task: Task,
        robot: RobotSpec,
        commands: CommandSource,
        clock: GaitClock,
        constants: Constants,
        map: HeightMap | None = None,
        grids: tuple[ScanGrid, ...] = (),
    ) -> None:
        """Read of `engine`, and what the task adds to it: commands, gait, constants, scans.

        `map` is what robots are told of the ground; `grids` are those of the true scans.

        Raises:
            InputError: a term reads a field that is not among those which are read on demand.
        """
        self._on_demand: dict[str, Callable[[World, Any], Array]] = {
            "sole_level": self._sole_level,
            "foot_gap": self._foot_gap,
            "air_time": self._air_time,
            "base_clearance": self._base_clearance,
        }
        self.fields: tuple[str, ...] = ()
        """Fields of the world that are read because a term says so."""
        self.engine = engine
        self.commands = commands
        self.clock = clock
        self.device = engine.device
        """Where the arrays of worlds are."""
        self.constants = self.device.moved(constants, Constants, Schedule)
        self.map = map
        self._grids = grids
        self.joint_vel = self.device.zeros(engine.n, len(robot.joints))
        """(n, joints) [rad/s] a control step ago; an acceleration is the change since."""
        self._aloft = self.device.zeros(engine.n, len(robot.feet), dtype="int64")
        """(n, feet) control steps in a row in which a foot was read off the ground."""
        self._base: BaseGeometry | None = None
        self._task_robot = task.robot
        self._robot = robot
        self._control_period = self.device.moved(np.float32(task.control_period))
        self._feet = len(robot.feet)
        self.watch(declared(task))

    def watch(self, fields: frozenset[str]) -> None:
        """Read these fields of the world too, from now on; `InputError` for one that is unknown."""
        for name in fields:
            if name not in self._on_demand:
                known = ", ".join(self._on_demand)
                raise InputError(
                    f"a term of the task says reads={name!r}; what is read on demand is {known}: "
                    "leave out the others, which every world has"
                )
        if fields & {"sole_level", "foot_gap"}:
            self.engine.watch_soles()
        if "base_clearance" in fields:
            file = project.robot_folder(self._task_robot) / self._robot.model
            base = BaseGeometry(source.read(file).model, self._robot)
            self._base = self.device.moved(base, BaseGeometry, Shape)
        self.fields = tuple(sorted(fields))

    def begin(self, ids: np.ndarray, joint_vel: np.ndarray) -> None:
        """Let episodes of `ids` begin with joint velocities (m, joints) [rad/s], feet down."""
        self.joint_vel[ids] = self.device.put(joint_vel)
        self._aloft[ids] = 0

    def arrays(self) -> dict[str, Array]:
        """Return the arrays (n, ...) that the next worlds depend on, not copies."""
        if "air_time" not in self.fields:
            return {"joint_vel": self.joint_vel}
        return {"joint_vel": self.joint_vel, "aloft": self._aloft}

    def read(
        self, ids: Any, action: Array, last_action: Array, randomized: Array
    ) -> tuple[World, RobotState]:
        """Return the truth about the simulations `ids`, and what their sensors say of it.

        Args:
            ids: simulations.
            action: their raw actions of this step, (m, actions).
            last_action: those of the step before.
            randomized: their draws, (m, r).
        """
        engine = self.engine
        qpos, qvel = engine.positions(ids)
        quat = qpos[:, engine.base_quat]
        joint_vel = qvel[:, engine.joint_qvel]
        change = joint_vel - self.joint_vel[ids]
        self.joint_vel[ids] = joint_vel
        values = engine.sensor_values(ids)
        state = engine.measure(ids, (qpos, qvel), values)
        put = self.device.put
        command = put(self.commands.values[ids].copy(order="F"))  # it is redrawn in place
        moving = self.commands.moving(command)
        phase = put(self.clock.phase(ids))
        world = World(
            base_height=engine.base_heights(qpos),
            base_quat=quat,
            base_lin_vel=frames.to_body(quat, qvel[:, engine.base_lin_vel_w]),
            base_ang_vel=qvel[:, engine.base_ang_vel],
            projected_gravity=frames.projected_gravity(quat),
            joint_pos=qpos[:, engine.joint_qpos],
            joint_vel=joint_vel,
            joint_acc=change / self._control_period,
            torque=state.joint_torque,
            foot_height=engine.foot_heights(ids),
            foot_vel_w=engine.sensors.foot_velocities_w(values),
            foot_contact=state.foot_force > sensors.CONTACT_FORCE,
            command=command,
            moving=moving,
            phase=phase,
            swing=self._swing(phase, moving),
            action=action,
            last_action=last_action,
            randomized=randomized,
            failed=put(np.zeros(len(qpos), bool)),
            constants=self.constants,
            scans={grid: scan(engine.ground, grid, poses(engine, ids)) for grid in self._grids},
        )
        if self.map is not None:
            state.height_scan = self.map.values[ids].copy()  # they are renewed in place
        for name in self.fields:
            setattr(world, name, self._on_demand[name](world, ids))
        return world, state

    def _sole_level(self, _: World, ids: Any) -> Array:
        return self.engine.sole_levels(ids)

    def _foot_gap(self, world: World, ids: Any) -> Array:
        return self.engine.foot_gaps(world.base_quat, ids)

    def _air_time(self, world: World, ids: Any) -> Array:
        down = world.foot_contact
        xp = namespace(down)
        before = self._aloft[ids]
        steps = xp.where(down, before, before + 1)
        self._aloft[ids] = xp.where(down, 0, steps)
        return self.device.copied(steps) * self._control_period

    def _base_clearance(self, world: World, ids: Any) -> Array:
        assert self._base is not None
        pos = self.engine.qpos[ids][:, self.engine.base_pos]
        return self._base.clearance(pos, world.base_quat, self.engine.ground.height)

    def _swing(self, phase: Array, moving: Array) -> Array:
        """Return the feet's progress through their swing (m, feet); 0 without a gait."""
        schedule = self.constants.schedule
        if schedule is None:
            return self.device.zeros(len(phase), self._feet)
        return schedule.swing(phase, moving)
