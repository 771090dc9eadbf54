"""Commands that train: train, tune, doctor."""

import argparse
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from robot_ppo import arguments
from robot_ppo.commands.base import command
from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    from robot_ppo.config import Derived
    from robot_ppo.training.events import Shown

TRAIN = """
robot-ppo train walk --robot my_robot              # a robot of any kind, by name or folder
robot-ppo train walk --robot my_robot --show       # what is derived for it, and how
robot-ppo train go2_walk --out runs/go2
robot-ppo train go2_walk --seed 2 --minutes 10 --set ppo.gamma=0.98
robot-ppo train go2_walk --out runs/go2 --resume
robot-ppo train go2_walk --film-every 2            # films of the newest checkpoint
robot-ppo train go2_walk --preset recurrent --out runs/gru
robot-ppo train go2_walk --preset distill --teacher runs/go2 --out runs/student
robot-ppo train HalfCheetah-v5 --steps 1000000
robot-ppo train gym:Pendulum-v1
"""
TUNE = """
robot-ppo tune go2_walk --space space.yaml --trials 20 --set steps=1000000
robot-ppo tune HalfCheetah-v5 --space space.yaml --trials 30 --seeds 3
robot-ppo tune go2_walk --space space.yaml --trials 200 --storage postgresql://host/studies
"""
_SPACE = "key: {low: A, high: B} or {low: A, high: B, log: true} or {choices: [A, B]}"


