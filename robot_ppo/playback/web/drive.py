"""The node and its robot in real time, and what a page may ask of them.

    drive = Drive(policy, link, library)
    drive.run()

The node runs unchanged in lockstep with the simulation; after each tick this waits until the tick
is due on the wall clock, and hears what the page asks meanwhile. A pause is a wait without end, a
slow motion a longer one: the node notices neither.
"""

import time
from collections.abc import Callable

import msgspec
import numpy as np

from robot_ppo.playback.session import same_robot
from robot_ppo.playback.web import asked, figures
from robot_ppo.playback.web.asked import Request
from robot_ppo.playback.web.figures import TermRanges, rounded
from robot_ppo.playback.web.ground import Ground
from robot_ppo.playback.web.ground import asked as asked_ground
from robot_ppo.playback.web.knobs import Knobs
from robot_ppo.playback.web.library import Library
from robot_ppo.playback.web.link import Link
from robot_ppo.playback.web.pace import Pace
from robot_ppo.playback.web.steering import PageCommands, Switchable
from robot_ppo.sim.simulated_robot import (
    DivergedRobotError,
    LockstepClock,
    LockstepDriver,
    SimulatedRobot,
)
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.events import APPROVE_RUN, APPROVE_STAND, NodeEvent
from robot_ppo_node.control.states import State
from robot_ppo_node.node import Node

IDLE = 0.02
"""Period of what is shown while no node runs, or in a pause [s]."""
SLOWEST = 1.0
FASTEST = 10.0
"""Bounds of the slow motion: so many times as long."""
APPROVALS = {
    APPROVE_STAND: (State.PREFLIGHT, "stand up"),
    APPROVE_RUN: (State.READY, "run the policy"),
}
"""Code of a reason to wait -> the state, and what the operator is asked to approve."""


