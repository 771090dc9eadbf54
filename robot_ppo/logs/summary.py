"""Summarize a log as text."""

import time as clock

import numpy as np

from robot_ppo.logs.log import Log
from robot_ppo_node.host.text_table import table

LAST_EVENTS = 20
"""Number of events in the summary; the log may hold more."""


def summary(log: Log) -> str:
    """Return the summary, ready to print."""
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
