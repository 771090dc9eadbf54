"""The plot of a playback: commanded against measured velocity, height of the base, gait."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo_export.files import write_atomically

_COMMAND = "#3b4252"
_MEASURED = "#e8731a"


def write_plot(
    path: Path,
    time: np.ndarray,
    command: np.ndarray,
    velocity: np.ndarray,
    height: np.ndarray,
    contacts: np.ndarray,
    feet: tuple[str, ...],
) -> None:
    """Write a PNG of `T` ticks: commanded against measured velocity, base height, gait.

    Args:
        path: file to write, atomically.
        time: (T,) [s]
        command: (T, 3) vx, vy [m/s], yaw rate [rad/s]
        velocity: (T, 3) the same, as measured
        height: (T,) of the base [m]
        contacts: (T, feet) bool
        feet: their names.
    """
    from matplotlib.figure import Figure  # without pyplot there is no window system to look for

    figure = Figure(figsize=(10, 9), dpi=120, layout="constrained")
    axes = figure.subplots(5, sharex=True, height_ratios=(3, 3, 3, 2, 2))
    for i, label in enumerate(("forward [m/s]", "left [m/s]", "turn left [rad/s]")):
        axes[i].plot(time, velocity[:, i], color=_MEASURED, linewidth=1.2, label="measured")
        axes[i].step(time, command[:, i], color=_COMMAND, where="post", label="commanded")
        axes[i].set_ylabel(label)
        low, high = axes[i].get_ylim()
        axes[i].set_ylim(min(low, -0.5), max(high, 0.5))  # small errors must look small
    axes[0].legend(loc="upper right", ncols=2, frameon=False)
    axes[3].plot(time, height, color=_MEASURED, linewidth=1.2)
    axes[3].set_ylabel("base height [m]")
    axes[3].set_ylim(0, max(0.4, 1.1 * float(np.max(height, initial=0))))
    _plot_gait(axes[4], time, contacts, feet)
    axes[4].set_xlabel("time [s]")
    axes[4].set_xlim(0, float(time[-1]) if len(time) > 1 else 1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="both", color="0.9", linewidth=0.8)
        axis.set_axisbelow(True)
    figure.align_ylabels(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _plot_gait(axis: Any, time: np.ndarray, contacts: np.ndarray, feet: tuple[str, ...]) -> None:
    """Draw a bar for every time that a foot is on the ground, the first foot at the top."""
    tick = float(time[1] - time[0]) if len(time) > 1 else 0.0
    for row, foot in enumerate(reversed(feet)):
        down = np.concatenate(([False], contacts[:, feet.index(foot)], [False])).astype(np.int8)
        starts = np.flatnonzero(np.diff(down) == 1)
        ends = np.flatnonzero(np.diff(down) == -1)
        bars = [(time[a], time[b - 1] - time[a] + tick) for a, b in zip(starts, ends, strict=True)]
        axis.broken_barh(bars, (row - 0.35, 0.7), facecolors=_COMMAND)
    axis.set_yticks(range(len(feet)), list(reversed(feet)))
    axis.set_ylabel("on the ground")
