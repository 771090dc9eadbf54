"""A log comes back as it was written, and a replay of it equals it bit for bit, or says where."""

import itertools

import msgspec
import numpy as np
import pytest
from node_helpers import PERIOD, TERMS, policy, policy_file, rig, robot

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.node import recorder
from robot_ppo_export.node.drivers.base import Health
from robot_ppo_export.node.recorder import COLUMNS, TIMINGS, Recorder
from robot_ppo_export.node.replay import STAGES, replay
from robot_ppo_export.node.states import State

WIDTHS = {"measured": 50, "health": 25, "observation": 71, "joints": 12}


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


@pytest.fixture(scope="module")
def walked():
    return run()


# --- the ring


def test_a_full_ring_holds_the_newest_ticks_oldest_first():
    ring = Recorder(WIDTHS, 4)
    blank = {name: 0 for name in COLUMNS}
    for t in range(10):
        ring.append(**{**blank, "time": t})
    assert ring.rows()["time"].tolist() == [6, 7, 8, 9]
    assert ring.count == 10


def test_a_log_comes_back_bit_for_bit(walked, tmp_path):
    walked.recorder.save(tmp_path / "log.npz")
    rows, meta = recorder.load(tmp_path / "log.npz")
    for name, values in walked.recorder.rows().items():
        assert rows[name].tobytes() == values.tobytes()
    assert meta["policy"] == policy().sha256
    assert meta["recorded"] == len(rows["time"])
    assert len(meta["measured"]) == rows["measured"].shape[1]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no", b"\x80\x04K\x01."])
def test_what_is_not_a_log_is_an_input_error(tmp_path, data):
    (tmp_path / "log.npz").write_bytes(data)
    with pytest.raises(InputError, match="is not a log"):
        recorder.load(tmp_path / "log.npz")


def test_a_missing_log_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        recorder.load(tmp_path / "log.npz")


def test_a_log_of_a_future_version_is_an_input_error(walked, tmp_path):
    walked.recorder.meta["log_version"] = 99
    walked.recorder.save(tmp_path / "log.npz")
    walked.recorder.meta["log_version"] = recorder.LOG_VERSION
    with pytest.raises(InputError, match="log of version 99"):
        recorder.load(tmp_path / "log.npz")


# --- replay


def test_a_walk_is_replayed_bit_for_bit(walked):
    rows = rows_of(walked)
    assert {*rows["node_state"]} == {*State} - {State.PASSIVE, State.WIGGLE}
    assert replay(policy(), rows, walked.recorder.meta) == len(rows["time"])


def test_a_fall_is_replayed_bit_for_bit():
    node = run(falling)
    assert node.fault.startswith("tilt")
    rows = rows_of(node)
    assert rows["guards"].any()
    assert replay(policy(), rows, node.recorder.meta) == len(rows["time"])


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
    assert replay(policy(), rows, r.node.recorder.meta) == len(rows["time"])


def test_a_whole_life_with_every_word_of_a_person_is_replayed():
    """Wiggle, stand, walk, sit, damp, reset, stand again, emergency; tightened; parts that age."""
    tight = msgspec.structs.replace(robot().safety, max_torque_fraction=0.9)
    options = {"stand": False, "wiggle": True, "limits": tight}
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
    assert {*rows["node_state"]} == {*State}
    assert replay(policy(), rows, meta) == len(rows["time"])
    meta["limits"]["max_torque_fraction"] = 0.01
    with pytest.raises(RefusedError, match=r"target|guards"):
        replay(policy(), rows, meta)


def test_a_driver_that_fails_is_replayed():
    def pulled(tick, state):
        if tick == 180:
            raise OSError("cable")
        return stumbling(tick, state)

    node = run(pulled)
    assert "cable" in node.fault
    rows = rows_of(node)
    assert replay(policy(), rows, node.recorder.meta) == len(rows["time"])


def test_a_log_whose_ring_has_wrapped_is_taken_up_in_the_middle():
    node = run(ring=4.6)  # the first tick of the ring is some way into POLICY
    rows, meta = node.recorder.log()
    assert rows["policy_tick"][0] > 0
    skipped = 3 + round(0.2 / PERIOD) + 1  # history of joint_pos_error, fade, one before
    assert replay(policy(), rows, meta) == len(rows["time"]) - skipped


ALTERED = {
    # column, index, what the report must name; raw inputs show in what follows from them
    ("measured", 12, "observation term joint_vel[0]"),
    ("wanted", 0, "command[0]"),
    ("observation", 9, "observation term joint_pos_error[0]"),
    ("action", 4, "action[4]"),
    ("target", 11, "target[11]"),
    ("kp", 0, "kp[0]"),
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
        replay(policy(), rows, walked.recorder.meta)
    assert f"tick {t}: {named}" in str(error.value)


def test_timings_are_not_compared(walked):
    rows = rows_of(walked)
    for name in TIMINGS:
        rows[name] += 1.0
    assert replay(policy(), rows, walked.recorder.meta)


def test_every_output_is_compared():
    inputs = {"time", "missed", "sequence", "sample_time", "measured", "health", "others"}
    inputs |= {"wanted", "wanted_age"}
    assert {*COLUMNS} == {*STAGES} | inputs | {*TIMINGS}


def test_another_policy_is_refused(walked):
    other = policy(TERMS[:-1])
    assert policy_file(TERMS[:-1]) != policy_file()
    with pytest.raises(InputError, match="give the file that ran"):
        replay(other, rows_of(walked), walked.recorder.meta)


def test_an_empty_log_is_refused(walked):
    rows = {name: values[:0] for name, values in rows_of(walked).items()}
    with pytest.raises(InputError, match="empty"):
        replay(policy(), rows, walked.recorder.meta)


def test_two_runs_from_the_same_inputs_are_the_same():
    a, b = (rows_of(run(ring=10.0, seconds=4.0)) for _ in range(2))
    for name, values in itertools.chain(a.items()):
        assert values.tobytes() == b[name].tobytes()
