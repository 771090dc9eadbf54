"""The page of one robot, served by a process of its own.

    page = Page("127.0.0.1", 8800)
    address = page.open(robot, about)
    page.link.send(figures)
    page.close()

The process has a lower priority than this one, where the node is.
"""

import os
import pickle
import secrets
import subprocess
import sys
import time
from typing import Any

import msgspec

from robot_ppo.playback.web.knobs import KNOBS
from robot_ppo.playback.web.link import Job, Link, pair
from robot_ppo.sim.simulated_robot import SimulatedRobot
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

PORT = 8800
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 30.0
"""Time that the serving process may take to begin [s]."""
NOT_BEGUN = "the process that serves the page did not begin; see above"


class Page:
    """The serving process, and our end of the link to it."""

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, token: str | None = None) -> None:
        """Start the process, which loads its libraries while the robot is built here.

        Args:
            host: address to serve on; another than loopback asks for a token.
            port: to serve on, 0 for any.
            token: that is asked for; None: a new one where one is needed.
        """
        new = "" if host in LOOPBACK else secrets.token_urlsafe(16)
        self._host = host
        self._port = port
        self._token = new if token is None else token
        ours, theirs = pair()
        self.link = Link(ours)
        number = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "robot_ppo.playback.web.serve", str(number)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=(number,),
            start_new_session=True,  # Ctrl-C is for the node, which ends it
        )
        theirs.close()

    def open(self, robot: SimulatedRobot, about: dict[str, Any]) -> str:
        """Serve the page of `robot`; return its address.

        Args:
            robot: that is shown.
            about: what the page shows and never changes, beside what `of_spec` returns.

        Raises:
            InputError: the port is taken, or mujoco has no viewer.
        """
        job = Job(
            robot.model,
            robot.spec.base.body,
            robot.standing_qpos(),
            self._host,
            self._port,
            self._token,
            of_spec(robot.spec) | about,
        )
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                pickle.dump(job, pipe)
        except BrokenPipeError:
            raise InputError(NOT_BEGUN) from None
        return self._address()

    def again(self) -> "Page":
        """Return a page at the same address, once this one is closed: browsers come back to it."""
        return Page(self._host, self._port, self._token)

    def check(self) -> None:
        """Raise `InputError` where the process has failed."""
        if self._process.poll() not in (None, 0):
            raise InputError("the process that serves the page has ended; see above")

    def close(self) -> None:
        """End the process, after a moment in which it may close its connections."""
        self.link.close()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()  # it was never told what to serve
            self._process.kill()
        try:
            self._process.wait(3.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _address(self) -> str:
        """Return the page's address once it is served, or raise what hinders it."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends and self.link.open:
            self.link.wait(0.2)
            for message in self.link.receive():
                said = msgspec.json.decode(message)
                if "error" in said:
                    raise InputError(said["error"])
                if "port" in said:
                    self._port = said["port"]
                    name = f"[{self._host}]" if ":" in self._host else self._host
                    shown = f"?token={self._token}" if self._token else ""
                    return f"http://{name}:{said['port']}/{shown}"
            if self._process.poll() is not None:
                break
        raise InputError(NOT_BEGUN)


def of_spec(spec: RobotSpec) -> dict[str, Any]:
    """Return what every page shows of its robot."""
    return {
        "robot": spec.name,
        "joints": list(spec.joint_names),
        "torque": spec.vector("torque_limit").tolist(),
        "feet": list(spec.feet),
        "knobs": {name: [low, high, unit] for name, (low, high, unit) in KNOBS.items()},
    }
