"""A node in a process of its own, and a kinematic robot over UDP in a thread."""

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from fork_server import Forked, node
from node_helpers import ROOT, policy_file, rest_pose, robot

from robot_ppo_export.contract.state import BASIC, zeros
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.robot_side.udp_robot import UdpRobot

STATE = Path(tempfile.mkdtemp(prefix="robot-ppo-test-"))
"""Where runs leave their logs."""
QUICK = 0.1
"""[s] to stand up: the tests have no robot to spare."""
PATIENCE = 60.0
"""[s] until a process that does not say what it should is given up."""


class Robot:
    """A kinematic robot over UDP, in a thread."""

    def __init__(self, joints=None, port=0, every=0.005):
        self.joints = joints or robot().joint_names
        self.every = every
        self.commands = []
        self.times = []
        self.looks = []
        """Since when a command may have been there: the look before the one that found it."""
        self.fall_after = None
        self.speed = 0.0
        """[rad/s] Of the first joint, once commands come."""
        self.wire = UdpRobot(Hello("go2", self.joints, tuple(BASIC), robot().feet), port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.wire.close()

    def damped_for(self) -> float:
        """How long the last commands were damping [s]."""
        damping = itertools.takewhile(lambda c: is_damping(c[1]), self.newest_first())
        times = [time for time, _ in damping]
        return times[0] - times[-1]

    def newest_first(self):
        return reversed(list(zip(self.times, self.commands, strict=True)))

    def _live(self):
        state = zeros((), len(self.joints), 4)
        state.joint_pos[: len(rest_pose())] = rest_pose()[: len(self.joints)]
        state.base_lin_acc[2] = 9.81
        random = np.random.default_rng(0)
        look = time.monotonic()
        while not self._stop.wait(self.every):
            before = look
            look = time.monotonic()
            command = self.wire.receive(look)
            if command is not None:
                self.looks.append(before)
                self.times.append(time.monotonic())
                self.commands.append(command)
                state.joint_vel[0] = self.speed
                if command.kp.any():
                    state.joint_pos += 0.5 * (command.target - state.joint_pos)
            state.base_ang_vel[:] = random.normal(0, 0.01, 3)
            if self.fall_after and len(self.commands) > self.fall_after:
                state.base_quat[:] = (0, 1, 0, 0)
            self.wire.send_state(time.monotonic(), state)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "export"), "XDG_STATE_HOME": str(STATE)}


def start(
    *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
) -> Forked:
    """A command of the node."""
    files = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    return node.start("-m", "robot_ppo_node.app.cli", *arguments, env=environment(), **files)


def deaf_pipe(full: bool) -> tuple[int, int]:
    """Both ends of a pipe whose reader reads nothing: it is full, or its reader is gone (-1)."""
    out, into = os.pipe()
    if not full:
        os.close(out)
        return -1, into
    os.set_blocking(into, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(into, bytes(4096))
    os.set_blocking(into, True)
    return out, into


def finish(process) -> tuple[int, str, str]:
    """Wait for the end: exit code, standard output and error; one that does not end is killed."""
    try:
        out, err = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it did not end: {out} {err}") from None
    return process.returncode, out, err


def walked(*arguments) -> tuple[int, str, str]:
    """How a run ends that is stopped half a second after its policy has begun: all that it says."""
    process = start(*arguments, "--arm", "--seconds", 30)
    said = until(process, "POLICY")
    time.sleep(0.5)
    process.terminate()
    code, out, err = finish(process)
    return code, said + out, err


def run_arguments(r: Robot, *more, watchdog=False):
    """The tests have no processor to themselves: stalls of 60 ms happen, and a watchdog acts."""
    more = (*more, *(() if watchdog else ("--no-watchdog",)))
    return (
        *("run", policy_file(standing_up=QUICK), "--driver", "udp", "--port", r.wire.port),
        *more,
    )


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(process, text: str) -> str:
    """What a process says until a line has `text` in it, or until it ends.

    A node that a busy computer stalled damps until somebody ends it; so it is killed at last.
    """
    said = ""
    end = threading.Timer(PATIENCE, process.kill)
    end.start()
    try:
        for line in process.stdout:
            said += line
            if text in line:
                break
    finally:
        end.cancel()
    return said


def wait_for(process, text: str) -> str:
    said = until(process, text)
    if text not in said:
        raise AssertionError(f"{text!r} was not said: {said} {process.stderr.read()}")
    return said


def walking(begin, last, seconds) -> Forked:
    """A node that `begin()` started and whose policy has run for so long.

    `last()` is the robot's newest command. A node that a busy computer stalled was damped, and is
    begun again.
    """
    for _ in range(5):
        process = begin()
        said = until(process, "POLICY")
        time.sleep(seconds)
        if "POLICY" in said and not is_damping(last()):
            return process
        process.terminate()
        _, out, err = finish(process)
    raise AssertionError(f"five nodes in a row did not walk for {seconds} s: {said}{out}{err}")


def child_of(pid: int) -> int:
    """The watchdog of a node, found by its parent."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True
    )
    return int(listed.stdout.split()[0])


def is_damping(command) -> bool:
    return not command.kp.any() and command.kd.all()
