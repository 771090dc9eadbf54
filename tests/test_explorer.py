"""What a policy tries out: noise about its means, where the simulations are."""

import env_helpers as helpers
import numpy as np
import pytest
import torch

from robot_ppo.envs.robot.warp_env import WarpEnv
from robot_ppo.sim.device import Device
from robot_ppo.training.explorer import Explorer

MEAN = torch.linspace(-1, 1, 30).reshape(10, 3)
LOG_STD = torch.tensor([-1.0, 0.0, -3.0])


def on_device():
    """An explorer of an environment on torch's CPU device, which is not made."""
    env = object.__new__(WarpEnv)
    env.device = Device.of_torch("cpu")
    return Explorer(env)


def draws(explorer, seed, count=2):
    rng = np.random.default_rng(seed)
    explorer.begin(rng)
    return [explorer.draw(MEAN, LOG_STD, rng) for _ in range(count)]


def test_on_the_cpu_the_runs_generator_draws_in_numpy():
    explorer = Explorer(helpers.environment(helpers.quiet(), 1))
    rng = np.random.default_rng(3)
    found = draws(explorer, 3)
    for action in found:
        noise = rng.standard_normal(MEAN.shape, np.float32) * LOG_STD.exp().numpy()
        assert np.array_equal(explorer.given(action), MEAN.numpy() + noise)
    assert isinstance(explorer.given(found[0]), np.ndarray)


def test_a_device_draws_by_itself_and_the_runs_generator_seeds_it():
    explorer = on_device()
    first, second = draws(explorer, 3)
    assert not torch.equal(first, second)
    assert torch.equal(first, draws(on_device(), 3)[0])
    assert not torch.equal(first, draws(on_device(), 4)[0])
    assert explorer.given(first) is first


def test_the_noise_of_a_device_has_the_deviation_of_the_policy():
    explorer = on_device()
    found = torch.stack(draws(explorer, 0, count=500)) - MEAN
    assert found.mean(dim=(0, 1)).abs().max() < 0.05
    assert found.std(dim=(0, 1)).tolist() == pytest.approx(LOG_STD.exp().tolist(), rel=0.05)
