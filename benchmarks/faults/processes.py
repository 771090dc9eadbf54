"""Faults of processes and of the machine, in real time: the command line's node, over UDP.

The robot is the one of `robot-ppo sim`, in a thread, and keeps the times of what it hears to 2 ms.
"""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.fault import DAMPED, NODE_DEAD, NOTHING, REFUSED, Fault, Seen
from benchmarks.faults.world import COMMAND, Heard, WitnessRobot, damped
from robot_ppo import project
from robot_ppo.sim import server
from robot_ppo_export.contract.state import RobotState
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.exits import HALT_SECONDS
from robot_ppo_node.control.setpoints import FADE
from robot_ppo_node.drivers.udp import udp_frame, udp_payloads
from robot_ppo_node.drivers.udp.udp_wire import Wire
from robot_ppo_node.robot_side.udp_robot import UdpRobot
from robot_ppo_node.safety.watchdog import DEAF_AFTER

RUNS = 3
"""Number of runs of each fault; the worst is reported."""
ATTEMPTS = 5
"""Number of attempts to reach the injection of a fault."""
START_WITHIN = 30.0
"""[s] from the node's start to a walking robot."""
WALK = 0.5
"""[s] that the policy has run when the fault comes."""
WATCH = 0.5
"""[s] that the robot is watched after it."""
WATCHDOG = "its watchdog damps the robot"
"""Message about a node that was killed. It begins with "died", or with "stands still" where the
computer takes long to clear the process away."""
ROOM = 16 * 1024
"""[bytes] that the full disk takes."""


class LiveRobot:
    """A robot in real time, in a thread."""

    def __init__(self, name: str, make_end: Callable[[], Any] | None = None) -> None:
        """Begin; `make_end` makes the robot's end, by default of UDP at a free port."""
        spec = project.load_robot(name)
        self.hello = server.hello_of(spec)
        self.end = make_end() if make_end else UdpRobot(self.hello, 0)
        self.robot = WitnessRobot(spec, time.monotonic)
        self._begin()

    @property
    def heard(self) -> list[Heard]:
        """Commands that it received, oldest first."""
        return self.robot.heard

    def gone(self) -> None:
        """Stop without a message, as a robot whose power fails."""
        self._stop.set()
        self._thread.join()
        self.end.close()

    def back(self, port: int) -> None:
        """Begin anew at the same port, lying, and knowing nobody."""
        self.robot.reset()
        self.end = UdpRobot(self.hello, port)
        self._begin()

    def _begin(self) -> None:
        self._stop = threading.Event()
        arguments = (self.robot, self.end, None, lambda text: None, self._stop, lambda *_: None)
        self._thread = threading.Thread(target=server.live, args=arguments, daemon=True)
        self._thread.start()


