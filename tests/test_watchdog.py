"""A node that is killed or stopped leaves a robot that is damped within five ticks."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import process_helpers
import pytest
from fork_server import node
from node_helpers import PERIOD, rig
from process_helpers import (
    Robot,
    child_of,
    deaf_pipe,
    environment,
    finish,
    is_damping,
    run_arguments,
    start,
    wait_for,
)

from robot_ppo_export.errors import RefusedError
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers.handover import Handover
from robot_ppo_node.drivers.udp import udp_damping
from robot_ppo_node.robot_side.base import SILENT_AFTER
from robot_ppo_node.safety import watchdog
from robot_ppo_node.safety.watchdog import FROZEN_AFTER, Watchdog

pytestmark = pytest.mark.real_time

FINE = 0.001
"""[s] The robot looks for commands so often: the gaps are measured to this."""


def walking(r, *more):
    """A node that runs the policy on `r`."""
    arguments = run_arguments(r, "--arm", "--seconds", 30, *more, watchdog=True)
    return process_helpers.walking(lambda: start(*arguments), lambda: r.commands[-1], 0.2)


def gap(r, begin: int) -> tuple[float, float]:
    """Periods from the node's last command to the first damping, from command `begin` on.

    The least and the most that it can have been: a robot that was kept waiting itself does not know
    when the command came that it finds then.
    """
    i = next(i for i in range(begin, len(r.commands)) if is_damping(r.commands[i]))
    least = r.looks[i] - r.times[i - 1]
    most = r.times[i] - r.looks[i - 1]
    print(f"{least / PERIOD:.2f} to {most / PERIOD:.2f} periods from the last command to damping")
    return least / PERIOD, most / PERIOD


def damping_gaps(r) -> list[float]:
    """Periods between the commands of the damping at the end; the least that they can have been."""
    seen = zip(r.looks, r.times, r.commands, strict=False)
    found = [(look, at) for look, at, command in seen if is_damping(command)][-20:]
    return [(b[0] - a[1]) / PERIOD for a, b in itertools.pairwise(found)]


def damps_on(r) -> bool:
    """Whether damping comes in every period, on a busy computer before the robot would miss it."""
    gaps = damping_gaps(r)
    return 0.5 < np.median(gaps) < 1.5 and max(gaps) < SILENT_AFTER / PERIOD


def test_a_killed_node_is_followed_by_damping_for_as_long_as_it_would_have_damped():
    with Robot(every=FINE) as r:
        process = walking(r)
        before = len(r.commands)
        process.kill()
        killed = time.monotonic()
        process.wait()
        time.sleep(0.4)
        assert gap(r, before)[0] <= 5
        assert all(is_damping(c) for c in r.commands[before + 2 :])
        assert damps_on(r)
        assert not r.wire.silent(time.monotonic())
        time.sleep(1.2)  # --seconds: one second of damping
        assert r.times[-1] - killed == pytest.approx(1.0, abs=0.2)
    text = process.stderr.read()
    # On a machine that is busy, it is seen to stand still before it is seen to be gone.
    assert re.search("the node (died|stands still): its watchdog damps the robot", text)


def test_a_segmentation_fault_is_followed_by_damping():
    with Robot(every=FINE) as r:
        process = walking(r)
        before = len(r.commands)
        process.send_signal(signal.SIGSEGV)
        process.wait()
        time.sleep(0.3)
        assert gap(r, before)[0] <= 5
        assert is_damping(r.commands[-1])


def test_a_stopped_node_is_damped_and_does_not_fight_when_it_wakes_up():
    with Robot(every=FINE) as r:
        process = walking(r)
        before = len(r.commands)
        stopped = time.monotonic()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        least, most = gap(r, before)
        assert most >= FROZEN_AFTER - 1 and least <= 5
        asleep = len(r.commands)
        process.send_signal(signal.SIGCONT)
        lasted = time.monotonic() - stopped
        code, out, err = finish(process)
        # from the takeover to the end of the node's own damping nothing else reaches a motor
        assert all(is_damping(c) for c in r.commands[asleep:])
    assert code == 3
    (stood,) = re.findall(
        r"DAMP: FAULT: the watchdog took over: the node stood still for ([\d.]+)", out
    )
    assert float(stood) == pytest.approx(lasted, abs=0.1)
    assert "the node stands still: its watchdog damps the robot" in err
    assert "ended in a fault: the watchdog took over" in err


def test_a_node_that_was_stopped_and_killed_is_damped():
    with Robot(every=FINE) as r:
        process = walking(r)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        process.kill()
        process.wait()
        time.sleep(0.3)
        assert is_damping(r.commands[-1])
        assert not r.wire.silent(time.monotonic())


@contextlib.contextmanager
def ended(pid):
    """A watchdog that would damp for ever is ended, whatever the test says."""
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("full", [True, False], ids=["full", "reader gone"])
def test_a_deaf_stderr_does_not_end_the_damping(full):
    """`run ... 2>&1 | tee log`: Ctrl-C takes tee along, or tee hangs, and the node is killed."""
    out, into = deaf_pipe(full)
    with Robot(every=FINE) as r:
        process = start(*run_arguments(r, "--arm", watchdog=True), stderr=into)
        wait_for(process, "POLICY")
        with ended(child_of(process.pid)):
            before = len(r.commands)
            process.kill()
            process.wait()
            time.sleep(0.5)
            assert gap(r, before)[0] <= 5
            assert sum(is_damping(c) for c in r.commands[before:]) > 10
            assert not r.wire.silent(time.monotonic())
        ends = time.monotonic() + 2
        while not r.wire.silent(time.monotonic()):
            assert time.monotonic() < ends, "it does not end"
            time.sleep(0.01)
    for file in {out, into} - {-1}:
        os.close(file)


BROKEN = """
import sys
from robot_ppo_node.app import cli
from robot_ppo_node.app.run import Operator
from robot_ppo_node.control.states import State
def broken(self):
    if self.node.state is State.POLICY:
        raise RuntimeError("a mistake of ours")
