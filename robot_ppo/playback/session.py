"""One playback: the node, its robot in lockstep, and the record of both.

session = Session(policy, segments, seconds, with_visuals=True)
filming = Filming(session)
session.run(filming.record)
filming.write(Path("walk.mp4"))
session.summary(), session.track
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robot_ppo import project
from robot_ppo.playback.record import Summary, Track, measured_velocity
from robot_ppo.playback.script import ScriptedCommands, Segment
from robot_ppo.robot_model import carried, fingerprint
from robot_ppo.robot_model.height_field import HeightField
from robot_ppo.robot_model.source import Mjcf, Text
from robot_ppo.sim.simulated_robot import (
    DivergedRobotError,
    LockstepClock,
    LockstepDriver,
    SimulatedRobot,
)
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.states import State
from robot_ppo_node.node import Node

if TYPE_CHECKING:
    from robot_ppo.rendering.picture import Quality

FPS = 25
"""Frames per second of the video, or the nearest that is a whole number of ticks."""
AT_LATEST = 60.0
"""[s] By then the policy runs, or the playback ends."""


class Session:
    """One playback: the node, its robot, and the record of both."""

    def __init__(
        self,
        policy: Policy,
        script: tuple[Segment, ...],
        seconds: float,
        with_visuals: bool,
        robot: str | None = None,
        ground: HeightField | None = None,
    ) -> None:
        """Build the robot of `policy`, and a node that follows `script` for `seconds` [s].

        Args:
            policy: to run.
            script: commands from the moment on at which the policy runs.
            seconds: how long the policy runs [s].
            with_visuals: keep what only eyes need.
            robot: name or folder of the robot, by default the policy's; where there is no such
                robot, the model in the policy file.
            ground: heights that it walks on; None: level ground.
        """
        contract = policy.contract
        spec, xml = same_robot(policy, robot)
        fingerprint.warn_if_edited(contract.model_fingerprint, robot or spec.name, "the policy")
        self.seconds = seconds
        noise = contract.training.noise
        grid = contract.resolve().scan_grid
        self.robot = SimulatedRobot(
            spec, xml=xml, with_visuals=with_visuals, field=ground, scan_grid=grid, noise=noise
        )
        self.commands = ScriptedCommands(script)
        clock = LockstepClock(self.robot)
        driver = LockstepDriver(self.robot)
        self.node = Node(policy, driver, clock, self.commands, arm=True)
        self.track = Track(contract.robot.feet)
        self._twist = contract.command.kind == "twist"
        self.falls = 0
        self.broken: str | None = None
        self._fault_seen = False

    def run(self, show: Callable[[], bool]) -> None:
        """Run the node to the end; `show` is called after every tick and returns False to stop."""

        def on_tick() -> None:
            self._record()
            if not show():
                self.node.end()

        try:
            self.node.run(on_tick=on_tick)
        except DivergedRobotError as error:
            self.falls = 1
            self.broken = str(error)

    def summary(self) -> Summary:
        """Return the summary of the record."""
        track = self.track
        node = self.node
        error = np.zeros((0, 3))  # of what follows no twist, nothing is scored
        if self._twist:
            error = np.reshape(track.velocity, (-1, 3)) - np.reshape(track.command, (-1, 3))
        steps = np.diff(np.reshape(track.position, (-1, 3))[:, :2], axis=0)
        mean = np.abs(error[:, 2]).mean() if len(error) else np.nan
        return Summary(
            seconds=len(track.time) * node.period,
            velocity_error=float(np.hypot(*error[:, :2].T).mean()) if len(error) else np.nan,
            yaw_error=float(mean),
            distance=float(np.hypot(*steps.T).sum()),
            falls=self.falls,
            fault=node.fault,
            guards=node.envelope.fired_counts(),
            broken=self.broken,
        )

    def _record(self) -> None:
        """Record this tick if the policy ran in it; end the run after its duration."""
        now = self.robot.time
        if now > AT_LATEST and self.commands.start is None and not self.broken:
            last = self.node.events[-1][1]
            self.broken = f"the policy did not start within {AT_LATEST:g} s: {last}"
            self.node.end()
        if self.node.state is State.POLICY:
            if self.commands.start is None:
                self.commands.begin(now)
            elapsed = now - (self.commands.start or 0.0)
            twist = self.node.command if self._twist else np.zeros(3)
            self.track.add(elapsed, twist, self.robot)
            if elapsed >= self.seconds - self.node.period * 1.5:
                self.node.end()
        if self.node.state is State.POLICY or (self.node.fault and not self._fault_seen):
            self._fault_seen = self.node.fault is not None
            self.falls = max(self.falls, int(self._is_down()))

    def _is_down(self) -> bool:
        spec = self.robot.spec
        low = self.robot.height() < spec.base.height / 2
        return self.robot.tilt() > spec.safety.max_tilt or low


class Filming:
    """Records a session and films it afterwards."""

    def __init__(self, session: Session) -> None:
        """Prepare a camera that follows the robot of `session`."""
        from robot_ppo.playback.film import Film
        from robot_ppo.rendering.camera import FollowCamera

        robot = session.robot
        period = session.node.period
        self._session = session
        qpos = robot.standing_qpos()
        height = robot.ground.height
        base = robot.spec.base.body
        self._camera = FollowCamera(robot.model, base, qpos=qpos, ground=height)
        self._film = Film(robot.model, self._camera)
        self._every = max(1, round(1 / (FPS * period)))
        self._fps = round(1 / (self._every * period))

    def record(self) -> bool:
        """Record the present tick if its frame is due; return True, as a window that is open."""
        robot = self._session.robot
        node = self._session.node
        self.follow()
        due = node.ticks % self._every == 0
        # Before it stands up and after the end the robot does nothing, which is not to be seen.
        if due and node.sends and (node.state is not State.DAMP or node.fault):
            self._film.record(robot.data, *_caption(self._session))
        return True

    def follow(self) -> None:
        """Let the camera follow, without a frame."""
        self._camera.follow(self._session.robot.data)

    def write(
        self,
        path: Path,
        quality: "Quality" = "fast",
        size: tuple[int, int] | None = None,
        *,
        crf: int | None = None,
    ) -> None:
        """Draw what was recorded into the file at `path`; see `Film.write`."""
        self._film.write(path, self._fps, size=size, quality=quality, crf=crf)


def _caption(session: Session) -> tuple[str, str]:
    """Return the two columns of text in the picture."""
    state = session.node.state
    if state is not State.POLICY:
        return "node", state.name.lower()
    rows = (session.node.command, measured_velocity(session.robot))
    numbers = ["   ".join(f"{x:+.2f}" for x in row) for row in rows]
    left = "policy\ncommand\nmeasured"
    return left, "\n".join(["forward, left [m/s], turn [rad/s]", *numbers])


def same_robot(policy: Policy, given: str | None = None) -> tuple[RobotSpec, Mjcf]:
    """Return our robot of that name and its MJCF, if it has the joints that the policy has.

    Without one, the policy file's own. `given` is the robot's name or folder, where it is known.
    """
    robot = policy.contract.robot
    xml = carried.mjcf(robot, policy.model, str(policy.path), given)
    if isinstance(xml, Text):
        return robot, xml
    ours = project.load_robot_in(xml.parent)
    if ours.joint_names != robot.joint_names or ours.feet != robot.feet:
        raise InputError(
            f"robots/{robot.name} has joints {ours.joint_names} and feet {ours.feet}, the policy "
            f"was trained for {robot.joint_names} and {robot.feet}: play it with its own release"
        )
    return ours, xml.parent / ours.model
