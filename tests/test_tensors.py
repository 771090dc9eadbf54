"""Every term of every table gives on torch tensors what it gives on numpy arrays."""

import dataclasses
import functools

import env_helpers as helpers
import mujoco
import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from contract_helpers import add_term, rows_of
from env_helpers import replace

from robot_ppo import project
from robot_ppo.config import Physics
from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.metrics import METRICS
from robot_ppo.envs.robot.observations import OBSERVATIONS
from robot_ppo.envs.robot.rewards import REWARDS, Rewards
from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo.envs.robot.world import Constants
from robot_ppo.robot_model import variants
from robot_ppo.robot_model.geometry import FootGeometry, Shape, half_extent
from robot_ppo.robot_model.soles import Soles
from robot_ppo.sim.device import CPU, Device
from robot_ppo.sim.sensors import SensorMap, add_drawn_noise, add_noise, uniform
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.action import ActionMap
from robot_ppo_export.contract.layout import Layout, Observer, TermSpec
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.contract.tables import PerJoint
from robot_ppo_export.contract.terms import NUMBERS, TERMS, Inputs, gait_phase

N = 5
TABLES = {
    "reward": REWARDS,
    "termination": TERMINATIONS,
    "metric": METRICS,
    "observation": OBSERVATIONS,
}
ALL = [(kind, name) for kind, table in TABLES.items() for name in table.functions]
PARAMETERS = {"joints": np.arange(12, dtype=np.float32)}
"""Values of parameters that are no positive number; every other one gets 0.5."""


def tensors(value):
    """The same structure with a tensor for every array; a dataclass keeps its class."""
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(np.array(value))
    if isinstance(value, dict):
        return {name: tensors(part) for name, part in value.items()}
    return value


def world_of(table, name, on=lambda value: value):
    """A world with a command of the kind that the term reads, as arrays or as tensors."""
    joints = "commands.joint_pos" in table.needs[name]
    command = np.random.default_rng(8).normal(0, 1, (N, 12 if joints else 3)).astype(np.float32)
    world = helpers.world(N, seed=4, command=command)
    schedule = Schedule(helpers.GAIT, helpers.robot())
    for key, value in vars(schedule).items():
        setattr(schedule, key, on(value))
    constants = Constants.of(helpers.robot(), schedule)
    own = {f.name: on(getattr(constants, f.name)) for f in dataclasses.fields(constants)}
    fields = {f.name: on(getattr(world, f.name)) for f in dataclasses.fields(world)}
    return dataclasses.replace(world, **fields | {"constants": Constants(**own)})


