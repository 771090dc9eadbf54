"""`robot-ppo-node bench`: every figure comes from a process that did the work, or says why not."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from node_helpers import PERIOD, ROOT, policy, policy_file, rig
from process_helpers import QUICK

from robot_ppo_export.errors import InputError
from robot_ppo_node.app import bench_process, cli, node_bench
from robot_ppo_node.control.states import State
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.host.durations import KEPT

pytestmark = pytest.mark.real_time

KEYS = (
    *("tick_p50_ms", "tick_p99_ms", "start_to_ready_s", "resident_mb", "cpu_percent"),
    *("missed_deadlines", "wake_p99_ms_500hz", "wake_p99_ms_500hz_fifo"),
    *("unitree_one_way_p50_ms", "unitree_one_way_p99_ms", "growth_mb_per_hour"),
)


@pytest.mark.parametrize("slope", [0.0, 3.5, -2.0])
def test_the_slope_is_that_of_the_line(slope):
    hours = np.linspace(7, 7.25, 20)
    points = (3600 * hours).tolist(), (60 + slope * hours).tolist()
    assert bench_process.slope_per_hour(*points) == pytest.approx(slope, abs=1e-9)


def test_two_points_have_no_slope_worth_telling():
    assert bench_process.slope_per_hour([0.0, 1.0], [60.0, 61.0]) is None


TAKEN = """
import mmap
from robot_ppo_node.app import bench_process
before = bench_process.memory_mb()
taken = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, 64 << 20, 4096):
    taken[page] = 1
