"""The options of `robot-ppo-node run` and of what else talks to a robot.

They are apart from the commands, so that `--help` needs nothing heavy.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def positive(text: str) -> float:
    """Return a number of seconds above zero."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def port(text: str) -> int:
    """Return a UDP port."""
    value = int(text)
    if not 0 < value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port between 1 and 65535")
    return value


def add_place(sub: argparse.ArgumentParser, required: bool) -> None:
    """Add where the robot is and how to talk to it."""
    add = sub.add_argument
    kinds = "udp, unitree or ros2; replay or fake without a robot"
    more = "" if required else ": also compare policy and robot"
    add("--driver", required=required, metavar="NAME", help=kinds + more)
    add("--host", default="127.0.0.1", help="udp: where the robot is (default: this computer)")
    add("--port", type=port, help="udp: the robot's port (default: 47100)")
    add("--log", type=Path, metavar="FILE", help="replay: the log whose measurements come back")
    add(
        "--wait",
        type=positive,
        default=10.0,
        metavar="S",
        help="wait so long for the robot (default: 10)",
    )
    _add_dds(sub)


def add_run(sub: argparse.ArgumentParser) -> None:
    """Add what `run` does there."""
    add = sub.add_argument
    add("--stand", action="store_true", help="stand up as soon as the robot passes its checks")
    add("--arm", action="store_true", help="--stand, and run the policy as soon as it stands")
    add("--joint-check", action="store_true", help="try each joint before standing up; legs free")
    add("--wiggle", dest="joint_check", action="store_true", help=argparse.SUPPRESS)
    add(
        "--fail-after",
        type=positive,
        default=5.0,
        metavar="S",
        help="end a run whose checks fail for so long (default: 5)",
    )
    add("--limits", type=Path, metavar="FILE.yaml", help="tighten the safety envelope")
    add(
        "--no-watchdog",
        dest="watchdog",
        action="store_false",
        help="run without the process that damps when the node dies",
    )
    add("--realtime", action="store_true", help="ask for SCHED_FIFO and locked memory")
    add("--cpu", type=int, metavar="N", help="stay on this processor")
    add(
        "--publish-hz",
        type=positive,
        metavar="HZ",
        help="repeat each command at this rate (200 to 500)",
    )
    _add_sources(add)
    add("--shadow", action="store_true", help="send nothing; score targets against what it does")
    add("--seconds", type=positive, metavar="S", help="stop after S seconds, standing up included")
    add("--record", type=Path, metavar="FILE", help="the log (default: a new file)")
    add("--no-record", action="store_true", help="leave no log")


def _add_sources(add: Callable[..., Any]) -> None:
    sources = "of commands: fixed, keyboard, gamepad, udp, remote (unitree) or cmd_vel (ROS 2)"
    text = "of a twist [m/s, m/s, rad/s] (default: 0,0,0); one number per entry of other kinds"
    add("--command", metavar="VX,VY,YAW", help=text)
    add("--source", metavar="NAME", help=sources)
    add(
        "--dead-man",
        type=positive,
        default=3.0,
        metavar="S",
        help="keyboard: zero the command so long after the last key (default: 3)",
    )
    add("--gamepad", metavar="DEVICE", help="/dev/input/eventN (default: the first gamepad)")
    add("--listen", default="127.0.0.1", metavar="HOST[:PORT]", help="where source udp listens")
    add("--key", type=Path, metavar="FILE", help="the key that source udp shares with its sender")


def _add_dds(sub: argparse.ArgumentParser) -> None:
    group = sub.add_argument_group("DDS (unitree, ros2)")
    add = group.add_argument
    add("--interface", default="lo", metavar="NAME", help="network interface (default: lo)")
    add("--domain", type=int, default=0, metavar="N", help="DDS domain; ROS_DOMAIN_ID for ROS 2")
    add("--peer", action="append", default=[], metavar="ADDRESS", help="look for others here too")
    add(
        "--motion-mode",
        choices=("refuse", "release", "ignore"),
        default="refuse",
        help="unitree: where the vendor's controller runs (default: refuse)",
    )
    add(
        "--allow-silent-writers",
        action="store_true",
        help="tolerate others that could command the motors, while they do not",
    )
