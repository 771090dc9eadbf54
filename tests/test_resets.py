"""Where episodes start."""

import env_helpers as helpers

from robot_ppo.envs.robot import resets


def lowest_foot(clearance, monkeypatch):
    """The lowest underside of a foot [m] over many starts of the shipped task."""
    monkeypatch.setattr(resets, "CLEARANCE", clearance)
    env = helpers.environment(helpers.shipped().task, n=500, seed=1)
    return float(env.engine.foot_heights().min())


def test_no_foot_starts_in_the_ground(monkeypatch):
    assert 0 <= lowest_foot(resets.CLEARANCE, monkeypatch) < 0.02
    assert lowest_foot(0.0, monkeypatch) < 0  # without it some do
