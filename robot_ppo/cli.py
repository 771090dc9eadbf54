"""`robot-ppo`: train, score, export, play back and simulate.

Heavy libraries are imported by the command that needs them, so `--help` and errors are instant.
"""

import argparse
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_ppo import arguments
from robot_ppo_export.contract.strict import did_you_mean
from robot_ppo_export.errors import InputError, RefusedError

if TYPE_CHECKING:
    from robot_ppo.config import Derived

TRAIN = """
robot-ppo train walk --robot my_robot              # a robot of any kind, by name or folder
robot-ppo train walk --robot my_robot --show       # what is derived for it, and how
robot-ppo train go2_walk --out runs/go2
robot-ppo train go2_walk --seed 2 --minutes 10 --set ppo.gamma=0.98
robot-ppo train go2_walk --out runs/go2 --resume
robot-ppo train HalfCheetah-v5 --steps 1000000
robot-ppo train gym:Pendulum-v1
"""
TUNE = """
robot-ppo tune go2_walk --space space.yaml --trials 20 --set steps=1000000
robot-ppo tune HalfCheetah-v5 --space space.yaml --trials 30 --seeds 3
robot-ppo tune go2_walk --space space.yaml --trials 200 --storage postgresql://host/studies
"""
EVAL = """
robot-ppo eval runs/go2 --json scorecard.json --plot scorecard.png
robot-ppo eval go2_walk.onnx --quick
robot-ppo eval runs/HalfCheetah-v5
"""
PLAY = """
robot-ppo play go2_walk.onnx --video go2_walk.mp4
robot-ppo play runs/go2 --command 0.5,0,0 --seconds 10 --plot go2_walk.png
robot-ppo play go2_walk.onnx                       # a window
robot-ppo play go2_walk.onnx --web                 # in a browser, driven from there
robot-ppo play runs/go2 --web --follow             # while it trains
robot-ppo play runs/HalfCheetah-v5 --video cheetah.mp4
"""
IMPORT = """
robot-ppo import my_robot.urdf                     # ./robots/my_robot/
robot-ppo import dog.xml --name dog --pose home --imu trunk_imu
robot-ppo import robot.xml --torque '*_knee*=45' --hold 'arm_*=0'
"""
CHECK = """
robot-ppo check go2
robot-ppo check my_robots/dog                      # a folder with robot.yaml and the MJCF
robot-ppo check spot --picture spot.png            # how it stands
"""
REPORT = """
robot-ppo report runs/go2 -o report.html
robot-ppo report runs/go2 runs/other -o compared.html   # trial by trial
"""
SIM = """
robot-ppo sim go2 &
robot-ppo-node run go2_walk.onnx --driver udp --arm --command 0.5,0,0

robot-ppo sim go2 --transport unitree --domain 1   # the same over DDS
"""
LOG = """
robot-ppo log walk.rlog                            # of robot-ppo-node run --record walk.rlog
robot-ppo log walk.rlog --plot walk.png --mcap walk.mcap
"""
EPILOG = """\
a first walk, in a few minutes on two cores:
  robot-ppo train go2_walk --out runs/go2          # or, for any robot: train walk --robot R
  robot-ppo eval runs/go2
  robot-ppo export runs/go2 -o go2_walk.onnx
  robot-ppo play go2_walk.onnx --video go2_walk.mp4

exit codes: 0 done; 2 wrong input; 3 a policy file refused, a check that failed, or a fall in `play`
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Errors of input are one sentence, no traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    return exit_code("robot-ppo", lambda: _run(sys.argv[1:] if argv is None else argv))


def exit_code(program: str, run: Callable[[], Any]) -> int:
    """Call `run`; return its exit code (0 if it returns no number), printing errors as a sentence.

    Args:
        program: name that stands before the sentence.
        run: raises `InputError` or `RefusedError` where the user can do something about it.
    """
    try:
        code = run()
        return code if isinstance(code, int) else 0
    except (InputError, RefusedError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `robot-ppo list | head`: the reader is gone
        sys.stderr.close()
        return 128 + 13
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"{program}: not enough memory ({error}); lower num_envs", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int | None:
    top, names = _parsers()
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        raise InputError(f"unknown command {argv[0]!r}{did_you_mean(argv[0], names)}")
    args = top.parse_args(argv)
    if args.needs:
        require_extra(args.needs)
    return args.run(args)


def require_extra(modules: Sequence[str]) -> None:
    """Raise `InputError` that says what to install where a library is missing."""
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        raise InputError(f"this command needs {', '.join(missing)}: pip install 'robot-ppo[train]'")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    return _parsers()[0]


def _parsers() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser of all commands, and their names."""
    top = argparse.ArgumentParser(
        prog="robot-ppo",
        description="From a robot model to a running controller.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=_version())
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_list,
        _add_import,
        _add_check,
        _add_train,
        _add_tune,
        _add_doctor,
        _add_eval,
        _add_export,
        _add_play,
        _add_report,
        _add_sim,
        _add_log,
    ):
        add(commands)
    return top, commands.choices


