"""Measures the time of a command from the node to the robot, over a real DDS domain.

From the call of `UnitreeDriver.write`, encoding included, until a process that stands for the
robot has received and decoded the message. Both read CLOCK_MONOTONIC, so it must be one computer:
on loopback this is the cost of driver and DDS, without a cable. As in the node, the driver's `poll`
comes shortly before; its time is not counted.

    print(unitree_one_way(robot, samples=500, rate=50))
"""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING

import numpy as np

from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import zeros
from robot_ppo_node.clock import MonotonicClock, Pacer
from robot_ppo_node.drivers.base import Connection, MotorCommand
from robot_ppo_node.drivers.dds.dds_config import free_domain
from robot_ppo_node.drivers.unitree.unitree_bodies import body_of

if TYPE_CHECKING:
    from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver

STATE_EVERY = 0.01
"""[s] between two states of the robot's process: enough for the driver to open."""


@dataclass(frozen=True)
class Latency:
    """One-way times [s]."""

    sent: int
    received: int
    p50: float
    p99: float
    largest: float


def unitree_one_way(robot: RobotSpec, samples: int = 500, rate: float = 50.0) -> Latency:
    """Return how long `samples` commands, `rate` per second, took to the robot's process.

    Args:
        robot: a robot with a `unitree:` block.
        samples: number of commands.
        rate: how many of them per second.
    """
    from robot_ppo_node.drivers.unitree.unitree_driver import UnitreeDriver

    domain = free_domain()
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_be_robot, args=(robot, domain, theirs), daemon=True)
    process.start()
    driver = UnitreeDriver(MonotonicClock(), Connection(robot=robot, domain=domain, wait=30.0))
    try:
        driver.open(robot.joint_names, robot.feet)
        sent = _send(driver, robot, samples, rate)
        ours.send("enough")
        arrived: dict[int, int] = ours.recv()
    finally:
        driver.close()
        process.join(5.0)
        process.kill()
    times = np.array([arrived[i] - at for i, at in sent.items() if i in arrived]) / 1e9
    p50, p99 = np.quantile(times, (0.5, 0.99)).tolist()
    return Latency(len(sent), len(times), p50, p99, float(times.max()))


def _send(driver: "UnitreeDriver", robot: RobotSpec, samples: int, rate: float) -> dict[int, int]:
    """Send commands whose first target is their number; return it -> when it was written [ns]."""
    command = MotorCommand(*np.zeros((3, len(robot.joints)), np.float32))
    pacer = Pacer(MonotonicClock(), 1 / rate)
    sent = {}
    for i in range(1, samples + 1):
        pacer.wait(driver.poll)  # as the node does
        command.target[0] = i
        sent[i] = time.monotonic_ns()
        driver.write(command)
    time.sleep(0.1)
    return sent


def _be_robot(robot: RobotSpec, domain: int, pipe: Pipe) -> None:
    """Send states, and note when the first command of each number came, until told enough."""
    from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot

    state = zeros((), len(robot.joints), len(robot.feet))
    arrived: dict[int, int] = {}
    with UnitreeRobot(body_of(robot), robot.joint_names, domain) as end:
        due = 0.0
        while not pipe.poll():
            end.wait(STATE_EVERY / 2)
            command = end.receive(time.monotonic())
            now = time.monotonic_ns()
            if command is not None:
                arrived.setdefault(int(command.target[0]), now)
            if time.monotonic() >= due:
                due = time.monotonic() + STATE_EVERY
                end.send_state(due, state)
    pipe.send(arrived)