def same(array, tensor):
    assert isinstance(tensor, torch.Tensor)
    assert tensor.shape == array.shape
    assert tensor.numpy().dtype == array.dtype
    # Sums in another order, and another library's exp.
    assert np.allclose(tensor.numpy(), array, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_term_is_the_same_on_tensors(kind, name):
    table = TABLES[kind]
    given = {key: PARAMETERS.get(key, 0.5) for key in table.parameters(name)}
    function = functools.partial(table.functions[name])
    array = function(world_of(table, name), **given)
    same(array, function(world_of(table, name, tensors), **tensors(given)))


TORCH = Device.of_torch("cpu")
ELSEWHERE = Device.of_torch("meta")
"""A device that computes nothing, and refuses an operation on tensors of two devices."""


def elsewhere(value):
    return ELSEWHERE.moved(value, Constants, Schedule)


def far_world(table, name):
    """A world like `world_of`, all of whose arrays are elsewhere."""
    world = world_of(table, name)
    fields = {f.name: elsewhere(getattr(world, f.name)) for f in dataclasses.fields(world)}
    return dataclasses.replace(world, **fields)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_term_stays_on_the_device_of_its_world(kind, name):
    table = TABLES[kind]
    given = {key: PARAMETERS.get(key, 0.5) for key in table.parameters(name)}
    function = ELSEWHERE.moved(functools.partial(table.functions[name], **given))
    assert function(far_world(table, name)).device.type == "meta"


def test_the_weighted_sum_stays_on_the_device_of_the_world():
    task = helpers.shipped().task
    has = frozenset({"gait", "commands.twist"})
    rewards = Rewards(task.rewards, helpers.robot(), 0.02, has, ELSEWHERE)
    found = rewards.compute(far_world(REWARDS, "slip"))
    assert {part.device.type for part in found} == {"meta"}
    plain = Rewards(task.rewards, helpers.robot(), 0.02, has)  # negative control
    with pytest.raises((RuntimeError, TypeError)):
        plain.compute(far_world(REWARDS, "slip"))


def test_joint_targets_and_observations_stay_on_their_device():
    action = helpers.replace(helpers.shipped().task.action, held=("FR_hip_joint",))
    actions = ELSEWHERE.moved(ActionMap(action, helpers.robot()), ActionMap)
    taken = torch.zeros(N, actions.size, device="meta")
    assert actions.target(taken).device.type == "meta"
    layout = Layout(EVERYTHING, 12)
    observer = Observer(layout, (N,), ELSEWHERE.xp, ELSEWHERE.name)
    for t in range(2):
        seen = observer.observe(tick_inputs(t, elsewhere))
        observer.reset(SOME)
    assert seen.device.type == "meta" and seen.shape == (N, layout.size)


def test_the_weighted_sum_is_the_same_on_tensors():
    task = helpers.shipped().task
    rewards = Rewards(task.rewards, helpers.robot(), 0.02, frozenset({"gait", "commands.twist"}))
    arrays = rewards.compute(world_of(REWARDS, "slip"))
    # A weight for each joint is an array of its own: here as a tensor, too.
    rewards._plan = [
        (functools.partial(f.func, **tensors(f.keywords)), weight) for f, weight in rewards._plan
    ]
    for array, tensor in zip(
        arrays, rewards.compute(world_of(REWARDS, "slip", tensors)), strict=True
    ):
        same(array, tensor)


def state(on):
    rng = np.random.default_rng(2)
    quat = rng.normal(0, 1, (N, 4)).astype(np.float32)
    shapes = {"joint_pos": 12, "joint_vel": 12, "base_ang_vel": 3, "base_lin_acc": 3}
    shapes |= {"joint_torque": 12, "foot_force": 4}
    values = {k: rng.normal(0, 1, (N, size)).astype(np.float32) for k, size in shapes.items()}
    values["base_quat"] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
    return RobotState(**{name: on(value) for name, value in values.items()})


def inputs(on):
    rng = np.random.default_rng(3)
    command, action = (rng.normal(0, 1, (N, size)).astype(np.float32) for size in (3, 12))
    phase = rng.random(N).astype(np.float32)
    default = helpers.robot().vector("default").astype(np.float32)
    return Inputs(state(on), on(command), on(action), on(phase), on(default))


MEASURED = [name for name in TERMS.functions if {*NUMBERS[name].reads} <= {*state(lambda v: v)}]


@pytest.mark.parametrize("name", MEASURED)
def test_a_measured_term_is_the_same_on_tensors(name):
    function = TERMS.functions[name]
    same(function(inputs(lambda v: v)), function(inputs(tensors)))


@pytest.mark.parametrize("name", ["tilt", "projected_gravity", "normalize", "to_body", "multiply"])
def test_frames_are_the_same_on_tensors(name):
    rng = np.random.default_rng(5)
    quat, other = rng.normal(0, 1, (2, N, 4)).astype(np.float32)
    vector = rng.normal(0, 1, (N, 3)).astype(np.float32)
    given = {"to_body": (quat, vector), "multiply": (quat, other)}.get(name, (quat,))
    function = getattr(frames, name)
    same(function(*given), function(*(tensors(value) for value in given)))


def test_joint_targets_are_the_same_on_tensors():
    actions = ActionMap(helpers.shipped().task.action, helpers.robot())
    action = np.random.default_rng(1).normal(0, 3, (N, 12)).astype(np.float32)
    target = actions.target(action)
    for key, value in vars(actions).items():
        setattr(actions, key, tensors(value))
    same(target, actions.target(torch.from_numpy(action)))


EVERYTHING = (
    TermSpec(name="base_ang_vel", scale=0.25, clip=1.0, history=2),
    TermSpec(name="projected_gravity", history=3),
    TermSpec(name="command"),
    TermSpec(name="joint_pos_error", history=4),
    TermSpec(name="joint_vel", scale=0.05, clip=0.7),
    TermSpec(name="last_action"),
    TermSpec(name="gait_clock", history=2, parameters={"harmonics": 2}),
)
TICKS = 9
SOME = np.array([3, 1])


def tick_inputs(t, on):
    """Return the inputs of tick `t`, whose phase is that of the gait's clock."""
    rng = np.random.default_rng(100 + t)
    made = inputs(lambda value: value)
    for values in made.state.values():
        values += 0.3 * rng.normal(size=values.shape).astype(np.float32)
    ages = on(np.arange(N) + t)
    state = RobotState(**{name: on(values) for name, values in made.state.items()})
    rest = (made.command * rng.integers(0, 2, (N, 1)), made.last_action)
    command, action = (on(values.astype(np.float32)) for values in rest)
    return Inputs(state, command, action, gait_phase(ages, 0.02, 2.0), on(made.default_pose))


def observations(observer, on):
    """Return what an observer says over ticks; some are reset, and some observed alone."""
    seen = []
    some = on(SOME)
    for t in range(TICKS):
        now = tick_inputs(t, on)
        if t == 4:
            observer.reset(some)
        if t == 6:
            seen.append(observer.observe(rows_of(now, some), some))
            continue
        seen.append(observer.observe(now))
    return seen


def test_the_whole_observer_is_the_same_on_tensors():
    """Every term, with clip, scale, histories that are reset in part, and the gait's clock."""
    layout = Layout(EVERYTHING, 12)
    assert {spec.name for spec in EVERYTHING} == set(MEASURED)
    arrays = observations(Observer(layout, (N,)), lambda value: value)
    rows = observations(Observer(layout, (N,), array_namespace(torch.zeros(1))), tensors)
    assert len(arrays) == len(rows) == TICKS
    for array, tensor in zip(arrays, rows, strict=True):
        same(array, tensor)
    assert not np.allclose(arrays[3], arrays[4])  # the ticks do differ


def test_one_robot_is_observed_the_same_on_tensors():
    layout = Layout(EVERYTHING, 12)
    one = Observer(layout, ())
    other = Observer(layout, (), array_namespace(torch.zeros(1)))
    for t in range(TICKS):
        # (2, ...) keeps numbers arrays; a scalar has no array namespace in numpy 2.0.
        row = rows_of(tick_inputs(t, lambda value: value), (2, ...))
        same(one.observe(row), other.observe(rows_of(tick_inputs(t, tensors), (2, ...))))


def test_a_parameter_per_joint_is_a_tensor_for_an_observer_of_tensors(monkeypatch):
    def weighted_vel(inputs, *, joints: PerJoint):
        assert type(joints) is type(inputs.state.joint_vel)
        return inputs.state.joint_vel * joints

    add_term(monkeypatch, weighted_vel, size="joints", reads=("joint_vel",))
    names = helpers.robot().joint_names
    spec = TermSpec(name="weighted_vel", parameters={"joints": {"*_hip_joint": 0.5}})
    layout = Layout((spec,), names)
    array = Observer(layout, (N,)).observe(inputs(lambda value: value))
    assert not np.allclose(array, inputs(lambda value: value).state.joint_vel)
    observer = Observer(layout, (N,), array_namespace(torch.zeros(1)))
    same(array, observer.observe(inputs(tensors)))


# -- what is read of simulations ----------------------------------------------------------------


def poses_of(name, n=4):
    """A robot's training model, and rows of what MuJoCo derives in random poses."""
    robot = project.load_robot(name)
    xml = project.robot_folder(name) / robot.model
    model = variants.train_model(robot, xml, Physics(timestep=0.01), 0.0)
    rng = np.random.default_rng(7)
    data = mujoco.MjData(model)
    rows = {key: [] for key in ("geom_xpos", "geom_xmat", "xmat", "qpos", "sensordata")}
    for _ in range(n):
        data.qpos[:] = model.key("home").qpos + rng.normal(0, 0.1, model.nq)
        data.qvel[:] = rng.normal(0, 1, model.nv)
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_forward(model, data)
        for key, row in rows.items():
            row.append(getattr(data, key).copy())
    return model, robot, {key: np.array(row) for key, row in rows.items()}


def near(array, tensor):
    """Equal but for the single precision in which the tensor was computed."""
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), array, atol=2e-6)


