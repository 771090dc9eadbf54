"""Before anything moves: each check finds its fault and says what to do; a good robot passes."""

import numpy as np
import pytest
from node_helpers import PERIOD, policy, rest_pose, rig, robot

from robot_ppo_export.contract import frames
from robot_ppo_export.contract.state import BASIC
from robot_ppo_node.control.states import State
from robot_ppo_node.safety.draft import Draft
from robot_ppo_node.safety.measured import held_signals
from robot_ppo_node.startup.preflight import CHECKS, SECONDS, Watch

TICKS = round(SECONDS / PERIOD)


def rolled(angle: float) -> np.ndarray:
    return frames.from_rotation_vector(np.array([angle, 0.0, 0.0])).astype("f4")


def change(**values):
    """A robot with other measurements: "joint_pos_3" is one joint's."""

    def mutate(tick, state):
        for name, value in values.items():
            signal, _, index = name.rpartition("_")
            if index.isdigit():
                getattr(state, signal)[int(index)] = value
            else:
                getattr(state, name)[:] = value
        return state

    return mutate


def every(n):
    return lambda tick, state: state if tick % n == 0 else None


def drifting(tick, state):
    state.joint_pos[7] = rest_pose()[7] + 0.005 * tick
    return state


FAULTS = {
    "quaternion norm: off by 0.0200": change(base_quat=(1.02, 0, 0, 0)),
    "gravity: accelerometer 9.81 m/s^2, 11.5 deg": change(base_quat=rolled(0.2)),
    "gravity: accelerometer 8.00 m/s^2": change(base_lin_acc=(0, 0, 8.0)),
    "gyro bias: 0.200 rad/s at rest": change(base_ang_vel_2=0.2),
    "at rest: RR_thigh_joint moved 0.125 rad": drifting,
    "joint range: FL_calf_joint at -0.650 rad, range -2.723 to -0.838": change(joint_pos_5=-0.65),
    "pose: RR_thigh_joint is 1.64 rad": change(joint_pos_7=3.0),
    "state rate: 50% of the ticks": every(2),
}
HANGING = ("feet free",)
"""Checks of a robot on a gantry alone; test_states.py has them."""


@pytest.mark.parametrize("text", FAULTS)
def test_a_robot_with_a_fault_is_not_stood_up_and_the_fault_is_named(text):
    r = rig(mutate=FAULTS[text]).ticks(TICKS + 20)
    assert r.node.state is State.PREFLIGHT
    assert f"PREFLIGHT: waiting: {text}" in r.events()
    assert not r.driver.written
    (bad,) = [check for check in r.node.checks if not check.good]
    assert bad.fix in r.events()
    r.driver.mutate = None
    r.driver.state.joint_pos[:] = rest_pose()
    r.driver.state.base_quat[:] = (1, 0, 0, 0)
    r.driver.state.base_ang_vel[:] = 0
    r.until(State.STAND, 2 * TICKS)  # and it is judged again when the fault is gone


def test_irregular_states_are_found():
    """Bursts: the age never reaches the limit of staleness, but the gaps are half of it."""
    r = rig(mutate=lambda tick, state: None if tick % 20 in (17, 18, 19) else state)
    r.ticks(TICKS + 10)
    assert r.node.state is State.PREFLIGHT
    assert "state jitter: up to 80 ms between two states, limit 50 ms" in r.events()


def test_a_robot_that_is_gone_during_the_checks_begins_anew():
    r = rig().ticks(TICKS // 2)
    assert r.node.state is State.PREFLIGHT
    r.driver.mutate = lambda tick, state: None
    r.until(State.PASSIVE)
    r.driver.mutate = None
    r.until(State.PREFLIGHT).ticks(TICKS // 2)
    assert r.node.state is State.PREFLIGHT  # the half second from before does not count


def test_a_robot_without_an_accelerometer_is_not_judged_by_it():
    r = rig(signals=frozenset(BASIC) - {"base_lin_acc"}, mutate=change(base_lin_acc=0.0))
    r.until(State.STAND)
    assert len(r.node.checks) == len(CHECKS) - 1 - len(HANGING)


def test_the_gyroscope_is_judged_by_its_mean_and_not_by_its_noise():
    random = np.random.default_rng(0)

    def noisy(tick, state):
        state.base_ang_vel[:] = random.uniform(-0.3, 0.3, 3)
        return state

    rig(mutate=noisy).until(State.STAND)


def test_the_window_is_the_newest_second():
    """What is at rest is judged in the order of time, wherever the ring begins."""
    contract = policy().contract
    for shift in range(4):
        watch = Watch(contract, 10)
        draft = Draft(robot(), held_signals(contract), observation=1, period=0.02)
        for t in range(10 + shift):
            draft.state.joint_pos[:] = rest_pose()
            draft.state.joint_pos[0] = 0.0 if t < 5 + shift else 0.3
            draft.measure(fresh=True, sample_time=0.02 * t)
            watch.add(draft.measurement)
        (moved,) = [c for c in watch.judge() if c.name == "at rest"]
        assert moved.value.startswith("FR_hip_joint moved 0.300 rad")


def test_every_check_has_a_fix_and_every_check_is_tested():
    names = {check.name for check in rig().until(State.STAND).node.checks}
    assert {text.partition(":")[0] for text in FAULTS} | {"state jitter"} == names
    assert len(names) == len(CHECKS) - len(HANGING)
    assert robot().rest_pose
