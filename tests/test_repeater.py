"""The repeater: one stream of commands that never repeats an old one and ends in damping."""

import threading
import time

import numpy as np
import pytest
from dds_helpers import within

from robot_ppo_node.drivers.repeater import CLOSING_SENDS, PERIOD, Repeater

pytestmark = pytest.mark.real_time


class Line:
    """Keeps what was sent, with its time."""

    def __init__(self):
        self.sent = []

    def __call__(self, payload):
        self.sent.append((time.monotonic(), payload))

    def payloads(self):
        return [payload for _, payload in self.sent]


def repeater(line, stale_after=10.0, **more):
    return Repeater(line, b"damp", stale_after, **more)


def test_nothing_is_sent_before_the_first_command():
    line = Line()
    r = repeater(line)
    time.sleep(10 * PERIOD)
    r.close()
    assert line.sent == []


def test_a_command_goes_out_at_once_and_then_500_times_per_second():
    line = Line()
    r = repeater(line)
    asked = time.monotonic()
    r.put(b"a")
    assert line.sent[0][1] == b"a" and line.sent[0][0] - asked < 0.01
    assert within(10, lambda: r.sent >= 100)
    elapsed = time.monotonic() - asked
    count = r.sent
    r.close()
    assert count <= elapsed / PERIOD + 1  # a busy machine skips periods and never adds any
    gaps = np.diff([at for at, _ in line.sent[1:count]])
    assert np.quantile(gaps, 0.2) < 1.5 * PERIOD  # and where it is not busy, 500 Hz is kept
    assert set(line.payloads()[: count + 1]) == {b"a"}


def test_a_repeat_is_sent_half_way_between_commands_and_never_with_one():
    """By arithmetic, because a thread wakes up when it can; commands come every 20 ms."""
    r = repeater(Line())
    r.close()
    sent = []
    r._repeated = -np.inf
    for tick in range(3):
        r._refreshed = tick * 0.02
        now = r._refreshed + 1e-4
        while (due := r._next(now)) < r._refreshed + 0.02:
            sent.append(due)
            r._repeated = now = due + 1e-4  # it wakes up late
    assert sent == pytest.approx(np.arange(0.001, 0.06, PERIOD))


def test_commands_at_other_times_neither_hurry_the_repeats_nor_let_them_wait():
    r = repeater(Line())
    random = np.random.default_rng(0)
    r.close()
    now = 0.0
    sent = []
    for _ in range(2000):
        if random.random() < 0.3:
            r._refreshed = now
        r._repeated = now = r._next(now)
        sent.append(now)
        now += random.uniform(0, 2.5 * PERIOD)  # the time that sending took
    assert np.diff(sent).min() >= PERIOD / 2
    r._repeated = 1000.0  # a clock that ran back since
    assert 0 < r._next(1.0) - 1.0 <= PERIOD


def test_the_newest_command_replaces_the_one_before():
    line = Line()
    r = repeater(line)
    for payload in (b"a", b"b", b"c"):
        r.put(payload)
        time.sleep(5 * PERIOD)
    r.close()
    order = line.payloads()[:-CLOSING_SENDS]
    assert order == sorted(order)
    assert set(order) == {b"a", b"b", b"c"}


def test_a_command_that_nobody_refreshes_becomes_damping_and_comes_back():
    line = Line()
    r = repeater(line, stale_after=0.05)
    r.put(b"a")
    assert within(2, lambda: r.stale)
    last = max(at for at, payload in line.sent if payload == b"a")
    assert last - line.sent[0][0] < 0.05 + 0.1  # the bound, and a thread that was put to sleep
    time.sleep(0.05)
    assert r.stale == 1  # it began once
    r.put(b"b")
    assert line.payloads()[-1] == b"b"
    assert within(2, lambda: r.stale == 2)
    r.close()


def test_negative_control_a_refreshed_command_does_not_become_damping():
    line = Line()
    r = repeater(line, stale_after=0.5)
    for _ in range(20):
        r.put(b"a")
        time.sleep(0.01)
    assert r.stale == 0
    r.close()


def test_what_the_check_says_stops_commands_for_good():
    line = Line()
    reasons = [None]
    r = repeater(line, check=lambda: reasons[0])
    r.put(b"a")
    reasons[0] = "somebody else"
    assert within(2, lambda: r.fault) == "somebody else"
    reasons[0] = None
    del line.sent[:]
    r.put(b"b")
    time.sleep(5 * PERIOD)
    assert set(line.payloads()) == {b"damp"}
    r.close()


def test_an_error_of_the_thread_is_a_fault_and_the_thread_goes_on():
    def broken():
        raise OSError("gone")

    line = Line()
    r = repeater(line, check=broken)
    r.put(b"a")
    assert within(2, lambda: r.fault) == "OSError: gone"
    before = r.sent
    assert within(2, lambda: r.sent > before)
    r.close()


def test_damp_sends_damping_and_repeats_it():
    line = Line()
    r = repeater(line)
    r.damp()
    time.sleep(5 * PERIOD)
    r.close()
    assert set(line.payloads()) == {b"damp"} and len(line.sent) > CLOSING_SENDS


def test_closing_sends_damping_last_leaves_no_thread_and_may_be_done_twice():
    line = Line()
    before = threading.active_count()
    r = repeater(line)
    r.put(b"a")
    r.close()
    assert line.payloads()[-CLOSING_SENDS:] == [b"damp"] * CLOSING_SENDS
    assert threading.active_count() == before
    count = len(line.sent)
    r.close()
    assert len(line.sent) == count


@pytest.mark.parametrize("period", [0.002, 0.01, 0.02, 0.1])
def test_others_are_looked_for_every_20_ms_whatever_the_period_of_sends(period):
    """Before, at every tenth send: 0.1 s over ROS 2, five ticks."""
    one = Repeater(lambda _: None, b"", 1.0, period=period)
    one.close()
    assert one.check_every * period == pytest.approx(max(0.02, period))
