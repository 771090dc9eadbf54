"""Two feet: what the derived task of a humanoid is, and how it looks in the mirror."""

import functools

import biped_helpers as biped
import numpy as np
import pytest
import torch

from robot_ppo import config, envs, export, project
from robot_ppo.derived import walk
from robot_ppo.envs.robot import mirrored
from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.playback import session
from robot_ppo.playback.play import play
from robot_ppo.ppo.networks import Actor
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo.training.checkpoint import Checkpoint
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import TOLERANCE, Policy
from robot_ppo_node.control.states import State
from robot_ppo_node.startup.preflight import FREE_FORCE

ARMS = ("shoulder", "elbow", "wrist")
PITCHING = ("hip_pitch_joint", "knee_joint", "ankle_pitch_joint")


def made(robot: str, *overrides: str) -> RobotEnv:
    settings = config.load(walk.resolve(robot).named, overrides=overrides)
    task = config.robot_task(settings, "this test")
    return RobotEnv(task, project.load_robot(task.robot), 2, 1, 0)


env = functools.cache(made)


@pytest.mark.parametrize("robot, actions", [("g1", 15), ("h1", 11)])
def test_arms_are_held_and_the_rest_is_the_networks(robot, actions):
    held = env(robot).task.action.held
    names = env(robot).robot.joint_names
    assert env(robot).single_action_space.shape == (actions,)
    assert set(held) == {name for name in names if any(arm in name for arm in ARMS)}
    assert env(robot).layout.widths["last_action"] == actions
    assert env(robot).layout.widths["joint_pos_error"] == len(names)


def test_one_key_of_the_task_gives_the_network_every_joint():
    whole = made("g1", "task.action.held=[]")
    assert whole.single_action_space.shape == (29,)


def test_held_joints_are_real_ones_that_their_gains_keep_near_the_default_pose():
    robot = env("g1")
    robot.reset(seed=0)
    places = [robot.robot.joint_names.index(name) for name in robot.task.action.held]
    default = robot.robot.vector("default")[places]
    rng = np.random.default_rng(0)
    moved = np.zeros(len(places))
    for _ in range(10):
        robot.step(rng.normal(0, 1, (2, 15)).astype(np.float32))
        away = np.abs(robot.engine.qpos[:, robot.engine.joint_qpos][:, places] - default)
        moved = np.maximum(moved, away.max(axis=0))
    assert (moved > 1e-4).all() and moved.max() < 0.5


@pytest.mark.parametrize("robot", ["g1", "h1"])
def test_in_the_mirror_the_clock_of_two_feet_is_half_a_cycle_later(robot):
    found = mirrored.symmetry(env(robot)).groups["actor"]
    names = [str(entry) for entry in env(robot).layout.entries(env(robot).robot.joint_names)]
    for part in ("sin", "cos"):
        clock = names.index(f"gait_clock {part}")
        assert (found.index[clock], found.sign[clock]) == (clock, -1)
    left = names.index("last_action left_hip_roll_joint")
    right = names.index("last_action right_hip_roll_joint")
    assert (found.index[left], found.sign[left]) == (right, -1)


def test_legs_that_only_swing_fore_and_aft_are_asked_for_no_step_to_the_side(tmp_path):
    biped.write_robot(tmp_path / "walker", "hanging")
    task = walk.resolve(str(tmp_path / "walker")).task
    twist = task["commands"]["twist"]
    assert np.abs(twist["vy"]).max() == 0 and twist["yaw_rate"][1] > 0.2
    assert task["evaluation"]["commands"]["vy"] == [0.0]
    sideways = walk.resolve("g1").task
    assert sideways["commands"]["twist"]["vy"][1] > 0.2
    assert len(sideways["evaluation"]["commands"]["vy"]) == 3


def test_the_step_in_place_lifts_each_foot_in_its_own_swing():
    task = env("g1").task
    lifts = task.action.stepping.joints
    assert all(lifts[f"left_{j}"].offset != lifts[f"right_{j}"].offset for j in PITCHING)
    assert lifts["left_knee_joint"].angle == lifts["right_knee_joint"].angle > 0.4
    assert len(lifts) == 2 * len(PITCHING)


