"""A failure of a test in real time counts, unless the computer was seen to keep it waiting."""

import time

import pytest
from real_time import RUNS, SAID, STALL, stopwatch

pytest_plugins = ("pytester",)

SUITE = """
import time
import pytest
pytestmark = pytest.mark.real_time
runs = []

@pytest.fixture
def fresh():
    return []

def test_it(fresh):
    fresh.append(len(runs))
    runs.append(fresh)
    assert len(fresh) == 1
    {body}

def test_how_often():
    assert len(runs) == {expected}
"""
KEPT_WAITING = "print('FAULT: stale_state: 0.12 s, limit 0.1 s')"


@pytest.mark.parametrize(
    ("body", "runs", "failed"),
    [
        ("pass", 1, 0),
        ("assert False", 1, 1),
        (f"{KEPT_WAITING}; assert False", RUNS, 1),
        (f"{KEPT_WAITING}; assert len(runs) > 2", 3, 0),
        (f"{KEPT_WAITING}", 1, 0),
    ],
)
def test_only_a_failure_that_was_kept_waiting_runs_anew_and_not_for_ever(
    pytester, monkeypatch, body, runs, failed
):
    monkeypatch.setattr("real_time.STALL", 60.0)  # this computer may be busy itself
    monkeypatch.setattr("real_time.waited", lambda: 0.0)
    check(pytester, body, runs, failed)


@pytest.mark.parametrize(("part", "runs"), [(0.05, 1), (0.5, RUNS)])
def test_where_others_wait_for_a_processor_a_failure_runs_anew(pytester, monkeypatch, part, runs):
    monkeypatch.setattr("real_time.STALL", 60.0)
    monkeypatch.setattr("real_time.waited", lambda: part * time.monotonic())
    check(pytester, "assert False", runs, failed=1)


def check(pytester, body, runs, failed):
    pytester.makeconftest(
        "from real_time import pytest_runtest_protocol\n"
        "def pytest_configure(config): config.addinivalue_line('markers', 'real_time: x')\n"
    )
    pytester.makepyfile(SUITE.format(body=body, expected=runs))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(passed=2 - failed, failed=failed)


def test_the_stopwatch_sees_who_holds_the_processor():
    with stopwatch() as stall:
        pass
    with stopwatch() as held:
        time.sleep(0.02)  # it watches
        sum(range(10**7))  # one call, which gives nobody else a turn
    assert held() > STALL
    assert stall() >= 0.0


def test_a_node_that_was_kept_waiting_is_heard():
    assert SAID.search("2.1 s  DAMP: FAULT: stale_state: 0.1188 s, limit 0.1 s")
    assert not SAID.search("2.1 s  DAMP: FAULT: tilt: 3.14, limit 1.0")