def _version() -> str:
    from robot_ppo_export import __version__

    return f"robot-ppo {__version__}"


def _command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace], int | None],
    name: str,
    text: str,
    examples: str,
    needs: Sequence[str] = ("torch", "mujoco", "gymnasium", "rich"),
) -> argparse.ArgumentParser:
    """Add a command: its line in the list, and a page of its own that ends with examples."""
    added = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"examples:\n{textwrap.indent(examples.strip(), '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(run=run, needs=needs)
    return added


# -- list ---------------------------------------------------------------------------------------


def _add_list(commands: argparse._SubParsersAction) -> None:
    text = "List robots, tasks and presets, and where each is from."
    _command(commands, _list, "list", text, "robot-ppo list", needs=())


def _list(_: argparse.Namespace) -> None:
    from robot_ppo import project

    for kind in ("robot", "task", "preset"):
        print(f"{kind}s:")
        for line in project.listing(kind):
            print(f"  {line}")
    print("derived tasks: walk, of any robot: robot-ppo train walk --robot ROBOT")
    print(f"tasks of Gymnasium: {', '.join(project.GYM_TASKS)}, gym:ID (any other of Box spaces)")


# -- import -------------------------------------------------------------------------------------


def _add_import(commands: argparse._SubParsersAction) -> None:
    text = (
        "Make a robot of an MJCF or a URDF: pose, gains, feet and limits are derived, and proved."
    )
    p = _command(commands, _import, "import", text, IMPORT, needs=("mujoco", "matplotlib"))
    p.add_argument("file", type=Path, metavar="FILE", help="MJCF or URDF")
    p.add_argument("--name", metavar="N", help="of the robot (default: the file's)")
    p.add_argument("--out", type=Path, default=Path("robots"), metavar="DIR", help="(./robots)")
    p.add_argument("--overwrite", action="store_true", help="replace the robot that is there")
    p.add_argument("--feet", nargs="+", default=[], metavar="LINK", help="links it stands on")
    p.add_argument("--base", metavar="B", help="link at which the robot begins")
    p.add_argument("--imu", metavar="SITE", help="site or link of the IMU, fixed to the base")
    p.add_argument(
        "--pose", metavar="FILE|KEYFRAME", help="to stand in: a YAML of joints, or a keyframe"
    )
    for flag, metavar, text in (
        ("--hold", "JOINT=ANGLE", "hold joints there: arms, a head; patterns such as 'arm_*' too"),
        ("--leave", "JOINT", "give joints outside the legs to the policy"),
        ("--torque", "JOINT=NM", "torque limits that the file lacks [N m]"),
        ("--range", "JOINT=LOW,HIGH", "ranges that the file lacks [rad]"),
    ):
        p.add_argument(flag, nargs="+", action="extend", default=[], metavar=metavar, help=text)


def _import(args: argparse.Namespace) -> None:
    from robot_ppo.robot_model.importing import importer, options
    from robot_ppo.sim import standing

    asked = options.Options(
        args.file,
        args.name,
        args.out,
        args.overwrite,
        tuple(args.feet),
        args.base,
        args.imu,
        args.pose,
        options.number_by_joint("--hold", args.hold),
        tuple(args.leave),
        options.number_by_joint("--torque", args.torque),
        options.range_by_joint("--range", args.range),
    )
    proofs = importer.Proofs(standing.touching, standing.rests, standing.told)
    folder = importer.run(asked, proofs)
    print((folder / "report.md").read_text().partition("## Proof")[2].partition("##")[0].strip())
    print(f"{folder}: robot.yaml, {folder.name}.xml, report.md, views.png")
    print(f"next: look at {folder / 'views.png'}; robot-ppo train walk --robot {folder.name}")


