"""A task in the layout of the first edition means what it meant."""

import msgspec
import pytest
import yaml

from robot_ppo import config, project
from robot_ppo.config import first_edition
from robot_ppo_export.errors import InputError

FIRST = """
robot: go2
control_period: 0.02
physics_timestep: 0.01
episode_length: 20.0
gait:
  frequency: 2.0
  offsets: {FR: 0.0, FL: 0.5, RR: 0.5, RL: 0.0}
  stance: 0.55
  swing_height: 0.08
commands:
  vx: [-1.0, 1.0]
  vy: [-0.4, 0.4]
  yaw_rate: [-1.0, 1.0]
  resample: [3.0, 7.0]
  standing_fraction: 0.15
action: {scale: 0.5, clip: 4.0}
observation:
- {name: base_ang_vel, scale: 0.25}
- {name: command}
privileged: [base_lin_vel, base_height]
rewards:
  lin_vel_tracking: {weight: 4.0, sigma2: 0.2}
  torque: {weight: -2.0e-5}
  joint_pose: {weight: -0.1}
  stand_still: {weight: -1.0}
  termination: {weight: -200.0}
terminations: {tilt: 1.0, base_height: 0.15}
reset: {joint_pos: 0.1, joint_vel: 0.2, base_lin_vel: 0.3, base_ang_vel: 0.3}
noise: {base_ang_vel: 0.2}
randomization: {friction: [0.4, 1.2]}
pushes: {interval: [4.0, 8.0], speed: [0.0, 0.7]}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a text as a task."""

    def load(text):
        path = tmp_path / "old_walk.yaml"
        path.write_text(text)
        monkeypatch.setattr(project, "task_names", lambda: ["old_walk"])
        monkeypatch.setattr(project, "task_path", lambda name: path)
        return config.load("old_walk").task

    return load


def test_every_key_arrives_and_it_is_said(load, caplog):
    today = config.load("go2_walk").task
    task = load(FIRST)
    assert "is in the layout of the first edition" in caplog.text
    assert task.physics == today.physics
    assert task.gait == today.gait and task.commands == today.commands
    assert task.terminations == today.terminations
    assert task.events.interval == today.events.interval
    assert task.events.reset["home_pose"] == today.events.reset["home_pose"]
    assert task.randomization == {"friction": (0.4, 1.2)}
    assert task.observations["actor"] == {"base_ang_vel": {"scale": 0.25}, "command": {}}
    assert list(task.observations["critic"]) == ["base_lin_vel", "base_height"]


def test_rewards_stay_what_they_were(load):
    """Sums over twelve joints became means; a termination was times the control period."""
    today = config.load("go2_walk").task.rewards
    rewards = load(FIRST).rewards
    for name in rewards:
        assert rewards[name]["weight"] == pytest.approx(today[name]["weight"]), name
    assert rewards["joint_pose"]["joints"] == 1.0


def test_the_environment_of_a_first_edition_task_steps(load):
    from robot_ppo.envs.robot.robot_env import RobotEnv

    env = RobotEnv(load(FIRST), project.load_robot("go2"), 2, threads=1, seed=0)
    assert env.step(env.action_space.sample())[0].shape == (2, 6)


def test_a_run_of_the_first_edition_is_read(tmp_path, caplog):
    saved = msgspec.to_builtins(config.load("go2_walk"))
    saved["task"] = {"kind": "robot", "name": "go2_walk", **yaml.safe_load(FIRST)}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(saved))
    assert config.load_run(tmp_path).task.physics.timestep == 0.01
    assert "config.yaml: is in the layout of the first edition" in caplog.text


def test_todays_tasks_are_left_alone():
    for name in project.task_names():
        assert not first_edition.is_first(yaml.safe_load(project.task_path(name).read_text())), name


def test_a_task_of_neither_layout_is_refused_in_a_sentence(load):
    broken = FIRST.replace("- {name: command}", "- command")
    with pytest.raises(InputError, match=r"neither in the layout of the first edition .* nor in"):
        load(broken)
