"""State packets on their way: lost ones, late ones, and what a policy has of them."""

import env_helpers as helpers
import numpy as np
import pytest

from robot_ppo.envs.robot.robot_env import RobotEnv
from robot_ppo.sim.packets import Packets
from robot_ppo_export.contract.state import SIGNALS, Signal, zeros

N = 400
TICKS = 50


def state(tick, n=N):
    """Measurements that say in which control period they were made."""
    made = zeros((n,), helpers.JOINTS, 4)
    made.joint_pos[:] = tick
    made.base_quat[:] = -tick
    return made


def seen(lost=0.0, late=0.0, longest=0, n=N, ticks=TICKS):
    """The number of the packet that each robot computes with at every tick, (ticks, n)."""
    packets = Packets(helpers.robot(), n, longest)
    rng = np.random.default_rng(0)
    found = []
    for tick in range(ticks):
        held = packets.arrive(state(tick, n), ..., np.full(n, lost), np.full(n, late), rng)
        assert np.array_equal(held.joint_pos[:, 0], -held.base_quat[:, 3])  # of one packet
        found.append(held.joint_pos[:, 1].copy())
    return np.array(found)


NOW = np.arange(TICKS)[:, None]


def test_without_losses_and_delays_every_packet_is_there_at_once():
    assert (seen() == NOW).all()


@pytest.mark.parametrize("lost", [0.1, 0.5])
def test_a_lost_packet_leaves_what_arrived_last(lost):
    got = seen(lost)
    assert (got[0] == 0).all()  # the first one is never lost: there is nothing before it
    fresh = got[1:] == NOW[1:]
    assert 1 - fresh.mean() == pytest.approx(lost, abs=0.01)
    assert (got[1:][~fresh] == got[:-1][~fresh]).all()
    # Two in a row are lost as often as by chance.
    assert (~fresh[1:] & ~fresh[:-1]).mean() == pytest.approx(lost**2, abs=0.01)


def test_late_packets_are_as_late_as_their_draw_and_the_newest_counts():
    got = seen(late=2.0, longest=2)
    age = NOW[2:] - got[2:]
    # Uniform up to two periods, rounded: 1/4 at once, 1/2 one late, 1/4 two late. A packet is seen
    # at once by 1/4; of the rest the one before has come by 3/4.
    assert (np.diff(got, axis=0) >= 0).all()  # nobody goes back to an older one
    assert [(age == k).mean() for k in range(3)] == pytest.approx([0.25, 0.5625, 0.1875], abs=0.01)


def test_a_signal_that_takes_another_way_is_not_held_back():
    packets = Packets(helpers.robot(), 3, 0)
    rng = np.random.default_rng(0)
    for tick in range(3):
        sent = state(tick, 3)
        vars(sent)["other"] = np.full((3, 2), tick, np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SIGNALS, "other", Signal("2", "1", "none", "somewhere", optional=True))
            held = packets.arrive(sent, ..., np.full(3, 0.999999), np.zeros(3), rng)
        assert (held["other"] == tick).all() and (held.joint_pos == 0).all()


def test_a_reset_forgets_what_is_on_its_way():
    packets = Packets(helpers.robot(), 3, 2)
    rng = np.random.default_rng(1)
    never = np.full(3, 0.999999)
    for tick in range(5):
        packets.arrive(state(tick, 3), ..., never, np.zeros(3), rng)
    ids = np.array([1])
    packets.reset(ids)
    row = state(7, 1)
    held = packets.arrive(row, ids, never[:1], np.zeros(1), rng)
    assert held.joint_pos[0, 0] == 7
    others = packets.arrive(state(8, 3), ..., never, np.zeros(3), rng)
    assert others.joint_pos[:, 0].tolist() == [0, 7, 0]


def test_they_go_on_from_their_arrays_bit_for_bit():
    def go(packets, rng, ticks):
        probability = np.full(5, 0.3)
        delay = np.full(5, 2.0)
        sent = (packets.arrive(state(t, 5), ..., probability, delay, rng) for t in ticks)
        return [held.joint_pos.copy() for held in sent]

    one = Packets(helpers.robot(), 5, 2)
    go(one, np.random.default_rng(0), range(10))
    other = Packets(helpers.robot(), 5, 2)
    for name, array in other.arrays().items():
        array[...] = one.arrays()[name]
    expected = go(one, np.random.default_rng(1), range(10, 30))
    assert np.array_equal(go(other, np.random.default_rng(1), range(10, 30)), expected)
    blank = Packets(helpers.robot(), 5, 2)
    assert not np.array_equal(go(blank, np.random.default_rng(1), range(10, 30)), expected)


# -- as randomizations of a task ----------------------------------------------------------------


def observed(**ranges):
    """Joint positions as the policy sees them over time, and the truth, (ticks, n, joints)."""
    task = helpers.quiet(randomization=ranges, terminations=helpers.ENDLESS)
    env = RobotEnv(task, helpers.robot(), 8, threads=1, seed=3)
    place = env.layout.slices["joint_pos_error"]
    actions = np.random.default_rng(0).normal(0, 0.3, (40, 8, 12)).astype(np.float32)
    policy = []
    for action in actions:
        observation, *_ = env.step(action)
        policy.append(observation[:, place])
    return np.array(policy)


def repeats(rows):
    """Fraction of the ticks at which a robot saw the very state of the tick before."""
    return (rows[1:] == rows[:-1]).all(axis=2).mean()


def test_a_task_loses_packets_as_often_as_its_range_says():
    assert repeats(observed()) == 0.0
    assert repeats(observed(packet_loss=(0.3, 0.3))) == pytest.approx(0.3, abs=0.06)


def test_a_task_delays_packets():
    """A packet that is one period late shows the state of the tick before."""
    prompt = observed()
    late = observed(packet_delay=(20.0, 20.0))
    half = (late[1:] == prompt[:-1]).all(axis=2)
    now = (late[1:] == prompt[1:]).all(axis=2)
    assert (half | now).all()
    assert half.mean() == pytest.approx(0.5, abs=0.08)
