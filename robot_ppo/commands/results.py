"""Commands about what was trained: eval, export, report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_ppo import arguments
from robot_ppo.commands.base import command
from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    pass

EVAL = """
robot-ppo eval runs/go2 --json scorecard.json --plot scorecard.png
robot-ppo eval go2_walk.onnx --quick
robot-ppo eval go2_walk.onnx --ground stairs_up,stairs_down
robot-ppo eval go2_walk.onnx --trials 1000       # how often does it fall
robot-ppo eval go2_walk.onnx --task go2_corners  # punches, lost packets, another solver
robot-ppo eval go2_walk.onnx --robot robots/vendor_go2   # another model, joints by name
robot-ppo eval runs/HalfCheetah-v5
"""
ON_LEVEL_GROUND = ("plot", "trials", "seconds", "task", "robot")
"""Options that are for robots on level ground alone."""
REPORT = """
robot-ppo report runs/go2 -o report.html
robot-ppo report runs/go2 runs/other -o compared.html   # trial by trial
"""


def add_eval(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo eval`."""
    text = "Score what a policy does: commands, pushes, corners."
    p = command(commands, _eval, "eval", text, EVAL)
    p.add_argument("policy", type=Path, metavar="RUN|FILE", help="run folder or policy file")
    p.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="write a heat map")
    p.add_argument(
        "--quick",
        action="store_true",
        help="the nominal 45 commands only, or 5 episodes of a Gymnasium task",
    )
    p.add_argument(
        "--ground",
        nargs="?",
        const="",
        metavar="KINDS",
        help="cross rough ground of these kinds, by default of all, with --quick without pushes",
    )
    p.add_argument(
        "--trials",
        type=arguments.at_least(1),
        metavar="N",
        help="N drawn commands in short trials instead of the task's: how often does it fall",
    )
    p.add_argument("--seconds", type=arguments.seconds, metavar="S", help="of such a trial")
    p.add_argument("--task", metavar="TASK", help="score by this task's `evaluation:`")
    p.add_argument("--robot", metavar="R", help="score on another model of the same robot")
    natural = arguments.at_least(0)
    p.add_argument("--threads", type=natural, default=0, metavar="N", help="(default: all CPUs)")
    p.add_argument("--seed", type=natural, default=0, metavar="N", help="of noise and pushes")


def _eval(args: argparse.Namespace) -> None:
    from robot_ppo.evaluation import gym_evaluation, scorecard
    from robot_ppo.training.threads import single_threaded

    if args.ground is not None:
        _eval_on_ground(args)
        return
    with single_threaded():
        if not gym_evaluation.is_run(args.policy):
            chosen = (args.quick, args.trials, args.seconds, args.task, args.threads, args.seed)
            options = scorecard.Options(*chosen, args.robot)
            scorecard.run(args.policy, args.json, args.plot, options)
        elif given := [k for k in ON_LEVEL_GROUND if getattr(args, k)]:
            raise InputError(
                f"{args.policy}: a run of a Gymnasium task; --{given[0]} is for robots"
            )
        else:
            gym_evaluation.run(args.policy, args.json, args.quick, args.threads, args.seed)


def _eval_on_ground(args: argparse.Namespace) -> None:
    from robot_ppo.evaluation import ground_table, gym_evaluation
    from robot_ppo.training.threads import single_threaded

    for name in ON_LEVEL_GROUND:
        if getattr(args, name) is not None:
            raise InputError(f"--{name} is about commands on flat ground; leave it or --ground out")
    if gym_evaluation.is_run(args.policy):
        raise InputError(f"{args.policy}: a run of a Gymnasium task; --ground is for robots")
    with single_threaded():
        kinds = args.ground or None
        ground_table.run(args.policy, kinds, args.json, args.quick, args.threads, args.seed)


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo export`."""
    text = "Write a run's policy as one self-proving file."
    p = command(commands, _export, "export", text, "robot-ppo export runs/go2 -o go2_walk.onnx")
    p.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx", help="to write")


def _export(args: argparse.Namespace) -> None:
    from robot_ppo import export
    from robot_ppo.evaluation import scorecard
    from robot_ppo.training.threads import single_threaded

    out = args.out
    ticks = export.GOLDEN_TICKS
    with single_threaded():
        worst = export.export(args.run_folder, out, tell=True, judge=scorecard.judge)
    size = out.stat().st_size / 1024
    print(f"{out}: {size:.0f} kB; {ticks} golden ticks recomputed, worst difference {worst}")


def add_report(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo report`."""
    text = "Write one page that shows what was trained and what it does; compare runs."
    p = command(commands, _report, "report", text, REPORT)
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folder")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.html", help="to write")
    p.add_argument("--full", action="store_true", help="score every condition (default: two)")
    natural = arguments.at_least(0)
    p.add_argument("--threads", type=natural, default=0, metavar="N", help="(default: all CPUs)")


def _report(args: argparse.Namespace) -> None:
    from robot_ppo.report import report
    from robot_ppo.training.threads import single_threaded

    with single_threaded():
        report.run(args.runs, args.out, full=args.full, threads=args.threads)