Operator._on_tick = broken
sys.exit(cli.main(sys.argv[1:]))
"""
"""A node whose loop is torn down by an error while the policy runs."""


def broken_node(r, *more):
    arguments = run_arguments(r, "--arm", *more, watchdog=True)
    return node.start("-c", BROKEN, *arguments, env=environment(), stderr=subprocess.PIPE)


def test_an_error_that_tears_down_the_loop_is_followed_by_damping():
    with Robot(every=FINE) as r:
        process = broken_node(r)
        said = ""  # by the node and by its watchdog, in either order
        while not (found := re.findall(r"until `kill (\d+)`", said)):
            line = process.stderr.readline()
            assert line, f"it ended without damping: {said}"
            said += line
        with ended(int(found[0])):
            assert process.wait(20) == 1
            time.sleep(1.5)
            assert not r.wire.silent(time.monotonic())
            assert r.damped_for() > 1.4 and damps_on(r)
    assert "RuntimeError: a mistake of ours" in said + process.stderr.read()


def test_with_an_end_such_damping_lasts_for_a_second():
    with Robot(every=FINE) as r:
        process = broken_node(r, "--seconds", 30)
        assert process.wait(20) == 1
        time.sleep(1.5)
        assert r.wire.silent(time.monotonic())
        assert r.damped_for() > 0.8  # after the end of the process, which takes its time as well


def test_damping_without_an_end_goes_on_until_somebody_ends_it():
    with Robot() as r:
        process = start(*run_arguments(r, "--arm", watchdog=True))
        wait_for(process, "POLICY")
        process.kill()
        process.wait()
        (pid,) = re.findall(r"until `kill (\d+)`", process.stderr.readline())
        time.sleep(1.5)
        assert not r.wire.silent(time.monotonic())
        os.kill(int(pid), signal.SIGTERM)
        time.sleep(SILENT_AFTER + 0.1)
        assert r.wire.silent(time.monotonic())


def test_without_a_watchdog_nobody_damps_a_killed_node():
    """Negative control."""
    with Robot() as r:
        process = walking(r, "--no-watchdog")
        before = len(r.commands)
        process.kill()
        process.wait()
        time.sleep(0.3)
        assert not any(is_damping(c) for c in r.commands[before:])


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "was killed by signal 9"), (signal.SIGSTOP, "has been silent for")],
)
def test_a_watchdog_that_is_lost_sits_the_robot_down_and_is_a_fault(number, said):
    with Robot() as r:
        process = walking(r)
        os.kill(child_of(process.pid), number)
        code, out, _ = finish(process)
    assert code == 3
    assert f"the watchdog {said}" in out
    assert is_damping(r.commands[-1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_watchdog_that_is_lost_before_anything_moves_is_replaced(number):
    with Robot() as r:
        process = start(*run_arguments(r, "--seconds", 4, watchdog=True))
        wait_for(process, "PREFLIGHT")
        first = child_of(process.pid)
        os.kill(first, number)
        wait_for(process, "another one watches now")
        assert child_of(process.pid) != first
        code, _, _ = finish(process)
    assert code == 0


def test_a_watchdog_that_cannot_be_replaced_ends_the_run_with_the_reason():
    class Gone:
        has_robot = False
        lost = True

        def how_lost(self):
            return "was killed by signal 9"

        def close(self): ...

    def refuse():
        raise RefusedError("the watchdog ended with code 1 before it watched")

    r = rig(arm=False).ticks(3)
    r.node._writer.watchdog = Gone()
    r.node._writer._start_watchdog = refuse
    r.ticks(1)
    assert r.node.over
    assert r.node.fault_code == "watchdog_lost" and "ended with code 1" in r.node.fault


def test_the_watchdog_ends_with_the_node():
    with Robot() as r:
        process = start(*run_arguments(r, "--stand", "--seconds", 30, watchdog=True))
        wait_for(process, "STAND")
        pid = child_of(process.pid)
        process.terminate()
        code, _, err = finish(process)
    assert (code, err) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# --- the parts


@contextlib.contextmanager
def watching(tmp_path, monkeypatch, sender, **options):
    """A watchdog whose damping goes to a pipe, with a period of 20 ms."""
    (tmp_path / "lines_sender.py").write_text(sender)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{environment()['PYTHONPATH']}")
    out, into = os.pipe()
    os.set_blocking(out, False)
    watchdog = Watchdog(Handover("lines_sender", {}, (into,)), PERIOD, **options)
    try:
        yield watchdog, lambda: read_lines(out)
    finally:
        watchdog.close()
        os.close(out)
        os.close(into)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    with watching(tmp_path, monkeypatch, SENDER) as both:
        yield both


SENDER = """
import os, time
class Lines:
    def __init__(self, file): self.file = file
    def begin(self, takeover): self.takeover = takeover
    def send(self): os.write(self.file, b"%d %d\\n" % (self.takeover, time.monotonic_ns()))
    def close(self): os.close(self.file)
