"""Absolute deadlines, and what becomes of them when ticks are late or the clock jumps."""

import math
from types import SimpleNamespace

import pytest
from node_helpers import PERIOD, BusyClock, rig

from robot_ppo_node import clock as clocks
from robot_ppo_node.clock import EARLY, MonotonicClock, Pacer, SteppedClock
from robot_ppo_node.control.states import State
from robot_ppo_node.safety import watchdog


def test_missed_periods_are_skipped_and_counted_never_made_up():
    clock = BusyClock([0, 0, 0.05, 0, 0])
    pacer = Pacer(clock, PERIOD)
    missed = []
    wakes = []
    for _ in range(5):
        missed.append(pacer.wait())
        wakes.append(clock.now())
    assert missed == [0, 0, 2, 0, 0]
    assert wakes == pytest.approx([0.02, 0.04, 0.11, 0.12, 0.14])
    assert pacer.missed == 2


def test_work_that_takes_too_long_skips_the_deadlines_that_it_covers():
    clock = SteppedClock()
    pacer = Pacer(clock, PERIOD)
    pacer.wait()
    clock.time += 2.5 * PERIOD
    assert pacer.wait() == 2
    assert clock.now() == pytest.approx(4 * PERIOD)


def test_a_million_periods_do_not_drift():
    clock = SteppedClock()
    pacer = Pacer(clock, 0.001)
    clock.time = 999.9995
    assert pacer.wait() == 999_999
    assert clock.now() == pytest.approx(1000.0, abs=1e-9)


# --- a clock that jumps


class Jumping(SteppedClock):
    """A clock that is not the world's: it jumps while somebody waits for it, or when told.

    As on a machine, whose sleep ends when the time asked for is over in the world.
    """

    def __init__(self):
        super().__init__()
        self.world = 0.0
        self.in_wait = self.after_wait = 0.0
        self.longest = 0.0

    def sleep_until(self, deadline):
        slept = max(deadline - self.time, 0.0)
        self.longest = max(self.longest, slept)
        self.world += slept
        self.time += slept + self.in_wait + self.after_wait
        self.in_wait = self.after_wait = 0.0

    def jump(self, seconds):
        self.time += seconds


@pytest.mark.parametrize("jump", [-0.03, -1.0, -1e6])
def test_no_wait_is_longer_than_a_period_after_a_jump_back(jump):
    clock = Jumping()
    pacer = Pacer(clock, PERIOD)
    pacer.wait()
    clock.jump(jump)  # while the tick works
    pacer.wait()
    assert clock.longest <= PERIOD * (1 + 1e-5)
    assert clock.world == pytest.approx(2 * PERIOD)
    clock.in_wait = jump
    pacer.wait()
    assert clock.world == pytest.approx(3 * PERIOD)
    # Afterwards deadlines are absolute again, and none was missed.
    assert pacer.late == pytest.approx(0, abs=1e-9)
    begin = clock.world
    for n in range(1, 100):
        pacer.wait()
        assert clock.world - begin == pytest.approx(n * PERIOD)
    assert pacer.missed == 0


@pytest.mark.parametrize("jump", [0.03, 1.0])
def test_a_jump_ahead_skips_and_counts(jump):
    clock = Jumping()
    pacer = Pacer(clock, PERIOD)
    clock.jump(jump)
    assert pacer.wait() == math.ceil(jump / PERIOD) - 1
    clock.in_wait = jump
    assert pacer.wait() in (math.floor(jump / PERIOD), math.floor(jump / PERIOD) - 1)  # rounding
    assert clock.world <= 2 * PERIOD


@pytest.mark.parametrize("jump", [-0.03, -1.0])
def test_no_wait_is_longer_than_a_period_with_something_to_do_beforehand(jump):
    clock = Jumping()
    done = []
    pacer = Pacer(clock, PERIOD)
    for n in range(1, 4):
        assert pacer.wait(lambda: done.append(clock.world)) == 0
        assert clock.world == pytest.approx(n * PERIOD)
        assert done[-1] == pytest.approx(n * PERIOD - EARLY)
    clock.in_wait = jump  # before what is done beforehand
    pacer.wait(lambda: done.append(clock.world))
    assert clock.world == pytest.approx(4 * PERIOD)
    pacer.wait(lambda: setattr(clock, "in_wait", jump))  # and between it and the deadline
    assert clock.world == pytest.approx(5 * PERIOD)
    pacer.wait(lambda: clock.jump(jump))  # and while it is done
    assert clock.world == pytest.approx(6 * PERIOD)


def test_without_time_for_it_nothing_is_done_beforehand():
    clock = SteppedClock()
    done = []
    pacer = Pacer(clock, PERIOD)
    clock.time = PERIOD - EARLY / 2
    assert pacer.wait(lambda: done.append(1)) == 0
    assert not done and clock.now() == pytest.approx(PERIOD)


def test_what_takes_too_long_beforehand_misses_the_deadline_and_is_counted():
    clock = SteppedClock()
    pacer = Pacer(clock, PERIOD)
    assert pacer.wait(lambda: clock.sleep_until(clock.now() + 2.5 * PERIOD)) == 2


PLACES = {
    "while the tick works": lambda clock, jump: clock.jump(jump),
    "while the node waits": lambda clock, jump: setattr(clock, "in_wait", jump),
}


