"""A log comes back as it was written, and a replay of it equals it bit for bit, or says where."""

import itertools

import msgspec
import numpy as np
import pytest
from node_helpers import PERIOD, TERMS, policy, policy_file, rig, robot

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.app.replay import STAGES, replay
from robot_ppo_node.control.settings import DAMP_SECONDS
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Health
from robot_ppo_node.log import recorder
from robot_ppo_node.log.log_file import COLUMNS
from robot_ppo_node.log.recorder import EVENTS, for_policy

BLANK = {name: b"" if kind.startswith("S") else 0 for name, (kind, _) in COLUMNS.items()}
UNCOMPARED = ("outside", "late", "duration")
"""Columns that replay leaves alone: what the monitor says depends on all of the past, and the
others measure the computer, not the run."""


def stumbling(tick, state):
    """Joints and gyroscope of a robot that moves; nothing arrives at every seventh read."""
    state.joint_vel[:] = np.sin(0.3 * tick + np.arange(12))
    state.base_ang_vel[1] = 0.2 * np.sin(0.1 * tick)
    return None if tick % 7 == 6 else state


def falling(tick, state):
    if tick == 210:
        state.base_quat[:] = (np.cos(0.8), np.sin(0.8), 0, 0)
    return stumbling(tick, state)


def run(mutate=stumbling, ring=60.0, seconds=5.0, **options):
    r = rig(mutate=mutate, ring=ring, **options)
    r.node.run(seconds)
    return r.node


def rows_of(node):
    return {name: values.copy() for name, values in node.recorder.rows().items()}


def meta_of(node):
    return node.recorder.log()[1]


@pytest.fixture(scope="module")
def walked():
    return run()


# --- the ring


def test_a_full_ring_holds_the_newest_ticks_oldest_first():
    ring = for_policy(policy(), 4 * PERIOD)
    for t in range(10):
        ring.append(**{**BLANK, "time": t})
    rows, meta = ring.log()
    assert rows["time"].tolist() == [6, 7, 8, 9]
    assert (ring.count, meta["first"]) == (10, 7)


def test_hours_of_damping_do_not_overwrite_the_fall():
    ring = for_policy(policy(), 20 * PERIOD)
    ring.most_damping = 5
    for t in range(100):
        ring.append(**{**BLANK, "time": t, "node_state": State.DAMP if t >= 10 else State.POLICY})
    assert ring.rows()["time"].tolist() == list(range(15))
    ring.append(**{**BLANK, "time": 100, "node_state": State.PASSIVE})  # a person begins anew
    assert ring.rows()["time"][-1] == 100


def test_events_keep_their_order_and_lose_what_a_terminal_would_obey():
    ring = for_policy(policy(), PERIOD)
    for i in range(EVENTS + 3):
        ring.event(0.5 * i, f"event {i} \x1b[2J\N{GREEK SMALL LETTER MU}")
    events = ring.log()[1]["events"]
    assert len(events) == EVENTS
    assert events[0] == (1.5, "event 3 [2J\N{GREEK SMALL LETTER MU}")
    assert events[-1][0] == 0.5 * (EVENTS + 2)


# --- replay


def test_a_walk_is_replayed_bit_for_bit(walked):
    rows = rows_of(walked)
    assert {*rows["node_state"]} == {*State} - {State.PASSIVE, State.JOINT_CHECK, State.HOLD}
    assert replay(policy(), rows, meta_of(walked)) == len(rows["time"])


def test_a_fall_is_replayed_bit_for_bit():
    node = run(falling)
    assert node.fault.startswith("tilt")
    rows = rows_of(node)
    assert rows["guards"].any()
    assert replay(policy(), rows, meta_of(node)) == len(rows["time"])


def test_gains_that_gave_way_to_the_torque_guard_are_replayed():
    def kicked(tick, state):
        state = stumbling(tick, state)
        if state is not None and tick % 5 == 0:
            state.joint_vel[0] = 40.0
        return state

    node = run(kicked)
    rows = rows_of(node)
    kd = rows["kd"][rows["node_state"] == State.POLICY, 0]
    assert kd.min() < 0.75 * robot().joints[0].kd
    assert replay(policy(), rows, meta_of(node)) == len(rows["time"])


def test_an_arm_and_a_stop_during_the_run_are_replayed():
    r = rig(mutate=stumbling, ring=60.0, arm=False)

    def hands():
        if r.node.ticks == 170:
            r.node.arm()
        if r.node.ticks == 200:
            r.node.stop("enough")

    r.node.run(on_tick=hands)
    rows = rows_of(r.node)
    assert (rows["policy_tick"] >= 0).any()
    assert replay(policy(), rows, meta_of(r.node)) == len(rows["time"])


