"""`robot-ppo`: train, score, export, play back, simulate and measure.

Heavy libraries are imported by the command that needs them, so `--help` and errors are instant.
"""

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from robot_ppo import arguments
from robot_ppo_export.errors import InputError, RefusedError

EPILOG = """\
a first walk, in a few minutes on two cores:
  robot-ppo train go2_walk --out runs/go2
  robot-ppo eval runs/go2
  robot-ppo export runs/go2 -o go2_walk.onnx
  robot-ppo play go2_walk.onnx --video go2_walk.mp4

exit codes: 0 done; 2 wrong input; 3 a policy file refused, or a check that failed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Errors of input are one sentence, no traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    words = parser().parse_args(argv)
    try:
        if words.needs:
            require_extra(words.needs)
        return words.run(words) or 0
    except (InputError, RefusedError) as error:
        print(f"robot-ppo: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `robot-ppo list | head`: as every program that is not read any more
        sys.stderr.close()
        return 128 + 13
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"robot-ppo: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"robot-ppo: not enough memory ({error}); lower num_envs", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def require_extra(modules: Sequence[str]) -> None:
    """Raise `InputError` that says what to install where a library is missing."""
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        raise InputError(f"this command needs {', '.join(missing)}: pip install 'robot-ppo[train]'")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
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
        _add_train,
        _add_doctor,
        _add_eval,
        _add_export,
        _add_play,
        _add_sim,
        _add_log,
        _add_bench,
    ):
        add(commands)
    return top


def _version() -> str:
    from robot_ppo_export import __version__

    return f"robot-ppo {__version__}"


def _command(
    commands: argparse._SubParsersAction,
    run: Callable[[argparse.Namespace], int | None],
    name: str,
    text: str,
    needs: Sequence[str] = ("torch", "mujoco", "gymnasium", "rich"),
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=text, description=text)
    added.set_defaults(run=run, needs=needs)
    return added


# -- list ---------------------------------------------------------------------------------------


def _add_list(commands: argparse._SubParsersAction) -> None:
    _command(commands, _list, "list", "List robots, tasks and presets.", needs=())


def _list(_: argparse.Namespace) -> None:
    from robot_ppo import project

    for title, names in (
        ("robots", project.robot_names()),
        ("tasks", project.task_names()),
        ("tasks of Gymnasium", [*project.GYM_TASKS, "gym:ID (any other with Box spaces)"]),
        ("presets", project.preset_names()),
    ):
        print(f"{title}: {', '.join(names)}")


# -- train --------------------------------------------------------------------------------------


def _add_train(commands: argparse._SubParsersAction) -> None:
    p = _command(commands, _train, "train", "Train a policy for a task, from nothing or on.")
    p.add_argument("task", metavar="TASK", help="see `robot-ppo list`")
    p.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/TASK)")
    p.add_argument("--preset", metavar="NAME", help="see `robot-ppo list` (default: the task's)")
    p.add_argument("--seed", type=int, metavar="N")
    p.add_argument("--steps", type=int, metavar="N", help="environment steps, all robots together")
    p.add_argument("--minutes", type=float, metavar="M", help="stop after so much time at the most")
    p.add_argument("--threads", type=int, metavar="N", help="for physics (default: all CPUs)")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the task or preset, e.g. ppo.gamma=0.98 or task.commands.vx=[-0.5,0.5]",
    )
    on = p.add_mutually_exclusive_group()
    on.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    on.add_argument("--overwrite", action="store_true", help="delete the run that is there")


def _train(a: argparse.Namespace) -> None:
    from robot_ppo.training import run_folder

    out = a.out or Path("runs") / re.sub(r"[:/]", "-", a.task)
    flags = {k: getattr(a, k) for k in ("seed", "steps", "minutes", "threads")}
    run_folder.train(a.task, out, a.preset, a.set, a.resume, a.overwrite, **flags)


def _add_doctor(commands: argparse._SubParsersAction) -> None:
    text = (
        "Say what is wrong with a training and what to do about it. The exit code is 0 whatever it "
        "finds (--json tells scripts), and 2 if there is no run to read."
    )
    p = _command(commands, _doctor, "doctor", text)
    p.add_argument("run_folder", type=Path, metavar="RUN", help="run folder; it may still train")
    p.add_argument("--json", type=Path, metavar="FILE", help="write verdict and findings")


def _doctor(a: argparse.Namespace) -> None:
    from robot_ppo.diagnostics import doctor

    doctor.run(a.run_folder, a.json)


# -- eval, export, play -------------------------------------------------------------------------


def _add_eval(commands: argparse._SubParsersAction) -> None:
    p = _command(commands, _eval, "eval", "Score what a policy does: commands, pushes, corners.")
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


def _eval(a: argparse.Namespace) -> None:
    from robot_ppo.evaluation import gym_evaluation, scorecard

    if gym_evaluation.is_run(a.policy):
        if a.plot:
            raise InputError(f"{a.policy}: a run of a Gymnasium task; --plot is for robots")
        gym_evaluation.run(a.policy, a.json, a.quick, a.threads, a.seed)
        return
    scorecard.run(a.policy, a.json, a.plot, a.quick, a.threads, a.seed)


def _add_export(commands: argparse._SubParsersAction) -> None:
    p = _command(commands, _export, "export", "Write a run's policy as one self-proving file.")
    p.add_argument("run_folder", type=Path, metavar="RUN")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx")


def _export(a: argparse.Namespace) -> None:
    from robot_ppo import export

    worst = export.export(a.run_folder, a.out)
    size = a.out.stat().st_size / 1024
    print(f"{a.out}: {size:.0f} kB; {export.GOLDEN_TICKS} golden ticks recomputed, worst {worst}")


def _add_play(commands: argparse._SubParsersAction) -> None:
    p = _command(
        commands, _play, "play", "Play a policy back: the robot's own node, in a simulation."
    )
    p.add_argument("policy", type=Path, metavar="RUN|FILE", help="run folder or policy file")
    p.add_argument("--video", type=Path, metavar="FILE.mp4")
    p.add_argument("--plot", type=Path, metavar="FILE.png")
    p.add_argument("--seconds", type=float, metavar="S")
    p.add_argument(
        "--command", type=arguments.triple, metavar="VX,VY,YAW", help="[m/s, m/s, rad/s]"
    )
    p.add_argument("--script", type=Path, metavar="FILE.yaml", help="a list of commands in time")


def _play(a: argparse.Namespace) -> None:
    import tempfile

    from robot_ppo import export
    from robot_ppo.playback.play import play

    with tempfile.TemporaryDirectory() as folder:
        path = a.policy
        if path.is_dir():
            path = Path(folder) / "policy.onnx"
            export.export(a.policy, path)
        play(
            path,
            video=a.video,
            plot=a.plot,
            seconds=a.seconds,
            command=a.command,
            script=a.script,
        )


# -- sim, bench ---------------------------------------------------------------------------------


def _add_sim(commands: argparse._SubParsersAction) -> None:
    from robot_ppo_node.drivers.udp.udp_protocol import DEFAULT_PORT

    p = _command(commands, _sim, "sim", "Be the robot: MuJoCo in real time, over UDP or DDS.")
    p.add_argument("robot", metavar="ROBOT", help="see `robot-ppo list`")
    p.add_argument("--transport", default="udp", metavar="NAME", help="udp, unitree or ros2")
    p.add_argument("--port", type=arguments.port, default=DEFAULT_PORT, metavar="P", help="of UDP")
    p.add_argument("--interface", default="lo", metavar="NAME", help="of DDS (default: lo)")
    p.add_argument("--domain", type=int, default=0, metavar="N", help="of DDS (default: 0)")
    p.add_argument("--seconds", type=arguments.seconds, metavar="S", help="end after so long")


def _sim(a: argparse.Namespace) -> None:
    from robot_ppo.sim import server

    place = server.Place(a.transport, a.port, a.interface, a.domain)
    server.serve(a.robot, place, a.seconds)


def _add_log(commands: argparse._SubParsersAction) -> None:
    text = "Say what a log of robot-ppo-node holds; draw it; make an MCAP file of it."
    p = _command(commands, _log, "log", text, needs=())
    p.add_argument("log", type=Path, metavar="LOG")
    p.add_argument("--mcap", type=Path, metavar="FILE.mcap", help="for Foxglove; extra `mcap`")
    p.add_argument("--plot", type=Path, metavar="FILE.png")


def _log(a: argparse.Namespace) -> None:
    from robot_ppo.logs.show import show

    show(a.log, a.mcap, a.plot)


def _add_bench(commands: argparse._SubParsersAction) -> None:
    text = "Measure the figures that the project publishes, beside their yardsticks."
    p = _command(commands, _bench, "bench", text)
    p.add_argument("what", choices=("env", "gym", "train", "walk", "node", "faults", "table1"))
    p.add_argument("--json", type=Path, metavar="FILE")
    p.add_argument("--only", metavar="NAME", help="faults: one of them; --out FILE.md writes all")
    p.add_argument("--seeds", type=int, default=3, metavar="N", help="walk, table1: trainings each")
    table1 = p.add_argument_group("table1", "PPO's objectives compared; goes on where it stopped")
    for name, kind, letter, text in (
        ("--out", Path, "DIR", "folder of the sweep (default: runs/table1)"),
        ("--steps", int, "N", "environment steps of every run (default: 1000000)"),
        ("--workers", int, "N", "processes (default: one per CPU)"),
        ("--minutes", float, "M", "start no run after so much time"),
    ):
        table1.add_argument(name, type=kind, metavar=letter, help=text)
    table1.add_argument("--tasks", nargs="+", metavar="TASK", help="(default: the paper's seven)")
    table1.add_argument("--settings", nargs="+", metavar="NAME", help="e.g. clip_0.2 trpo_0.01")


def _bench(a: argparse.Namespace) -> int | None:
    keys = ("out", "steps", "workers", "minutes", "tasks", "settings")
    own = {key: getattr(a, key) for key in keys if getattr(a, key) is not None}
    if a.what == "table1":
        require_extra(["matplotlib"])
        from robot_ppo.table1 import command

        return command.run(seeds=a.seeds, json_path=a.json, **own)
    if a.what == "faults" and set(own) <= {"out"}:
        from robot_ppo.bench import shipped_policy
        from robot_ppo.faults import command as faults

        return faults.run(shipped_policy(), a.out, a.json, a.only)
    if a.only:
        raise InputError(f"bench {a.what}: --only belongs to bench faults")
    if own:
        raise InputError(f"bench {a.what}: --{' and --'.join(own)} only belong to bench table1")
    from robot_ppo import bench

    bench.run(a.what, a.json, a.seeds)
    return None


if __name__ == "__main__":
    sys.exit(main())