def sender(arguments, files): return Lines(files[0])
"""


def read_lines(file) -> list[tuple[int, float]]:
    """(takeover, time [s]) of what was sent since the last call."""
    with contextlib.suppress(BlockingIOError):
        rows = [line.split() for line in os.read(file, 1 << 20).decode().splitlines()]
        return [(int(takeover), int(at) * 1e-9) for takeover, at in rows]
    return []


def beat_for(watchdog, seconds, sends=True):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        watchdog.heartbeat(sends)
        time.sleep(PERIOD / 2)


def test_a_node_that_beats_is_left_alone(watched):
    watchdog, sent = watched
    beat_for(watchdog, 0.4)
    assert sent() == []
    assert not watchdog.has_robot


def test_a_node_that_sends_nothing_needs_no_damping(watched):
    """Before it stands up a silent node has commanded nothing, and neither does its watchdog."""
    watchdog, sent = watched
    beat_for(watchdog, 0.1, sends=False)
    time.sleep(0.3)
    assert sent() == []


def test_a_silent_node_loses_the_robot_until_it_takes_it_back(watched):
    watchdog, sent = watched
    beat_for(watchdog, 0.1)
    last = time.monotonic()
    time.sleep(0.4)
    lines = sent()
    assert lines[0][1] - last == pytest.approx(FROZEN_AFTER * PERIOD, abs=PERIOD)
    assert {takeover for takeover, _ in lines} == {1}
    assert watchdog.has_robot
    beat_for(watchdog, 0.2)  # beating alone does not give the robot back
    assert watchdog.has_robot
    watchdog.release()
    beat_for(watchdog, 0.1)
    sent()
    beat_for(watchdog, 0.2)
    assert sent() == []
    time.sleep(0.3)
    assert {takeover for takeover, _ in sent()} == {2}


def test_damping_comes_in_every_period_and_not_in_bursts(watched):
    watchdog, sent = watched
    beat_for(watchdog, 0.1)
    time.sleep(1.0)
    times = [time for _, time in sent()]
    assert len(times) == pytest.approx((1.0 - FROZEN_AFTER * PERIOD) / PERIOD, abs=4)


def test_a_watchdog_of_a_node_that_commands_the_robot_is_not_ended_by_sigterm(watched):
    """`systemctl stop` says it to both: the node sits down first, and may still die meanwhile."""
    watchdog, sent = watched
    beat_for(watchdog, 0.1)
    watchdog.process.send_signal(signal.SIGTERM)
    beat_for(watchdog, 0.3)
    assert watchdog.process.poll() is None and sent() == []
    time.sleep(0.3)  # the node stands still
    assert sent()
    watchdog.process.send_signal(signal.SIGTERM)  # as the watchdog has told people to
    assert watchdog.process.wait(2.0) == 0


def test_a_watchdog_of_a_node_that_sends_nothing_is_ended_by_sigterm(watched):
    watchdog, _ = watched
    beat_for(watchdog, 0.1, sends=False)
    watchdog.process.send_signal(signal.SIGTERM)
    assert watchdog.process.wait(2.0) == 0


def test_a_node_that_dies_in_its_very_first_command_is_damped(watched):
    watchdog, sent = watched
    beat_for(watchdog, 0.1, sends=False)
    watchdog.announce()
    time.sleep(0.3)
    assert sent()


def test_the_watchdog_is_told_before_the_robot_is():
    class Told:
        has_robot = lost = False
        told = False

        def announce(self):
            self.told = True

        def heartbeat(self, sends):
            self.told = sends

    r = rig(arm=False)
    r.node._writer.watchdog = guard = Told()
    write = r.driver.write
    known = []
    r.driver.write = lambda command: (known.append(guard.told), write(command))
    r.until(State.STAND).ticks(1)
    assert known and all(known)


def test_a_command_that_was_under_way_is_not_repeated_after_a_takeover():
    """A driver that repeats would go on with it until it is too old."""

    class Took:
        has_robot = lost = False
        takeovers = 1

        def announce(self): ...

        def heartbeat(self, sends): ...

    r = rig().until(State.POLICY).ticks(3)
    r.node._writer.watchdog = guard = Took()
    guard.has_robot = True
    r.ticks(1)
    assert r.node.state is State.DAMP
    assert is_damping(r.driver.written[-1])
    sent = len(r.driver.written)
    r.ticks(20)  # the robot is the watchdog's
    assert len(r.driver.written) == sent


def test_a_takeover_within_a_write_is_followed_by_damping_in_the_same_tick():
    """A node that was stopped there sends, when it wakes up, what was fresh when it was stopped."""

    class Taken:
        has_robot = lost = False
        takeovers = 1

        def announce(self): ...

        def heartbeat(self, sends): ...

    r = rig().until(State.POLICY).ticks(3)
    r.node._writer.watchdog = guard = Taken()
    write = r.driver.write

    def stopped(command):
        guard.has_robot = True
        write(command)

    r.driver.write = stopped
    r.ticks(1)
    assert r.node.state is State.POLICY and is_damping(r.driver.written[-1])
    assert not is_damping(r.driver.written[-2])


FAILING = (
    SENDER
    + """
