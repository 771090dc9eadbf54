"""`robot-ppo sim`: MuJoCo playing the robot in real time, reached by one of the node's drivers.

The robot's side of each protocol is in `robot_ppo_node.robot_side`; this is the loop between it and
the simulation. Without a command for `SILENT_AFTER` the robot damps by itself.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np

from robot_ppo import project
from robot_ppo.robot_model.variants import EVAL_TIMESTEP
from robot_ppo.sim import tiles
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.contract.state import BASIC, NO_WIDTHS
from robot_ppo_export.errors import InputError
from robot_ppo_node.clock import MonotonicClock
from robot_ppo_node.drivers.capabilities import of_robot as capabilities_of
from robot_ppo_node.drivers.udp.udp_frame import DEFAULT_PORT
from robot_ppo_node.drivers.udp.udp_payloads import Hello
from robot_ppo_node.robot_side.base import SILENT_AFTER, RobotSide
from robot_ppo_node.robot_side.udp_robot import UdpRobot

PERIOD = 0.002
"""Time [s] between two states, as on the real robot's low-level interface."""
SLIP = 0.1
"""Lag [s] beyond which the simulator stops catching up and warns."""
STARTS = {
    "lying": "lying on the ground",
    "sitting": "sitting on the ground",
    "standing": "held on its feet until its motors do",
    "hanging": "on a gantry, which lowers it once its motors hold the default pose",
}
"""`life_cycle.start` -> what the robot does at first."""
FLICKER = {"base_ang_vel": 0.01, "base_lin_acc": 0.02}
"""Noise of the process [rad/s] [m/s^2]: a real IMU never gives the same bits twice."""
Show = Callable[[float, bool], None]
"""Shows the robot after each state: how late it is [s], and whether a node commands the robot."""
Watch = Callable[[SimulatedRobot], AbstractContextManager[Show]]
"""Opens what shows a robot."""


@dataclass(frozen=True)
class Place:
    """Address of the robot."""

    transport: str = "udp"
    port: int = DEFAULT_PORT
    """UDP; a port that is taken is an `InputError`, 0 takes a free one."""
    interface: str = "lo"
    domain: int = 0
    """DDS."""


def hello_of(spec: RobotSpec, optional: Mapping[str, int] = NO_WIDTHS) -> Hello:
    """Return the robot's HELLO over UDP: robot.yaml, and its own rates and delay.

    `optional` are signals that it measures on request, and their widths.
    """
    rates = (1 / SILENT_AFTER, 1 / PERIOD)
    delay = (PERIOD, 2 * PERIOD)  # a command waits for the next step, its effect for one more
    capabilities = msgspec.structs.replace(
        capabilities_of(spec), state_rate=1 / PERIOD, command_rate=rates, delay=delay
    )
    joints = spec.joint_names
    return Hello(spec.name, joints, BASIC, spec.feet, capabilities, optional=dict(optional))


def _udp(robot: SimulatedRobot, place: Place) -> tuple[RobotSide, str, str]:
    grid = robot.scan_grid
    optional = {} if grid is None else {"height_scan": len(grid.points())}
    end = UdpRobot(hello_of(robot.spec, optional), place.port)
    return end, f"Listening on UDP 127.0.0.1:{end.port}", f"--driver udp --port {end.port}"


def _unitree(robot: SimulatedRobot, place: Place) -> tuple[RobotSide, str, str]:
    from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds
    from robot_ppo_node.drivers.unitree.unitree_bodies import body_of

    require_cyclonedds("unitree")
    from robot_ppo_node.robot_side.unitree_robot import UnitreeRobot

    spec = robot.spec
    end = UnitreeRobot(body_of(spec), spec.joint_names, place.domain, place.interface)
    return end, *_on_dds(place)


def _ros2(robot: SimulatedRobot, place: Place) -> tuple[RobotSide, str, str]:
    from robot_ppo_node.drivers.dds.dds_config import require_cyclonedds

    require_cyclonedds("ros2")
    from robot_ppo_node.drivers.ros2.ros2_urdf import urdf_of
    from robot_ppo_node.robot_side.ros2_robot import Ros2Robot

    place_on = (place.domain, place.interface)
    spec = robot.spec
    mapped = robot if robot.scan_grid else None
    end = Ros2Robot(spec.joint_names, *place_on, description=urdf_of(spec), place=mapped)
    return end, *_on_dds(place)