def test_a_joint_that_is_held_on_one_side_only_has_no_mirror_image():
    one = made("g1", 'task.action.held=["left_elbow_joint"]')
    with pytest.raises(InputError, match=r"`task\.action\.held` names a joint and not its mirror"):
        envs.symmetry(one)
    assert envs.symmetry(one, "auto") is None


def test_steps_of_left_and_right_may_differ_by_what_angles_of_the_robot_may():
    """Three digits of a step's angles differ between left and right of a robot that is built."""
    angle = env("g1").task.action.stepping.joints["left_knee_joint"].angle
    key = "task.action.stepping.joints.left_knee_joint.angle"
    assert envs.symmetry(made("g1", f"{key}={angle + 0.001}")) is not None
    with pytest.raises(InputError, match="left and right do not step alike"):
        envs.symmetry(made("g1", f"{key}={angle + 0.1}"))


def test_two_feet_are_trained_for_longer_where_nobody_says_how_long():
    steps = {robot: config.load(walk.resolve(robot).named).steps for robot in ("g1", "h1", "go2")}
    assert steps["g1"] == steps["h1"] == 2 * steps["go2"]
    assert config.load(walk.resolve("g1").named, "walk").steps == steps["go2"]


def thrown(*overrides: str) -> int:
    """Return how many of 2,560 control steps throw a joint of a G1 to more than 30 rad/s."""
    settings = config.load(walk.resolve("g1").named, overrides=overrides)
    task = config.robot_task(settings, "this test")
    robot = RobotEnv(task, project.load_robot("g1"), 64, 1, 0)
    robot.reset(seed=0)
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(40):
        robot.step(rng.normal(0, 0.5, (64, robot.actions.size)).astype(np.float32))
        fastest = np.abs(robot.engine.qvel[:, robot.engine.joint_qvel]).max(axis=1)
        count += int((fastest > 30).sum())
    return count


def test_the_solver_of_the_derived_task_throws_no_joint_about():
    assert thrown() == 0
    few = ("task.physics.iterations=3", "task.physics.ls_iterations=6")
    assert thrown(*few) > 3  # negative control


# -- on its gantry ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["g1", "h1"])
def policy(request, short_rollouts, tmp_path_factory):
    """A policy file of random weights, written by the code that writes trained ones."""
    settings = config.load(walk.resolve(request.param).named)
    torch.manual_seed(0)
    robot = env(request.param)
    actor = Actor(robot.layout.size, robot.actions.size, settings.networks)
    path = tmp_path_factory.mktemp(request.param) / "policy.onnx"
    path.write_bytes(
        export.build(settings, Checkpoint(1, 1.0, 1, {"actor": actor.state_dict()}, {}))
    )
    return Policy(path)


def test_the_golden_traces_of_a_humanoid_prove_that_its_arms_are_held(policy):
    robot = policy.contract.robot
    assert policy.check_golden().value <= TOLERANCE
    held = [robot.joint_names.index(name) for name in policy.contract.action.held]
    default = robot.vector("default").astype(np.float32)
    assert held and (policy.golden.target[:, held] == default[held]).all()
    others = np.delete(np.arange(len(robot.joints)), held)
    assert (np.ptp(policy.golden.target[:, others], axis=0) > 0).all()


def test_it_hangs_limp_with_feet_that_carry_nothing(policy):
    robot = SimulatedRobot(policy.contract.robot)
    forces = []
    for _ in range(30):
        robot.advance(0.1)
        forces.append(robot.state().foot_force)
    assert np.max(forces) < 0.8 * FREE_FORCE  # the limp feet of an H1 lean on each other


@pytest.mark.usefixtures("undrawn")
def test_it_is_stood_up_in_the_air_lowered_and_never_sent_to_lie_down(policy, tmp_path):
    seen = []
    record = session.Session._record

    def recorded(played):
        record(played)
        seen.append(played.node.state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.Session, "_record", recorded)
        plot = tmp_path / "p.png"
        summary = play(policy.path, plot=plot, seconds=0.3, command=(0, 0, 0), say=lambda _: None)
    assert not summary.failed
    ways = [State.PREFLIGHT, State.STAND, State.READY, State.POLICY, State.DAMP]
    assert list(dict.fromkeys(s for s in seen if s is not State.PASSIVE)) == ways
