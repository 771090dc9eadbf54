"""Where episodes start."""

import env_helpers as helpers

from robot_ppo import config


def lowest_foot(*overrides):
    """The lowest underside of a foot [m] over many starts of the shipped task."""
    task = config.load(helpers.TASK, overrides=overrides).task
    env = helpers.environment(task, n=500, seed=1)
    return float(env.engine.foot_heights().min())


def test_no_foot_starts_in_the_ground():
    assert 0 <= lowest_foot() < 0.02
    assert lowest_foot("task.events.reset.home_pose.clearance=0") < 0  # without it some do
