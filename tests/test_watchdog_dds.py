"""The watchdog of the drivers that speak DDS: a second writer, silent until it takes over."""

import os
import re
import signal
import threading
import time

import numpy as np
import process_helpers
import pytest
from dds_helpers import Alive, free_domain, within
from node_helpers import PERIOD, policy_file, rest_pose, robot
from process_helpers import QUICK, finish, is_damping, start, wait_for

pytest.importorskip("cyclonedds")

from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers import create
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.drivers.dds import participant
from robot_ppo_node.drivers.dds.dds_watch import WATCHDOG
from robot_ppo_node.drivers.ros2.ros2_topics import JOINT_COMMANDS, dds_name
from robot_ppo_node.drivers.unitree.unitree_bodies import QUADRUPED
from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS
from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
from robot_ppo_node.drivers.unitree.unitree_messages import Message
from robot_ppo_node.robot_side.ros2_robot import Ros2Robot
from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot
from robot_ppo_node.safety.watchdog import FROZEN_AFTER, Watchdog

pytestmark = pytest.mark.real_time

GO2 = robot()
TOPICS = {"unitree": COMMANDS, "ros2": dds_name(JOINT_COMMANDS)}


class DdsRobot(Alive):
    """A kinematic robot on a domain of its own."""

    def __init__(self, name):
        self.name = name
        self.domain = free_domain()
        ends = {
            "unitree": lambda: UnitreeRobot(QUADRUPED, GO2.joint_names, self.domain),
            "ros2": lambda: Ros2Robot(GO2.joint_names, self.domain),
        }
        end = ends[name]()
        receive = end.receive

        def follow(now):
            command = receive(now)
            if command is not None and command.kp.any():
                self.state.joint_pos += 0.5 * (command.target - self.state.joint_pos)
            return command

        end.receive = follow
        super().__init__(end, GO2.joint_names, GO2.feet, rest_pose())

    def node(self, *more):
        where = ("--driver", self.name, "--domain", self.domain)
        return start("run", policy_file(standing_up=QUICK), *where, *more)

    def walking(self, *more):
        """A node in POLICY, for long enough that its driver has looked around for other writers."""
        return process_helpers.walking(
            lambda: self.node("--arm", "--seconds", 30, *more), lambda: self.commands[-1][1], 0.6
        )

    def moving_since(self, begin):
        """Commands from number `begin` on that are not damping."""
        return [command for _, command in self.commands[begin:] if not is_damping(command)]

    def gap(self, since) -> tuple[float, float]:
        """Periods from the last command before the time `since` to the first damping after it.

        The least and the most that it can have been, as in `test_watchdog.gap`.
        """
        seen = [
            (before, at, is_damping(c))
            for before, (at, c) in zip(self.looks, self.commands, strict=False)
        ]
        sent, last, _ = max(look for look in seen if look[1] <= since and not look[2])
        before, first, _ = min(look for look in seen if look[1] > last and look[2])
        least = (before - last) / PERIOD
        most = (first - sent) / PERIOD
        print(f"{self.name}: {least:.2f} to {most:.2f} periods from the last command to damping")
        return least, most


@pytest.fixture(params=TOPICS)
def there(request):
    r = DdsRobot(request.param)
    yield r
    r.close()


def test_a_killed_node_is_followed_by_damping(there):
    process = there.walking()
    process.kill()
    killed = time.monotonic()
    process.wait()
    time.sleep(0.6)
    assert there.gap(killed + PERIOD / 4)[0] <= 5
    assert not there.moving_since(-10)
    assert not there.end.silent(time.monotonic())
    assert "its watchdog damps the robot" in process.stderr.read()


@pytest.mark.slow
def test_a_node_that_is_started_after_one_was_killed_waits_for_its_watchdog_and_walks():
    there = DdsRobot("unitree")
    try:
        first = there.node("--arm")
        wait_for(first, "POLICY")
        first.kill()
        second = there.node("--arm", "--seconds", 15, "--no-watchdog")
        said = wait_for(second, "waiting for it to go, 10 s at the most")
        (pid,) = re.findall(r"watchdog of a dead node damps the robot \(process (\d+) on ", said)
        time.sleep(0.5)
        assert not there.moving_since(-10)
        os.kill(int(pid), signal.SIGTERM)
        wait_for(second, "POLICY")
        assert finish(second)[0] == 0
        assert f"its watchdog damps the robot (until `kill {pid}`)" in first.communicate()[1]
    finally:
        there.close()


class Speaker(threading.Thread):
    """Somebody who commands the motors of a domain all the time."""

    def __init__(self, domain):
        super().__init__(daemon=True)
        self.bus = participant.Bus(domain)
        self.writer = self.bus.writer(COMMANDS, idl_type("unitree_go", "LowCmd_"))
        self.over = threading.Event()
        self.start()

    def run(self):
        payload = Message("unitree_go", "LowCmd_").encode()
        while not self.over.wait(0.02):
            self.writer.write(payload)

    def close(self):
        self.over.set()
        self.join()
        self.bus.close()


