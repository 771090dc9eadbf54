"""`robot-ppo play RUN|FILE --web`: the robot in a browser, driven from there."""

import os
import pickle
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from robot_ppo import export
from robot_ppo.playback.web.drive import KNOBS, Drive
from robot_ppo.playback.web.library import Library
from robot_ppo.playback.web.link import Job, Link, pair
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

PORT = 8800
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 30.0
"""Time that the serving process may take to begin [s]."""


def play(
    source: Path,
    *,
    port: int = PORT,
    host: str = "127.0.0.1",
    follow: bool = False,
    seconds: float | None = None,
    say: Callable[[str], None] = print,
) -> Drive:
    """Drive a policy from a browser until Ctrl-C; return what was driven.

    Args:
        source: run folder or policy file.
        port: to serve on, 0 for any.
        host: address to serve on; another than loopback asks for a token.
        follow: go over to the newest checkpoint of a run that still trains.
        seconds: end after so long.
        say: called with each line of text.
    """
    if follow and not source.is_dir():
        raise InputError(f"--follow: {source} is no run folder, and a policy file does not learn")
    token = "" if host in LOOPBACK else secrets.token_urlsafe(16)
    library = Library(source, follow)
    try:
        policy = library.first()
        ours, theirs = pair()
        link = Link(ours)
        robot_name = export.robot_of(source) if source.is_dir() else None
        drive = Drive(policy, link, library, robot_name)
        robot = drive.robot
        about = _about(policy)
        job = Job(
            robot.model, robot.spec.base.body, robot.standing_qpos(), host, port, token, about
        )
        process = _serving(job, theirs.fileno())
        theirs.close()
        try:
            address = _address(link, process, host, token)
            say(f"Open {address} in a browser. Ctrl-C ends it.")
            drive.run(seconds)
            if process.poll() not in (None, 0):
                raise InputError("the process that serves the page has ended; see above")
        finally:
            link.close()
            _end(process)
    finally:
        library.close()
    late = drive.lateness
    say(f"{late.count} ticks, {late.late} later than 2 ms, p99 {late.p99():.2f} ms")
    return drive


def _about(policy: Policy) -> dict[str, Any]:
    """Return what the page shows and never changes."""
    contract = policy.contract
    entries = [
        {"name": e.name, "unit": e.unit, "low": e.low, "high": e.high}
        for e in contract.command.entries
    ]
    return {
        "task": contract.task,
        "robot": contract.robot.name,
        "command": entries,
        "kind": contract.command.kind,
        "joints": list(contract.robot.joint_names),
        "torque": contract.robot.vector("torque_limit").tolist(),
        "feet": list(contract.robot.feet),
        "knobs": {name: [low, high, unit] for name, (low, high, unit) in KNOBS.items()},
        "period": contract.control_period,
    }


def _serving(job: Job, number: int) -> subprocess.Popen[bytes]:
    """Start the process that serves the page, with the link's socket of this number."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "robot_ppo.playback.web.serve", str(number)],
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=(number,),
        start_new_session=True,  # Ctrl-C is for the node, which ends it
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        pickle.dump(job, pipe)
    return process


def _address(link: Link, process: subprocess.Popen[bytes], host: str, token: str) -> str:
    """Return the page's address once it is served, or raise what hinders it."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and link.open:
        link.wait(0.2)
        for message in link.receive():
            said = msgspec.json.decode(message)
            if "error" in said:
                raise InputError(said["error"])
            if "port" in said:
                name = f"[{host}]" if ":" in host else host
                return f"http://{name}:{said['port']}/" + (f"?token={token}" if token else "")
        if process.poll() is not None:
            break
    raise InputError("the process that serves the page did not begin; see above")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Give it a moment to close its connections."""
    try:
        process.wait(3.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