@pytest.mark.parametrize("name", ["go2", "g1", "h1"])
def test_feet_and_soles_are_the_same_on_tensors(name):
    model, robot, rows = poses_of(name)
    there = {key: TORCH.put(values) for key, values in rows.items()}
    feet = FootGeometry(model, robot)
    far = TORCH.moved(feet, FootGeometry, Shape)
    parts = ("geom_xpos", "geom_xmat")
    found = far.clearance(*(there[key] for key in parts), lambda x, y: 0.1 * x)
    near(feet.clearance(*(rows[key] for key in parts), lambda x, y: 0.1 * x), found)
    soles = Soles(model, robot)
    far = TORCH.moved(soles, Soles)
    near(soles.level(rows["xmat"]), far.level(there["xmat"]))
    quat = (rows["qpos"][:, 3:7], there["qpos"][:, 3:7])
    near(soles.gap(rows["geom_xpos"], quat[0]), far.gap(there["geom_xpos"], quat[1]))


PRIMITIVES = ("SPHERE", "CAPSULE", "CYLINDER", "BOX", "ELLIPSOID")


@pytest.mark.parametrize("kind", PRIMITIVES)
def test_a_shape_reaches_as_far_on_tensors(kind):
    up = np.random.default_rng(0).normal(0, 1, (N, 3))
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    size = np.array([0.1, 0.2, 0.3])
    type = getattr(mujoco.mjtGeom, f"mjGEOM_{kind}")
    near(half_extent(type, size, up), half_extent(type, TORCH.put(size), TORCH.put(up)))


