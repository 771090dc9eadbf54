"""`robot-ppo play` for a run of a Gymnasium task: the policy's mean action, filmed or in a window.

    play(Path("runs/HalfCheetah-v5"), video=Path("cheetah.mp4"))

Ours and foreign environments alike: what is filmed is what `render()` gives. Episodes follow one
another until the time is over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo import config as configs
from robot_ppo import envs
from robot_ppo.config import Config
from robot_ppo.envs.environment import join
from robot_ppo.envs.view import Rendered, has_display
from robot_ppo.playback.video import Video
from robot_ppo.ppo.acting import Acting
from robot_ppo.training.checkpoint import Checkpoints, load_actor
from robot_ppo_export.errors import InputError

SECONDS = 12.0
"""Time that is played by default [s]."""
FRESH = 2_000_000
"""Is added to the seed: neither a training nor an evaluation starts from there."""
DEFAULT_FPS = 30
"""Of an environment whose metadata does not say."""
SMOOTH = 60
"""Frames per second above which only every n-th step is filmed."""


@dataclass
class Episodes:
    """What was played."""

    returns: list[float] = field(default_factory=list)
    """Of the episodes that ended."""
    running: float = 0.0
    """Sum of rewards of the episode that goes on."""
    steps: int = 0

    def add(self, reward: float, ended: bool) -> None:
        """Count a step."""
        self.steps += 1
        self.running += reward
        if ended:
            self.returns.append(self.running)
            self.running = 0.0

    def __str__(self) -> str:
        """Return the summary as text."""
        if not self.returns:
            return f"{self.steps} steps of one episode: {self.running:.1f} so far."
        returns = ", ".join(f"{value:.1f}" for value in self.returns[:10])
        return f"{self.steps} steps; return of the episodes that ended: {returns}"


def play(
    run: Path,
    *,
    video: Path | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = print,
) -> Episodes:
    """Play the newest checkpoint of a run, and return what happened.

    Args:
        run: folder of a training on a task of Gymnasium.
        video: where to write an mp4; without it a window opens.
        seconds: how much of the task's own time; by default 12 s.
        say: called with each line of text.
    """
    if seconds is not None and not 0 < seconds < 3600:
        raise InputError(f"--seconds {seconds:g} must be above 0 and below 3600")
    if video and video.suffix.lower() != ".mp4":
        raise InputError(f"--video {video}: must end in .mp4")
    if not video and not has_display():
        raise InputError("there is no display for a window: give --video FILE.mp4")
    checkpoints = Checkpoints(run)
    checkpoint = checkpoints.newest()
    config = checkpoints.settings(checkpoint)
    act = Acting(load_actor(config, checkpoint))
    env = _rendering(config, "rgb_array" if video else "human")
    try:
        episodes = _play(env, config, act, video, seconds or SECONDS)
    finally:
        env.close()
    say(str(episodes))
    if video:
        say(f"Video: {video}")
    return episodes


def is_run(source: Path) -> bool:
    """Return whether `source` is the folder of a run of a Gymnasium task."""
    if not (source / "config.yaml").is_file():
        return False
    return isinstance(configs.load_run(source).task, configs.GymTask)


def _rendering(config: Config, mode: str) -> Any:
    """Return one simulation of the run's task that can be looked at."""
    task = config.task
    seed = config.seed + FRESH
    if isinstance(task, configs.GymTask) and task.foreign_id is not None:
        from robot_ppo.envs.gymnasium.generic_env import ForeignVectorEnv

        return ForeignVectorEnv(task.foreign_id, 1, seed, mode)
    return Rendered(envs.make(config, 1, seed), mode)


def _play(env: Any, config: Config, act: Acting, video: Path | None, seconds: float) -> Episodes:
    rate = float(env.metadata.get("render_fps", DEFAULT_FPS))
    every = int(np.ceil(rate / SMOOTH))
    episodes = Episodes()
    steps = _steps(env, config, act, max(1, round(seconds * rate)), episodes)
    next(steps)
    if not video:
        for _ in steps:
            pass
        return episodes
    pixels = _even(env.render()[0])
    with Video(video, max(1, round(rate / every)), pixels.shape[1], pixels.shape[0]) as file:
        file.add(pixels)
        for step in steps:
            if step % every == 0:
                file.add(_even(env.render()[0]))
    return episodes


def _steps(env: Any, config: Config, act: Acting, steps: int, episodes: Episodes) -> Iterator[int]:
    """Yield 0 after the reset, then the number of every step taken; count them in `episodes`."""
    _, info = env.reset()
    yield 0
    for step in range(1, steps + 1):
        inputs = join(info["observations"], config.networks.actor_groups)
        _, reward, failed, cut, info = env.step(act(inputs.astype(np.float32)))
        episodes.add(float(reward[0]), bool(failed[0] | cut[0]))
        act.reset(failed | cut)
        yield step


def _even(pixels: np.ndarray) -> np.ndarray:
    """Return a picture without its last row or column where their number is odd: h264 needs it."""
    height = pixels.shape[0] // 2 * 2
    width = pixels.shape[1] // 2 * 2
    return np.ascontiguousarray(pixels[:height, :width, :3], np.uint8)
