"""`robot-ppo log`: what a log of the node says, as a table, a picture or an MCAP file.

    log = Log.load(Path("walk.rlog"))
    print(summary(log))
    log.measured("joint_pos")         # (T, joints) [rad]

It needs numpy alone; the picture needs matplotlib, and MCAP the package mcap.
"""

import itertools
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_ppo_export.node import log_file
from robot_ppo_export.node.report import table

LAST_EVENTS = 20
"""Events in the summary; the log has more."""


@dataclass
class Log:
    """One run: columns (T, ...), oldest tick first, and what the log says of itself."""

    path: Path
    rows: dict[str, np.ndarray]
    meta: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Log":
        """Return the log in a file, or raise `InputError`."""
        return cls(path, *log_file.load(path))

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.rows["time"])

    @property
    def time(self) -> np.ndarray:
        """(T,) [s] since the first tick."""
        times = self.rows["time"]
        return times - times[0] if len(times) else times

    def measured(self, signal: str) -> np.ndarray:
        """Return what was measured of one signal, (T, k); (T, 0) if the log has none of it."""
        names = [name.partition("[")[0] for name in self.meta["measured"]]
        return self.rows["measured"][:, [name == signal for name in names]]

    def running(self) -> np.ndarray:
        """Return in which ticks the network ran, (T,) bool."""
        return self.rows["policy_tick"] >= 0

    def guard_counts(self) -> dict[str, int]:
        """Return how often each guard clamped or damped, those that did."""
        bits = self.rows["guards"]
        counts = {name: int((bits >> i & 1).sum()) for i, name in enumerate(self.meta["guards"])}
        return {name: n for name, n in counts.items() if n}

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield (state, first tick, last tick + 1) of every stay in a state."""
        states = self.rows["node_state"]
        edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
        for a, b in itertools.pairwise(edges):
            if b > a:
                yield self.state_name(int(states[a])), a, b

    def state_name(self, number: int) -> str:
        """Return a state's name."""
        names = self.meta["states"]
        return names[number] if number < len(names) else str(number)

    def tracking(self) -> np.ndarray:
        """Return how far each joint was from its target of the tick before, (T', joints) [rad].

        Of the ticks in which the network ran, and in the tick before too.
        """
        ran = self.running()
        both = ran[1:] & ran[:-1]
        return (self.measured("joint_pos")[1:] - self.rows["target"][:-1])[both]


def show(path: Path, mcap: Path | None, plot: Path | None) -> None:
    """Print the summary of the log at `path`, and write what was asked for."""
    log = Log.load(path)
    print(summary(log))
    if mcap:
        from robot_ppo import log_mcap

        log_mcap.write(log, mcap)
        print(f"\nMCAP: {mcap}")
    if plot:
        from robot_ppo import log_plot

        log_plot.write(log, plot)
        print(f"\nPlot: {plot}")


def summary(log: Log) -> str:
    """Return what a person wants to know first."""
    parts = [_identity(log)]
    if len(log):
        parts += [_states(log), _timings(log)]
    if len(log.tracking()):
        parts.append(_joints(log))
    if log.meta["events"]:
        parts.append(_events(log))
    return "\n\n".join(parts)


def _identity(log: Log) -> str:
    meta = log.meta
    period = meta["control_period"]
    lost = "" if meta["first"] == 1 else f", the first {meta['first'] - 1} were overwritten"
    lines = [
        ("log", log.path),
        ("robot", f"{meta['task']} on {meta['robot']}"),
        ("policy", meta["policy"]),
        ("ticks", f"{len(log)} of {period * 1e3:g} ms{lost}"),
        ("end", "orderly" if meta["closed"] else "cut off: the node was killed, or the power"),
    ]
    if meta.get("started"):
        stamp = clock.strftime("%Y-%m-%d %H:%M:%S %z", clock.localtime(meta["started"]))
        lines.insert(1, ("started", stamp))
    if meta["damaged"]:
        lines.append(("damaged", f"{meta['damaged']} slots"))
    return "\n".join(f"{name:<8} {value}" for name, value in lines)


def _states(log: Log) -> str:
    seconds: dict[str, float] = {}
    for name, a, b in log.spans():
        seconds[name] = seconds.get(name, 0.0) + (b - a) * log.meta["control_period"]
    sources = sorted({s.decode("ascii", "replace") for s in log.rows["source"]})
    guards = ", ".join(f"{name} {n}" for name, n in log.guard_counts().items()) or "none fired"
    lines = [
        ("states", ", ".join(f"{name} {s:.1f} s" for name, s in seconds.items())),
        ("command", f"from {', '.join(sources)}"),
        ("guards", guards),
        ("outside", f"of training in {int((log.rows['outside'] > 0).sum())} ticks"),
    ]
    return "\n".join(f"{name:<8} {value}" for name, value in lines)


def _timings(log: Log) -> str:
    rows = []
    for name, what in (("duration", "tick"), ("late", "late")):
        values = log.rows[name] * 1e3
        rows.append((what, *(f"{x:.3f}" for x in np.quantile(values, (0.5, 0.99, 1.0)))))
    missed = int(log.rows["missed"].sum())
    return table(("[ms]", "p50", "p99", "max"), rows) + f"\nmissed deadlines: {missed}"


def _joints(log: Log) -> str:
    error = np.sqrt((log.tracking().astype(float) ** 2).mean(axis=0))
    speed = np.abs(log.measured("joint_vel")[log.running()]).max(axis=0)
    torque = np.abs(log.measured("joint_torque")[log.running()]).max(axis=0)
    rows = [
        (name, f"{error[i]:.3f}", f"{speed[i]:.1f}", f"{torque[i]:.1f}")
        for i, name in enumerate(log.meta["joints"])
    ]
    header = ("joint", "from target, RMS [rad]", "max [rad/s]", "max [N m]")
    return "while the policy ran\n" + table(header, rows)


def _events(log: Log) -> str:
    begin = float(log.rows["time"][0]) if len(log) else 0.0
    events = log.meta["events"]
    more = [f"({len(events) - LAST_EVENTS} events before)"] if len(events) > LAST_EVENTS else []
    told = [f"{time - begin:8.3f} s  {text}" for time, text in events[-LAST_EVENTS:]]
    return "\n".join([*more, *told])