def _on_dds(place: Place) -> tuple[str, str]:
    where = f"--driver {place.transport} --interface {place.interface} --domain {place.domain}"
    return f"Speaking DDS on {place.interface}, domain {place.domain}", where


TRANSPORTS: dict[str, Callable[[SimulatedRobot, Place], tuple[RobotSide, str, str]]] = {
    "udp": _udp,
    "unitree": _unitree,
    "ros2": _ros2,
}
"""Name -> factory of (the robot's side, where it is, the node's options)."""


def serve(
    robot_name: str,
    place: Place | None = None,
    seconds: float | None = None,
    noise: Mapping[str, float] | None = None,
    terrain: str | None = None,
    scan_grid: ScanGrid | None = None,
    say: Callable[[str], None] = print,
    stop: threading.Event | None = None,
    watch: Watch | None = None,
) -> None:
    """Simulate the robot in real time and serve its protocol, until Ctrl-C, SIGTERM or `stop`.

    Args:
        robot_name: a folder in robots/.
        place: where it can be reached, by default at the UDP port of the protocol.
        seconds: real time [s] after which the simulation ends.
        noise: of the sensors, by default `FLICKER`.
        terrain: kind of ground and its level, such as "stairs_up:0.6"; None: level ground.
        scan_grid: points of the height scan that it measures, over UDP, or for which it publishes
            a map, over ROS 2; None: it does neither.
        say: called with each line of text.
        stop: ends it from another thread.
        watch: lets somebody see the robot.
    """
    spec = project.load_robot(robot_name)
    place = place or Place()
    if place.transport not in TRANSPORTS:
        near = strict.did_you_mean(place.transport, TRANSPORTS)
        raise InputError(f"unknown transport {place.transport!r}{near}")
    if scan_grid and place.transport == "unitree":
        raise InputError("over unitree the simulated robot gives no height scan: use udp or ros2")
    field = tiles.course(*tiles.parse(terrain)) if terrain else None
    noise = FLICKER if noise is None else noise
    with_visuals = watch is not None
    robot = SimulatedRobot(
        spec, field=field, scan_grid=scan_grid, noise=noise, with_visuals=with_visuals
    )
    stop = stop or threading.Event()
    end, where, options = TRANSPORTS[place.transport](robot, place)
    try:
        with _stopped_by_signals(stop), ExitStack() as opened:
            show = opened.enter_context(watch(robot)) if watch else _unseen
            say(
                f"{spec.description}: simulated in real time, {1 / EVAL_TIMESTEP:.0f} steps/s, "
                f"{STARTS[spec.life_cycle.start]}.\n{where}. Connect with: robot-ppo-node run "
                f"FILE.onnx {options} --arm\nCtrl-C ends it."
            )
            lost = live(robot, end, seconds, say, stop, show)
    finally:
        end.close()
    say(
        f"Simulated {robot.time:.1f} s, {lost:.1f} s behind real time; {end.counters.accepted} "
        f"commands taken, {sum(end.counters.malformed.values())} malformed ones dropped."
    )


def live(
    robot: SimulatedRobot,
    end: RobotSide,
    seconds: float | None,
    say: Callable[[str], None],
    stop: threading.Event,
    show: Show,
) -> float:
    """Simulate in real time with absolute deadlines; return how far it fell behind [s]."""
    clock = MonotonicClock()
    born = start = clock.now()
    lost = 0.0
    told = -np.inf
    ticks = 0
    while not stop.is_set() and (seconds is None or clock.now() < born + seconds):
        ticks += 1
        clock.sleep_until(start + ticks * PERIOD)
        now = clock.now()
        late = now - (start + ticks * PERIOD)
        if late > SLIP:
            start = start + late
            lost = lost + late
            if now - told > 1:
                told = now
                say(f"Behind real time by {lost:.1f} s in all: this machine is too busy.")
        command = end.receive(now)
        if command:
            robot.drive(command.target, command.kp, command.kd)
        elif end.silent(now):
            robot.damp()
        robot.advance_to(ticks * PERIOD)
        end.send_state(robot.time, robot.state())
        show(late, not end.silent(now))
    return lost


def _unseen(late: float, driven: bool) -> None:
    """Show nothing."""


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `stop` instead of raising; only the main thread may ask so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