# -- check --------------------------------------------------------------------------------------


def _add_check(commands: argparse._SubParsersAction) -> None:
    text = "Check a robot's files: every problem at once, or what its two variants are."
    p = _command(commands, _check, "check", text, CHECK, needs=("mujoco",))
    p.add_argument("robot", metavar="ROBOT|DIR", help="see `robot-ppo list`, or a folder")
    p.add_argument("--picture", type=Path, metavar="FILE.png", help="show how the robot stands")


def _check(args: argparse.Namespace) -> int:
    from robot_ppo import project
    from robot_ppo.robot_model import comparison

    folder = project.robot_folder(args.robot)
    robot = project.load_robot_in(folder)
    page, right = comparison.page(robot, folder / robot.model)
    print(page)
    if right:
        from robot_ppo.sim import standing

        print(f"\n{standing.told(robot, folder / robot.model)}")
    if right and args.picture:
        from robot_ppo.playback import portrait

        portrait.write(args.picture, robot, folder / robot.model)
        print(f"\nwrote {args.picture}")
    return 0 if right else RefusedError.exit_code


# -- train --------------------------------------------------------------------------------------


def _add_train(commands: argparse._SubParsersAction) -> None:
    text = "Train a policy for a task. Ctrl-C keeps a checkpoint; --resume goes on from it."
    p = _command(commands, _train, "train", text, TRAIN)
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
    p.add_argument("--seed", type=int, metavar="N", help="of everything random (default: preset's)")
    p.add_argument("--steps", type=int, metavar="N", help="environment steps, all robots together")
    p.add_argument("--minutes", type=float, metavar="M", help="stop after so much time at the most")
    p.add_argument("--threads", type=int, metavar="N", help="for physics (default: all CPUs)")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the task or preset, e.g. ppo.gamma=0.98 or "
        "task.commands.twist.vx=[-0.5,0.5]",
    )
    on = p.add_mutually_exclusive_group()
    on.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    on.add_argument("--overwrite", action="store_true", help="delete the run that is there")


def _train(args: argparse.Namespace) -> None:
    from robot_ppo.training import run_folder

    task, out = _trained(args), args.out or Path("runs") / _run_name(args)
    if args.show:
        return
    flags = {k: getattr(args, k) for k in ("seed", "steps", "minutes", "threads")}
    run_folder.train(task, out, args.preset, args.set, args.resume, args.overwrite, **flags)


def _run_name(args: argparse.Namespace) -> str:
    """Return the name of a run's folder: the task's, and the robot's where it is derived."""
    return _as_file(args.task) + (f"-{Path(args.robot).resolve().name}" if args.robot else "")


def _trained(args: argparse.Namespace) -> "str | Derived":
    """Return the task that `train` is asked for; with --show, print it."""
    from robot_ppo import project
    from robot_ppo.derived import walk

    derived = args.task == walk.NAME and walk.NAME not in project.task_names()
    if derived and not args.robot and not args.resume:
        raise InputError(
            f"the task `{walk.NAME}` is derived from a robot: add --robot and one of "
            f"{', '.join(project.robot_names())}, or a folder"
        )
    if not derived and (args.robot or args.show):
        flag = "--robot" if args.robot else "--show"
        raise InputError(f"{flag}: goes with the task `{walk.NAME}`, not with {args.task!r}")
    if not args.robot:
        if args.show:
            raise InputError("--show: needs --robot")
        return args.task
    resolved = walk.resolve(args.robot)
    if args.show:
        print(resolved.shown(args.set), end="")
    return resolved.named


