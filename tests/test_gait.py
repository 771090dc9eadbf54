"""The contact schedule against its closed form."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo.config import Gait
from robot_ppo.envs.robot.gait import Schedule
from robot_ppo_export.contract.terms import gait_phase
from robot_ppo_export.errors import InputError

TROT = {"FR": 0.0, "FL": 0.5, "RR": 0.5, "RL": 0.0}


def schedule(offsets=TROT, stance=0.6, height=0.08):
    gait = Gait(frequency=2.0, offsets=offsets, stance=stance, swing_height=height)
    return Schedule(gait, helpers.robot())


PHASES = np.linspace(0, 1, 200, endpoint=False).astype(np.float32)
MOVING = np.ones(len(PHASES), bool)


def test_a_foot_swings_for_the_rest_of_its_cycle():
    swing = schedule().swing(PHASES, MOVING)
    assert swing.shape == (200, 4)
    assert ((swing >= 0) & (swing < 1)).all()
    assert np.allclose((swing > 0).mean(axis=0), 0.4, atol=0.01)


def test_swing_progress_is_a_ramp_after_the_stance():
    phase = np.float32([0.0, 0.3, 0.59, 0.7, 0.8, 0.9, 0.99])
    first_foot = schedule().swing(phase, np.ones(7, bool))[:, 0]
    assert np.allclose(first_foot, [0, 0, 0, 0.25, 0.5, 0.75, 0.975], atol=1e-6)


def test_an_offset_shifts_a_foot_by_that_part_of_the_cycle():
    swing = schedule(offsets={"FR": 0.0, "FL": 0.25, "RR": 0.5, "RL": 0.75}).swing(PHASES, MOVING)
    for foot, quarter in enumerate((0, 1, 2, 3)):
        # Exact up to the rounding of float32 phases, which an edge of the stance turns into 1e-6.
        assert np.allclose(swing[:, foot], np.roll(swing[:, 0], -50 * quarter), atol=1e-5)


def test_diagonal_feet_of_a_trot_move_together_and_two_are_always_down():
    swing = schedule().swing(PHASES, MOVING)  # FR, FL, RR, RL
    assert np.array_equal(swing[:, 0], swing[:, 3]) and np.array_equal(swing[:, 1], swing[:, 2])
    assert ((swing == 0).sum(axis=1) >= 2).all()


def test_offsets_belong_to_feet_by_name_not_by_order():
    backwards = dict(reversed(TROT.items()))
    assert np.array_equal(
        schedule(backwards).swing(PHASES, MOVING), schedule().swing(PHASES, MOVING)
    )


def test_who_stands_keeps_all_feet_down():
    assert not schedule().swing(PHASES, ~MOVING).any()


def test_height_is_half_a_sine():
    height = schedule(height=0.1).height(np.float32([[0.0, 0.25, 0.5, 0.75]]))
    assert np.allclose(height, [[0, 0.1 * np.sqrt(0.5), 0.1, 0.1 * np.sqrt(0.5)]], atol=1e-7)


def test_the_clock_runs_through_its_cycle_and_keeps_its_precision():
    ticks = np.arange(0, 100)
    phase = gait_phase(ticks, control_period=0.02, frequency=2.0)
    assert np.allclose(phase, (ticks % 25) / 25, atol=1e-6)
    late = gait_phase(ticks + 25 * 1_000_000, control_period=0.02, frequency=2.0)
    apart = np.abs(late - phase)
    assert (np.minimum(apart, 1 - apart) < 1e-6).all()  # 1 - tiny is the same place as 0
    assert phase.dtype == np.float32 and (phase < 1).all()


def test_feet_that_differ_from_the_robots_are_both_named():
    with pytest.raises(InputError, match=r"gait.offsets`: names .*'XX'.*robot.yaml's feet are"):
        schedule(offsets={"FR": 0.0, "FL": 0.5, "RR": 0.5, "XX": 0.0})
