"""An IMU that is mounted at an angle: terms, guards and logs see the base's frame."""

import math

import biped_helpers as biped
import mujoco
import numpy as np
import pytest
from quadruped_helpers import mjcf, models, robot, write

from robot_ppo import project
from robot_ppo.config import Physics
from robot_ppo.playback.play import play
from robot_ppo.robot_model import variants
from robot_ppo.sim.robot_engine import RobotEngine
from robot_ppo.sim.sensors import SensorMap
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract import frames
from robot_ppo_export.contract.mounting import Mounting
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.errors import InputError
from robot_ppo_node.drivers.base import mounting_of
from robot_ppo_node.safety.measured import Measured

SITE = '<site name="imu"/>'
ODD = (0.7, 0.1, -0.5, math.sqrt(1 - 0.49 - 0.01 - 0.25))
TURNS = {
    "upside down": (0.0, 1.0, 0.0, 0.0),
    "a quarter": (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)),
    "odd": ODD,
}


def turned(folder, quaternion, **changes):
    """Files of the quadruped whose IMU is turned, and its robot."""
    site = SITE.replace("/>", f' pos="0.03 0 0.02" quat="{" ".join(map(str, quaternion))}"/>')
    return write(folder, mjcf((SITE, site))), robot(
        imu={"site": "imu", "mounting": list(quaternion)}, **changes
    )


def moving(model):
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    data.qpos[:] = model.key("home").qpos
    data.qpos[3:7] = frames.from_rotation_vector(np.array([0.3, -0.4, 0.8]))
    data.qvel[:] = rng.normal(0, 1, model.nv)
    mujoco.mj_forward(model, data)
    return data


@pytest.mark.parametrize("how", TURNS)
def test_both_variants_measure_in_the_frame_of_the_base(tmp_path, how):
    path, described = turned(tmp_path, TURNS[how])
    for model in models(path, described)[1:]:
        data = moving(model)
        sensors = SensorMap(model, described)
        state = sensors.read(data.sensordata)
        raw = sensors.read_mounted(data.sensordata)
        assert np.abs(state.base_quat @ data.qpos[3:7]) == pytest.approx(1, abs=1e-6)
        assert np.allclose(state.base_ang_vel, data.qvel[3:6], atol=1e-5)
        assert not np.allclose(raw.base_ang_vel, data.qvel[3:6], atol=0.1)


@pytest.mark.parametrize("how", TURNS)
def test_gravity_is_felt_upwards_by_a_robot_that_stands(tmp_path, how):
    path, described = turned(tmp_path, TURNS[how])
    model = models(path, described)[1]
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    for _ in range(300):
        data.ctrl[:] = described.vector("default")
        mujoco.mj_step(model, data)
    felt = SensorMap(model, described).read(data.sensordata).base_lin_acc
    assert np.allclose(felt, (0, 0, 9.81), atol=0.3)


def test_an_imu_on_a_body_that_is_fixed_to_the_base_is_as_good(tmp_path):
    mast = f'<body name="mast" pos="0 0 0.1" quat="0.6 0 0 0.8">{SITE}</body>'
    path = write(tmp_path, mjcf((SITE, mast)))
    with pytest.raises(InputError, match=r"turned by 106\.3 degrees.*mounting: \[0\.6, 0, 0, 0\.8"):
        variants.eval_model(robot(), path)
    described = robot(imu={"site": "imu", "mounting": [0.6, 0.0, 0.0, 0.8]})
    model = variants.eval_model(described, path)
    data = moving(model)
    state = SensorMap(model, described).read(data.sensordata)
    assert np.allclose(state.base_ang_vel, data.qvel[3:6], atol=1e-5)


def test_a_mounting_that_robot_yaml_states_and_the_mjcf_does_not_have_is_refused(tmp_path):
    path, _ = turned(tmp_path, (1.0, 0.0, 0.0, 0.0))
    described = robot(imu={"site": "imu", "mounting": list(TURNS["upside down"])})
    with pytest.raises(InputError, match=r"turned by 180\.0 degrees.*mounting: \[1, 0, 0, 0\]"):
        variants.eval_model(described, path)


def test_a_mounting_is_a_unit_quaternion():
    with pytest.raises(InputError, match=r"`imu\.mounting`: \[1\.0, 1\.0, 0\.0, 0\.0\] has length"):
        robot(imu={"site": "imu", "mounting": [1.0, 1.0, 0.0, 0.0]})


