"""`python -m benchmarks.generated`: of so many made-up robots, how many walk?

python -m benchmarks.generated --robots 20 --minutes 10 --json runs/generated/robots.json
python -m benchmarks.generated --robots 6 --kinds quadruped --minutes 0       # import alone
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, write_json
from benchmarks.generated import anatomy, robot_text, until_walking
from benchmarks.generated.parts import Robot
from robot_ppo import arguments
from robot_ppo.cli import exit_code
from robot_ppo.commands.robots import proofs
from robot_ppo.derived import walk
from robot_ppo.robot_model.importing import importer
from robot_ppo.robot_model.importing.options import Options
from robot_ppo_export.errors import InputError

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Make, import, train and score; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code("benchmarks.generated", lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.generated",
        description="Make up legged robots, import, train and score them: how many walk?",
        epilog="example:\n  python -m benchmarks.generated --robots 20 --minutes 10 "
        "--json runs/generated/robots.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--robots", type=arguments.at_least(1), default=20, metavar="N", help="how many (20)"
    )
    p.add_argument("--first", type=int, default=0, metavar="SEED", help="seed of the first (0)")
    p.add_argument(
        "--kinds",
        nargs="+",
        choices=anatomy.KINDS,
        default=list(anatomy.KINDS),
        help="in turn (all three)",
    )
    p.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        metavar="M",
        help="of training for each at the most (10); 0: import and derive alone",
    )
    p.add_argument("--seed", type=int, default=1, help="of the trainings (1)")
    p.add_argument(
        "--out",
        type=Path,
        default=Path("runs/generated"),
        metavar="DIR",
        help="files, robots and runs (runs/generated)",
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return p


def run(args: argparse.Namespace) -> None:
    """Print a row for each robot as it is done, then the table."""
    rows: list[Row] = []
    for i in range(args.robots):
        kind = args.kinds[i % len(args.kinds)]
        rows.append(row(args.first + i, kind, args.out, args.minutes, args.seed))
        print(json.dumps(rows[-1]), flush=True)
        write_json(args.json, {"machine": machine(), "minutes": args.minutes, "robots": rows})
    Console().print(table(rows))


def row(seed: int, kind: str, out: Path, minutes: float, training_seed: int) -> Row:
    """Return what became of one robot."""
    robot = anatomy.drawn(seed, kind)
    format_ = file_format(seed)
    found: Row = {"robot": robot.name, "file": format_, "mass": round(robot.mass, 1)}
    try:
        folder = imported(robot, format_, out)
        body = walk.resolve(str(folder)).task
    except InputError as error:
        return found | {"refused": str(error)}
    found |= {"fastest": body["commands"]["twist"]["vx"][1]}
    if minutes <= 0:
        return found
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    result = until_walking.train(folder, runs / robot.name, minutes, training_seed)
    return found | asdict(result)


def file_format(seed: int) -> str:
    """Return in which format the robot of a seed comes: all kinds come in both."""
    return robot_text.FORMATS[seed // len(anatomy.KINDS) % len(robot_text.FORMATS)]


def imported(robot: Robot, format_: str, out: Path) -> Path:
    """Write a robot's file, import it without a flag, and return its folder."""
    file = out / "files" / f"{robot.name}.{format_}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(robot_text.text(robot, format_))
    return importer.run(Options(file, out=out / "robots", overwrite=True), proofs())


def table(rows: Sequence[Row]) -> Table:
    """Return the figures of all robots, a row each."""
    walking = sum(bool(row.get("walking")) for row in rows)
    imported_ = sum("refused" not in row for row in rows)
    title = f"{len(rows)} made-up robots: {imported_} imported, {walking} walk"
    columns = ("robot", "file", "kg", "walks", "steps", "seconds")
    found = Table(*columns, "velocity error / limit", "yaw error / limit", "falls", title=title)
    found.columns[0].no_wrap = True
    for row in rows:
        found.add_row(*_cells(row))
    return found


def _cells(row: Row) -> list[str]:
    begin = [row["robot"], row["file"], str(row["mass"])]
    if "refused" in row:
        return [*begin, row["refused"]]
    if "walking" not in row:
        return begin
    figures = row["figures"]
    limits = row["limits"]
    errors = [
        f"{figures[name]:.3f} / {limits[name]:.3f}" for name in ("velocity_error", "yaw_error")
    ]
    walks = "yes" if row["walking"] else "no"
    return [
        *begin,
        walks,
        f"{row['steps']:,}",
        f"{row['seconds']:.0f}",
        *errors,
        f"{figures['falls']:g}",
    ]