def _add_tune(commands: argparse._SubParsersAction) -> None:
    text = (
        "Search over settings of a task, judged by what the policies do. The same command goes on "
        "with a study that was stopped, and joins one that other machines work on (--storage)."
    )
    needs = ("torch", "mujoco", "gymnasium", "rich", "matplotlib")
    p = _command(commands, _tune, "tune", textwrap.fill(text, 98), TUNE, needs=needs)
    natural, positive = arguments.at_least(0), arguments.at_least(1)
    add = p.add_argument
    add("task", metavar="TASK", help="see `robot-ppo list`")
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


_SPACE = "key: {low: A, high: B} or {low: A, high: B, log: true} or {choices: [A, B]}"


def _tune(args: argparse.Namespace) -> None:
    if find_spec("optuna") is None:
        raise InputError("this command needs optuna: pip install 'robot-ppo[tune]'")
    from robot_ppo.tuning import command

    command.run(
        args.task,
        args.space,
        args.trials,
        args.out or Path("runs") / f"tune-{_as_file(args.task)}",
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


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    text = (
        "Say what is wrong with a training and what to do about it. The exit code is 0 whatever it "
        "finds (--json tells scripts), and 2 if there is no run to read."
    )
    p = _command(commands, _doctor, "doctor", textwrap.fill(text, 98), "robot-ppo doctor runs/go2")
    p.add_argument("run_folder", type=Path, metavar="RUN", help="run folder; it may still train")
    p.add_argument("--json", type=Path, metavar="FILE", help="write verdict and findings")


def _doctor(args: argparse.Namespace) -> None:
    from robot_ppo.diagnostics import doctor

    doctor.run(args.run_folder, args.json)


# -- eval, export, play -------------------------------------------------------------------------


def _add_eval(commands: argparse._SubParsersAction) -> None:
    text = "Score what a policy does: commands, pushes, corners."
    p = _command(commands, _eval, "eval", text, EVAL)
    p.add_argument("policy", type=Path, metavar="RUN|FILE", help="run folder or policy file")
    p.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="write a heat map")
    p.add_argument(
        "--quick",
        action="store_true",
        help="the nominal 45 commands only, or 5 episodes of a Gymnasium task",
    )
    natural = arguments.at_least(0)
    p.add_argument("--threads", type=natural, default=0, metavar="N", help="(default: all CPUs)")
    p.add_argument("--seed", type=natural, default=0, metavar="N", help="of noise and pushes")


def _eval(args: argparse.Namespace) -> None:
    from robot_ppo.evaluation import gym_evaluation, scorecard
    from robot_ppo.training.threads import single_threaded

    with single_threaded():
        if not gym_evaluation.is_run(args.policy):
            scorecard.run(args.policy, args.json, args.plot, args.quick, args.threads, args.seed)
        elif args.plot:
            raise InputError(f"{args.policy}: a run of a Gymnasium task; --plot is for robots")
        else:
            gym_evaluation.run(args.policy, args.json, args.quick, args.threads, args.seed)


def _add_export(commands: argparse._SubParsersAction) -> None:
    text = "Write a run's policy as one self-proving file."
    p = _command(commands, _export, "export", text, "robot-ppo export runs/go2 -o go2_walk.onnx")
    p.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx", help="to write")


def _export(args: argparse.Namespace) -> None:
    from robot_ppo import export
    from robot_ppo.evaluation import scorecard
    from robot_ppo.training.threads import single_threaded

    out, ticks = args.out, export.GOLDEN_TICKS
    with single_threaded():
        worst = export.export(args.run_folder, out, tell=True, judge=scorecard.judge)
    size = out.stat().st_size / 1024
    print(f"{out}: {size:.0f} kB; {ticks} golden ticks recomputed, worst difference {worst}")


