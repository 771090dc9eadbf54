"""What is read of simulations stays on their device: torch's `meta`, which computes nothing.

It refuses an operation on tensors of two devices, as a GPU does.
"""

import dataclasses

import env_helpers as helpers
import numpy as np
import pytest
import torch

from robot_ppo import config, project
from robot_ppo.derived import walk
from robot_ppo.envs.robot.commands import CommandSource
from robot_ppo.envs.robot.gait import GaitClock, Schedule
from robot_ppo.envs.robot.metrics import METRICS, RobotMetrics
from robot_ppo.envs.robot.reader import WorldReader
from robot_ppo.envs.robot.world import Constants
from robot_ppo.robot_model import variants
from robot_ppo.sim.device import Device
from robot_ppo.sim.fields import measurement
from robot_ppo.sim.robot_readings import RobotReadings
from robot_ppo.sim.sensors import add_drawn_noise
from robot_ppo.sim.warp_robot import Level
from robot_ppo_export.contract.tables import Term

FAR = Device.of_torch("meta")
N = 5
SOME = np.array([1, 3])


class FarRobots(RobotReadings):
    """Simulations of which nothing but the shapes is known."""

    def __init__(self, model, robot):
        self.model = model
        self.n = N
        self._find_parts(model, robot, FAR)
        self.ground = Level()
        self.qpos = FAR.zeros(N, model.nq)
        self.qvel = FAR.zeros(N, model.nv)
        self.ctrl = FAR.zeros(N, model.nu)
        self.sensordata = FAR.zeros(N, model.nsensordata)
        self._geom_xpos = FAR.zeros(N, model.ngeom, 3)
        self._geom_xmat = FAR.zeros(N, model.ngeom, 3, 3)
        self._forces = FAR.zeros(N, model.nbody, 6)
        self._fields = {"site_quat": FAR.zeros(N, model.nsite, 4)}
        self._measurement = measurement(N, len(robot.joints), FAR)

    def _rotations(self):
        return FAR.zeros(N, self.model.nbody, 3, 3)


def reader_of(name):
    """A reader of `FarRobots` of a robot, at its derived task, and the task."""
    task = config.load_task(walk.resolve(name).named)
    rewards = task.rewards | {"feet_air_time": {"weight": 1.0, "threshold": 0.1}}
    task = helpers.replace(task, rewards=rewards, terminations={"base_contact": {}})
    robot = project.load_robot(name)
    xml = project.robot_folder(name) / robot.model
    engine = FarRobots(variants.train_model(robot, xml, task.physics, 0.04), robot)
    commands = CommandSource(task.commands, robot, N, task.control_period)
    clock = GaitClock(task.gait, N, task.control_period)
    constants = Constants.of(robot, Schedule(task.gait, robot))
    return WorldReader(engine, task, robot, commands, clock, constants), task


def devices(value):
    """The devices of all tensors in an object; an array of numpy's would be one of its own."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return {str(value.device)}
    if dataclasses.is_dataclass(value):
        return devices({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if hasattr(value, "values"):
        return set().union(*map(devices, value.values()), set())
    return set()


@pytest.mark.parametrize("name", ["go2", "g1", "h1"])
def test_world_and_measurements_stay_on_the_device_of_the_simulations(name):
    reader, task = reader_of(name)
    nothing = FAR.zeros(N, 3)
    for ids in (..., SOME):
        reader.begin(SOME, np.zeros((2, len(reader._robot.joints))))
        world, state = reader.read(ids, nothing[ids], nothing[ids], nothing[ids])
        add_drawn_noise(state, dict(task.noise), lambda shape: FAR.zeros(*shape))
        assert devices(world) == devices(state) == {"meta"}
        assert world.air_time is not None and world.base_clearance is not None
        assert name == "go2" or world.sole_level is not None
    reader.engine.push(SOME, np.ones((2, 2)))
    reader.engine.pull(SOME, np.zeros(2))


def test_figures_of_steps_stay_on_the_device_until_episodes_end():
    reader, task = reader_of("go2")
    world, _ = reader.read(..., *(FAR.zeros(N, 12),) * 3)
    resolved = METRICS.resolve("task.metrics", task.metrics, (), task.parts)
    terms = FAR.moved(resolved, Term)
    metrics = RobotMetrics(N, ("a", "b"), 0.02, terms, on=FAR)
    metrics.add(FAR.zeros(N), FAR.zeros(2, N))
    metrics.add_world(world)
    metrics.clear(SOME)
    metrics.copy_rows(SOME, SOME + 1)
    figures = metrics.arrays()
    assert {devices(figures[key]).pop() for key in ("sums", "totals")} == {"meta"}


def test_a_constant_that_was_left_behind_is_noticed():
    """Negative control."""
    reader, _ = reader_of("go2")
    reader.constants.schedule.offsets = torch.zeros(4)
    with pytest.raises(RuntimeError, match="device"):
        reader.read(..., *(FAR.zeros(N, 12),) * 3)