class Failing(Lines):
    tries = 0
    def send(self):
        self.tries += 1
        if self.tries < 5: raise RuntimeError("the first four are lost")
        super().send()
def sender(arguments, files): return Failing(files[0])
"""
)


def test_an_error_of_the_sender_does_not_end_the_damping(tmp_path, monkeypatch):
    with watching(tmp_path, monkeypatch, FAILING) as (watchdog, sent):
        beat_for(watchdog, 0.1)
        lines = []
        ends = time.monotonic() + 5
        while len(lines) <= 5 and time.monotonic() < ends:
            lines += sent()
            time.sleep(PERIOD)
        assert len(lines) > 5


def test_a_watchdog_that_cannot_start_is_refused():
    with pytest.raises(RefusedError, match="the watchdog ended with code 1 before it watched"):
        Watchdog(Handover("no_such_module", {}), PERIOD)


def test_a_watchdog_that_does_not_come_up_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "STARTS_WITHIN", 0.5)
    hanging = "import time\ndef sender(arguments, files): time.sleep(60)"
    with (
        pytest.raises(RefusedError, match=r"the watchdog did not watch within 0\.5 s"),
        watching(tmp_path, monkeypatch, hanging),
    ):
        raise AssertionError("it did not come up")


def test_the_watchdog_imports_next_to_nothing():
    code = (
        "import sys, robot_ppo_node.safety.watchdog, robot_ppo_node.drivers.udp.udp_damping\n"
        "heavy = {'numpy', 'onnxruntime', 'msgspec', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


@pytest.mark.parametrize("takeovers", range(6))
def test_every_turn_begins_ahead_of_the_one_before_and_behind_half_the_circle(takeovers):
    """A robot takes what is ahead by less than half of the numbers' range, and wraps."""
    node, after = (udp_damping.first_number(t, node=True) for t in (takeovers, takeovers + 1))
    watchdog = udp_damping.first_number(takeovers + 1, node=False)
    for old, new in ((node, watchdog), (watchdog, after)):
        assert 0 < (new - old) % 2**32 < 2**31
    assert udp_damping.first_number(0, node=True) == 0