class NodeProcess:
    """`robot-ppo-node run` in a process of its own; what it says is kept."""

    def __init__(self, path: Path, folder: Path, *options: str) -> None:
        """Start it, armed."""
        command = ",".join(f"{x:g}" for x in COMMAND)
        arguments = ("run", str(path.resolve()), "--arm", "--command", command, *options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robot_ppo_node.app.cli", *arguments],
            env={**os.environ, "XDG_STATE_HOME": str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def walks(self) -> bool:
        """Wait until the policy has run for a while; return False if it ended earlier."""
        ends = time.monotonic() + START_WITHIN
        while "POLICY:" not in self.said:
            if self.process.poll() is not None or time.monotonic() > ends:
                return False
            time.sleep(0.01)
        time.sleep(WALK)
        return "DAMP:" not in self.said

    def finish(self) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=10.0)
        return self.process.returncode

    def reason(self) -> str:
        """Return the first sentence about a fault, of the watchdog's or of the node's."""
        found = re.search(r"FAULT: (.*?)(;|$)|robot-ppo-node: (the node .*) \(", self.said, re.M)
        return (found[1] or found[3]) if found else self.said.strip()[-200:]

    def _read(self) -> None:
        assert self.process.stdout is not None, "it is a pipe"
        for line in self.process.stdout:
            self.said += line


@contextmanager
def running(
    path: Path, *options: str, robot: LiveRobot | None = None
) -> Iterator[tuple[LiveRobot, NodeProcess]]:
    """Yield a robot and the node that will walk it; both are ended afterwards.

    `robot` is one of another interface, by default one over UDP; `options` are the node's.
    """
    live = robot or LiveRobot(Policy(path).contract.robot.name)
    with tempfile.TemporaryDirectory() as folder:
        place = () if robot else ("--driver", "udp", "--port", str(live.end.port))
        node = NodeProcess(path, Path(folder), *place, *options)
        try:
            yield live, node
        finally:
            node.finish()
            live.gone()


def period_of(path: Path) -> float:
    """Return the control period of a policy file [s]."""
    return Policy(path).contract.control_period


class NotWalkingError(RuntimeError):
    """The run ended before the fault: a busy computer, which the watchdog takes for a dead node."""


def worst(run: Callable[[Path], Seen]) -> Callable[[Path], Seen]:
    """Return `run`, repeated: the first that went wrong, else the one with the most ticks.

    A run that ended before its fault says nothing about the fault, and is begun again.
    """

    def repeated(path: Path) -> Seen:
        seen = [_begun(run, path) for _ in range(RUNS)]
        bad = [s for s in seen if s.outcome == NOTHING]
        return bad[0] if bad else max(seen, key=lambda s: s.ticks or 0.0)

    return repeated


def _begun(run: Callable[[Path], Seen], path: Path) -> Seen:
    """Return what was seen of a fault that came to be injected."""
    said = ""
    for _ in range(ATTEMPTS):
        try:
            return run(path)
        except NotWalkingError as error:
            said = str(error)
    return Seen(NOTHING, f"{ATTEMPTS} runs ended before the fault: {said}")


def walk(node: NodeProcess) -> None:
    """Wait until the robot walks, or raise `NotWalkingError`."""
    if not node.walks():
        raise NotWalkingError(node.reason())


Walking = Callable[[Path], AbstractContextManager[tuple[LiveRobot, NodeProcess]]]


def _over_udp(path: Path) -> AbstractContextManager[tuple[LiveRobot, NodeProcess]]:
    return running(path, "--seconds", "60")


def signalled(number: signal.Signals, begin: Walking = _over_udp) -> Callable[[Path], Seen]:
    """Return a run in which the node's process gets a signal; `begin` starts node and robot."""

    def run(path: Path) -> Seen:
        with begin(path) as (live, node):
            walk(node)
            since = time.monotonic()
            node.process.send_signal(number)
            time.sleep(WATCH)
            heard = list(live.heard)
        return damped(heard, since, 0.0, period_of(path), node.reason())

    return run


def _watchdog_killed(path: Path) -> Seen:
    """Kill the watchdog: the robot must sit down, and damping is the end of that.

    Halting and sitting down each end with the first tick after their time, one tick late at most.
    """
    policy = Policy(path)
    sitting = HALT_SECONDS + policy.contract.robot.stand.duration + FADE
    allowed = DEAF_AFTER + sitting / policy.contract.control_period + 2
    with running(path, "--seconds", "60") as (live, node):
        walk(node)
        since = time.monotonic()
        os.kill(_child_of(node.process.pid), signal.SIGKILL)
        time.sleep(allowed * policy.contract.control_period + WATCH)
        heard = list(live.heard)
        node.process.wait(timeout=10.0)
        code = node.process.returncode
    seen = damped(heard, since, allowed, policy.contract.control_period, node.reason())
    return seen if code == 3 else Seen(NOTHING, f"exit code {code}: {seen.reason}", allowed)


def _child_of(pid: int) -> int:
    """Return the process that the process `pid` has started, its watchdog."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])


def _robot_gone(path: Path) -> Seen:
    """Switch the robot off; listen at its address for what the node sends; switch it on again."""
    policy = Policy(path)
    with running(path, "--no-watchdog") as (live, node):
        walk(node)
        port = live.end.port
        live.gone()
        since = time.monotonic()
        heard = _overheard(port, len(policy.contract.robot.joints), WATCH)
        live.back(port)
        again = len(live.heard)
        time.sleep(3 * WATCH)
        heard += live.heard[again:]
        taken = live.end.counters.accepted
    period = policy.contract.control_period
    allowed = policy.contract.robot.safety.stale_after / period
    seen = damped(heard, since, allowed, period, node.reason())
    if not taken:
        return Seen(NOTHING, f"the robot that came back was not found: {seen.reason}", allowed)
    return seen


def _overheard(port: int, joints: int, seconds: float) -> list[Heard]:
    """Return the commands that reach a port where nobody answers."""
    wire = Wire()
    heard = []
    wire.socket.bind(("127.0.0.1", port))
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        for frame, _ in wire.drain():
            if frame.kind == udp_frame.COMMAND:
                command = udp_payloads.decode_command(frame.payload, joints)
                heard.append(Heard(time.monotonic(), not command.kp.any()))
        time.sleep(server.PERIOD)
    wire.close()
    return heard


def _fallen(state: RobotState) -> RobotState:
    state.base_quat[:] = (0, 1, 0, 0)
    return state


def _disk_full(path: Path) -> Seen:
    """Let the node keep a log where nothing fits, and the robot fall: it must damp in time."""
    with running(path, "--seconds", "60", "--record", "log") as (live, node):
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (ROOM, ROOM))
        if not node.walks():
            if node.process.poll() != 2:
                raise NotWalkingError(node.reason())
            return Seen(REFUSED, " ".join(node.said.strip().splitlines()[-1:]))
        since = time.monotonic()
        live.robot.change = _fallen
        time.sleep(WATCH)
        heard = list(live.heard)
        reason = node.reason()
    found = re.search(r"the log is not written: .*", node.said)
    seen = damped(
        heard, since, 0.0, period_of(path), f"{reason}; {found[0] if found else 'silent'}"
    )
    return seen if found else Seen(NOTHING, seen.reason)


FAULTS = (
    Fault("node_killed", "`kill -9` of the node", worst(signalled(signal.SIGKILL)),
          WATCHDOG, most=NODE_DEAD),
    Fault("node_stopped", "SIGSTOP to the node", worst(signalled(signal.SIGSTOP)),
          f"the node stands still: {WATCHDOG}", most=NODE_DEAD),
    Fault("watchdog_killed", "`kill -9` of the watchdog: the robot sits down",
          worst(_watchdog_killed), "the watchdog was killed by signal 9"),
    Fault("robot_gone_and_back", "the robot's process ends; half a second later another begins",
          worst(_robot_gone), "stale_state"),
    Fault("disk_full", f"`--record` where {ROOM // 1024} kB fit (file size limit), and a fall",
          worst(_disk_full), "room", (DAMPED, REFUSED)),
)  # fmt: skip
