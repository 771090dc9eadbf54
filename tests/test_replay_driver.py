"""Driver `replay`: the measurements of a log, at their times, and nothing after them."""

import numpy as np
import pytest
from node_helpers import contract, policy, rig, robot

from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node import drivers
from robot_ppo_node.clock import SteppedClock
from robot_ppo_node.commands.base import FixedCommand
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.base import Connection
from robot_ppo_node.drivers.replay_driver import ReplayDriver
from robot_ppo_node.node import Node
from robot_ppo_node.safety.measured import Measured, held_signals

NAMES = robot().joint_names
FEET = robot().feet


@pytest.fixture(scope="module")
def log():
    """Rows and meta data of a run that stood up and walked."""
    return rig(ring=10).until(State.POLICY).ticks(50).node.recorder.log()


def test_the_measurements_come_back_bit_for_bit_at_their_times(log):
    rows, meta = log
    clock = SteppedClock()
    driver = ReplayDriver(clock, rows, meta)
    driver.open(NAMES, FEET)
    measured = Measured(held_signals(contract()))
    for t in range(len(rows["time"])):
        clock.sleep_until(float(rows["sample_time"][t] - rows["sample_time"][0]))
        sample = driver.read()
        measured.update(sample.state)
        assert measured.flat.tobytes() == rows["measured"][t].tobytes()
        assert driver.read() is None  # once
    clock.sleep_until(clock.now() + 10)
    assert driver.read() is None  # and nothing after the end


def test_a_node_that_is_late_gets_the_newest(log):
    rows, meta = log
    clock = SteppedClock()
    driver = ReplayDriver(clock, rows, meta)
    driver.open(NAMES, FEET)
    clock.sleep_until(float(rows["sample_time"][20] - rows["sample_time"][0]))
    state = driver.read().state
    assert np.array_equal(state.joint_pos, rows["measured"][20][: len(NAMES)])


def test_the_node_decides_the_same_again_and_damps_when_the_log_ends(log):
    rows, meta = log
    clock = SteppedClock()
    driver = ReplayDriver(clock, rows, meta)
    node = Node(policy(), driver, clock, FixedCommand((0.3, 0.0, 0.1)), arm=True)
    node.prepare()
    node.run(seconds=30)
    assert "stale" in node.fault
    assert State.POLICY.name in " ".join(str(event) for _, event in node.events)
    assert not driver.written[-1].kp.any()


def with_signal(log, name, width):
    """The log with another signal, all ones."""
    rows, meta = log
    measured = rows["measured"]
    more = np.ones((len(measured), width), np.float32)
    places = [*meta["measured"], *(f"{name}[{i}]" for i in range(width))]
    return rows | {"measured": np.hstack((measured, more))}, meta | {"measured": places}


def test_another_robot_is_refused(log):
    rows, meta = log
    driver = ReplayDriver(SteppedClock(), rows, meta)
    with pytest.raises(RefusedError, match="only the policy has"):
        driver.open((*NAMES[:-1], "tail"), FEET)
    rows, meta = with_signal(log, "foot_force", 3)
    with pytest.raises(RefusedError, match=r"3 numbers of foot_force, .* measures 4: give a log"):
        ReplayDriver(SteppedClock(), rows, meta).open(NAMES, FEET)


def test_no_log_is_said_in_a_sentence(log):
    with pytest.raises(InputError, match="--log FILE"):
        drivers.create("replay", SteppedClock(), Connection())
    rows, meta = log
    empty = {name: values[:0] for name, values in rows.items()}
    with pytest.raises(InputError, match="no measurement"):
        drivers.create("replay", SteppedClock(), Connection(log=(empty, meta)))