def test_sensors_of_an_imu_at_an_angle_are_the_same_on_tensors():
    model, robot, rows = poses_of("go2")
    turned = replace(robot, imu=replace(robot.imu, mounting=(0.5, 0.5, -0.5, 0.5)))
    sensors = SensorMap(model, turned)
    far = SensorMap(model, turned, TORCH)
    values = CPU.copied(rows["sensordata"])
    there = TORCH.put(values.copy())
    found = far.state(there)
    for name, signal in sensors.state(values).items():
        np.testing.assert_allclose(found[name].numpy(), signal, rtol=1e-5, atol=1e-5)
    near(sensors.foot_velocities_w(values), far.foot_velocities_w(there))
    site = np.array([[0.8, 0.6, 0.0, 0.0]], np.float32)
    near(sensors.imu_error(site), far.imu_error(TORCH.put(site)))


def test_noise_on_tensors_is_the_noise_that_is_drawn():
    noise = {"base_quat": 0.1, "joint_pos": 0.5, "base_ang_vel": 0.2}
    arrays = state(lambda value: value)
    there = state(tensors)
    rng = np.random.default_rng(1)
    add_noise(arrays, noise, np.random.default_rng(1))
    add_drawn_noise(there, noise, lambda shape: torch.from_numpy(uniform(rng, shape)))
    for name in arrays:
        same(arrays[name], there[name])