@pytest.mark.parametrize("jump", [-1.0, 1.0])
@pytest.mark.parametrize("place", PLACES)
def test_a_jump_is_a_fault_at_the_next_tick_wherever_it_comes(place, jump):
    clock = Jumping()
    r = rig(clock=clock)
    world = []

    def on_tick():
        if r.node.state is State.POLICY and not world:
            PLACES[place](clock, jump)
            world.append(clock.world)
        elif r.node.state is State.DAMP and len(world) == 1:
            world.append(clock.world)
            r.node.end()

    r.node.run(60.0, on_tick)
    assert r.node.fault.startswith("clock_jump: ")
    assert world[1] - world[0] <= PERIOD * (1 + 1e-5)


def test_with_publishing_in_between_a_jump_back_is_a_fault_too():
    """Each wait for a place in between is as dangerous as that for the next tick."""
    clock = Jumping()
    r = rig(clock=clock, node={"publish_rate": 500})
    jumped = []

    def on_tick():
        if r.node.state is State.POLICY and not jumped:
            clock.jump(-1.0)
            jumped.append((clock.world, len(r.driver.written)))
        elif r.node.state is State.DAMP and len(jumped) == 1:
            jumped.append((clock.world, len(r.driver.written)))
            r.node.end()

    r.node.run(60.0, on_tick)
    (before, sent), (after, sent_after) = jumped
    assert r.node.fault.startswith("clock_jump: ")
    assert after - before <= PERIOD * (1 + 1e-5)
    assert sent_after - sent <= 2  # what was left of the period was not sent in a burst


def test_negative_control_a_pacer_that_only_waits_sleeps_a_second_longer(monkeypatch):
    stays = lambda pacer, latest: pacer.start + pacer.next * pacer.period  # noqa: E731
    monkeypatch.setattr(Pacer, "_follow_back", stays)
    clock = Jumping()
    pacer = Pacer(clock, PERIOD)
    pacer.wait()
    clock.jump(-1.0)
    pacer.wait()
    assert clock.world == pytest.approx(2 * PERIOD + 1)


# --- the machine's clock


@pytest.fixture
def machine(monkeypatch):
    """The module `time`, whose clock can be turned; `naps` are the sleeps asked for."""
    fake = SimpleNamespace(now=100.0, turn=0.0, naps=[])
    fake.monotonic = lambda: fake.now

    def sleep(seconds):
        fake.naps.append(seconds)
        fake.now += seconds + fake.turn
        fake.turn = 0.0

    fake.sleep = sleep
    monkeypatch.setattr(clocks, "time", fake)
    return fake


def test_the_machines_clock_sleeps_once_to_the_deadline(machine):
    MonotonicClock().sleep_until(100.02)
    MonotonicClock().sleep_until(99.0)
    assert machine.naps == pytest.approx([0.02])
    assert machine.now == pytest.approx(100.02)


def test_a_sleep_that_ended_too_early_is_continued(machine):
    machine.turn = -0.005  # as if a signal had come
    MonotonicClock().sleep_until(100.02)
    assert machine.naps == pytest.approx([0.02, 0.005])


def test_a_sleep_during_which_the_clock_ran_back_is_over(machine):
    machine.turn = -10.0
    MonotonicClock().sleep_until(100.02)
    assert machine.naps == pytest.approx([0.02])  # not ten seconds more


# --- the watchdog's


class Damping:
    def __init__(self):
        self.sent = 0

    def begin(self, takeover):
        pass

    def send(self):
        self.sent += 1

    def close(self):
        pass


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """The watchdog's end, with a clock that can be turned; the pipe to the node stays open."""
    import os

    page = os.memfd_create("page")
    os.ftruncate(page, watchdog.PAGE)
    ours, theirs = os.pipe()
    told = {"page": page, "period": PERIOD, "node_gone": ours, "damp_seconds": 1.0}
    fake = SimpleNamespace(now=100.0, monotonic=lambda: fake.now, sleep=None)
    fake.monotonic_ns = lambda: int(fake.now * 1e9)
    monkeypatch.setattr(watchdog, "time", fake)
    made = watchdog._Watch(told, Damping())
    made.page[watchdog.BEAT] = fake.monotonic_ns()
    yield made, fake
    made.page.release()
    for file in (page, ours, theirs):
        os.close(file)


def test_a_beat_from_the_future_is_no_sign_of_life(watch):
    made, fake = watch
    assert not made.frozen()
    fake.now -= 10
    assert made.frozen()


def test_a_watchdog_that_pauses_between_its_looks_does_not_take_a_living_node_for_dead(watch):
    """It looks at the clock, is not let run for a second, and then looks at a fresh beat."""
    made, fake = watch
    real = fake.monotonic_ns
    looks = []

    def slow():
        seen = real()
        looks.append(seen)
        if len(looks) == 1:
            fake.now += 1.0
            made.page[watchdog.BEAT] = real()  # the node goes on meanwhile
        return seen

    fake.monotonic_ns = slow
    assert not made.frozen()


def test_a_watchdog_that_damps_goes_on_when_the_clock_runs_back(watch, capsys):
    made, fake = watch
    looks = []

    def look(seconds=None):
        looks.append(seconds)
        fake.now += seconds if len(looks) != 3 else -10.0
        if len(looks) == 10:
            made.page[watchdog.ENDED] = 1

    made.look = look
    made.damp()
    assert max(looks) <= PERIOD * (1 + 1e-5)
    assert made.sender.sent >= 9
    capsys.readouterr()
