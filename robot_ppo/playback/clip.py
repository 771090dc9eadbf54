"""A short film of a policy, without the seconds in which the robot stands up.

    clip.play(policy, robot="go2").write(Path("clip.mp4"))

A clip is a small file: for a page, or for whoever watches a training. `to_gif` makes of it what is
shown where no video is.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from robot_ppo.playback import script
from robot_ppo.playback.session import Filming, Session
from robot_ppo_export.contract.contract import Contract
from robot_ppo_export.policy import Policy
from robot_ppo_node.control.states import State

SECONDS = 6.0
"""Of the policy that a clip shows."""
SIZE = (640, 360)
CRF = 27
COLOURS = 64
"""Of a GIF's palette."""


@dataclass
class Clip:
    """A playback, and the film of its first seconds, not yet drawn."""

    session: Session
    filming: Filming

    def write(self, path: Path) -> None:
        """Draw it into an mp4; an `InputError` where there is no OpenGL."""
        self.filming.write(path, size=SIZE, crf=CRF)


def play(policy: Policy, robot: str | None, seconds: float | None = None) -> Clip:
    """Play a policy, for `seconds` [s] or as long as the default script, and return its clip.

    Args:
        policy: to play.
        robot: name or folder of its robot, by default the policy's own.
        seconds: how long the policy runs [s].
    """
    command = policy.contract.command
    segments, length = script.choose(_command(policy.contract), None, seconds, command)
    session = Session(policy, segments, length, with_visuals=True, robot=robot)
    filming = Filming(session)

    def show() -> bool:
        time = session.track.time
        if session.node.state is State.POLICY and time and time[-1] < SECONDS:
            filming.record()
        else:
            filming.follow()
        return True

    session.run(show)
    return Clip(session, filming)


def to_gif(film: Path, out: Path, width: int = 320, fps: int = 10) -> None:
    """Write the mp4 `film` as an animated GIF, so many pixels wide."""
    frames = []
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        every = max(1, round((stream.average_rate or Fraction(fps)) / fps))
        height = round(stream.height * width / stream.width)
        for i, frame in enumerate(file.decode(stream)):
            if i % every == 0:
                picture = frame.to_image().resize((width, height), Image.Resampling.BILINEAR)
                frames.append(picture.quantize(COLOURS, dither=Image.Dither.NONE))
    first, *others = frames
    first.save(out, save_all=True, append_images=others, duration=1000 // fps, loop=0)


def _command(contract: Contract) -> tuple[float, ...] | None:
    """Return what is commanded: the script's for a twist, the middle of other trained ranges."""
    if contract.command.kind in ("twist", "none"):
        return None
    return tuple(contract.command.bounds().mean(axis=1).tolist())
