"""The loop re-publishes between its deadlines, and leaves memory and collector alone."""

import gc
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from fork_server import node
from node_helpers import PERIOD, policy, rig
from process_helpers import Robot, child_of, environment, run_arguments, start, wait_for

from robot_ppo_export.errors import InputError
from robot_ppo_node.clock import MonotonicClock, Pacer, SteppedClock
from robot_ppo_node.control.states import State
from robot_ppo_node.host import host_doctor, realtime
from robot_ppo_node.safety.watchdog import REAL_TIME_PRIORITY
from robot_ppo_node.startup.warm_up import warm_up

pytestmark = pytest.mark.real_time


class Stamped(SteppedClock):
    """A stepped clock, and the times of what a driver was told."""

    def watch(self, driver):
        self.times = []
        write = driver.write

        def stamped(command):
            self.times.append(round(self.now(), 6))
            write(command)

        driver.write = stamped


# --- re-publication


def test_every_command_is_sent_again_at_the_rate_and_between_the_ticks():
    clock = Stamped()
    r = rig(clock=clock, node={"publish_rate": 500})
    clock.watch(r.driver)
    r.node.run(6.0)
    assert np.diff(clock.times) == pytest.approx(np.full(len(clock.times) - 1, 0.002), abs=1e-6)
    sent = list(r.driver.written)
    for i in range(0, len(sent) - 10, 10):
        assert {c.target.tobytes() for c in sent[i : i + 10]} == {sent[i].target.tobytes()}
    assert len({c.target.tobytes() for c in sent}) > 100


def test_what_is_late_is_skipped_and_never_made_up():
    """A tick that takes 9 ms leaves the commands at 2, 4, 6 ms out; those from 8 ms on are sent."""
    clock = Stamped()
    r = rig(clock=clock, node={"publish_rate": 500})
    clock.watch(r.driver)

    def slow():
        clock.time += 0.009

    r.node.run(4.0, on_tick=slow)
    gaps = np.diff(clock.times)
    assert gaps.min() >= 0.001 - 1e-9
    assert (gaps > 0.008).sum() == pytest.approx(len(gaps) / 7, rel=0.1)  # 1 + 6 of 10 per tick
    assert r.node.missed == 0


@pytest.mark.parametrize("rate", [30.0, 75.0, 10.0])
def test_a_rate_that_is_no_multiple_is_refused(rate):
    with pytest.raises(InputError, match="not a multiple of the policy's 50 Hz"):
        rig(node={"publish_rate": rate})


def test_nothing_is_published_before_the_robot_may_stand_up():
    r = rig(arm=False, node={"stand": False, "publish_rate": 500})
    r.node.run(3.0)
    assert not r.driver.written


# --- memory


def test_a_tick_allocates_nothing_that_stays():
    """Forty seconds of walking: what is held afterwards is what was held before, to a page.

    The ticks before fill the interpreter's own stores of small objects, which are bounded.
    """
    r = rig().until(State.POLICY)
    r.driver.written = type(r.driver.written)(maxlen=1)
    tracemalloc.start()
    try:
        r.ticks(2048)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        r.ticks(2048)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1024
    assert peak - before < 32768  # the arrays of a tick, and a block of gait phases


def test_a_tick_makes_no_cycles_for_a_collector_that_is_off():
    r = rig().until(State.POLICY).ticks(100)
    gc.collect()
    with realtime.quiet_gc():
        r.ticks(1000)
        assert gc.collect() == 0


def test_the_collector_is_off_in_the_loop_and_as_before_afterwards():
    assert gc.isenabled()
    seen = []
    r = rig()
    r.node.run(0.2, on_tick=lambda: seen.append(gc.isenabled()))
    assert not any(seen)
    assert gc.isenabled()


def test_what_somebody_froze_before_stays_frozen():
    code = (
        "import gc; from robot_ppo_node.host.realtime import quiet_gc\n"
        "for before in (gc.unfreeze, gc.freeze):\n"
        "    before()\n"
        "    with quiet_gc(): assert gc.get_freeze_count()\n"
        "    print(gc.get_freeze_count() > 0)"
    )
    assert node.run("-c", code, env=environment()).stdout == "False\nTrue\n"


def test_the_network_is_warm_before_the_robot_is_ready():
    """The first real tick is one of many: dummy ticks came before, and left no trace."""
    r = rig()
    calls = []
    act = r.node.policy.act
    r.node.policy.act = lambda observation: calls.append(1) or act(observation)
    try:
        warm_up(r.node.policy, r.node.envelope, r.node._signals)
    finally:
        del r.node.policy.act
    assert len(calls) >= 50
    assert r.node.policy.ticks == 0


def test_gait_phases_that_are_computed_ahead_are_those_of_each_tick():
    from robot_ppo_export.contract.terms import gait_phase

    p = policy()
    c = p.contract
    state = rig().node.measurement.state
    for tick in [*range(0, 2000), 10**6, 3, 511, 512]:
        p.ticks = tick
        phase = p.inputs(state, np.zeros(3, "f4")).phase
        wanted = gait_phase(np.asarray(tick), c.control_period, c.gait_frequency)
        assert phase.tobytes() == wanted.tobytes()
    p.reset()


# --- what the machine gives


