"""The distribution monitor: what leaves the range of training is named; what stays is never."""

import time

import msgspec
import numpy as np
import pytest
from node_helpers import TERMS, contract, policy, rig

from robot_ppo_export.contract import contract as contracts
from robot_ppo_export.contract.layout import TermSpec
from robot_ppo_node.control.states import State
from robot_ppo_node.safety.monitor import MARGIN, PATIENCE, Monitor

SIZE = contract().resolve().size
ENTRIES = contract().resolve().entries(contract().robot.joint_names)


def trained(low=-1.0, high=1.0, terms=TERMS):
    """A contract whose observation was uniform between two values, evenly spaced."""
    c = contract(terms)
    seen = np.tile(np.linspace(low, high, 10_001)[:, None], c.resolve().size)
    return msgspec.structs.replace(c, distribution=contracts.distribution(seen))


def index(name):
    return next(i for i, entry in enumerate(ENTRIES) if str(entry) == name)


def observed(name, value):
    observation = np.zeros(SIZE, np.float32)
    observation[index(name)] = value
    return observation


def watch(monitor, observation, ticks):
    return [text for _ in range(ticks) for text in monitor.watch(observation)]


# --- what travels in the contract


def test_the_quantiles_of_even_spacing_are_their_levels():
    seen = contracts.distribution(np.linspace(0, 1, 1001)[:, None])
    assert seen.robot_ticks == 1001
    rows = [getattr(seen, name)[0] for name in contracts.LEVELS]
    assert rows == pytest.approx(list(contracts.LEVELS.values()), abs=1e-7)


def test_one_wild_observation_moves_the_extremes_and_not_the_range():
    values = np.random.default_rng(0).normal(size=(20_000, 1))
    wild = np.concatenate((values, [[1e3]]))
    calm = contracts.distribution(values)
    stirred = contracts.distribution(wild)
    assert stirred.maximum[0] == 1e3
    assert stirred.high[0] == pytest.approx(calm.high[0], abs=0.05)


def test_every_entry_has_a_name_of_its_own():
    names = [str(entry) for entry in ENTRIES]
    assert len(set(names)) == len(names) == SIZE
    assert names[0] == "base_ang_vel x"
    assert {"command yaw_rate", "joint_vel FL_calf_joint", "gait_clock cos"} <= {*names}
    assert "joint_pos_error FR_hip_joint 2 ticks ago" in names


def test_the_newest_of_a_history_stands_last():
    layout = contract().resolve()
    part = layout.slices["joint_pos_error"]
    ages = [entry.age for entry in ENTRIES[part]]
    assert ages == [2] * 12 + [1] * 12 + [0] * 12


# --- what is an excursion


def test_nothing_inside_the_range_is_ever_told():
    monitor = Monitor(trained())
    random = np.random.default_rng(0)
    for _ in range(2000):
        assert monitor.watch(random.uniform(-1, 1, SIZE).astype(np.float32)) == []
    assert monitor.excursions() == {}


@pytest.mark.parametrize("side", [-1, 1])
def test_outside_for_longer_than_patience_is_told_once_with_joint_value_and_range(side):
    monitor = Monitor(trained())
    outside = observed("joint_vel FL_calf_joint", side * 1.3)
    assert watch(monitor, outside, PATIENCE - 1) == []
    assert monitor.outside == 0
    (text,) = watch(monitor, outside, 100)
    # In the unit of the term: the network sees rad/s times 0.05.
    assert f"joint_vel FL_calf_joint is {side * 26:.4g} rad/s, trained -23.95 .. 23.95" in text
    assert monitor.outside == 1
    assert monitor.excursions() == {"joint_vel FL_calf_joint": 1}


def test_the_edge_is_the_quantile_and_its_margin():
    edge = 0.998 * (1 + 2 * MARGIN)
    for value, count in ((edge * 0.999, 0), (edge * 1.001, 1)):
        monitor = Monitor(trained())
        watch(monitor, observed("command vx", value), PATIENCE)
        assert monitor.counts.sum() == count