class Drive:
    """One robot, the node that drives it, and the page that asks."""

    def __init__(
        self,
        policy: Policy,
        link: Link,
        library: Library,
        robot: str | None = None,
        ground: Ground | None = None,
    ) -> None:
        """Put the robot of `policy` where its life cycle begins.

        Args:
            policy: to begin with.
            link: to the process that serves the page.
            library: of the policies that the page may switch to.
            robot: name or folder of the robot, by default the policy's.
            ground: that it walks on, by default level.
        """
        self.ground = ground or Ground()
        self.robot = _simulated(policy, robot, self.ground)
        self.policy = Switchable(policy)
        self._robot_name = robot
        self._asked_ground: Ground | None = None
        self._pace = Pace(link, self._hear)
        self.lateness = self._pace.lateness
        self._link = link
        self._library = library
        self._knobs = Knobs(self.robot)
        self._ranges = TermRanges(policy.contract)
        self._twist = policy.contract.command.kind == "twist"
        self._slow = 1.0
        self._paused = False
        self._steps = 0
        self._again = False
        self._news: list[str] = []
        self._approval = (State.PASSIVE, "")
        """The state in which the node waits for an approval, and of what."""
        self._number = 0
        self._looked_at = True
        """Whether any browser is there: figures cost a tenth of a tick."""
        self._acts: dict[str, Callable[[Request], None]] = {
            "command": lambda r: self.commands.hear(r.values),
            "approve": lambda r: self.node.arm(),
            "stop": lambda r: self.node.stop("the page says stop"),
            "damp": lambda r: self.node.damp("the page says damp"),
            "reset": lambda r: setattr(self, "_again", True),
            "push": lambda r: self._knobs.push(r.values),
            "pause": lambda r: setattr(self, "_paused", not self._paused),
            "tick": lambda r: setattr(self, "_steps", self._steps + 1),
            "slow": self._set_slow,
            "set": lambda r: self._knobs.set(r.name, float(r.values[0])),
            "policy": lambda r: self._library.want(r.name),
            "ground": lambda r: setattr(self, "_asked_ground", asked_ground(r)),
            "looked at": lambda r: setattr(self, "_looked_at", r.values[0] > 0),
        }
        self._begin()

    def run(self, ends: float = np.inf) -> Ground | None:
        """Drive until the page's process is gone or another ground is asked for; return that.

        `ends` is a time of the monotonic clock at which it ends [s].
        """
        while self._open(ends):
            self._pace.start()
            try:
                self.node.run(on_tick=lambda: self._after_tick(ends))
            except DivergedRobotError as error:
                self._news.append(str(error))
            if not self._again:
                self._rest(ends)
            if self._again:
                self.robot.reset()
                self._begin()
        return self._asked_ground

    def on_other_ground(self, link: Link) -> "Drive":
        """Return the same robot and policy on the ground that was asked for; `link` is its own."""
        drive = Drive(self.policy.now, link, self._library, self._robot_name, self._asked_ground)
        for name, value in self._knobs.values().items():
            drive._knobs.set(name, value)
        drive.lateness = drive._pace.lateness = self.lateness
        return drive

    def figures(self) -> bytes:
        """Return what the page shows, as JSON; the events since the last time are among it."""
        node = self.node
        shown = figures.of_robot(self.robot) | {
            "n": self._number,
            "state": node.state.name.lower(),
            "fault": node.fault,
            "waits": self._waits(),
            "twist": self._twist,
            "command": rounded(node.command),
            "target": rounded(node.decision.motors.target),
            "terms": self._ranges.of(self.policy.now),
            "guards": node.envelope.fired_counts(),
            "paused": self._paused,
            "slow": self._slow,
            "late": self.lateness.shown(),
            "knobs": self._knobs.values(),
            "policy": self._library.current,
            "policies": self._library.names(),
            "news": self._news,
        }
        self._news = []
        self._number += 1
        return msgspec.json.encode(shown)

    def _begin(self) -> None:
        """Build a node; the robot is as it is."""
        self._again = False
        self._approval = (State.PASSIVE, "")
        self.commands = PageCommands(self.policy.contract.command.size)
        clock = LockstepClock(self.robot)
        driver = LockstepDriver(self.robot)
        self.node = Node(
            self.policy,  # type: ignore[arg-type]  # hands everything on to a Policy
            driver,
            clock,
            self.commands,
            on_event=self._tell,
        )

    def _tell(self, now: float, event: NodeEvent) -> None:
        """Tell the page of an event; remember what the node waits for an operator to approve."""
        self._news.append(f"{now:.1f} s: {event}")
        self._approval = APPROVALS.get(event.reason.code, self._approval)

    def _waits(self) -> str:
        """Return what the node waits for an operator to approve, "" where it does not."""
        state, what = self._approval
        return what if self.node.state is state else ""

    def _after_tick(self, ends: float) -> None:
        """Show the tick, wait until the next is due, and do what was asked meanwhile."""
        self._show()
        self._pace.advance(self.node.period * self._slow)
        while self._paused and not self._steps and not self._again and self._open(ends):
            self._pace.idle(IDLE)
            self._show()
        self._steps = max(0, self._steps - 1) if self._paused else 0
        self._take_policy()
        if self._again or not self._open(ends):
            self.node.end()

    def _open(self, ends: float) -> bool:
        """Return whether the robot is to be driven on, here."""
        return self._link.open and self._asked_ground is None and time.monotonic() < ends

    def _rest(self, ends: float) -> None:
        """The node is over: the robot brakes until the page asks for another start."""
        while not self._again and self._open(ends):
            if not self._paused:
                try:
                    self.robot.advance(IDLE)
                except DivergedRobotError:
                    self.robot.reset()
            self._show()
            self._pace.idle(IDLE * self._slow)

    def _show(self) -> None:
        if self._looked_at:
            self._link.send(self.figures())
        else:
            self._library.names()  # where a run is followed, it is looked for new checkpoints

    def _hear(self, message: bytes) -> None:
        """Do what a page asks; what is no request is told and forgotten."""
        if said := asked.hear(message, self._acts):
            self._news.append(said)

    def _set_slow(self, request: Request) -> None:
        self._slow = float(np.clip(request.values[0], SLOWEST, FASTEST))

    def _take_policy(self) -> None:
        """Go on with another policy, once it is loaded."""
        loaded = self._library.ready()
        if loaded is None:
            return
        if isinstance(loaded, InputError | RefusedError):
            self._news.append(str(loaded))
        elif self.policy.fits(loaded):
            loaded.reset()
            self.policy.now = loaded
            self._ranges = TermRanges(loaded.contract)
            self._news.append(f"{self.robot.time:.1f} s: goes on with {self._library.current}")
        else:
            self._library.refuse()
            self._news.append("that policy is for another robot, observation or command")


def _simulated(policy: Policy, name: str | None, ground: Ground) -> SimulatedRobot:
    """Return the robot of a policy, with its looks and its sensors' noise."""
    spec, xml = same_robot(policy, name)
    contract = policy.contract
    return SimulatedRobot(
        spec,
        xml=xml,
        with_visuals=True,
        field=ground.field,
        scan_grid=policy.layout.scan_grid,
        noise=contract.training.noise,
    )
