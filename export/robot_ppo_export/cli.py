"""`robot-ppo-node`: run a policy file on a robot, and ask questions about it.

Heavy imports happen inside the commands, so that `--help` and wrong input answer at once.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robot_ppo_export import __version__
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.node import console

EXIT_CODES = """exit codes:
  0  done
  2  wrong input, said in one sentence
  3  a policy file or robot was refused, a check failed, or the run ended in a fault"""

RUN = """Run a policy on a robot.

The node verifies the file, recomputes its golden traces on this computer, and refuses a robot that
lacks a joint or a signal. It watches the robot at rest for a second, stands it up after --stand or
key p, and runs the policy after --arm or key p once more. A stop (Ctrl-C, SIGTERM, --seconds) sits
the robot down and damps; a fault damps at once.

  robot-ppo sim go2 &                                    # a robot, in another process
  robot-ppo-node run go2_walk.onnx --driver udp --arm --command 0.5,0,0 --seconds 10"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    console.hold_standard_files()
    options = parser().parse_args(arguments)
    # Before numpy is imported: its pool of threads has nothing to do here and costs memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return options.function(options)
    except (InputError, RefusedError) as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 0
    except BrokenPipeError:  # `describe | head`
        sys.stderr.close()
        return 0


def _complain(text: str) -> None:
    """Say why it ends; that nobody can read it changes no exit code."""
    try:
        print(f"robot-ppo-node: {text}", file=sys.stderr)
    except OSError:
        sys.stderr = None  # else Python tries again at its end


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="robot-ppo-node",
        description="The node that runs a policy file on a robot.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"robot-ppo-node {__version__}")
    commands = parser.add_subparsers(dest="name", metavar="COMMAND", required=True)
    _add_run(commands)
    for name, function, text in (
        ("check", _check, "verify a policy file: seal, contract, golden traces on this computer"),
        ("describe", _describe, "print what a policy assumes about robot and world"),
    ):
        sub = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        sub.add_argument("file", type=Path, metavar="FILE", help="the policy file, *.onnx")
        sub.set_defaults(function=function)
        if name == "describe":
            sub.add_argument("--json", action="store_true", help="print the contract as JSON")
    _add_command(commands)
    text = "recompute a log of `run --record`, bit for bit"
    sub = commands.add_parser("replay", help=text, description=text.capitalize() + ".")
    sub.add_argument("log", type=Path, metavar="LOG", help="the log")
    sub.add_argument("file", type=Path, metavar="FILE", help="the policy file that ran")
    sub.set_defaults(function=_replay)
    text = "inject a fault into every guard of the safety envelope, and show that it fires"
    sub = commands.add_parser("selftest", help=text, description=text.capitalize() + ".")
    sub.add_argument("file", type=Path, metavar="FILE", help="the policy file, *.onnx")
    sub.add_argument("--limits", type=Path, metavar="FILE.yaml", help="as for `run`")
    sub.set_defaults(function=_selftest)
    text = "say what this computer gives a real-time loop, and what would make it better"
    sub = commands.add_parser("doctor", help=text, description=text.capitalize() + ".")
    sub.add_argument("--seconds", type=_positive, default=10.0, help="length of the measurement")
    sub.set_defaults(function=_doctor)
    _add_bench(commands)
    return parser


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser(
        "run",
        help="run a policy on a robot",
        description=RUN,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = sub.add_argument
    add("file", type=Path, metavar="FILE", help="the policy file, *.onnx")
    add("--driver", required=True, help="udp, unitree or ros2; replay or fake without a robot")
    add("--host", default="127.0.0.1", help="udp: where the robot is (default: this computer)")
    add("--port", type=_port, help="udp: the robot's port (default: 47100)")
    add("--log", type=Path, metavar="FILE", help="replay: the log whose measurements come back")
    _add_dds(sub)
    add("--wait", type=_positive, default=10.0, metavar="S", help="wait so long for the robot")
    add(
        "--rate-from-contract",
        action="store_true",
        help="accepted for clarity: the rate always comes from the policy file",
    )
    add("--stand", action="store_true", help="stand up as soon as the robot passes its checks")
    add("--arm", action="store_true", help="--stand, and run the policy as soon as it stands")
    add("--wiggle", action="store_true", help="try each joint before standing up; legs free")
    add("--limits", type=Path, metavar="FILE.yaml", help="tighten the safety envelope")
    add(
        "--no-watchdog",
        dest="watchdog",
        action="store_false",
        help="run without the process that damps the robot when the node dies",
    )
    add("--realtime", action="store_true", help="ask for SCHED_FIFO and locked memory")
    add("--cpu", type=int, metavar="N", help="stay on this processor")
    add(
        "--publish-hz",
        type=_positive,
        metavar="HZ",
        help="send each command again at this rate, for robots that need it (200 to 500)",
    )
    _add_sources(add)
    add("--shadow", action="store_true", help="send nothing; score targets against what it does")
    add("--seconds", type=_positive, metavar="S", help="stop after S seconds, standing up included")
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="the log (default: a new file)",
    )
    add("--no-record", action="store_true", help="leave no log")
    sub.set_defaults(function=_run)


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
        help="unitree: what to do when the vendor's own controller runs (default: refuse)",
    )
    add(
        "--allow-silent-writers",
        action="store_true",
        help="unitree: tolerate others that could command the motors, while they do not",
    )


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "measure what the node costs on this computer, beside what it should cost"
    sub = commands.add_parser("bench", help=text, description=text.capitalize() + ".")
    add = sub.add_argument
    add("file", type=Path, nargs="?", metavar="FILE", help="without it, the computer alone")
    add("--driver", choices=("fake", "udp"), default="fake", help="udp: a running `robot-ppo sim`")
    add("--host", default="127.0.0.1", help="where that is (default: this computer)")
    add("--port", type=_port, help="its UDP port (default: 47100)")
    add("--seconds", type=_positive, default=60.0, help="of the run; the rest scales with it")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    sub.set_defaults(function=_bench)


