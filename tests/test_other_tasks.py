"""Tasks without a gait and without a velocity command: YAML alone, in the same environment."""

import re

import env_helpers as helpers
import mujoco
import numpy as np
import pytest

from robot_ppo import config
from robot_ppo.envs.robot import observations
from robot_ppo.robot_model import geometry
from robot_ppo_export.contract.tables import NOTHING
from robot_ppo_export.errors import InputError

TASKS = ("go2_joint_hold", "go2_stand_up")


def made(name, *overrides, n=64):
    return helpers.environment(config.load(name, overrides=overrides).task, n, threads=2, seed=0)


@pytest.mark.parametrize("name", TASKS)
def test_it_steps_and_goes_on_from_its_state_bit_for_bit(name):
    env = made(name, n=8)
    other = made(name, n=8)
    actions = helpers.random_actions(12, 8)
    for action in actions[:6]:
        env.step(action)
    other.load_state_dict(env.state_dict())
    for action in actions[6:]:
        one = env.step(action)
        two = other.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))
        assert np.isfinite(one[0]).all() and np.isfinite(one[1]).all()
    assert env.diverged == 0


def test_joint_hold_commands_joint_angles_within_their_spread():
    env = made("go2_joint_hold")
    robot = helpers.robot()
    default = robot.vector("default")
    span = robot.vector("range")
    spread = env.task.commands["joint_pos"]["spread"]
    values = env.commands.values
    assert values.shape == (64, 12)
    assert (np.abs(values - default) <= spread + 1e-6).all()
    assert ((values >= span[:, 0] - 1e-6) & (values <= span[:, 1] + 1e-6)).all()
    spec = observations.layout(env.task, robot).command
    assert spec.kind == "joint_pos" and spec.names == robot.joint_names
    seen = env.reset(seed=3)[0][:, env.layout.slices["command"]]
    assert np.array_equal(seen, env.commands.values)


def test_stand_up_starts_lying_on_every_side_and_its_trunk_is_carried():
    env = made("go2_stand_up", "task.events.reset.fallen_pose.fraction=1", n=256)
    env.reset(seed=1)
    w, x, y, z = env.engine.qpos[:, env.engine.base_quat].T
    up = 1 - 2 * (x * x + y * y)
    assert up.min() < -0.9 and up.max() > 0.9
    assert np.allclose(w * w + x * x + y * y + z * z, 1)
    for _ in range(50):
        env.step(np.zeros((256, 12)))
    height = env.engine.qpos[:, env.engine.base_pos.stop - 1]
    assert height.min() > 0.03  # with feet alone, the trunk sinks into the ground
    assert env.layout.command.size == 0 and env.gait_clock.phase().tolist() == [0.0] * 256


def test_who_starts_lying_touches_the_ground_with_nothing_and_is_as_near_as_the_task_says():
    env = made("go2_stand_up", "task.events.reset.fallen_pose.fraction=1", n=32)
    env.reset(seed=2)
    low, high = env.task.events.reset["fallen_pose"]["clearance"]
    model = env.engine.model
    data = mujoco.MjData(model)
    lowest = []
    for qpos in env.engine.qpos:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        points = geometry.lowest_points(model, data)
        lowest.append(points[model.geom_bodyid > 0].min())
    assert low - 1e-6 <= min(lowest) and max(lowest) <= high + 1e-6
    assert max(lowest) - min(lowest) > 0.5 * (high - low)


def test_without_its_trunk_a_fallen_robot_sinks():
    """Negative control of the test above."""
    env = made("go2_stand_up", "task.physics.collisions=feet", n=64)
    for _ in range(50):
        env.step(np.zeros((64, 12)))
    assert env.engine.qpos[:, env.engine.base_pos.stop - 1].min() < 0.03


@pytest.mark.parametrize("name", TASKS)
def test_the_log_has_the_metrics_of_the_task(name):
    env = made(name, n=4)
    env.step(np.zeros((4, 12)))
    assert set(env.metrics.behaviour()) == set(env.task.metrics)


