"""Faults over DDS, in real time: a Unitree robot of `robot-ppo sim`, on a domain on loopback.

Its node dies or stands still, or somebody else commands the motors, too.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.faults.fault import NODE_DEAD, NOT_RUN, NOTHING, REFUSED, Fault, Seen
from benchmarks.faults.processes import (
    WATCHDOG,
    LiveRobot,
    NodeProcess,
    period_of,
    running,
    signalled,
    walk,
    worst,
)
from benchmarks.faults.world import damped
from robot_ppo import project
from robot_ppo.sim.server import PERIOD
from robot_ppo_export.policy import Policy
from robot_ppo_node.drivers.dds.dds_config import free_domain

INSTALL = "needs cyclonedds: pip install 'robot-ppo[unitree]'"
SPEAKS = 0.5
"""[s] that the other one commands."""
HEARERS = 2
"""Readers of the commands' topic: robot and node."""
REFUSED_WITHIN = 20.0
"""[s]"""


class _Stranger:
    """A second controller; its commands lack the head, so that the robot's end can count them."""

    def __init__(self, domain: int) -> None:
        from robot_ppo_node.drivers.dds import participant
        from robot_ppo_node.drivers.unitree.unitree_driver import COMMANDS
        from robot_ppo_node.drivers.unitree.unitree_idl import idl_type
        from robot_ppo_node.drivers.unitree.unitree_messages import Message

        self.bus = participant.Bus(domain)
        self._writer = self.bus.writer(COMMANDS, idl_type("unitree_go", "LowCmd_"))
        self._payload = Message("unitree_go", "LowCmd_").encode()
        self.done = False

    def speak(self, seconds: float, robot: Any) -> float:
        """Command, as often as the node does; return when robot and node could first hear it [s].

        DDS lets each of them discover the stranger by itself, the node up to 0.1 s after the robot;
        what counts is what the node does then. `done` ends it earlier.
        """
        ends = time.monotonic() + seconds
        heard_at = math.inf
        while time.monotonic() < ends and not self.done:
            self._writer.write(self._payload)
            time.sleep(PERIOD)
            if robot.counters.malformed and self._writer.readers >= HEARERS:
                heard_at = min(heard_at, time.monotonic())
        return heard_at


def _robot(path: Path, domain: int) -> LiveRobot:
    from robot_ppo_node.drivers.unitree.unitree_bodies import body_of
    from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot

    spec = project.load_robot(Policy(path).contract.robot.name)
    return LiveRobot(spec.name, lambda: UnitreeRobot(body_of(spec), spec.joint_names, domain))


def _options(domain: int) -> tuple[str, ...]:
    return ("--driver", "unitree", "--domain", str(domain), "--seconds", "60")


def _with_dds(run: Callable[[Path], Seen]) -> Callable[[Path], Seen]:
    """Return `run`, where cyclonedds is installed."""
    return run if find_spec("cyclonedds") else lambda path: Seen(NOT_RUN, INSTALL)


@contextmanager
def _walking_over_dds(path: Path) -> Iterator[tuple[LiveRobot, NodeProcess]]:
    domain = free_domain()
    with running(path, *_options(domain), robot=_robot(path, domain)) as pair:
        yield pair


def _before(path: Path, speaks: bool = False) -> Seen:
    """Let somebody who could command be there first.

    `speaks` lets it command, too, to a node that was told to tolerate silent ones.
    """
    domain = free_domain()
    writer = _Stranger(domain)
    live_robot = _robot(path, domain)
    speaker = threading.Thread(target=writer.speak, args=(REFUSED_WITHIN, live_robot.end))
    if speaks:
        speaker.start()
    more = ("--allow-silent-writers",) if speaks else ()
    with running(path, *_options(domain), *more, robot=live_robot) as (live, node):
        ends = time.monotonic() + REFUSED_WITHIN
        while node.process.poll() is None and time.monotonic() < ends:
            time.sleep(0.05)
        refused = node.finish() == 3 and not _commands(live)
    writer.done = True
    if speaks:
        speaker.join()
    writer.bus.close()
    text = node.said.strip().splitlines()[-1:]
    return Seen(REFUSED if refused else NOTHING, " ".join(text).split(" (")[0])


def _commands(live: LiveRobot) -> Any:
    return live.end.counters.accepted


def _during(path: Path) -> Seen:
    """Let somebody begin to command while the robot walks."""
    domain = free_domain()
    with running(path, *_options(domain), robot=_robot(path, domain)) as (live, node):
        walk(node)
        writer = _Stranger(domain)
        since = writer.speak(SPEAKS, live.end)
        heard = list(live.heard)
        writer.bus.close()
    return damped(heard, since, 0.0, period_of(path), node.reason().split(" (")[0])


FAULTS = (
    Fault("node_killed_unitree", "`kill -9` of the node, which speaks unitree",
          _with_dds(worst(signalled(signal.SIGKILL, _walking_over_dds))), WATCHDOG, most=NODE_DEAD),
    Fault("node_stopped_unitree", "SIGSTOP to the node, which speaks unitree",
          _with_dds(worst(signalled(signal.SIGSTOP, _walking_over_dds))),
          f"the node stands still: {WATCHDOG}", most=NODE_DEAD),
    Fault("foreign_writer_before", "somebody else can write `rt/lowcmd` before the run (unitree)",
          _with_dds(_before), "somebody else can send rt/lowcmd", (REFUSED,)),
    Fault("foreign_writer_speaks",
          "somebody else sends `rt/lowcmd` to a run with `--allow-silent-writers` (unitree)",
          _with_dds(lambda path: _before(path, speaks=True)), "somebody else sends rt/lowcmd",
          (REFUSED,)),
    Fault("foreign_writer_during", "somebody else's `rt/lowcmd` reaches robot and node (unitree)",
          _with_dds(worst(_during)), "somebody else"),
)  # fmt: skip
