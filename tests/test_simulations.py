"""How a Batch is made: MuJoCo's stopwatch stands still, divergence is not hidden."""

import mujoco
import numpy as np
import pytest

from robot_ppo.sim import batches

FALLING = "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>"


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_string(FALLING)


def timed_steps(model):
    """Return how many of MuJoCo's timers a step of a plain MjData moved."""
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data)
    return sum(timer.duration > 0 for timer in data.timer)


def test_no_stage_is_timed_once_there_is_a_batch(model):
    batches.create(model, 2, 1)
    assert timed_steps(model) == 0


def test_unless_somebody_asks_for_it(model):
    """Negative control for the test above, and what the peers in the benchmarks run with."""
    batches.create(model, 2, 1)
    with batches.stopwatch():
        assert timed_steps(model) > 5
    assert timed_steps(model) == 0


def test_a_stopwatch_of_somebodys_own_is_left_alone(model):
    ticks = iter(range(10_000))
    mujoco.set_mjcb_time(lambda: float(next(ticks)))
    try:
        batches.create(model, 2, 1)
        assert timed_steps(model) > 5
    finally:
        mujoco.set_mjcb_time(None)
        batches.create(model, 2, 1)
    assert timed_steps(model) == 0


def test_the_numbers_are_the_same_with_and_without(model):
    batch = batches.create(model, 1, 1)
    data = mujoco.MjData(model)
    with batches.stopwatch():
        for _ in range(10):
            mujoco.mj_step(model, data)
    batch.step(nstep=10)
    assert np.array_equal(batch.bind("qpos")[0], data.qpos)


def test_a_simulation_that_diverges_is_not_put_back(model):
    batch = batches.create(model, 2, 1)
    batch.bind("qvel")[1] = np.nan
    batch.step()
    assert np.isfinite(batch.bind("qpos")[0]).all() and np.isnan(batch.bind("qpos")[1]).any()
