"""Every termination fires, and does not fire just inside its limit."""

import numpy as np
import pytest
from env_helpers import world

from robot_ppo.config import Terminations
from robot_ppo.envs.robot.terminations import TERMS
from robot_ppo_export.contract import frames

LIMITS = Terminations(tilt=0.8, base_height=0.15)


def leaning(angles, axis):
    vectors = np.zeros((len(angles), 3), np.float32)
    vectors[:, axis] = angles
    return world(len(angles), base_quat=frames.from_rotation_vector(vectors))


@pytest.mark.parametrize("axis", [0, 1])
def test_tilt_fires_beyond_its_angle_to_every_side(axis):
    angles = [0.0, 0.79, -0.79, 0.81, -0.81, 2.0, np.pi]
    fired = TERMS["tilt"](leaning(angles, axis), LIMITS)
    assert fired.tolist() == [False, False, False, True, True, True, True]


def test_turning_is_not_tilting():
    assert not TERMS["tilt"](leaning([0.5, 1.5, 3.0, -2.0], axis=2), LIMITS).any()


def test_base_height_fires_below_its_height():
    heights = np.float32([0.3, 0.151, 0.149, 0.0, -1.0])
    fired = TERMS["base_height"](world(5, base_height=heights), LIMITS)
    assert fired.tolist() == [False, False, True, True, True]


def test_every_termination_is_one_bool_per_simulation_and_has_a_limit():
    for name, function in TERMS.items():
        fired = function(world(3), LIMITS)
        assert fired.shape == (3,) and fired.dtype == bool
        assert hasattr(LIMITS, name)
