"""From the command line to a command source, and to the sender's side of one."""

import argparse
import math
from typing import Any

from robot_ppo_export.contract import strict
from robot_ppo_export.contract.command import CommandSpec
from robot_ppo_export.errors import InputError
from robot_ppo_node.clock import Clock, MonotonicClock, Pacer
from robot_ppo_node.commands import command_frames, udp_commands
from robot_ppo_node.commands.base import Chosen, CommandSource, FixedCommand, OperatorActions, parse
from robot_ppo_node.commands.keyboard import Keyboard
from robot_ppo_node.drivers.base import Connection

SOURCES = ("fixed", "keyboard", "gamepad", "udp", "remote", "cmd_vel")
SEND_EVERY = 0.05
"""[s] between two commands of `robot-ppo-node command`: ten before one would be too old."""


def choose(
    options: argparse.Namespace,
    command: CommandSpec,
    operator: OperatorActions,
    driver: Any,
    connection: Connection,
    keyboard: Keyboard | None,
) -> CommandSource:
    """Return the source that the command line names, or raise `InputError`.

    Args:
        options: source, command, gamepad, listen, key.
        command: what the policy takes; sources other than a constant send twists.
        operator: what buttons do.
        driver: the robot, which may hear a remote control.
        connection: where it is, and so a ROS 2 topic.
        keyboard: on a terminal; its keys work beside every source.
    """
    twist = command.kind == "twist"
    name = options.source or ("keyboard" if keyboard and twist else "fixed")
    if name != "fixed" and not twist:
        raise InputError(
            f"--source {name} sends a twist, the policy takes {command.kind!r}: leave it out"
        )
    if name == "keyboard":
        if keyboard is None:
            raise InputError("--source keyboard needs a terminal as standard input")
        return keyboard
    source = _source(name, options, command, operator, driver, connection)
    return Chosen(source, keyboard) if keyboard else source


def _source(
    name: str,
    options: argparse.Namespace,
    command: CommandSpec,
    operator: OperatorActions,
    driver: Any,
    connection: Connection,
) -> CommandSource:
    bounds = command.bounds()
    if name == "fixed":
        return FixedCommand(parse(options.command, command))
    if name == "udp":
        key = command_frames.read_key(options.key) if options.key else None
        return udp_commands.UdpCommands(operator, *udp_commands.address(options.listen), key=key)
    if name == "gamepad":
        from robot_ppo_node.commands.gamepad import Gamepad, open_device

        return Gamepad(open_device(options.gamepad), bounds, operator)
    if name == "remote":
        from robot_ppo_node.commands.remote_commands import RemoteCommands

        if not hasattr(driver, "remote_heard"):
            raise InputError(f"--source remote: driver {options.driver} hears no remote control")
        return RemoteCommands(driver, bounds)
    if name == "cmd_vel":
        from robot_ppo_node.drivers.ros2.ros2_twist import TwistCommands

        return TwistCommands(connection)
    raise InputError(f"unknown command source {name!r}{strict.did_you_mean(name, SOURCES)}")


def send(options: argparse.Namespace, clock: Clock | None = None) -> None:
    """Be the sender: repeat one command for `options.seconds`, or stop, or make a key."""
    if options.new_key:
        command_frames.new_key(options.new_key)
        return
    vx, vy, yaw_rate = parse(options.values)
    key = command_frames.read_key(options.key) if options.key else None
    with udp_commands.CommandSender(*udp_commands.address(options.to), key=key) as sender:
        if options.stop:
            sender.stop()
            print(f"stop: the node at {sender.host}:{sender.port} has it")
            return
        pacer = Pacer(clock or MonotonicClock(), SEND_EVERY)
        for _ in range(math.ceil(options.seconds / SEND_EVERY)):
            sender.send((vx, vy, yaw_rate))
            pacer.wait()
