"""`robot-ppo-node`: run a policy file on a robot, and ask questions about it.

Heavy imports happen inside the commands, so that `--help` and wrong input answer at once.
"""

import argparse
import os
import sys
from pathlib import Path

from robot_ppo_export import __version__
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_node.app.run_options import add_place, add_run, port, positive
from robot_ppo_node.host import console

EXIT_CODES = """exit codes:
  0  done
  2  wrong input, said in one sentence
  3  a policy file or robot was refused, a check failed, or the run ended in a fault"""

RUN = """Run a policy on a robot.

The node proves the file here and compares the robot with it, watches the robot at rest, stands it
up (--stand, key p) and runs the policy (--arm, key p again). A stop (Ctrl-C, SIGTERM, --seconds)
sits it down and damps; a fault damps at once.

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
        ("check", _check, "verify a policy file on this computer, and that a robot fits it"),
        ("describe", _describe, "print what a policy assumes about robot and world"),
    ):
        sub = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        sub.add_argument("file", type=Path, metavar="FILE", help="the policy file, *.onnx")
        sub.set_defaults(function=function)
        if name == "describe":
            sub.add_argument("--json", action="store_true", help="print the contract as JSON")
        else:  # it listens to the robot, as shadow mode does
            add_place(sub, required=False)
            sub.set_defaults(shadow=True)
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
    sub.add_argument("--seconds", type=positive, default=10.0, help="length of the measurement")
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
    sub.add_argument("file", type=Path, metavar="FILE", help="the policy file, *.onnx")
    add_place(sub, required=True)
    add_run(sub)
    sub.set_defaults(function=_run)


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "measure what the node costs on this computer, beside what it should cost"
    sub = commands.add_parser("bench", help=text, description=text.capitalize() + ".")
    add = sub.add_argument
    add("file", type=Path, nargs="?", metavar="FILE", help="without it, the computer alone")
    add("--driver", choices=("fake", "udp"), default="fake", help="udp: a running `robot-ppo sim`")
    add("--host", default="127.0.0.1", help="where that is (default: this computer)")
    add("--port", type=port, help="its UDP port (default: 47100)")
    add(
        "--seconds",
        type=positive,
        default=60.0,
        help="of the run; the rest scales with it",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    sub.set_defaults(function=_bench)


def _add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "send commands to a node that runs with --source udp, or stop it"
    sub = commands.add_parser("command", help=text, description=text.capitalize() + ".")
    add = sub.add_argument
    add("values", nargs="?", default="0,0,0", metavar="VX,VY,YAW", help="[m/s, m/s, rad/s]")
    add("--to", default="127.0.0.1", metavar="HOST[:PORT]", help="where the node listens")
    add(
        "--seconds",
        type=positive,
        default=1.0,
        metavar="S",
        help="how long (default: 1)",
    )
    add("--stop", action="store_true", help="emergency stop")
    add("--key", type=Path, metavar="FILE", help="the key that the node shares")
    add("--new-key", type=Path, metavar="FILE", help="only write a new key")
    sub.set_defaults(function=_command)


def _run(options: argparse.Namespace) -> int:
    from robot_ppo_node.app import run

    try:
        return run.run(options)
    except KeyboardInterrupt:
        _complain("interrupted before anything was sent")
        return 0


def _check(options: argparse.Namespace) -> int:
    from robot_ppo_export.policy import Policy
    from robot_ppo_node.app import report

    policy = Policy(options.file)
    print(report.check_page(policy, policy.check_golden()))
    if options.driver:
        from robot_ppo_node.app import run

        run.compare(policy, options)
    return 0


def _describe(options: argparse.Namespace) -> int:
    from robot_ppo_export.contract import contract
    from robot_ppo_export.policy import Policy
    from robot_ppo_node.app import report

    policy = Policy(options.file)
    print(contract.to_json(policy.contract) if options.json else report.describe_page(policy))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from robot_ppo_export.policy import Policy
    from robot_ppo_node.app import replay
    from robot_ppo_node.log import log_file

    rows, meta = log_file.load(options.log)
    ticks = replay.replay(Policy(options.file), rows, meta)
    print(f"{options.log}: {ticks} of {len(rows['time'])} ticks recomputed, every bit equal")
    return 0


def _command(options: argparse.Namespace) -> int:
    from robot_ppo_node.commands import choose

    choose.send(options)
    return 0


def _selftest(options: argparse.Namespace) -> int:
    from robot_ppo_export.policy import Policy
    from robot_ppo_node.app import report
    from robot_ppo_node.safety import limits, self_test

    policy = Policy(options.file)
    safety = policy.contract.robot.safety
    safety = limits.load(options.limits, safety) if options.limits else safety
    print(report.selftest_page(self_test.run(policy, safety)))
    self_test.prove(policy, safety)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from robot_ppo_node.clock import MonotonicClock
    from robot_ppo_node.host import host_doctor

    for finding in host_doctor.examine(MonotonicClock(), options.seconds):
        print(f"{'ok  ' if finding.good else 'look'}  {finding.name:<18} {finding.value}")
        if not finding.good and finding.fix:
            print(f"      {'':<18} {finding.fix}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    import json

    from robot_ppo_export.files import write_atomically
    from robot_ppo_node.app import node_bench

    target = node_bench.Target(options.driver, options.host, options.port)
    results = node_bench.measure(options.file, target, options.seconds)
    print(node_bench.page(results))
    if options.json:
        write_atomically(options.json, json.dumps(results.figures, indent=2).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
