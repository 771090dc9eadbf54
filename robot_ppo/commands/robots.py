"""Commands about robots: list, import, check."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from robot_ppo.commands.base import command
from robot_ppo_export.errors import InputError, RefusedError

if TYPE_CHECKING:
    from robot_ppo.robot_model.importing.importer import Proofs
    from robot_ppo_export.contract.spec import RobotSpec

IMPORT = """
robot-ppo import my_robot.urdf                     # ./robots/my_robot/
robot-ppo import dog.xml --name dog --pose home --imu trunk_imu
robot-ppo import robot.xml --torque '*_knee*=45' --hold 'arm_*=0'
"""
CHECK = """
robot-ppo check go2
robot-ppo check my_robots/dog                      # a folder with robot.yaml and the MJCF
robot-ppo check spot --picture spot.png            # how it stands
robot-ppo check go2 --picture stairs.png --terrain stairs_up:0.6
"""


def add_list(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo list`."""
    text = "List robots, tasks and presets, and where each is from."
    command(commands, _list, "list", text, "robot-ppo list", needs=())


def _list(_: argparse.Namespace) -> None:
    from robot_ppo import installed_terms, project

    for kind in ("robot", "task", "preset"):
        print(f"{kind}s:")
        for line in project.listing(kind):
            print(f"  {line}")
    for line in installed_terms.listing():
        print(f"terms of your own: {line}")
    print("derived tasks: walk, of any robot: robot-ppo train walk --robot ROBOT")
    print(f"tasks of Gymnasium: {', '.join(project.GYM_TASKS)}, gym:ID (any other of Box spaces)")


def add_import(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo import`."""
    text = (
        "Make a robot of an MJCF or a URDF: pose, gains, feet and limits are derived, and proved."
    )
    p = command(commands, _import, "import", text, IMPORT, needs=("mujoco", "matplotlib"))
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
    folder = importer.run(asked, proofs())
    print((folder / "report.md").read_text().partition("## Proof")[2].partition("##")[0].strip())
    print(f"\n{_feet(folder)}")
    print(f"{folder}: robot.yaml, {folder.name}.xml, report.md, views.png")
    print(f"next: look at {folder / 'views.png'}; robot-ppo train walk --robot {_called(folder)}")


def _feet(folder: Path) -> str:
    """Return what an imported robot stands on, in one line: a low tail is seen here at once."""
    from robot_ppo_export.contract import spec

    feet = spec.load(folder / "robot.yaml").feet
    return f"{len(feet)} feet: {', '.join(feet)} (--feet names others)"


def _called(folder: Path) -> str:
    """Return how a command that is typed here finds a robot: by name where that is looked for."""
    from robot_ppo import project

    there = {robot.name: robot.path.resolve() for robot in project.found("robot")}
    named = there.get(folder.name) == folder.resolve()
    return folder.name if named else shlex.quote(str(folder))


def proofs() -> "Proofs":
    """Return what `import` tries with a robot before it is written."""
    from robot_ppo.derived import walk
    from robot_ppo.robot_model.importing.importer import Proofs
    from robot_ppo.sim import standing

    return Proofs(standing.touching, standing.gets_up, standing.told, walk.told)


def add_check(commands: argparse._SubParsersAction) -> None:
    """Add `robot-ppo check`."""
    text = "Check a robot's files: every problem at once, or what its two variants are."
    p = command(commands, _check, "check", text, CHECK, needs=("mujoco",))
    p.add_argument("robot", metavar="ROBOT|DIR", help="see `robot-ppo list`, or a folder")
    p.add_argument("--picture", type=Path, metavar="FILE.png", help="show how the robot stands")
    p.add_argument("--terrain", metavar="KIND:LEVEL", help="on rough ground in the picture")


def _task(robot: "RobotSpec", xml: Path) -> list[str]:
    """Return what the task `walk` makes of a robot, or why it has none."""
    from robot_ppo.derived import walk

    try:
        return [f"  {line}" for line in walk.told(robot, xml)]
    except InputError as error:
        return [f"  none: {error}"]


def _check(args: argparse.Namespace) -> int:
    from robot_ppo import project
    from robot_ppo.robot_model import comparison

    if args.terrain and not args.picture:
        raise InputError("--terrain is the ground in a picture: give --picture FILE.png, too")
    folder = project.robot_folder(args.robot)
    robot = project.load_robot_in(folder)
    page, right = comparison.page(robot, folder / robot.model)
    print(page)
    if right:
        from robot_ppo.sim import standing

        print(f"\n{standing.told(robot, folder / robot.model)}")
        print("\n".join(["\nThe task `walk`:", *_task(robot, folder / robot.model)]))
    if right and args.picture:
        from robot_ppo.playback import portrait

        portrait.write(args.picture, robot, folder / robot.model, args.terrain)
        print(f"\nwrote {args.picture}")
    return 0 if right else RefusedError.exit_code