@pytest.mark.parametrize("how", TURNS)
@pytest.mark.parametrize("fixed_to", ["base", "mast"])
def test_fresh_measurements_and_a_randomized_mounting_are_in_the_frame_too(tmp_path, how, fixed_to):
    """A small error of the mounting is the same small error, however the IMU is mounted."""
    level_path = write(tmp_path, mjcf())
    level = measure(
        variants.train_model(robot(), level_path, Physics(timestep=0.005), 0.02),
        robot(),
        (1, 0, 0, 0),
    )
    path, described = turned(tmp_path, TURNS[how])
    if fixed_to == "mast":
        text = path.read_text()
        start = text.index("<site")
        site = text[start : text.index("/>", start) + 2]
        path.write_text(text.replace(site, f'<body name="mast">{site}</body>'))
    model = variants.train_model(described, path, Physics(timestep=0.005), 0.02)
    found = measure(model, described, TURNS[how])
    for name in ("base_quat", "base_ang_vel"):
        assert np.allclose(getattr(found, name), getattr(level, name), atol=1e-5), name


def measure(model, described, mounting):
    """What an engine measures of a turning robot, half fresh, its IMU 0.1 rad off about base x."""
    engine = RobotEngine(model, described, n=2, threads=1, substeps=1)
    engine.vary(("site_quat", "freshness"))
    rows = engine.nominal(("site_quat", "freshness"), 2)
    rows["freshness"][:] = 0.5
    about_base_x = frames.from_rotation_vector(np.array([0.1, 0, 0]))
    rows["site_quat"][:, model.site("imu").id] = frames.multiply(about_base_x, np.array(mounting))
    qpos = np.tile(model.key("home").qpos, (2, 1))
    qpos[:, 2] += 1
    qvel = np.zeros((2, model.nv))
    qvel[:, 3:6] = (0.5, -1.0, 2.0)
    engine.reset(np.arange(2), qpos, qvel, rows)
    engine.step(np.tile(described.vector("default"), (2, 1)))
    return engine.measure()


def test_only_what_is_measured_is_turned():
    mounting = Mounting(TURNS["a quarter"])
    state = RobotState(base_ang_vel=np.array([1, 0, 0], np.float32))
    assert np.allclose(mounting.to_base(state).base_ang_vel, [0, 1, 0], atol=1e-6)
    assert set(mounting.to_base(state)) == {"base_ang_vel"}
    assert Mounting.of(robot()) is None


def test_the_node_sees_the_base_and_a_log_is_not_turned_twice():
    described = robot(imu={"site": "imu", "mounting": list(TURNS["upside down"])})

    class Live:
        pass

    class Log:
        in_base_frame = True

    measured = Measured({"base_quat": 4, "base_ang_vel": 3})
    raw = RobotState(
        base_quat=np.array([0, 1, 0, 0], np.float32), base_ang_vel=np.array([1, 2, 3], np.float32)
    )
    measured.expect(("base_quat", "base_ang_vel"), mounting_of(described, Live()))
    measured.update(raw)
    assert abs(measured.state.base_quat[0]) == 1
    assert measured.state.base_ang_vel.tolist() == [1, -2, -3]
    measured.expect(("base_quat", "base_ang_vel"), mounting_of(described, Log()))
    measured.update(raw)
    assert measured.state.base_ang_vel.tolist() == [1, 2, 3]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("stated", [True, False])
def test_a_robot_whose_imu_is_upside_down_is_armed_where_its_contract_says_so(
    tmp_path, monkeypatch, stated
):
    folder = tmp_path / "robots" / "walker"
    level = biped.write_robot(folder, "standing")
    flipped = (0.0, 1.0, 0.0, 0.0)
    xml = (folder / "walker.xml").read_text().replace(SITE, '<site name="imu" quat="0 1 0 0"/>')
    (folder / "walker.xml").write_text(xml)
    text = (folder / "robot.yaml").read_text()
    (folder / "robot.yaml").write_text(
        text.replace("site: imu", "site: imu\n  mounting: [0.0, 1.0, 0.0, 0.0]")
    )
    monkeypatch.setattr(project, "robot_folder", lambda name: folder)
    described = project.load_robot("walker")
    assert described.imu.mounting == flipped
    simulated = SimulatedRobot(described)
    simulated.advance(0.5)
    assert simulated.state().base_lin_acc[2] < -9  # what an IMU upside down measures
    path = biped.write_policy(tmp_path / "walker.onnx", described if stated else level, 0.05)
    summary = play(
        path, plot=tmp_path / "p.png", seconds=0.3, command=(0, 0, 0), say=lambda line: None
    )
    assert summary.failed != stated
