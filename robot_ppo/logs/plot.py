"""Draw a log: commands, joints against their targets, timing, guards and events."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo.logs.log import Log
from robot_ppo_export.errors import InputError
from robot_ppo_export.files import write_atomically

JOINTS = 3
"""Number of joints that are drawn: those with the largest errors."""
COMMANDS = 3
"""Number of entries of the command that are drawn."""
TWIST = {"vx": "forward [m/s]", "vy": "left [m/s]", "yaw_rate": "turn left [rad/s]"}
SHADES = {"POLICY": "0.93", "DAMP": "#f6dada"}
"""State -> background colour."""


def write(log: Log, path: Path) -> None:
    """Write a PNG of the log at `path`, or raise `InputError`."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot {path}: must end in .png")
    if not len(log):
        raise InputError(f"{log.path}: holds no tick that could be drawn")
    try:
        from matplotlib.figure import Figure  # without pyplot no window system is looked for
    except ImportError:
        raise InputError("--plot needs matplotlib: pip install 'robot-ppo[train]'") from None
    worst = _worst(log)
    commands = len(log.meta["command"][:COMMANDS])
    rows = commands + len(worst) + 2
    figure = Figure(figsize=(11, 3.2 + 1.5 * rows), dpi=110, layout="constrained")
    axes = figure.subplots(rows, sharex=True)
    _commands(axes[:commands], log)
    for axis, joint in zip(axes[commands:], worst, strict=False):
        _joint(axis, log, joint)
    _timing(axes[-2], log)
    _guards(axes[-1], log)
    for axis in axes:
        _dress(axis, log)
    axes[-1].set_xlabel("time [s]")
    figure.align_ylabels(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def _worst(log: Log) -> list[int]:
    """Return the joints with the largest errors, largest first."""
    error = np.nan_to_num(log.measured("joint_pos") - log.rows["target"])[log.running()]
    if not len(error):
        return []
    return np.argsort(-np.square(error).mean(axis=0))[:JOINTS].tolist()


def _commands(axes: Any, log: Log) -> None:
    """Draw the commands, and the measured yaw rate: a robot measures no linear velocity."""
    time = log.time
    command = log.rows["command"]
    wanted = log.rows["wanted"]
    names = log.meta["command"]
    for i in range(len(axes)):
        axes[i].step(time, wanted[:, i], where="post", color="0.6", label="asked for")
        axes[i].step(time, command[:, i], where="post", color="C1", label="commanded")
        axes[i].set_ylabel(TWIST.get(names[i], names[i]))
        low, high = axes[i].get_ylim()
        axes[i].set_ylim(min(low, -0.5), max(high, 0.6))  # a small command must look small
        if names[i] == "yaw_rate":
            turning = log.measured("base_ang_vel")[:, 2]
            axes[i].plot(time, turning, "C0", linewidth=0.8, label="measured")
            axes[i].legend(loc="upper right", ncols=3, frameon=False)


def _joint(axis: Any, log: Log, joint: int) -> None:
    position = log.measured("joint_pos")[:, joint]
    axis.step(log.time, log.rows["target"][:, joint], "C1", where="post", label="target")
    axis.plot(log.time, position, "C0", linewidth=0.9, label="measured")
    axis.set_ylabel(f"{log.meta['joints'][joint]} [rad]".replace("_joint", ""))
    axis.legend(loc="upper right", ncols=2, frameon=False)


def _timing(axis: Any, log: Log) -> None:
    axis.plot(log.time, log.rows["duration"] * 1e3, "C0", linewidth=0.7, label="tick")
    axis.plot(log.time, log.rows["late"] * 1e3, "C2", linewidth=0.7, label="late")
    axis.axhline(log.meta["control_period"] * 1e3, color="C3", linewidth=0.8, label="period")
    axis.set_yscale("log")
    axis.set_ylabel("time [ms]")
    axis.legend(loc="upper right", ncols=3, frameon=False)


def _guards(axis: Any, log: Log) -> None:
    """Mark every tick in which a guard fired or an observation was outside its training range."""
    marks = {}
    for i, name in enumerate(log.meta["guards"]):
        marks[name] = np.flatnonzero(log.rows["guards"] >> i & 1)
    marks["outside of training"] = np.flatnonzero(log.rows["outside"])
    marks = {name: ticks for name, ticks in marks.items() if len(ticks)}
    for row, ticks in enumerate(marks.values()):
        axis.plot(log.time[ticks], np.full(len(ticks), row), "C3|")
    axis.set_yticks(range(len(marks)), list(marks))
    axis.set_ylim(len(marks) - 0.5, -0.5 if marks else 0.5)
    axis.set_ylabel("guards")


def _dress(axis: Any, log: Log) -> None:
    """Shade the states and mark the events."""
    time = log.time
    for name, a, b in log.spans():
        if name in SHADES:
            axis.axvspan(time[a], time[b - 1], color=SHADES[name], linewidth=0, zorder=0)
    for stamp, _ in log.meta["events"]:
        axis.axvline(stamp - log.rows["time"][0], color="0.5", linewidth=0.5)
    axis.set_xlim(0, max(float(time[-1]), 1e-3))
    axis.spines[["top", "right"]].set_visible(False)
