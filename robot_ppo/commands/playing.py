"""Commands that run a policy or a robot: play, sim, log."""

import argparse
from functools import partial
from pathlib import Path

from robot_ppo import arguments
from robot_ppo.commands.base import command
from robot_ppo_export.errors import InputError, RefusedError

PLAY = """
robot-ppo play go2_walk.onnx --video go2_walk.mp4
robot-ppo play runs/go2 --command 0.5,0,0 --seconds 10 --plot go2_walk.png
robot-ppo play go2_walk.onnx --terrain stairs_up:0.3 --video stairs.mp4
robot-ppo play go2_walk.onnx                       # a window
robot-ppo play go2_walk.onnx --web                 # in a browser, driven from there
robot-ppo play runs/go2 --web --follow             # while it trains
robot-ppo play runs/HalfCheetah-v5 --video cheetah.mp4
"""
SIM = """
robot-ppo sim go2 &
robot-ppo-node run go2_walk.onnx --driver udp --arm --command 0.5,0,0

robot-ppo sim go2 --transport unitree --domain 1   # the same over DDS
robot-ppo sim go2 --terrain waves:0.5 --scan go2_rough_scan.onnx
robot-ppo sim go2 --web                            # to be seen in a browser
"""
LOG = """
robot-ppo log walk.rlog                            # of robot-ppo-node run --record walk.rlog
robot-ppo log walk.rlog --plot walk.png --mcap walk.mcap
"""


def add_play(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo play`."""
    text = "Play a policy back: the robot's own node, in a simulation."
    p = command(commands, _play, "play", text, PLAY)
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

    p.add_argument("--terrain", metavar="KIND:LEVEL", help="walk on rough ground, as stairs_up:0.6")

    web = _add_web(p, "serve a page that shows and drives the robot")
    web.add_argument(
        "--follow", action="store_true", help="go over to the newest checkpoint of a run"
    )


def _add_web(parser: argparse.ArgumentParser, text: str) -> argparse._ArgumentGroup:
    """Add the options of a page; return their group."""
    web = parser.add_argument_group("in a browser")
    web.add_argument(
        "--web",
        type=arguments.port,
        nargs="?",
        const=8800,
        metavar="PORT",
        help=f"{text} (default: 8800; 0: any free port)",
    )
    web.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to serve the page on; beyond this computer a token is asked for",
    )
    return web


def _play(args: argparse.Namespace) -> int:
    if args.web is not None and not args.policy.is_dir():
        return _play_web(args)  # without torch, which takes seconds to load
    import tempfile

    from robot_ppo import export
    from robot_ppo.playback import gym_play
    from robot_ppo.playback.play import play

    if gym_play.is_run(args.policy):
        for name in ("plot", "command", "script", "terrain", "web"):
            if getattr(args, name) is not None:
                raise InputError(
                    f"{args.policy}: a run of a Gymnasium task; --{name} is for robots"
                )
        gym_play.play(args.policy, video=args.video, seconds=args.seconds)
        return 0
    if args.web is not None:
        return _play_web(args)
    with tempfile.TemporaryDirectory() as folder:
        path = args.policy
        robot = None
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
            terrain=args.terrain,
        )
    return RefusedError.exit_code if summary.failed else 0


def _play_web(args: argparse.Namespace) -> int:
    from robot_ppo.playback.web import run

    for name in ("video", "plot", "command", "script"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name} and --web exclude each other: the page gives the commands")
    run.play(
        args.policy,
        port=args.web,
        host=args.host,
        follow=args.follow,
        terrain=args.terrain,
        seconds=args.seconds,
    )
    return 0


def add_sim(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo sim`."""
    from robot_ppo_node.drivers.udp.udp_frame import DEFAULT_PORT

    text = "Be the robot: MuJoCo in real time, over UDP or DDS."
    p = command(commands, _sim, "sim", text, SIM)
    p.add_argument("robot", metavar="ROBOT|DIR", help="see `robot-ppo list`, or a folder")
    p.add_argument("--transport", default="udp", metavar="NAME", help="udp, unitree or ros2")
    p.add_argument("--port", type=arguments.port, default=DEFAULT_PORT, metavar="P", help="of UDP")
    p.add_argument("--interface", default="lo", metavar="NAME", help="of DDS (default: lo)")
    p.add_argument("--domain", type=int, default=0, metavar="N", help="of DDS (default: 0)")
    p.add_argument("--seconds", type=arguments.seconds, metavar="S", help="end after so long")
    p.add_argument("--terrain", metavar="KIND:LEVEL", help="on rough ground, as stairs_up:0.6")
    p.add_argument(
        "--scan", type=Path, metavar="FILE", help="measure the height scan that this policy reads"
    )
    _add_web(p, "serve a page that shows the robot, which a node elsewhere drives")


def _sim(args: argparse.Namespace) -> None:
    from robot_ppo.sim import server

    place = server.Place(args.transport, args.port, args.interface, args.domain)
    grid = None
    if args.scan:
        from robot_ppo_export.policy import Policy

        grid = Policy(args.scan).layout.scan_grid
        if grid is None:
            raise InputError(f"--scan {args.scan}: this policy reads no height scan")
    watch = None
    if args.web is not None:
        from robot_ppo.playback.web.watch import watched

        watch = partial(watched, host=args.host, port=args.web)
    server.serve(args.robot, place, args.seconds, terrain=args.terrain, scan_grid=grid, watch=watch)


def add_log(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo log`."""
    text = "Summarize a log of robot-ppo-node; draw it; convert it to MCAP."
    p = command(commands, _log, "log", text, LOG, needs=())
    p.add_argument("log", type=Path, metavar="LOG", help="what the node's --record wrote")
    p.add_argument("--mcap", type=Path, metavar="FILE.mcap", help="for Foxglove; extra `mcap`")
    p.add_argument("--plot", type=Path, metavar="FILE.png", help="draw commands, joints, guards")


def _log(args: argparse.Namespace) -> None:
    from robot_ppo.logs.show import show

    show(args.log, args.mcap, args.plot)