def test_a_joint_that_shakes_is_found_although_it_keeps_passing_the_middle():
    monitor = Monitor(trained())
    name = "joint_vel FR_hip_joint"
    for t in range(200):
        monitor.watch(observed(name, 2.5 * np.sin(0.9 * t)))
    assert monitor.excursions() == {name: 1}


def test_a_step_outside_now_and_then_is_none():
    monitor = Monitor(trained())
    name = "joint_vel FR_hip_joint"
    for t in range(1000):
        monitor.watch(observed(name, 5.0 if t % 3 == 0 else 0.0))
    assert monitor.excursions() == {}


def test_an_excursion_ends_and_the_next_one_counts():
    monitor = Monitor(trained())
    name = "base_ang_vel z"
    told = []
    for _ in range(9):
        told += watch(monitor, observed(name, 3.0), PATIENCE)
        assert monitor.outside == 1
        told += watch(monitor, observed(name, 0.0), PATIENCE)
        assert monitor.outside == 0
    assert monitor.excursions() == {name: 9}
    assert len(told) == 4  # the first, second, fourth and eighth
    assert "4 times so far" in told[2]


def test_older_values_of_a_history_are_not_judged_again():
    monitor = Monitor(trained())
    watch(monitor, observed("joint_pos_error FR_hip_joint 1 ticks ago", 9.0), 100)
    assert monitor.excursions() == {}
    watch(monitor, observed("joint_pos_error FR_hip_joint", 9.0), 100)
    assert monitor.excursions() == {"joint_pos_error FR_hip_joint": 1}


def test_without_a_distribution_nothing_is_outside():
    """Negative control: the limits come from the contract."""
    monitor = Monitor(contract())
    watch(monitor, np.full(SIZE, 1e6, np.float32), 100)
    assert monitor.excursions() == {}


def test_a_new_start_forgets_how_long_but_not_how_often():
    monitor = Monitor(trained())
    outside = observed("command vy", 2.0)
    watch(monitor, outside, PATIENCE)
    monitor.reset()
    assert monitor.outside == 0
    assert watch(monitor, outside, PATIENCE - 1) == []
    watch(monitor, outside, 1)
    assert monitor.excursions() == {"command vy": 2}


# --- in the node


@pytest.fixture
def limited(monkeypatch):
    """A test policy that was trained with joints that hardly turned."""
    p = policy((TermSpec(name="joint_vel"), TermSpec(name="command")))
    c = trained(-1.0, 1.0, (TermSpec(name="joint_vel"), TermSpec(name="command")))
    monkeypatch.setattr(p, "contract", c)
    return p


def shaking(tick, state):
    state.joint_vel[8] = 4.0 * (-1) ** tick if tick > 130 else 0.0
    return state


def test_the_node_names_term_and_joint_and_goes_on(limited):
    r = rig(mutate=shaking, p=limited).until(State.POLICY).ticks(150)
    assert r.node.state is State.POLICY and r.node.fault is None
    joint = limited.contract.robot.joint_names[8]
    (event,) = [e for _, e in r.node.events if e.reason.code == "outside_of_training"]
    text = str(event)
    assert text.startswith("outside of training")
    assert f"joint_vel {joint} is" in text and "rad/s, trained -1.198 .. 1.198" in text
    assert r.node.excursions == {f"joint_vel {joint}": 1}


def test_a_calm_robot_is_not_told_of(limited):
    r = rig(p=limited).until(State.POLICY).ticks(100)
    assert r.node.excursions == {}


@pytest.mark.slow
def test_a_look_takes_less_than_ten_microseconds():
    monitor = Monitor(trained())
    random = np.random.default_rng(0)
    observations = random.uniform(-1, 1, (1000, SIZE)).astype(np.float32)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        for row in observations:
            monitor.watch(row)
        times.append((time.perf_counter() - began) / len(observations))
    assert min(times) < 10e-6