def _add_play(commands: argparse._SubParsersAction) -> None:
    text = "Play a policy back: the robot's own node, in a simulation."
    p = _command(commands, _play, "play", text, PLAY)
    p.add_argument("policy", type=Path, metavar="RUN|FILE", help="run folder or policy file")
    p.add_argument("--video", type=Path, metavar="FILE.mp4", help="film it instead of a window")
    p.add_argument(
        "--quality",
        default="fast",
        choices=("fast", "high"),
        help="of the video: high draws edges, curves and shadows finer, at a third of the speed",
    )
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="draw commands and velocities")
    p.add_argument("--seconds", type=float, metavar="S", help="(default: 12, or the script's)")
    p.add_argument(
        "--command", metavar="VX,VY,YAW", help="[m/s, m/s, rad/s], or the entries of another kind"
    )
    p.add_argument("--script", type=Path, metavar="FILE.yaml", help="a list of commands in time")

    web = p.add_argument_group("in a browser")
    web.add_argument(
        "--web",
        type=arguments.port,
        nargs="?",
        const=8800,
        metavar="PORT",
        help="serve a page that shows and drives the robot (default: 8800; 0: any free port)",
    )
    web.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to serve on; beyond this computer a token is asked for",
    )
    web.add_argument(
        "--follow", action="store_true", help="go over to the newest checkpoint of a run"
    )


def _play(args: argparse.Namespace) -> int:
    import tempfile

    from robot_ppo import export
    from robot_ppo.playback import gym_play
    from robot_ppo.playback.play import play

    if gym_play.is_run(args.policy):
        for name in ("plot", "command", "script", "web"):
            if getattr(args, name) is not None:
                raise InputError(
                    f"{args.policy}: a run of a Gymnasium task; --{name} is for robots"
                )
        gym_play.play(args.policy, video=args.video, seconds=args.seconds)
        return 0
    if args.web is not None:
        return _play_web(args)
    with tempfile.TemporaryDirectory() as folder:
        path, robot = args.policy, None
        if path.is_dir():
            path = Path(folder) / "policy.onnx"
            export.export(args.policy, path)
            robot = export.robot_of(args.policy)
        summary = play(
            path,
            video=args.video,
            plot=args.plot,
            seconds=args.seconds,
            command=args.command,
            script=args.script,
            quality=args.quality,
            robot=robot,
        )
    return RefusedError.exit_code if summary.failed else 0


def _play_web(args: argparse.Namespace) -> int:
    from robot_ppo.playback.web import run

    for name in ("video", "plot", "command", "script"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} and --web exclude each other: the page gives the commands")
    run.play(args.policy, port=args.web, host=args.host, follow=args.follow, seconds=args.seconds)
    return 0


def _add_report(commands: argparse._SubParsersAction) -> None:
    text = "Write one page that shows what was trained and what it does; compare runs."
    p = _command(commands, _report, "report", text, REPORT)
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


# -- sim, log -----------------------------------------------------------------------------------


def _add_sim(commands: argparse._SubParsersAction) -> None:
    from robot_ppo_node.drivers.udp.udp_frame import DEFAULT_PORT

    text = "Be the robot: MuJoCo in real time, over UDP or DDS."
    p = _command(commands, _sim, "sim", text, SIM)
    p.add_argument("robot", metavar="ROBOT|DIR", help="see `robot-ppo list`, or a folder")
    p.add_argument("--transport", default="udp", metavar="NAME", help="udp, unitree or ros2")
    p.add_argument("--port", type=arguments.port, default=DEFAULT_PORT, metavar="P", help="of UDP")
    p.add_argument("--interface", default="lo", metavar="NAME", help="of DDS (default: lo)")
    p.add_argument("--domain", type=int, default=0, metavar="N", help="of DDS (default: 0)")
    p.add_argument("--seconds", type=arguments.seconds, metavar="S", help="end after so long")


def _sim(args: argparse.Namespace) -> None:
    from robot_ppo.sim import server

    place = server.Place(args.transport, args.port, args.interface, args.domain)
    server.serve(args.robot, place, args.seconds)


def _add_log(commands: argparse._SubParsersAction) -> None:
    text = "Summarize a log of robot-ppo-node; draw it; convert it to MCAP."
    p = _command(commands, _log, "log", text, LOG, needs=())
    p.add_argument("log", type=Path, metavar="LOG", help="what the node's --record wrote")
    p.add_argument("--mcap", type=Path, metavar="FILE.mcap", help="for Foxglove; extra `mcap`")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="draw commands, joints, guards")


def _log(args: argparse.Namespace) -> None:
    from robot_ppo.logs.show import show

    show(args.log, args.mcap, args.plot)


if __name__ == "__main__":
    sys.exit(main())
