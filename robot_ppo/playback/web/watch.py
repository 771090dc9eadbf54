"""`robot-ppo sim ROBOT --web`: the robot that a node in another process drives, in a browser.

It can be pushed and changed from there, but not commanded: that is the node's operator's business.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from robot_ppo.playback.web import asked, figures
from robot_ppo.playback.web.asked import Request
from robot_ppo.playback.web.knobs import Knobs
from robot_ppo.playback.web.link import Link
from robot_ppo.playback.web.pace import Lateness
from robot_ppo.playback.web.page import Page
from robot_ppo.sim.server import Show
from robot_ppo.sim.simulated_robot import SimulatedRobot

EVERY = 0.02
"""Simulated time between two figures [s]."""


class Watch:
    """What a page sees of a simulated robot, and what it may ask of it."""

    def __init__(self, robot: SimulatedRobot, link: Link) -> None:
        """Show `robot` to the page behind `link`."""
        self._robot = robot
        self._link = link
        self._knobs = Knobs(robot)
        self._lateness = Lateness()
        self._number = 0
        self._looked_at = True
        self._next = robot.time
        self._news: list[str] = []
        self._acts: dict[str, Callable[[Request], None]] = {
            "push": lambda r: self._knobs.push(r.values),
            "set": lambda r: self._knobs.set(r.name, float(r.values[0])),
            "looked at": lambda r: setattr(self, "_looked_at", r.values[0] > 0),
        }

    def show(self, late: float, driven: bool) -> None:
        """Show the robot if it is time, and do what was asked for.

        Args:
            late: how late this state is [s].
            driven: whether a node commands the robot.
        """
        self._lateness.add(max(late, 0.0))
        if self._robot.time < self._next:
            return
        self._next = self._robot.time + EVERY
        for message in self._link.receive():
            if said := asked.hear(message, self._acts):
                self._news.append(said)
        if self._looked_at:
            self._link.send(self._figures(driven))

    def _figures(self, driven: bool) -> bytes:
        shown = figures.of_robot(self._robot) | {
            "n": self._number,
            "state": "driven" if driven else "nobody drives it",
            "twist": False,
            "command": [],
            "late": self._lateness.shown(),
            "knobs": self._knobs.values(),
            "news": self._news,
        }
        self._news = []
        self._number += 1
        return msgspec.json.encode(shown)


@contextmanager
def watched(
    robot: SimulatedRobot, host: str, port: int, say: Callable[[str], None] = print
) -> Iterator[Show]:
    """Serve the page of a robot; yield what shows it, to be called after every state.

    Args:
        robot: that is shown.
        host: address to serve on; another than loopback asks for a token.
        port: to serve on, 0 for any.
        say: called with the address.
    """
    page = Page(host, port)
    try:
        address = page.open(robot, {"task": "simulated robot", "kind": "watch", "command": []})
        say(f"Open {address} in a browser.")
        yield Watch(robot, page.link).show
    finally:
        page.close()
