"""The node and its robot in real time, and what a page may ask of them.

    drive = Drive(policy, link, library)
    drive.run()

The node runs unchanged in lockstep with the simulation; after each tick this waits until the tick
is due on the wall clock, and hears what the page asks meanwhile. A pause is a wait without end, a
slow motion a longer one: the node notices neither.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from robot_ppo.playback.record import measured_velocity
from robot_ppo.playback.session import same_robot
from robot_ppo.playback.web.library import Library
from robot_ppo.playback.web.link import Link
from robot_ppo.robot_model.geometry import FootGeometry
from robot_ppo.sim.simulated_robot import (
    DivergedRobotError,
    LockstepClock,
    LockstepDriver,
    SimulatedRobot,
)
from robot_ppo_export.errors import InputError, RefusedError
from robot_ppo_export.policy import Policy
from robot_ppo_node.commands.base import COMMAND_TIMEOUT
from robot_ppo_node.control.events import APPROVE_RUN, APPROVE_STAND, NodeEvent
from robot_ppo_node.control.states import State
from robot_ppo_node.node import Node

LAG = 0.2
"""Time behind real time [s] that is given up, not caught up."""
IDLE = 0.02
"""Period of what is shown while no node runs, or in a pause [s]."""
SLOWEST = 1.0
FASTEST = 10.0
"""Bounds of the slow motion: so many times as long."""
PUSH = 2.0
"""Largest change of velocity by a push [m/s]."""
KNOBS: dict[str, tuple[float, float, str]] = {
    "friction": (0.05, 2.0, ""),
    "payload": (-2.0, 10.0, "kg"),
    "delay": (0.0, 60.0, "ms"),
    "strength": (0.2, 1.5, ""),
}
"""What the page may change of the robot -> its range and unit."""

APPROVALS = {
    APPROVE_STAND: (State.PREFLIGHT, "stand up"),
    APPROVE_RUN: (State.READY, "run the policy"),
}
"""Code of a reason to wait -> the state, and what the operator is asked to approve."""


class Request(msgspec.Struct, frozen=True):
    """What a page asks for."""

    ask: str
    values: list[float] = []
    name: str = ""


class Switchable:
    """A policy that can be exchanged for another of the same robot while the node runs."""

    def __init__(self, policy: Policy) -> None:
        """Begin with `policy`."""
        self.now = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)

    def fits(self, policy: Policy) -> bool:
        """Return whether nothing but weights and origin differs."""
        ours = self.now.contract
        others = policy.contract
        keys = ("robot", "layout", "action", "control_period", "gait_frequency", "command")
        return all(getattr(ours, key) == getattr(others, key) for key in keys)


class PageCommands:
    """The command of the page: zero once the page has been silent for a while."""

    name = "web"

    def __init__(self, size: int) -> None:
        """Ask for nothing until the page does."""
        self._values = np.zeros(size, np.float32)
        self._heard = -np.inf

    def hear(self, values: list[float]) -> None:
        """Take a command; one of another size or that is no number is none."""
        wanted = np.array(values, np.float32)
        if wanted.shape == self._values.shape and np.isfinite(wanted).all():
            self._values = wanted
            self._heard = time.monotonic()

    def read(self, now: float) -> tuple[np.ndarray, float]:
        """Return the command, and its age [s] on the wall clock; `now` is simulated."""
        silent = time.monotonic() - self._heard > COMMAND_TIMEOUT
        return (np.zeros_like(self._values) if silent else self._values), 0.0


class Lateness:
    """How late ticks were against the wall clock."""

    def __init__(self) -> None:
        self.count = self.late = 0
        self._recent: deque[float] = deque(maxlen=500)

    def add(self, seconds: float) -> None:
        """Count a tick that was so late [s]."""
        self.count += 1
        self.late += seconds > 0.002
        self._recent.append(seconds)

    def p99(self) -> float:
        """Return the 99th percentile over the last 500 ticks [ms]."""
        return float(np.percentile(self._recent, 99)) * 1e3 if self._recent else 0.0


class Drive:
    """One robot, the node that drives it, and the page that asks."""

    def __init__(
        self, policy: Policy, link: Link, library: Library, robot: str | None = None
    ) -> None:
        """Put the robot of `policy` where its life cycle begins.

        Args:
            policy: to begin with.
            link: to the process that serves the page.
            library: of the policies that the page may switch to.
            robot: name or folder of the robot, by default the policy's.
        """
        spec, xml = same_robot(policy, robot)
        noise = policy.contract.training.noise
        grid = policy.layout.scan_grid
        self.robot = SimulatedRobot(spec, xml=xml, looks=True, scan_grid=grid, noise=noise)
        self.policy = Switchable(policy)
        self.lateness = Lateness()
        self._link = link
        self._library = library
        self._feet = FootGeometry(self.robot.model, self.robot.spec).geoms
        self._base = self.robot.model.body(self.robot.spec.base.body).id
        self._mass = float(self.robot.model.body_mass[self._base])
        self._friction = float(self.robot.model.geom_friction[self._feet, 0].mean())
        self._delay = 0.0
        self._twist = policy.contract.command.kind == "twist"
        self._slow = 1.0
        self._paused = False
        self._steps = 0
        self._again = self._end = False
        self._news: list[str] = []
        self._approval = (State.PASSIVE, "")
        """The state in which the node waits for an approval, and of what."""
        self._due = 0.0
        self._number = 0
        self._acts: dict[str, Callable[[Request], None]] = {
            "command": lambda r: self.commands.hear(r.values),
            "approve": lambda r: self.node.arm(),
            "stop": lambda r: self.node.stop("the page says stop"),
            "damp": lambda r: self.node.damp("the page says damp"),
            "reset": self._reset,
            "push": self._push,
            "pause": lambda r: setattr(self, "_paused", not self._paused),
            "tick": lambda r: setattr(self, "_steps", self._steps + 1),
            "slow": self._set_slow,
            "set": self._set,
            "policy": lambda r: self._library.want(r.name),
        }
        self._begin()

    def run(self, seconds: float | None = None) -> None:
        """Drive until the page's process is gone, or `seconds` of wall clock are over."""
        ends = np.inf if seconds is None else time.monotonic() + seconds
        while self._link.open and time.monotonic() < ends:
            self._due = time.monotonic()
            try:
                self.node.run(on_tick=lambda: self._after_tick(ends))
            except DivergedRobotError as error:
                self._news.append(str(error))
            if not self._again:
                self._rest(ends)
            if self._again:
                self.robot.reset()
                self._begin()

    def figures(self) -> bytes:
        """Return what the page shows, as JSON; the events since the last time are among it."""
        node = self.node
        robot = self.robot
        sent = node.decision.motors
        shown = {
            "n": self._number,
            "time": round(robot.time, 4),
            "state": node.state.name.lower(),
            "fault": node.fault,
            "waits": self._waits(),
            "twist": self._twist,
            "command": _rounded(node.command),
            "measured": _rounded(measured_velocity(robot)),
            "qpos": _rounded(robot.data.qpos, 5),
            "target": _rounded(sent.target),
            "position": _rounded(robot.joint_positions()),
            "torque": _rounded(robot.torques(), 2),
            "contacts": robot.contacts().astype(int).tolist(),
            "terms": self._terms(),
            "guards": node.envelope.fired_counts(),
            "paused": self._paused,
            "slow": self._slow,
            "late": [round(self.lateness.p99(), 2), self.lateness.late, self.lateness.count],
            "knobs": self._knobs(),
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
        self._due += self.node.period * self._slow
        self._wait()
        late = time.monotonic() - self._due
        self.lateness.add(max(late, 0.0))
        if late > LAG:
            self._due = time.monotonic()
        while self._paused and not self._steps and self._link.open and not self._again:
            self._due = time.monotonic() + IDLE
            self._wait()
            self._show()
        self._steps = max(0, self._steps - 1) if self._paused else 0
        self._take_policy()
        if not self._link.open or self._again or time.monotonic() >= ends:
            self.node.end()

    def _rest(self, ends: float) -> None:
        """The node is over: the robot brakes until the page asks for another start."""
        while self._link.open and not self._again and time.monotonic() < ends:
            self._due = time.monotonic() + IDLE * self._slow
            if not self._paused:
                try:
                    self.robot.advance(IDLE)
                except DivergedRobotError:
                    self.robot.reset()
            self._show()
            self._wait()

    def _show(self) -> None:
        self._link.send(self.figures())

    def _wait(self) -> None:
        """Hear requests until the next tick is due."""
        while True:
            for message in self._link.receive():
                self._hear(message)
            left = self._due - time.monotonic()
            if left <= 0:
                return
            self._link.wait(left)
            if not self._link.open:
                return

    def _hear(self, message: bytes) -> None:
        """Do what a page asks; what is no request is told and forgotten."""
        try:
            request = msgspec.json.decode(message, type=Request)
            self._acts[request.ask](request)
        except (msgspec.DecodeError, KeyError, IndexError, ValueError) as error:
            self._news.append(f"not understood: {error}")

    # -- what may be asked for ------------------------------------------------------------------

    def _reset(self, _: Request) -> None:
        self._again = True

    def _push(self, request: Request) -> None:
        """Change the base's velocity by (2,) [m/s] in the body frame."""
        forward, left = np.clip(request.values[:2], -PUSH, PUSH)
        self.robot.push(np.array([forward, left]))

    def _set_slow(self, request: Request) -> None:
        self._slow = float(np.clip(request.values[0], SLOWEST, FASTEST))

    def _set(self, request: Request) -> None:
        """Change friction, payload, delay or strength."""
        low, high, _ = KNOBS[request.name]
        value = float(request.values[0])
        if not np.isfinite(value):
            raise ValueError(f"{request.name}: {value}")
        value = min(max(value, low), high)
        model = self.robot.model
        if request.name == "friction":
            self._friction = value
            model.geom_friction[self._feet, 0] = value
        elif request.name == "payload":
            self.robot.set_base_mass(self._mass + value)
        elif request.name == "delay":
            self._delay = value
            self.robot.motors.set_delay(value / 1e3)
        else:
            self.robot.motors.strength[:] = value

    def _knobs(self) -> dict[str, float]:
        payload = float(self.robot.model.body_mass[self._base]) - self._mass
        values = {
            "friction": self._friction,
            "payload": payload,
            "delay": self._delay,
            "strength": float(self.robot.motors.strength[0, 0]),
        }
        return {name: round(value, 3) for name, value in values.items()}

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
            self._news.append(f"{self.robot.time:.1f} s: goes on with {self._library.current}")
        else:
            self._library.refuse()
            self._news.append("that policy is for another robot, observation or command")

    def _terms(self) -> dict[str, float]:
        """Return term -> its largest distance from training's mean, in deviations."""
        policy = self.policy.now
        if not policy.ticks:
            return {}
        normalizer = policy.contract.normalizer
        mean = np.array(normalizer.mean)
        std = np.array(normalizer.std)
        far = np.abs(policy.observation - mean) / np.maximum(std, 1e-6)
        return {
            e["name"]: round(float(far[e["offset"] :][: _width(e)].max()), 2)
            for e in policy.contract.layout
        }


def _width(entry: dict[str, Any]) -> int:
    return int(entry["size"]) * int(entry["history"])


def _rounded(values: np.ndarray, digits: int = 3) -> list[float]:
    return np.round(np.asarray(values, np.float64), digits).tolist()
