"""Commands: uniform in their ranges, redrawn in time, sometimes zero."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo.envs.robot.commands import CommandSource

N = 20_000
DT = 0.02
RANGES = {"vx": (-0.5, 1.0), "vy": (-0.2, 0.4), "yaw_rate": (0.1, 0.3)}


def source(n=N, **changes):
    return CommandSource(helpers.commands(**(RANGES | changes)), helpers.robot(), n, DT)


def drawn(**changes):
    commands = source(**changes)
    commands.resample(np.arange(N), np.random.default_rng(0))
    return commands


def test_commands_are_uniform_in_their_ranges():
    values = drawn(standing_fraction=0.0).values
    for column, (low, high) in zip(values.T, RANGES.values(), strict=True):
        assert column.min() >= low - 1e-6 and column.max() <= high + 1e-6
        deciles = np.quantile((column - low) / (high - low), np.arange(0.1, 1, 0.1))
        assert np.allclose(deciles, np.arange(0.1, 1, 0.1), atol=0.02)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.03
    assert values.dtype == np.float32


@pytest.mark.parametrize("fraction", [0.0, 0.1, 1.0])
def test_the_standing_fraction_is_told_to_stand(fraction):
    standing = (drawn(standing_fraction=fraction).values == 0).all(axis=1)
    assert standing.mean() == pytest.approx(fraction, abs=0.01)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_the_straight_fraction_is_told_not_to_turn(fraction):
    values = drawn(standing_fraction=0.0, straight_fraction=fraction).values
    assert (values[:, 2] == 0).mean() == pytest.approx(fraction, abs=0.01)
    assert (values[:, :2] != 0).all()


def test_the_draws_of_a_twist_are_these_in_this_order():
    """So a run goes on from its checkpoint as it would have."""
    twists = drawn(standing_fraction=0.2, straight_fraction=0.3)
    rng = np.random.default_rng(0)
    expected = rng.uniform(*twists.command.spec.bounds().T, (N, 3))
    expected[rng.random(N) < 0.3, 2] = 0.0
    expected[rng.random(N) < 0.2] = 0.0
    assert np.array_equal(twists.values, expected.astype(np.float32))


def test_a_kind_without_an_adjustment_keeps_its_draws():
    """That of a twist is its own; of other kinds nothing is written over, and nothing drawn."""
    held = {"joint_pos": {"spread": 0.1, "resample": [1.0, 2.0]}}
    commands = CommandSource(held, helpers.robot(), N, 0.02)
    commands.resample(np.arange(N), np.random.default_rng(0))
    low, high = commands.command.spec.bounds().T
    expected = np.random.default_rng(0).uniform(low, high, (N, len(low)))
    assert np.array_equal(commands.values, expected.astype(np.float32))
    assert not hasattr(commands.command, "straight_fraction")


def test_a_command_is_kept_for_a_time_within_the_range():
    ticks = drawn(resample=(1.0, 2.0)).ticks_left
    assert ticks.min() == 50 and ticks.max() == 100
    assert ticks.mean() == pytest.approx(75, rel=0.01)


def test_only_what_is_due_is_redrawn():
    commands = source(n=4, resample=(1.0, 2.0))
    rng = np.random.default_rng(0)
    commands.resample(np.arange(4), rng)
    commands.ticks_left[:] = [3, 1, 2, 1]
    before = commands.values.copy()
    commands.advance(rng)
    changed = (commands.values != before).any(axis=1)
    assert changed.tolist() == [False, True, False, True]
    assert commands.ticks_left[[0, 2]].tolist() == [2, 1]
    assert (commands.ticks_left[[1, 3]] >= 50).all()


def test_resampling_some_leaves_the_others_alone():
    commands = source(n=4)
    rng = np.random.default_rng(0)
    commands.resample(np.arange(4), rng)
    before = commands.values.copy(), commands.ticks_left.copy()
    commands.resample(np.array([2]), rng)
    assert np.array_equal(np.delete(commands.values, 2, 0), np.delete(before[0], 2, 0))
    assert np.array_equal(np.delete(commands.ticks_left, 2), np.delete(before[1], 2))
    assert not np.array_equal(commands.values[2], before[0][2])


def test_new_sources_are_due_at_once():
    commands = source(n=4, standing_fraction=0.0)
    commands.advance(np.random.default_rng(0))
    assert (commands.values != 0).all()