IGNORE = ("--motion-mode", "ignore")
"""A busy machine answers too late for the node to know who controls the robot."""


@pytest.mark.parametrize("options", [(), ("--allow-silent-writers",)])
def test_who_speaks_already_ends_the_run_with_the_reason(options):
    """Tolerated is who stays silent; one that is heard only after the start is one that speaks."""
    there = DdsRobot("unitree")
    speaker = Speaker(there.domain)
    try:
        node = there.node("--arm", "--seconds", 4, "--no-watchdog", *IGNORE, *options)
        code, out, err = finish(node)
        assert code == 3, out + err
        assert "somebody else" in err and "rt/lowcmd" in err
        assert "STAND" not in out
    finally:
        speaker.close()
        there.close()


def test_a_watchdog_that_stays_is_named_with_the_way_to_end_it():
    there = DdsRobot("unitree")
    others = participant.Bus(there.domain)
    try:
        others.mark = WATCHDOG + others.token
        writer = others.writer(COMMANDS, idl_type("unitree_go", "LowCmd_"))
        node = there.node("--arm", "--seconds", 8, "--wait", "2", *IGNORE)
        code, out, err = finish(node)
        assert code == 3 and "POLICY" not in out
        assert re.search(rf"damps the robot \(process {os.getpid()} on .*: `kill` that", err)
        assert "waiting for it to go, 2 s at the most" in out
        assert writer.sends.lost == 0 and not there.commands
    finally:
        others.close()
        there.close()


def test_a_stopped_node_is_damped_and_does_not_fight_when_it_wakes_up(there):
    process = there.walking()
    process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(0.5)
    least, most = there.gap(stopped + PERIOD / 4)
    assert most >= FROZEN_AFTER - 2 and least <= 5
    asleep = len(there.commands)
    process.send_signal(signal.SIGCONT)
    lasted = time.monotonic() - stopped
    code, out, err = finish(process)
    # What was under way when it was stopped: of the loop, and of the thread that repeats.
    assert len(there.moving_since(asleep)) <= 2
    assert is_damping(there.commands[-1][1])
    assert code == 3
    # Whether it was stopped between two ticks or within one: then its state is the first to tell.
    (stood,) = re.findall(
        r"FAULT: (?:the watchdog took over: the node stood still for|stale_state:) ([\d.]+)", out
    )
    assert float(stood) == pytest.approx(lasted, abs=0.1)
    assert "somebody else" not in out + err  # its watchdog is no stranger


def test_without_a_watchdog_nobody_damps_a_killed_node(there):
    """Negative control."""
    process = there.walking("--no-watchdog")
    process.kill()
    process.wait()
    before = len(there.commands)
    time.sleep(0.4)
    assert not any(is_damping(command) for _, command in there.commands[before:])
    assert there.end.silent(time.monotonic())


def test_nobody_can_command_any_more_when_the_node_has_ended(there):
    """A writer that is left behind would keep the next node from starting."""
    with participant.Bus(there.domain) as bus:
        watch = bus.watch(TOPICS[there.name])
        process = there.node("--stand", "--seconds", 30)
        wait_for(process, "STAND")
        assert within(10, lambda: len(watch.writers()) == 2)  # the node's, and its watchdog's
        process.terminate()
        code, _, err = finish(process)
        assert within(2, lambda: watch.writers() == ())
    assert (code, err) == (0, "")


def test_the_watchdog_is_silent_until_the_node_is_and_when_it_is_released(there):
    connection = Connection(robot=GO2, domain=there.domain)
    driver = create(there.name, MonotonicClock(), connection)
    driver.open(GO2.joint_names, GO2.feet)
    kd = np.arange(1, len(GO2.joints) + 1, dtype="f4")
    watchdog = Watchdog(driver.damping_sender(kd), PERIOD)
    try:
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            watchdog.heartbeat(sends=True)
            time.sleep(PERIOD / 4)
        if not watchdog.has_robot:  # this process may have been kept waiting itself
            assert not there.commands
        assert within(2, lambda: there.commands)
        assert watchdog.has_robot
        assert np.array_equal(there.commands[0][1].kd, kd)
        assert not there.commands[0][1].kp.any()
        assert within(2, driver.read)  # no fault: it is an ally
        driver.reclaim(watchdog.takeovers)
        watchdog.release()
        watchdog.heartbeat(sends=False)
        time.sleep(2 * PERIOD)
        silent = len(there.commands)
        time.sleep(0.2)
        assert len(there.commands) == silent
        ones = np.ones(len(GO2.joints), np.float32)
        driver.write(MotorCommand(ones, ones, ones))
        assert within(2, lambda: there.moving_since(silent))
    finally:
        watchdog.close()
        driver.close()
