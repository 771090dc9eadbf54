"""Robots that cannot lie down, in the simulation: gantry, playback, exit codes, camera."""

import biped_helpers as biped
import mujoco
import node_helpers as helpers
import numpy as np
import pytest

from robot_ppo import cli, project
from robot_ppo.playback import film, session
from robot_ppo.playback.play import play
from robot_ppo.rendering.camera import FollowCamera, extent, show_robot
from robot_ppo.sim.gantry import CLEARANCE
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.errors import InputError
from robot_ppo_node.control.states import State


@pytest.fixture
def walker(tmp_path, monkeypatch):
    """A function that makes a biped that starts so, and a policy file of such a gain for it."""

    def make(start, gain=0.05):
        folder = tmp_path / "robots" / "walker"
        robot = biped.write_robot(folder, start)
        found = project.robot_folder
        monkeypatch.setattr(
            project, "robot_folder", lambda name: folder if name == "walker" else found(name)
        )
        return robot, biped.write_policy(tmp_path / "walker.onnx", robot, gain)

    return make


def driven(robot, target, seconds):
    """Hold `target` with the standing gains for so long."""
    n = len(robot.spec.joints)
    kp = np.full(n, robot.spec.stand.kp)
    kd = np.full(n, robot.spec.stand.kd)
    end = robot.time + seconds
    while robot.time < end:
        robot.drive(target, kp, kd)
        robot.advance(0.02)


# --- the gantry


def test_a_robot_that_hangs_has_its_feet_in_the_air_and_is_at_rest(walker):
    robot = SimulatedRobot(walker("hanging")[0])
    clearances = []
    height = robot.position_w()[2]
    for _ in range(100):
        robot.advance(0.02)
        clearances.append(lowest(robot))
    assert min(clearances) > CLEARANCE / 2
    assert robot.position_w()[2] == pytest.approx(height, abs=0.01)
    assert robot.tilt() < 0.01 and not robot.contacts().any()


def lowest(robot):
    """Height of the lowest corner of a sole above the ground [m]."""
    heights = []
    for name in biped.FEET:
        geom = robot.data.geom(name)
        size = robot.model.geom(name).size
        heights.append(geom.xpos[2] - np.abs(geom.xmat.reshape(3, 3)[2]) @ size)
    return min(heights)


def test_it_is_lowered_once_its_motors_hold_the_default_pose(walker):
    robot = SimulatedRobot(walker("hanging")[0])
    driven(robot, robot.spec.vector("default"), 3.0)
    weight = 9.81 * robot.model.body_subtreemass[0]
    assert robot.state().foot_force.sum() > 0.75 * weight
    assert robot.tilt() < 0.05
    height = robot.position_w()[2]
    driven(robot, robot.spec.vector("default"), 3.0)
    assert robot.position_w()[2] == pytest.approx(height, abs=0.005)  # the winch has stopped


def test_negative_control_other_targets_do_not_lower_it(walker):
    robot = SimulatedRobot(walker("hanging")[0])
    driven(robot, robot.spec.vector("default") + 0.1, 4.0)
    assert not robot.contacts().any()


def test_the_rope_is_let_go_once_the_policy_moves_the_targets(walker):
    robot = SimulatedRobot(walker("hanging")[0])
    default = robot.spec.vector("default")
    driven(robot, default, 3.0)
    driven(robot, default + 0.05, 0.1)
    robot.damp()
    robot.advance(1.5)
    assert robot.position_w()[2] < 0.6 * robot.spec.base.height  # nothing holds it any more
    robot.advance(8.0)
    assert robot.tilt() < 0.05  # nobody commanded: it was pulled up again


def test_a_robot_that_stands_is_held_until_its_motors_do(walker):
    robot = SimulatedRobot(walker("standing")[0])
    robot.advance(3.0)
    height = robot.spec.base.height
    assert robot.position_w()[2] == pytest.approx(height, abs=0.02)
    robot.reset("home")
    robot.advance(3.0)
    assert robot.position_w()[2] < 0.6 * height  # negative control: limp, it sinks


# --- playback


def silent(line):
    pass


@pytest.mark.parametrize("start", ["hanging", "standing"])
def test_a_biped_is_stood_up_and_runs_its_policy(walker, tmp_path, start):
    _, path = walker(start)
    seen = []
    record = session.Session._record

    def recorded(session):
        record(session)
        seen.append(session.node.state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Session, "_record", recorded)
        summary = play(path, plot=tmp_path / "p.png", seconds=0.3, command=(0, 0, 0), say=silent)
    assert summary.seconds == pytest.approx(0.3)
    assert not summary.failed and summary.falls == 0
    ways = [State.PREFLIGHT, State.STAND, State.READY, State.POLICY, State.DAMP]
    assert list(dict.fromkeys(s for s in seen if s is not State.PASSIVE)) == ways


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("start", "gain"), [("hanging", 3.0), (None, 1.0)])
def test_an_untrained_policy_ends_with_a_sentence_and_exit_code_3(
    walker, tmp_path, capsys, start, gain
):
    """On a gantry the policy runs and falls; without, the robot tips over before it is stood up."""
    _, path = walker(start, gain)
    assert cli.main(["play", str(path), "--plot", str(tmp_path / "p.png")]) == 3
    said = capsys.readouterr().out
    assert "The node gave up: " in said
    if start is None:
        assert "The policy did not run." in said and "; failing for 5 s" in said
        assert not (tmp_path / "p.png").exists()
    else:
        assert "1 falls" in said


@pytest.mark.usefixtures("undrawn")
def test_negative_control_a_policy_that_stands_ends_with_exit_code_0(tmp_path):
    words = ["--plot", str(tmp_path / "p.png"), "--seconds", "0.2"]
    assert cli.main(["play", str(helpers.policy_file()), *words]) == 0


def test_a_video_of_a_policy_that_did_not_run_is_not_left_behind(walker, tmp_path, monkeypatch):
    monkeypatch.setattr(film, "SIZE", (160, 96))
    _, path = walker(None)
    try:
        summary = play(path, video=tmp_path / "v.mp4", say=silent)
    except InputError as error:
        if "OpenGL" in str(error):
            pytest.skip(str(error))
        raise
    assert summary.failed
    assert not (tmp_path / "v.mp4").exists()


# --- the camera


@pytest.mark.parametrize("name", ["walker", "go2"])
def test_the_camera_sees_the_whole_robot(walker, name):
    spec = walker("standing")[0] if name == "walker" else project.load_robot(name)
    robot = SimulatedRobot(spec)
    camera = FollowCamera(robot.model, spec.base.body, qpos=robot.standing_qpos())
    camera.follow(robot.data)
    size = extent(robot.model, spec.base.body, robot.standing_qpos())
    half = camera.camera.distance * np.tan(np.radians(robot.model.vis.global_.fovy / 2))
    top = size[2] - camera.camera.lookat[2]
    assert 1.2 * top < half < 5 * top
    assert camera.camera.lookat[2] == pytest.approx(size[2] / 2)


def test_a_robot_that_has_collision_geoms_alone_is_drawn_with_them(walker):
    option = mujoco.MjvOption()
    assert not option.geomgroup[3]
    show_robot(SimulatedRobot(walker("standing")[0]).model, option)
    assert option.geomgroup[3]
    option = mujoco.MjvOption()
    show_robot(SimulatedRobot(project.load_robot("go2"), with_visuals=True).model, option)
    assert not option.geomgroup[3]  # negative control: it has a body of its own to look at