def add_train(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo train`."""
    text = "Train a policy for a task. Ctrl-C keeps a checkpoint; --resume goes on from it."
    p = command(commands, _train, "train", text, TRAIN)
    p.add_argument("task", metavar="TASK", help="see `robot-ppo list`, or a YAML; or walk")
    p.add_argument("--robot", metavar="R", help="name or folder, for the task `walk`")
    p.add_argument(
        "--show",
        action="store_true",
        help="print what `walk` is for the robot, with the formula of each number; train nothing",
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/TASK)")
    p.add_argument(
        "--preset", metavar="NAME", help="see `robot-ppo list`, or a YAML (default: the task's)"
    )
    p.add_argument(
        "--teacher",
        metavar="RUN",
        help="run or policy file that a student imitates; goes with --preset distill or taught",
    )
    p.add_argument("--seed", type=int, metavar="N", help="of everything random (default: preset's)")
    p.add_argument("--steps", type=int, metavar="N", help="environment steps, all robots together")
    p.add_argument("--minutes", type=float, metavar="M", help="stop after so much time at the most")
    p.add_argument("--threads", type=int, metavar="N", help="for physics (default: all CPUs)")
    p.add_argument("--device", metavar="D", help="cuda: networks, rollout and update on a GPU")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the task or preset, e.g. ppo.gamma=0.98 or "
        "task.commands.twist.vx=[-0.5,0.5]",
    )
    seen = p.add_argument_group("to look at while it trains: tensorboard --logdir runs")
    seen.add_argument(
        "--score-every",
        type=arguments.minutes,
        default=5.0,
        metavar="MINUTES",
        help="score the newest checkpoint, in time that is left over (default: 5; 0: never)",
    )
    seen.add_argument(
        "--film-every",
        type=arguments.minutes,
        default=0.0,
        metavar="MINUTES",
        help="film the newest checkpoint for six seconds (default: never)",
    )
    seen.add_argument("--wandb", action="store_true", help="to Weights & Biases, too; extra wandb")
    on = p.add_mutually_exclusive_group()
    on.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    on.add_argument("--overwrite", action="store_true", help="delete the run that is there")


def _train(args: argparse.Namespace) -> None:
    from robot_ppo.training import run_folder

    shown = None if args.show else _shown(args)
    task = _trained(args, args.resume, args.show)
    out = args.out or Path("runs") / _run_name(args)
    if args.show:
        return
    flags = {k: getattr(args, k) for k in ("seed", "steps", "minutes", "threads", "device")}
    if args.teacher:  # a run is resumed from any folder
        flags["distill"] = {"teacher": str(Path(args.teacher).resolve())}
    on = (args.resume, args.overwrite, shown)
    run_folder.train(task, out, args.preset, args.set, *on, **flags)


def _shown(args: argparse.Namespace) -> "Shown":
    """Return what can be looked at while it trains."""
    from robot_ppo.training import wandb_writer
    from robot_ppo.training.companion import Plan
    from robot_ppo.training.events import Shown

    if args.wandb:
        wandb_writer.require()
    return Shown(Plan(args.score_every or None, args.film_every or None), args.wandb)


def _run_name(args: argparse.Namespace) -> str:
    """Return the name of a run's folder: the task's, and the robot's where it is derived."""
    return _as_file(args.task) + (f"-{Path(args.robot).resolve().name}" if args.robot else "")


def _trained(args: argparse.Namespace, resume: bool, show: bool) -> "str | Derived":
    """Return the task that is asked for; with `show`, print it."""
    from robot_ppo import project
    from robot_ppo.derived import walk

    derived = args.task == walk.NAME and walk.NAME not in project.task_names()
    if derived and not args.robot and not resume:
        raise InputError(
            f"the task `{walk.NAME}` is derived from a robot: add --robot and one of "
            f"{', '.join(project.robot_names())}, or a folder"
        )
    if not derived and (args.robot or show):
        flag = "--robot" if args.robot else "--show"
        raise InputError(f"{flag}: goes with the task `{walk.NAME}`, not with {args.task!r}")
    if not args.robot:
        if show:
            raise InputError("--show: needs --robot")
        return args.task
    resolved = walk.resolve(args.robot)
    if show:
        print(resolved.shown(args.set), end="")
    return resolved.named


def add_tune(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo tune`."""
    text = (
        "Search over settings of a task, judged by what the policies do. The same command goes on "
        "with a study that was stopped, and joins one that other machines work on (--storage)."
    )
    needs = ("torch", "mujoco", "gymnasium", "rich", "matplotlib")
    p = command(commands, _tune, "tune", textwrap.fill(text, 98), TUNE, needs=needs)
    natural = arguments.at_least(0)
    positive = arguments.at_least(1)
    add = p.add_argument
    add("task", metavar="TASK", help="see `robot-ppo list`, or a YAML; or walk")
    add("--robot", metavar="R", help="name or folder, for the task `walk`")
    add("--space", type=Path, required=True, metavar="FILE.yaml", help=_SPACE)
    add("--trials", type=positive, required=True, metavar="N", help="finished ones, in all")
    add("--out", type=Path, metavar="DIR", help="folder (default: runs/tune-TASK)")
    add("--preset", metavar="NAME", help="what the search starts from (default: the task's)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for every trial")
    add(
        "--objective",
        choices=("scorecard", "seconds", "return"),
        help="worst figure over its limit, seconds until it passes (both robots), or mean return "
        "(Gymnasium; default: scorecard or return)",
    )
    add("--seeds", type=positive, default=2, metavar="N", help="trainings of a trial (default: 2)")
    add("--checks", type=positive, default=4, metavar="N", help="times each is judged (default: 4)")
    add("--storage", metavar="URL", help="of a database, for several machines (default: a file)")
    add("--study", metavar="NAME", help="of the study in the storage (default: TASK)")
    add("--seed", type=natural, metavar="N", help="of the draws (default: another every time)")
    add("--threads", type=natural, metavar="N", help="for physics (default: all CPUs)")


def _tune(args: argparse.Namespace) -> None:
    if find_spec("optuna") is None:
        raise InputError("this command needs optuna: pip install 'robot-ppo[tune]'")
    from robot_ppo.tuning import command

    command.run(
        _trained(args, resume=False, show=False),
        args.space,
        args.trials,
        args.out or Path("runs") / f"tune-{_run_name(args)}",
        args.preset,
        args.set,
        args.objective,
        args.seeds,
        args.checks,
        args.storage,
        args.study,
        args.seed,
        args.threads,
    )


def _as_file(task: str) -> str:
    """Return the name of a task as part of a folder's."""
    from robot_ppo import project

    return re.sub(r"[:/]", "-", project.name_of(task))


def add_doctor(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo doctor`."""
    text = (
        "Say what is wrong with a training and what to do about it. The exit code is 0 whatever it "
        "finds (--json tells scripts), and 2 if there is no run to read."
    )
    p = command(commands, _doctor, "doctor", textwrap.fill(text, 98), "robot-ppo doctor runs/go2")
    p.add_argument("run_folder", type=Path, metavar="RUN", help="run folder; it may still train")
    p.add_argument("--json", type=Path, metavar="FILE", help="write verdict and findings")


def _doctor(args: argparse.Namespace) -> None:
    from robot_ppo.diagnostics import doctor

    doctor.run(args.run_folder, args.json)
