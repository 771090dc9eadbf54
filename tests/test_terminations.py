"""Every termination fires, and does not fire just inside its limit."""

import numpy as np
import pytest
from env_helpers import world

from robot_ppo.envs.robot.terminations import TERMINATIONS
from robot_ppo_export.contract import frames

LIMITS = {
    "tilt": {"limit": 0.8},
    "base_height": {"limit": 0.15},
    "sunk": {"fraction": 0.5},
    "base_contact": {},
}


def fire(name, w):
    return TERMINATIONS.functions[name](w, **LIMITS[name])


def leaning(angles, axis):
    vectors = np.zeros((len(angles), 3), np.float32)
    vectors[:, axis] = angles
    return world(len(angles), base_quat=frames.from_rotation_vector(vectors))


@pytest.mark.parametrize("axis", [0, 1])
def test_tilt_fires_beyond_its_angle_to_every_side(axis):
    angles = [0.0, 0.79, -0.79, 0.81, -0.81, 2.0, np.pi]
    fired = fire("tilt", leaning(angles, axis))
    assert fired.tolist() == [False, False, False, True, True, True, True]


def test_turning_is_not_tilting():
    assert not fire("tilt", leaning([0.5, 1.5, 3.0, -2.0], axis=2)).any()


def test_base_height_fires_below_its_height():
    heights = np.float32([0.3, 0.151, 0.149, 0.0, -1.0])
    fired = fire("base_height", world(5, base_height=heights))
    assert fired.tolist() == [False, False, True, True, True]


def test_every_termination_is_one_bool_per_simulation():
    for name in TERMINATIONS.functions:
        fired = fire(name, world(3))
        assert fired.shape == (3,) and fired.dtype == bool


def test_sunk_is_below_its_part_of_the_home_height():
    home = np.float32(world(1).constants.home_height)
    assert fire("sunk", world(2, base_height=home * np.float32([0.51, 0.49]))).tolist() == [
        False,
        True,
    ]


def test_base_contact_is_at_the_ground_and_below_it():
    clearance = np.float32([0.01, 0.0, -0.01])
    assert fire("base_contact", world(3, base_clearance=clearance)).tolist() == [False, True, True]