def asked(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_measure_is_reported_granted_or_refused():
    """As a user who may do nothing, and as whoever runs the tests."""
    code = (
        "import os, resource\n"
        "from robot_ppo_node.host import realtime\n"
        "{0}"
        "for m in realtime.apply(50, 0): print(m.granted, m, sep='|')\n"
        "print(os.sched_getscheduler(0) == os.SCHED_FIFO, os.sched_getaffinity(0))\n"
    )
    lines = asked(code.format("")).splitlines()
    measures, (fifo, affinity) = lines[:-1], lines[-1].split(maxsplit=1)
    assert [m.split("|")[1].partition(":")[0] for m in measures] == [
        *("affinity", "SCHED_FIFO", "mlockall")
    ]
    assert affinity == "{0}"
    assert measures[1].startswith(fifo)  # said to be granted exactly if it is


def test_locked_is_what_is_used_and_not_what_is_reserved():
    code = (
        "import mmap\n"
        "from robot_ppo_node.host import realtime\n"
        "def kilobytes(name):\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return int(next(x for x in lines if x.startswith(name)).split()[1])\n"
        "before = kilobytes('VmRSS')\n"
        "granted = {m.name: m.granted for m in realtime.apply(50)}\n"
        "reserved = mmap.mmap(-1, 256 << 20)\n"
        "print(granted['mlockall'], kilobytes('VmLck'), kilobytes('VmRSS') - before)\n"
    )
    granted, locked, grown = asked(code).split()
    if granted != "True":
        pytest.skip("locking memory is not permitted here")
    assert int(locked) > 256 << 10
    assert int(grown) < 32 << 10


def test_what_an_ordinary_user_may_not_do_is_said_with_the_way_out():
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os, resource\n"
        "from robot_ppo_node.host import realtime, host_doctor as doctor\n"
        "from robot_ppo_node.clock import MonotonicClock\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "for m in realtime.apply(50, 9999): print(m.granted, m)\n"
        "for f in doctor.examine(MonotonicClock(), 0.05): print(f.good, f.name, f.fix)\n"
    )
    out = asked(code)
    assert "False affinity: processor 9999 refused (Invalid argument); there are 0" in out
    assert "False SCHED_FIFO: refused (Operation not permitted); robot-ppo-node doctor" in out
    assert "False mlockall: refused (" in out
    assert "False SCHED_FIFO echo '@realtime - rtprio 99'" in out
    assert "False memlock echo '@realtime - memlock unlimited'" in out


def scheduling(pid: int) -> dict[int, tuple[int, int, str]]:
    """Policy, priority and processors of every thread of a process."""
    found = {}
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        text = Path(f"/proc/{pid}/task/{thread}/status").read_text()
        allowed = re.search(r"Cpus_allowed_list:\s*(\S+)", text)[1]
        priority = os.sched_getparam(thread).sched_priority
        found[thread] = (os.sched_getscheduler(thread), priority, allowed)
    return found


def test_only_the_loop_is_on_its_processor_and_nothing_of_ours_goes_before_it():
    free = scheduling(os.getpid())[os.getpid()][2]
    with Robot() as r:
        more = ("--arm", "--seconds", 30, "--realtime", "--cpu", "0")
        process = start(*run_arguments(r, *more, watchdog=True))
        text = wait_for(process, "POLICY")
        threads = scheduling(process.pid)
        watchdog = child_of(process.pid)
        watchdogs = scheduling(watchdog)[watchdog]
        process.kill()
        process.wait()
    loop = threads.pop(process.pid)
    assert loop[2] == "0" and watchdogs[2] == free
    assert threads and {allowed for *_, allowed in threads.values()} == {free}
    if "SCHED_FIFO: refused" in text:
        pytest.skip("SCHED_FIFO is not permitted here")
    assert loop[:2] == (os.SCHED_FIFO, realtime.FIFO_PRIORITY)
    assert watchdogs[:2] == (os.SCHED_FIFO, REAL_TIME_PRIORITY)
    assert {t[:2] for t in threads.values()} == {(os.SCHED_FIFO, realtime.HELPERS_PRIORITY)}
    assert REAL_TIME_PRIORITY > realtime.FIFO_PRIORITY > realtime.HELPERS_PRIORITY


@pytest.mark.parametrize("cpu", [-1, 9999, 1 << 40, 1 << 70])
def test_a_processor_that_there_is_not_is_refused_in_a_sentence(cpu):
    (measure,) = realtime.apply(None, cpu)
    assert not measure.granted
    assert re.match(rf"affinity: processor {cpu} refused \(.+\); there are \d", str(measure))


def test_timer_slack_is_taken_without_any_permission():
    code = "from robot_ppo_node.host import realtime as r; r.prepare_process()"
    assert asked(f"{code}; print(r.timer_slack())").strip() == "1"


def test_the_doctor_measures_as_many_wake_ups_as_were_asked_for():
    late, missed = host_doctor.wake_ups(MonotonicClock(), 0.2, 0.002)
    assert len(late) == 100
    assert (late >= 0).all()
    assert missed >= 0


def test_the_doctor_finds_a_machine_that_wakes_up_late():
    """Negative control: half of the wake-ups are 1.5 ms late."""

    class Sleepy(SteppedClock):
        def sleep_until(self, deadline):
            super().sleep_until(deadline)
            self.late = not getattr(self, "late", False)
            self.time += 0.0015 * self.late

    finding = host_doctor._jitter(Sleepy(), 1.0, 0.002)
    assert not finding.good
    assert "p99 1.500 ms" in finding.value
    assert host_doctor._jitter(SteppedClock(), 1.0, 0.002).good


def test_the_pacer_says_which_deadline_it_woke_up_for():
    clock = SteppedClock()
    pacer = Pacer(clock, PERIOD)
    for n in (1, 2, 3):
        pacer.wait()
        assert pacer.deadline == pytest.approx(n * PERIOD)
    clock.time += 3.5 * PERIOD
    assert pacer.wait() == 3
    assert pacer.deadline == pytest.approx(7 * PERIOD)