after = bench_process.memory_mb()
print(after.private - before.private, after.resident - after.private)
"""
"""In a process of its own: what a test before has freed is in no store here, nor is what it set."""


def test_memory_that_is_taken_shows_as_private_memory():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "export")}
    told = subprocess.check_output([sys.executable, "-c", TAKEN], env=environment, text=True)
    grown, shared = map(float, told.split())
    assert grown == pytest.approx(64, abs=2)
    assert shared >= 0


def test_only_settled_ticks_of_the_policy_are_measured():
    robot = rig()
    result = bench_process.BenchResult(robot.node, 1000)
    settle = round(bench_process.SETTLE / PERIOD)
    noted = []
    for tick in range(500):
        robot.ticks(1)
        robot.node.durations._ring[(robot.node.ticks - 1) % KEPT] = tick
        result.note()
        if robot.node.state is State.POLICY:
            noted.append(tick)
    measured = result.durations[: result.ticks].tolist()
    begin = noted.index(measured[0])
    assert begin >= settle and measured == noted[begin : begin + len(measured)]
    assert len(noted) - 2 * bench_process.LOOK_EVERY < settle + len(measured) < len(noted)


def test_deadlines_that_are_missed_before_the_measurement_do_not_count():
    robot = rig().until(State.POLICY)
    node = robot.node
    result = bench_process.BenchResult(node, 1000)
    node._inputs.missed = 5
    for _ in range(round(bench_process.SETTLE / PERIOD) + bench_process.LOOK_EVERY):
        robot.ticks(1)
        result.note()
    node._inputs.missed += 2
    for _ in range(bench_process.LOOK_EVERY):
        robot.ticks(1)
        result.note()
    assert result.figures()["missed_deadlines"] == 2


def test_a_run_without_the_policy_says_so():
    robot = rig(arm=False).ticks(200)
    result = bench_process.BenchResult(robot.node, 1000)
    assert result.figures()["fault"] == "the policy did not run for long enough"


def test_the_fast_forward_ticks_as_often_as_the_time_has_periods():
    got = bench_process.hours(str(policy_file()), "0.01")
    assert got["fault"] is None
    wait = 5 / PERIOD  # sitting down and damping come on top
    assert 36 / PERIOD <= got["ticks"] < 36 / PERIOD + wait


def test_a_leak_in_the_tick_is_seen(monkeypatch):
    """32 kB per tick are 5.6 GB an hour, too much for what the process has in store."""
    kept = []
    tick = bench_process.Node.tick

    def leaking(self, *arguments):
        kept.append(np.ones(4096))
        tick(self, *arguments)

    monkeypatch.setattr(bench_process.Node, "tick", leaking)
    got = bench_process.hours(str(policy_file()), "0.01")
    assert got["growth_mb_per_hour"] > 100


def test_a_fifo_that_is_refused_is_said(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(bench_process.realtime, "_lock_memory", lambda: SimpleNamespace(name=""))
    got = bench_process.wake("0.1", "fifo")
    assert got == {"refused": got["refused"]}
    assert "SCHED_FIFO: refused (Operation not permitted)" in got["refused"]
    assert bench_process.wake("0.1", "default")["p99_ms"] > 0


def test_the_fake_robot_of_a_long_run_keeps_one_command():
    fake = create("fake", bench_process.SteppedClock(), Connection())
    robot = policy().contract.robot
    fake.open(robot.joint_names, robot.feet)
    for _ in range(10):
        fake.write(MotorCommand(*np.zeros((3, len(robot.joints)), np.float32)))
    assert len(fake.written) == 1


def test_each_figure_stands_beside_its_floor_and_aim():
    results = node_bench.Results()
    results.figures |= {"tick_p50_ms": 0.3, "tick_p99_ms": 1.6, "cpu_percent": 2.0}
    lines = {line.rsplit("[", 1)[0].strip(): line for line in node_bench.page(results).splitlines()}
    assert lines["whole tick, paced, p50"].split()[-4:] == ["0.3", "0.5", "0.25", "ok"]
    assert lines["whole tick, paced, p99"].split()[-4:] == ["1.6", "1.5", "0.5", "SHORT"]
    assert lines["CPU of the node"].split()[-4:] == ["2", "4", "2", "aim"]
    assert lines["start to ready"].endswith("not measured")


def test_the_whole_bench_by_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(node_bench, "STARTS", 1)
    monkeypatch.setattr(node_bench, "OVERHEAD", 5.0)  # this robot stands up at once
    out = tmp_path / "figures.json"
    file = str(policy_file(standing_up=QUICK))
    assert cli.main(["bench", file, "--seconds", "1.5", "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert set(KEYS) <= set(figures) == {f.key for f in node_bench.FIGURES}
    for key in ("tick_p50_ms", "start_to_ready_s", "cpu_percent", "wake_p99_ms_500hz"):
        assert 0 < figures[key] < math.inf, key
    assert figures["tick_p50_ms"] <= figures["tick_p99_ms"]
    assert figures["resident_mb"] > 20
    page = capsys.readouterr().out
    assert "whole tick, paced, p99 [ms]" in page
    assert "start to ready: median of 1 processes" in page


def test_a_run_that_cannot_begin_is_said_in_one_sentence(monkeypatch):
    nobody = node_bench.Target("udp", port=9)
    options = node_bench.Target.options
    monkeypatch.setattr(
        node_bench.Target, "options", lambda target: [*options(target), "--wait", "0.5"]
    )
    with pytest.raises(InputError, match=r"did not become ready: .*no robot answered"):
        node_bench.start_to_ready(policy_file(), nobody)


def test_without_a_file_the_computer_alone_is_measured_and_that_from_anywhere(tmp_path):
    """Its processes run without their parent's path, and leave nothing behind."""
    path = str(ROOT / "export")
    out = tmp_path / "figures.json"
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ["bench", "--seconds", "0.6", "--json", str(out)]
    got = subprocess.run(
        [sys.executable, "-m", "robot_ppo_node.app.cli", *words],
        cwd=empty, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    measured = {key for key, value in json.loads(out.read_text()).items() if value is not None}
    assert measured and all(key.startswith("wake_") for key in measured)
    assert "wake-up error at 500 Hz" in got.stdout and "- no policy file was given" in got.stdout
    assert list(empty.iterdir()) == []