# -- a task that gets harder ----------------------------------------------------------------------


def widening(above, task=NOTHING, **changes):
    how = {"reward": "lin_vel_tracking", "above": above, "step": 0.5, "narrowest": 0.2}
    harder = helpers.quiet(
        episode_length=0.1,
        terminations={},
        commands=helpers.commands(vx=(-1.0, 1.0), standing_fraction=0.0),
        curriculum={"command_range": how | changes},
        **task,
    )
    return helpers.environment(harder, n=256, seed=0)


def furthest(env):
    return np.abs(env.commands.values[:, 0]).max()


def test_commands_widen_as_episodes_earn_enough():
    env = widening(above=-1.0)  # always
    assert 0.15 < furthest(env) <= 0.2
    levels = []
    for action in helpers.random_actions(15, 256, size=0.0):  # three episodes
        env.step(action)
        levels.append(env.metrics.behaviour()["curriculum_command_range"])
    assert levels == [0.0] * 4 + [0.5] * 5 + [1.0] * 6
    assert furthest(env) > 0.9


def test_one_good_episode_widens_nothing():
    """As many as there are simulations are judged together, each time anew."""
    env = widening(above=0.5)
    weight = env.rewards.terms["lin_vel_tracking"].own["weight"]

    def told(count, value, failed=False, length=0.1):
        rewards = np.full(count, value * weight * length)
        figures = {"reward_lin_vel_tracking": rewards, "length": np.full(count, length)}
        env.curriculum.advance(figures | {"failed": np.full(count, float(failed))})
        return env.curriculum.levels[0]

    assert told(1, 1.0) == 0.0
    assert told(254, 0.6) == 0.0
    assert told(1, 0.0) == 0.5
    assert told(255, 0.0) == 0.5
    assert told(2, 1.0) == 0.5  # and these are judged with those before
    assert told(256, 1.0, failed=True, length=0.02) == 0.5  # a fifth of a length, and nothing more
    assert told(256, 1.0, failed=True, length=0.06) == 1.0
    assert told(256, 0.0) == 1.0


def test_one_simulation_is_judged_by_many_episodes():
    one = helpers.environment(widening(above=-1.0).task, n=1)
    for action in helpers.random_actions(5 * 63, 1, size=0.0):
        one.step(action)
    assert one.curriculum.levels[0] == 0.0
    for action in helpers.random_actions(5, 1, size=0.0):
        one.step(action)
    assert one.curriculum.levels[0] == 0.5


def test_commands_stay_narrow_where_episodes_do_not():
    env = widening(above=1.0)
    for action in helpers.random_actions(15, 256, size=0.0):
        env.step(action)
    assert env.metrics.behaviour()["curriculum_command_range"] == 0.0
    assert furthest(env) <= 0.2


@pytest.mark.parametrize(
    ("reward", "text"),
    [
        ("action_rate", "`task.curriculum.command_range.reward`: 'action_rate' has weight 0, by"),
        ("termination", "give `task.rewards.termination` a weight, or watch another reward"),
        ("slp", "unknown 'slp'; did you mean 'slip'?"),
    ],
)
def test_a_reward_that_says_nothing_cannot_be_watched(reward, text):
    """0 / 0 is no number, and above nothing: the level would never rise."""
    rewards = helpers.shipped().task.rewards | {"action_rate": {"weight": 0.0}}
    rewards.pop("termination", None)
    with pytest.raises(InputError, match=re.escape(text)):
        widening(above=-1.0, reward=reward, task={"rewards": rewards})


def test_a_level_is_part_of_the_state_and_is_applied_again():
    env = widening(above=-1.0)
    other = widening(above=-1.0)
    for action in helpers.random_actions(7, 256, size=0.0):
        env.step(action)
    other.load_state_dict(env.state_dict())
    assert other.commands.width == env.commands.width == pytest.approx(0.6)


def test_a_reward_that_the_task_does_not_have_is_named():
    with pytest.raises(InputError, match="unknown 'slpi'; did you mean 'slip'"):
        widening(above=0.5, reward="slpi")
