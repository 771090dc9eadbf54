"""Where arrays are: what is put there, fetched, and moved with the object that holds it."""

import functools

import env_helpers as helpers
import numpy as np
import pytest
import torch

from robot_ppo.envs.robot.gait import Schedule
from robot_ppo.envs.robot.world import Constants
from robot_ppo.sim.device import CPU, Device

TORCH = Device.of_torch("cpu")
VALUES = {
    "fractions": np.linspace(0, 1, 6).reshape(2, 3),
    "numbers": np.arange(4),
    "flags": np.array([True, False]),
    "none": np.zeros((3, 0), np.float32),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("on", [CPU, TORCH], ids=["numpy", "torch"])
def test_what_is_put_comes_back(on, name):
    values = VALUES[name]
    there = on.put(values)
    assert isinstance(there, np.ndarray) == on.numpy
    assert np.allclose(on.fetch(there), values, atol=1e-7)
    if not on.numpy and name == "fractions":
        assert there.dtype == torch.float32


@pytest.mark.parametrize("on", [CPU, TORCH], ids=["numpy", "torch"])
def test_zeros_and_copies_are_arrays_of_their_own(on):
    zeros = on.zeros(3, 2, dtype="float64")
    assert tuple(zeros.shape) == (3, 2) and on.fetch(zeros).dtype == np.float64
    copy = on.copied(zeros)
    copy += 1
    assert on.fetch(copy).dtype == np.float32 and not on.fetch(zeros).any()
    if on.numpy:
        assert zeros.flags.f_contiguous and copy.flags.f_contiguous


def test_an_object_is_copied_with_its_constants_and_the_original_stays():
    schedule = Schedule(helpers.GAIT, helpers.robot())
    constants = Constants.of(helpers.robot(), schedule)
    moved = TORCH.moved(constants, Constants, Schedule)
    assert isinstance(moved.default_pose, torch.Tensor)
    assert isinstance(moved.schedule.offsets, torch.Tensor)
    assert isinstance(moved.schedule.stance, float)
    assert constants.schedule is schedule and isinstance(schedule.offsets, np.ndarray)
    assert CPU.moved(constants, Constants) is constants
    assert TORCH.moved(constants, Constants).schedule is schedule  # not one of the kinds


def test_arguments_of_functions_and_containers_are_moved():
    def total(values, *, joints):
        return (values * joints).sum()

    bound = functools.partial(total, joints=np.arange(3))
    moved = TORCH.moved({"a": [bound], "b": (np.float32(0.5), "word")})
    assert moved["a"][0](torch.ones(3)) == 3
    assert moved["b"] == (0.5, "word") and type(moved["b"][0]) is float
