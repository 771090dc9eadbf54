"""Playback: the unchanged node drives the simulated robot in lockstep.

    play(Path("go2_walk.onnx"), video=Path("walk.mp4"), plot=Path("walk.png"))

The robot starts as robot.yaml says: lying, sitting, held on its feet, or on a gantry that lowers it
once its motors hold it. The node stands it up, and is armed at once: in a simulation nobody gets
hurt. From then on the commands follow a script.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from robot_ppo.playback.record import Summary
from robot_ppo.playback.script import choose
from robot_ppo.playback.session import Filming, Session
from robot_ppo.sim import tiles
from robot_ppo_export.errors import InputError
from robot_ppo_export.policy import Policy

if TYPE_CHECKING:
    from robot_ppo.rendering.picture import Quality

NO_DISPLAY = "there is no display for a window: give --video FILE.mp4, or --plot FILE.png"


def play(
    path: Path,
    *,
    video: Path | None = None,
    plot: Path | None = None,
    seconds: float | None = None,
    command: str | tuple[float, ...] | None = None,
    script: Path | None = None,
    quality: "Quality" = "fast",
    robot: str | None = None,
    terrain: str | None = None,
    say: Callable[[str], None] = print,
) -> Summary:
    """Run the policy file at `path` in lockstep with its robot, and return a summary.

    Args:
        path: an .onnx policy file.
        video: where to write an mp4 (h264, true speed); no display is needed.
        plot: where to write a PNG of commanded against measured velocity.
        seconds: how long the policy runs; by default 12 s, or as long as the script.
        command: one command for the whole time, or as on the command line, e.g. "0.5,0,0".
        script: YAML, a list of {seconds: 2, command: [0.5, 0, 0]}.
        quality: of the video: "fast", or "high" (shadows, edges and curves twice as fine).
        robot: name or folder of its robot, by default the name in the file; where there is no such
            robot, the model in the file is played.
        terrain: kind of ground and its level, such as "stairs_up:0.6"; None: level ground.
        say: called with each line of text.

    With neither `video` nor `plot`, a window opens and shows it in real time. Where the policy
    never ran there is no plot, and no video of a robot that never moved: the summary says why.
    """
    _check_outputs(video, plot)
    policy = Policy(path)
    segments, seconds = choose(command, script, seconds, policy.contract.command)
    with_visuals = plot is None or video is not None
    ground = tiles.course(*tiles.parse(terrain)) if terrain else None
    session = Session(policy, segments, seconds, with_visuals, robot, ground)
    began = time.perf_counter()
    film = Filming(session) if video else None
    if film:
        session.run(film.record)
    elif plot:
        session.run(lambda: True)
    else:
        with _shown(session) as show:
            session.run(show)
    if film and video:
        film.write(video, quality)
    summary = session.summary()
    say(str(summary))
    if video and video.exists():
        factor = session.robot.time / (time.perf_counter() - began)
        say(f"Video: {video} ({factor:.2f} times real time to make)")
    if plot and session.track.time:
        session.track.plot(plot)
        say(f"Plot: {plot}")
    return summary


def _shown(session: Session) -> AbstractContextManager[Callable[[], bool]]:
    """Return a window that shows the session in real time."""
    from robot_ppo.playback.window import window

    return window(session.robot, session.node.period)


def _check_outputs(video: Path | None, plot: Path | None) -> None:
    """Raise `InputError` for outputs that would only fail at the end."""
    for option, path, suffix in (("video", video, ".mp4"), ("plot", plot, ".png")):
        if path and path.suffix.lower() != suffix:
            raise InputError(f"--{option} {path}: must end in {suffix}")
    if not (video or plot or _has_display()):
        raise InputError(NO_DISPLAY)


def _has_display() -> bool:
    """Return whether a window can be opened."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