def test_a_whole_life_with_every_approval_is_replayed():
    """Joint check, stand, walk, sit, damp, reset, stand, emergency; tightened; parts that age."""
    tight = msgspec.structs.replace(robot().safety, max_torque_fraction=0.9)
    options = {"stand": False, "joint_check": True, "limits": tight}
    r = rig(mutate=stumbling, ring=120.0, arm=False, node=options)
    r.driver.health = Health(12)
    r.until(State.PREFLIGHT)
    for wanted in (State.READY, State.POLICY):
        r.ticks(60).node.arm()
        r.until(wanted)
    r.driver.health.motor_temperature[3] = 40.0
    r.ticks(20).node.stop("enough")
    r.until(State.DAMP).node.reset()
    r.until(State.PREFLIGHT).ticks(60).node.arm()
    r.until(State.STAND).ticks(5).node.damp("now")
    r.ticks(20)
    rows, meta = r.node.recorder.log()
    assert {*rows["node_state"]} == {*State} - {State.HOLD}
    assert replay(policy(), rows, meta) == len(rows["time"])
    meta["limits"]["max_torque_fraction"] = 0.01
    with pytest.raises(RefusedError, match=r"kd FR_hip_joint"):
        replay(policy(), rows, meta)


@pytest.mark.parametrize("most", [np.inf, 20], ids=["all of it", "its beginning"])
def test_a_long_damping_and_what_a_person_does_after_it_are_replayed(most):
    r = rig(mutate=stumbling, ring=120.0, arm=False, node={"damp_after_fault": np.inf})
    r.node.recorder.most_damping = most
    r.until(State.READY).node.damp("now")
    r.ticks(round(3 * DAMP_SECONDS / PERIOD)).node.reset()
    r.until(State.PREFLIGHT).ticks(60).node.arm()
    r.until(State.READY).ticks(10)
    rows, meta = r.node.recorder.log()
    assert replay(policy(), rows, meta) == len(rows["time"])


def test_a_driver_that_fails_is_replayed():
    def pulled(tick, state):
        if tick == 180:
            raise OSError("cable")
        return stumbling(tick, state)

    node = run(pulled)
    assert "cable" in node.fault
    rows = rows_of(node)
    assert replay(policy(), rows, meta_of(node)) == len(rows["time"])


def test_a_log_whose_ring_has_wrapped_is_taken_up_in_the_middle():
    node = run(ring=4.6)  # the first tick of the ring is some way into POLICY
    rows, meta = node.recorder.log()
    assert rows["policy_tick"][0] > 0
    skipped = 3 + round(0.2 / PERIOD) + 1  # history of joint_pos_error, fade, one before
    assert replay(policy(), rows, meta) == len(rows["time"]) - skipped


ALTERED = {
    # column, index, what the report must name; raw inputs show in what follows from them
    ("measured", 12, "observation term joint_vel FR_hip_joint"),
    ("wanted", 0, "command[0]"),
    ("observation", 9, "observation term joint_pos_error FR_hip_joint 2 ticks ago"),
    ("action", 4, "action FL_thigh_joint"),
    ("target", 11, "target RL_calf_joint"),
    ("kp", 0, "kp FR_hip_joint"),
    ("guards", None, "guards"),
    ("node_state", None, "node_state"),
}


@pytest.mark.parametrize(("column", "index", "named"), sorted(ALTERED, key=str))
def test_an_altered_log_is_refused_naming_tick_and_stage(walked, column, index, named):
    """Negative control: the least change of one number in one tick is found there."""
    rows = rows_of(walked)
    t = int(np.flatnonzero(rows["policy_tick"] == 40)[0])
    if rows[column].dtype == np.float32:
        rows[column][t, index] = np.nextafter(rows[column][t, index], np.float32(0.01))
    else:
        rows[column][t] ^= 1
    assert rows["flags"][t] & recorder.FRESH
    with pytest.raises(RefusedError) as error:
        replay(policy(), rows, meta_of(walked))
    assert f"tick {t}: {named}" in str(error.value)


def test_timings_are_not_compared(walked):
    rows = rows_of(walked)
    for name in UNCOMPARED:
        rows[name] += rows[name].dtype.type(1)
    assert replay(policy(), rows, meta_of(walked))


def test_every_output_is_compared():
    inputs = {"time", "missed", "sequence", "sample_time", "measured", "health", "others"}
    inputs |= {"source", "wanted", "wanted_age"}
    assert {*COLUMNS} == {*STAGES} | inputs | {*UNCOMPARED}


def test_another_policy_is_refused(walked):
    other = policy(TERMS[:-1])
    assert policy_file(TERMS[:-1]) != policy_file()
    with pytest.raises(InputError, match="give the file that ran"):
        replay(other, rows_of(walked), meta_of(walked))


def test_an_empty_log_is_refused(walked):
    rows = {name: values[:0] for name, values in rows_of(walked).items()}
    with pytest.raises(InputError, match="empty"):
        replay(policy(), rows, meta_of(walked))


def test_two_runs_from_the_same_inputs_are_the_same():
    a, b = (rows_of(run(ring=10.0, seconds=4.0)) for _ in range(2))
    for name, values in itertools.chain(a.items()):
        assert values.tobytes() == b[name].tobytes()


def test_a_tick_out_of_order_is_refused():
    """It is stored as one tuple: columns would change places."""
    with pytest.raises(ValueError, match="a tick is"):
        for_policy(policy(), 1.0).append(**dict(reversed(BLANK.items())))