def _add_sources(add: Callable[..., Any]) -> None:
    sources = "of commands: fixed, keyboard, gamepad, udp, remote (unitree) or cmd_vel (ROS 2)"
    add("--command", default="0,0,0", metavar="VX,VY,YAW", help="[m/s, m/s, rad/s]")
    add("--source", metavar="NAME", help=sources)
    add(
        "--dead-man",
        type=_positive,
        default=3.0,
        metavar="S",
        help="keyboard: the command is zero so long after the last key (default: 3)",
    )
    add("--gamepad", metavar="DEVICE", help="/dev/input/eventN (default: the first gamepad)")
    add("--listen", default="127.0.0.1", metavar="HOST[:PORT]", help="where source udp listens")
    add("--key", type=Path, metavar="FILE", help="the key that source udp shares with its sender")


def _add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "send commands to a node that runs with --source udp, or stop it"
    sub = commands.add_parser("command", help=text, description=text.capitalize() + ".")
    add = sub.add_argument
    add("values", nargs="?", default="0,0,0", metavar="VX,VY,YAW", help="[m/s, m/s, rad/s]")
    add("--to", default="127.0.0.1", metavar="HOST[:PORT]", help="where the node listens")
    add("--seconds", type=_positive, default=1.0, metavar="S", help="how long (default: 1)")
    add("--stop", action="store_true", help="emergency stop")
    add("--key", type=Path, metavar="FILE", help="the key that the node shares")
    add("--new-key", type=Path, metavar="FILE", help="only write a new key")
    sub.set_defaults(function=_command)


def _positive(text: str) -> float:
    """Return a number of seconds above zero."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def _port(text: str) -> int:
    """Return a UDP port."""
    value = int(text)
    if not 0 < value < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port between 1 and 65535")
    return value


def _run(options: argparse.Namespace) -> int:
    from robot_ppo_export.node import operate

    try:
        return operate.run(options)
    except KeyboardInterrupt:
        _complain("interrupted before anything was sent")
        return 0


def _check(options: argparse.Namespace) -> int:
    from robot_ppo_export.node import report
    from robot_ppo_export.policy import Policy

    policy = Policy(options.file)
    print(report.check_page(policy, policy.check_golden()))
    return 0


def _describe(options: argparse.Namespace) -> int:
    from robot_ppo_export.contract import contract
    from robot_ppo_export.node import report
    from robot_ppo_export.policy import Policy

    policy = Policy(options.file)
    print(contract.to_json(policy.contract) if options.json else report.describe_page(policy))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from robot_ppo_export.node import log_file, replay
    from robot_ppo_export.policy import Policy

    rows, meta = log_file.load(options.log)
    ticks = replay.replay(Policy(options.file), rows, meta)
    print(f"{options.log}: {ticks} of {len(rows['time'])} ticks recomputed, every bit equal")
    return 0


def _command(options: argparse.Namespace) -> int:
    from robot_ppo_export.node.commands import choose

    choose.send(options)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from robot_ppo_export.node import limits, report, selftest
    from robot_ppo_export.policy import Policy

    policy = Policy(options.file)
    safety = policy.contract.robot.safety
    safety = limits.load(options.limits, safety) if options.limits else safety
    print(report.selftest_page(selftest.run(policy, safety)))
    selftest.prove(policy, safety)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from robot_ppo_export.node import doctor
    from robot_ppo_export.node.clock import MonotonicClock

    for finding in doctor.examine(MonotonicClock(), options.seconds):
        print(f"{'ok  ' if finding.good else 'look'}  {finding.name:<18} {finding.value}")
        if not finding.good and finding.fix:
            print(f"      {'':<18} {finding.fix}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    import json

    from robot_ppo_export.files import write_atomically
    from robot_ppo_export.node import bench

    target = bench.Target(options.driver, options.host, options.port)
    results = bench.measure(options.file, target, options.seconds)
    print(bench.page(results))
    if options.json:
        write_atomically(options.json, json.dumps(results.figures, indent=2).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
