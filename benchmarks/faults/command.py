"""`python -m benchmarks.faults`: inject every fault and write the page of the outcomes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common import machine, shipped_policy, write_json
from benchmarks.faults import files, over_dds, over_ros2, packets, processes, robot
from benchmarks.faults.fault import DAMPED, NODE_ALIVE, NODE_DEAD, NOT_RUN, Fault, Seen
from robot_ppo.cli import exit_code
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

FAULTS: tuple[Fault, ...] = (
    *robot.FAULTS,
    *packets.FAULTS,
    *files.FAULTS,
    *processes.FAULTS,
    *over_dds.FAULTS,
    *over_ros2.FAULTS,
)
"""The rows of the table, in its order."""
BY_NAME = {fault.name: fault for fault in FAULTS}

Rows = list[tuple[Fault, Seen]]


def main(argv: Sequence[str] | None = None) -> int:
    """Inject the faults into a robot that walks with the shipped policy; return the exit code."""
    args = parser().parse_args(argv)
    return exit_code(
        "benchmarks.faults", lambda: run(shipped_policy(), args.out, args.json, args.only)
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description="Inject every fault into a walking robot. Exit code 3: one ended badly.",
        epilog="example:\n  python -m benchmarks.faults --only tilt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--only", metavar="NAME", help="one fault, by its name in the page")
    top.add_argument("--out", type=Path, metavar="FILE.md", help="write the page of all faults")
    top.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes as data")
    return top


def run(policy: Path, out: Path | None, json_path: Path | None, only: str | None = None) -> int:
    """Inject every fault, or one; print and write what came of it; return the exit code.

    Args:
        policy: the policy file that walks the robot.
        out: the page to write; one fault alone makes no page.
        json_path: the same as data.
        only: the name of one fault.
    """
    if only and out:
        raise InputError("--out writes the page of all faults: leave out --only")
    console = Console(soft_wrap=True, highlight=False)
    rows = []
    for fault in _chosen(only):
        seen = fault.run(policy)
        rows.append((fault, seen))
        verdict = "" if fault.good(seen) else "  NOT AS IT MUST BE"
        console.print(
            f"{fault.name:<22} {seen.outcome:<8} {_ticks(seen):>4}  {seen.reason}{verdict}"
        )
    write_json(json_path, _data(rows))
    if out:
        write_atomically(out, page(rows).encode())
    bad = [fault.name for fault, seen in rows if not fault.good(seen)]
    console.print(f"NOT AS IT MUST BE: {', '.join(bad)}" if bad else _summary(rows))
    return 3 if bad else 0


def page(rows: Rows) -> str:
    """Return docs/safety_results.md."""
    measured_on = machine()
    lines = [
        f"| `{fault.name}` | {fault.injected} | {seen.outcome} | {_cell(seen.reason)} | "
        f"{seen.allowed:.0f} | {_ticks(seen)} |"
        for fault, seen in rows
    ]
    return _PAGE.format(
        rows="\n".join(lines),
        summary=_summary(rows),
        machine="{cores} cores, {cpu}, Python {python}".format(**measured_on),
        runs=processes.RUNS,
        alive=f"{NODE_ALIVE:g}",
        dead=f"{NODE_DEAD:g}",
    )


_PAGE = """# What the node does about faults

Written by `python -m benchmarks.faults --out docs/safety_results.md`, which exits with 3 if a \
fault ends otherwise than it must. {summary}

A robot walks with the shipped policy at 0.5 m/s, and the fault comes. *Damped*: the motors brake, \
and no other command is heard after. *Refused*: what is wrong was not let in. *Clamped*: the \
command was brought inside its limit, and the robot goes on. The reason is in the words of the \
node, its watchdog or a counter.

**Ticks** are control periods of 20 ms, counted at the robot: from the moment at which the fault \
exceeds its limit to the first damping that is heard; at most {alive} where the node lives, {dead} \
where it does not. Some limits tolerate a fault for a while, such as a state that is late: \
*allowed* is for how many ticks, and comes on top.

Rows up to `looser_limits` run in lockstep with the simulated robot, so that they come out the \
same on every computer; the network's have real sockets. The others are real processes in real \
time, {runs} runs each, of which the slowest is shown (a run that a busy computer ended before \
the fault came is begun again); the robot looks for commands every 2 ms. \
Measured on: {machine}.

| Fault | Injected | Outcome | Reason | Allowed | Ticks |
|---|---|---|---|---|---|
{rows}

`over_torque` is not damped: the target is moved so that the motors are asked for what they can \
give. `command_timeout` is not either: nobody steers, so the robot is asked to stand. What a robot \
cannot measure or a driver cannot see is not in the table: see [envelope.md](envelope.md).
"""


def _chosen(only: str | None) -> Sequence[Fault]:
    if only is None:
        return FAULTS
    if only not in BY_NAME:
        near = strict.did_you_mean(only, BY_NAME)
        raise InputError(f"unknown fault {only!r}{near}")
    return (BY_NAME[only],)


def _summary(rows: Rows) -> str:
    """Return a sentence: how many, and how slow at most."""
    run = [(fault, seen) for fault, seen in rows if seen.outcome != NOT_RUN]
    text = f"{sum(f.good(s) for f, s in run)} of {len(run)} faults end as they must"
    for most, who in ((NODE_ALIVE, "the node lives"), (NODE_DEAD, "the node is dead")):
        ticks = [s.ticks for f, s in rows if s.ticks is not None and f.most == most]
        if ticks:
            text += f"; at most {max(ticks):.1f} ticks to damping where {who}"
    return text + "."


def _ticks(seen: Seen) -> str:
    return f"{seen.ticks:.1f}" if seen.outcome == DAMPED and seen.ticks is not None else "-"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _data(rows: Rows) -> dict[str, Any]:
    return {
        "machine": machine(),
        "bench": "faults",
        "faults": [
            {
                "name": fault.name,
                "injected": fault.injected,
                "outcome": seen.outcome,
                "good": fault.good(seen),
                "reason": seen.reason,
                "allowed_ticks": seen.allowed,
                "ticks": seen.ticks,
            }
            for fault, seen in rows
        ],
    }
