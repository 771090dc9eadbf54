"""The latency of driver `unitree` is measured between two processes, and every command arrives."""

import pytest
from node_helpers import robot

pytest.importorskip("cyclonedds")

from robot_ppo_node.app.unitree_latency import unitree_one_way

pytestmark = pytest.mark.real_time


def test_commands_take_a_positive_and_short_time():
    measured = unitree_one_way(robot(), samples=50, rate=200)
    assert measured.sent == 50
    assert measured.received >= 45  # a newer one may replace one that nobody has read yet
    assert 0 < measured.p50 <= measured.p99 <= measured.largest
    assert measured.p50 < 0.02  # a busy machine; the figure that counts is the bench's


@pytest.mark.slow
def test_the_floor():
    """On a machine that has nothing else to do: p50 0.3 ms, p99 2 ms."""
    measured = unitree_one_way(robot(), samples=500)
    assert measured.p50 < 0.3e-3, measured
    assert measured.p99 < 2e-3, measured
