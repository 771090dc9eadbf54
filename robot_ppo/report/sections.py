"""The sections of a report, each a function of the runs that are shown."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import msgspec
import numpy as np

from robot_ppo.config import Config, GymTask
from robot_ppo.evaluation import intervals
from robot_ppo.evaluation.intervals import Interval
from robot_ppo.report import html, svg
from robot_ppo.report.html import Raw
from robot_ppo.report.source import Card, Played, Shown
from robot_ppo.report.svg import Line

Runs = Sequence[Shown]
STYLES = ("s0", "s1", "s2", "s3", "s4", "s5")
"""Colours of runs, in their order."""
GROUPS: dict[str, tuple[str, ...]] = {
    "outcome": ("return", "length", "failed", "velocity_error", "yaw_error"),
    "time": ("time_", "steps_per_second", "seconds"),
}
SKIPPED = ("iteration", "steps", "seconds")


# --- what was trained


def trained(runs: Runs) -> str:
    """Return task, seed, steps, versions, commit, machine and wall-clock of every run."""
    names = list(dict.fromkeys(name for run in runs for name in _facts(run)))
    rows = [[name, *(_facts(run).get(name, "") for run in runs)] for name in names]
    ranges = [html.details(f"Ranges of {run.name}", _ranges(run)) for run in runs]
    settings = [
        html.details(
            f"Every setting of {run.name}",
            html.table(("setting", "value"), flat(msgspec.to_builtins(run.config)).items()),
        )
        for run in runs
    ]
    return html.section(
        "What was trained", html.table(("", *(run.name for run in runs)), rows), *ranges, *settings
    )


def _facts(run: Shown) -> dict[str, Any]:
    origin = run.origin
    config = run.config
    contract = run.contract
    versions = origin.versions or (contract.training.versions if contract else {})
    commit = origin.git_commit or (contract.training.git_commit if contract else "")
    return {
        "task": config.task.name,
        "robot": "" if isinstance(config.task, GymTask) else config.task.robot,
        "steps": f"{run.steps:,}",
        "wall-clock": f"{run.seconds:.0f} s",
        "simulations": f"{config.num_envs:,}",
        "objective": config.ppo.objective,
        "seed": str(config.seed),
        "started": origin.started or "not recorded",
        "machine": origin.machine or "not recorded",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "commit": commit,
    }


def _ranges(run: Shown) -> str:
    """Return what was drawn anew for every episode, what was commanded, and the noise."""
    task = run.config.task
    if isinstance(task, GymTask):
        return html.text("A task of Gymnasium: its ranges are its own.")
    data = msgspec.to_builtins(task)
    kept = {key: data[key] for key in ("commands", "events", "noise") if data.get(key)}
    return html.table(("range", "value"), flat(kept).items())


def flat(data: Any, prefix: str = "") -> dict[str, str]:
    """Return nested plain data as `a.b.c` -> text."""
    if isinstance(data, Mapping) and data:
        found: dict[str, str] = {}
        for key, value in data.items():
            found |= flat(value, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(data, list | tuple):
        return {prefix: ", ".join(_plain(value) for value in data)}
    return {prefix: _plain(data)}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) + "}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# --- what it does


def verdict(runs: Runs) -> str:
    """Return one badge per run."""
    badges = []
    for run in runs:
        if run.card:
            word = "passed" if run.card.passed else "not passed"
            badges.append(html.badge(f"{run.name}: {word}", run.card.passed))
        elif run.returns:
            badges.append(html.badge(f"{run.name}: return {run.returns.mean:.1f}", True))
    return " ".join(badges)


def scores(runs: Runs) -> str:
    """Return the scorecard of every run: a table with intervals, and heat maps."""
    parts: list[str] = []
    for run in runs:
        if run.card:
            parts.append(_card(run, run.card))
        elif run.returns:
            parts.append(_returns(run))
    if not parts:
        return ""
    note = html.text(
        "Errors are medians over the trials, between two of them that hold the true median with "
        "95 % (order statistics); falls are a share of the trials with the interval of Clopper and "
        "Pearson. Both are exact whatever the distribution."
    )
    return html.section("What it does", note, *parts)


def _card(run: Shown, card: Card) -> str:
    head = ("condition", *(_title(name, card.units) for name in card.figures))
    rows = [
        (condition, *(spread(name, values[i]) for name, values in card.figures.items()))
        for i, condition in enumerate(card.conditions)
    ]
    parts: list[str] = [html.Raw(f"<h3>{escape(run.name)}</h3>"), html.table(head, rows, "numbers")]
    limits = ", ".join(f"mean {name} <= {limit:g}" for name, limit in card.limits.items())
    gain = ", ".join(f"{name} {value:.2f}" for name, value in card.gain.items())
    parts.append(
        html.facts({
            "passes with": f"{card.conditions[0]}: {limits}",
            "measured over commanded": gain,
            "scored": f"{len(card.conditions)} of {card.of} conditions, {len(card.commands)} "
            "trials each",
        })
    )  # fmt: skip
    if len(card.conditions) < card.of:
        parts.append(html.text("robot-ppo report --full scores all of them."))
    if "velocity_error" in card.figures and card.commands.shape[1] == 3:
        parts += _heat_maps(card)
    return "".join(parts)


def _heat_maps(card: Card) -> list[str]:
    """Return the velocity error over the grid of commands, the first condition unfolded."""
    top = max(0.3, float(np.percentile(card.figures["velocity_error"], 98)))
    return [
        html.details(
            f"Velocity error [m/s], {condition}", html.grid(*_grid(card, i, top)), opened=i == 0
        )
        for i, condition in enumerate(card.conditions)
    ]


def _grid(card: Card, condition: int, top: float) -> list[str]:
    commands = card.commands.round(6)
    vxs, vys, yaws = (sorted(set(column.tolist())) for column in commands.T)
    maps = []
    for yaw in yaws:
        values = np.full((len(vys), len(vxs)), np.nan)
        fell = np.zeros(values.shape, bool)
        for k, (vx, vy, turn) in enumerate(commands.tolist()):
            if turn == yaw:
                at = len(vys) - 1 - vys.index(vy), vxs.index(vx)
                values[at] = card.figures["velocity_error"][condition, k]
                fell[at] = bool(card.figures["falls"][condition, k])
        names = [f"{vy:g}" for vy in reversed(vys)], [f"{vx:g}" for vx in vxs]
        maps.append(
            svg.heat_map(
                values, *names, top=top, marked=fell, title=f"yaw rate {yaw:g} rad/s",
                axes=("vx", "vy"),
            )
        )  # fmt: skip
    return maps


def spread(name: str, values: np.ndarray) -> Raw:
    """Return a figure over trials with its exact interval."""
    if name == "falls":
        found = intervals.probability(int(values.sum()), len(values))
        return _interval(found, f"{int(values.sum())} of {len(values)}", 100, "%")
    return _interval(intervals.median(values))


def _interval(found: Interval, value: str = "", scale: float = 1.0, unit: str = "") -> Raw:
    value = value or f"{found.value * scale:.3g}"
    if not np.isfinite(found.low):
        return Raw(f"{value}<br><small>too few trials</small>")
    low = found.low * scale
    high = found.high * scale
    return Raw(f"{value}<br><small>{low:.3g} to {high:.3g} {unit}</small>")


def _title(name: str, units: Mapping[str, str]) -> str:
    unit = units.get(name, "")
    return name.replace("_", " ") + (f" [{unit}]" if unit else "")


def _returns(run: Shown) -> str:
    assert run.returns is not None
    found = intervals.median(run.returns.returns)
    rows = [(run.name, len(run.returns.returns), run.returns.mean, _interval(found))]
    return html.table(("run", "episodes", "mean return", "median"), rows, "numbers")


# --- compared


def compared(runs: Runs) -> str:
    """Return paired differences of every run to the first one, over equal trials."""
    first, *others = runs
    if first.card is None or not others:
        return ""
    parts: list[str] = [
        html.text(
            f"Each run against {first.name}, trial by trial: the same command under the same "
            "condition with the same noise. A difference is the median over the trials; it counts "
            "where its exact interval leaves out 0. Less is better for every figure."
        )
    ]
    for other in others:
        if other.card is None:
            continue
        parts.append(_paired(first.card, other.card, first.name, other.name))
    return html.section("Compared", *parts)


def _paired(a: Card, b: Card, name_a: str, name_b: str) -> str:
    conditions = [c for c in a.conditions if c in b.conditions]
    figures = [name for name in a.figures if name in b.figures]
    if a.commands.shape != b.commands.shape or not np.allclose(a.commands, b.commands):
        return html.text(f"{name_b} was tried on other commands than {name_a}: not comparable.")
    head = (f"{name_b} - {name_a}", *(_title(name, a.units) for name in figures))
    rows = []
    for condition in conditions:
        i = a.conditions.index(condition)
        j = b.conditions.index(condition)
        rows.append((condition, *(_difference(a.figures[n][i], b.figures[n][j]) for n in figures)))
    return html.table(head, rows, "numbers")


def _difference(a: np.ndarray, b: np.ndarray) -> Raw:
    found = intervals.paired(a, b)
    better = int((b < a).sum())
    said = _interval(found, f"{found.value:+.3g}")
    if found.excludes_zero:
        said = Raw(f'<b class="{"less" if found.high < 0 else "more"}">{said}</b>')
    return Raw(f"{said}<br><small>less in {better} of {len(a)}</small>")


# --- playback


def played(runs: Runs) -> str:
    """Return film, velocities, gait, and what the joints did, of every run."""
    parts: list[str] = []
    for run in runs:
        parts.append(html.Raw(f"<h3>{escape(run.name)}</h3>") if len(runs) > 1 else "")
        if run.film:
            parts.append(html.video(run.film))
        elif run.film_error:
            parts.append(html.text(f"No film: {run.film_error}"))
        if run.played and run.played.track.time:
            parts += _track(run, run.played)
        elif run.played:
            parts.append(html.text(str(run.played.summary)))
    return html.section("In simulation", *parts)


def _track(run: Shown, played: Played) -> list[str]:
    track = played.track
    contract = run.contract
    assert contract is not None
    time = np.array(track.time)
    parts: list[str] = [html.text(str(played.summary).replace("\n", " "))]
    if contract.command.kind == "twist":
        parts.append(html.grid(*_velocities(time, played)))
    contacts = np.reshape(track.contacts, (len(time), -1))
    parts.append(html.Raw("<h3>Which foot is on the ground</h3>"))
    parts.append(svg.gait(time, contacts, track.feet, width=900))
    parts.append(html.Raw("<h3>Joints against their limits, in the whole playback</h3>"))
    joints = contract.robot.joints
    torque = np.abs(np.array(track.torque)).max(axis=0)
    speed = np.abs(np.array(track.joint_vel)).max(axis=0)
    torques = [
        html.meter(j.name, float(value), j.torque_limit, "N m")
        for j, value in zip(joints, torque, strict=True)
    ]
    speeds = [
        html.meter(j.name, float(value), j.velocity_limit, "rad/s")
        for j, value in zip(joints, speed, strict=True)
    ]
    parts.append(html.grid("<b>largest torque</b>" + "".join(torques),
                           "<b>largest velocity</b>" + "".join(speeds)))  # fmt: skip
    return parts


def _velocities(time: np.ndarray, played: Played) -> list[str]:
    asked = np.array(played.track.command)
    got = np.array(played.track.velocity)
    labels = ("forward [m/s]", "left [m/s]", "turn left [rad/s]")
    return [
        svg.lines(
            [
                Line("measured", time, got[:, i], "s0"),
                Line("commanded", time, asked[:, i], "asked", steps=True),
            ],
            "time [s]",
            label,
            zero=True,
        )
        for i, label in enumerate(labels)
    ]


# --- learning


def learned(runs: Runs) -> str:
    """Return a curve of every column of the logs, in groups."""
    names = list(dict.fromkeys(name for run in runs for name in run.record.columns))
    groups: dict[str, list[str]] = {"outcome": [], "reward terms": [], "learner": [], "time": []}
    for name in names:
        if name not in SKIPPED:
            groups[_group(name)].append(name)
    parts = [
        html.details(
            f"{title} ({len(columns)})",
            html.grid(*(_curve(runs, name) for name in columns)),
            opened=title in ("outcome", "reward terms"),
        )
        for title, columns in groups.items()
        if columns
    ]
    return html.section("Learning curves", *parts)


def _group(name: str) -> str:
    if name.startswith("reward_"):
        return "reward terms"
    for title, starts in GROUPS.items():
        if name.startswith(starts):
            return title
    return "learner"


def _curve(runs: Runs, name: str) -> str:
    curves = [
        Line(run.name, run.record["steps"], run.record[name], STYLES[i % len(STYLES)])
        for i, run in enumerate(runs)
        if run.record.has(name)
    ]
    return svg.lines(curves, "steps", name.removeprefix("reward_"), height=150, width=360)


def diagnosed(runs: Runs) -> str:
    """Return what `robot-ppo doctor` finds in every run."""
    parts = [_diagnosis(run) for run in runs]
    return html.section("What the doctor says", *parts)


def _diagnosis(run: Shown) -> str:
    head = f"<h3>{escape(run.name)}</h3>"
    if not run.findings:
        said = {"healthy": "None of the checks found a problem.",
                "too_short": "Too short to judge; no number is wrong so far."}  # fmt: skip
        return head + html.text(said.get(run.verdict, run.verdict))
    parts = [head]
    for one in run.findings:
        settings = " ".join(f"--set {shlex.quote(value)}" for value in one.settings)
        cause = f"may follow from {one.follows}" if one.follows else one.cause
        pairs = {"seen": one.evidence, "cause": cause}
        if not one.follows:
            pairs |= {"fix": one.advice, "settings": settings}
        parts.append(f'<div class="finding"><b>{escape(one.name)}</b>{html.facts(pairs)}</div>')
    return "".join(parts)


# --- contract, repeat


def contracts(runs: Runs) -> str:
    """Return what each policy assumes of its robot, as tables."""
    parts = [
        html.details(f"{run.name}: {run.contract.task}", *_contract(run), opened=len(runs) == 1)
        for run in runs
        if run.contract
    ]
    return html.section("Contract", *parts) if parts else ""


def _contract(run: Shown) -> list[str]:
    contract = run.contract
    assert contract is not None
    layout = [
        (e["name"], e["size"], e["unit"], e["frame"], e["scale"], e["clip"], e["history"])
        for e in contract.layout
    ]
    joints = [
        (j.name, j.default, f"{j.range[0]:g} to {j.range[1]:g}", j.torque_limit,
         j.velocity_limit, j.kp, j.kd)
        for j in contract.robot.joints
    ]  # fmt: skip
    safety = flat(msgspec.to_builtins(contract.robot.safety))
    hidden = ", ".join(map(str, contract.network.hidden))
    return [
        html.facts({
            "policy": f"{hidden} units, {contract.network.activation}",
            "control period": f"{contract.control_period:g} s",
            "gait": f"{contract.gait_frequency:g} Hz" if contract.gait_frequency else "none",
            "command": str(contract.command),
            "action": ", ".join(f"{k} {v}" for k, v in flat(
                msgspec.to_builtins(contract.action)).items()),
        }),
        html.Raw("<h3>Observation</h3>"),
        html.table(("term", "size", "unit", "frame", "scale", "clip", "history"), layout),
        html.Raw("<h3>Joints</h3>"),
        html.table(
            ("joint", "default [rad]", "range [rad]", "torque [N m]", "velocity [rad/s]",
             "kp [N m/rad]", "kd [N m s/rad]"), joints),
        html.Raw("<h3>Safety envelope</h3>"),
        html.table(("limit", "value"), safety.items()),
    ]  # fmt: skip


def repeated(runs: Runs, words: Sequence[str]) -> str:
    """Return the commands that repeat everything."""
    parts = []
    for run in runs:
        config = run.config
        folder = shlex.quote(str(run.run))
        again = (
            f"robot-ppo train {shlex.quote(config.task.name)} --out {folder} --seed {config.seed} "
            f"--steps {config.steps}"
        )
        rest = [f"robot-ppo eval {folder}", f"robot-ppo play {folder} --video film.mp4"]
        if run.contract:
            rest.append(f"robot-ppo export {folder} -o {config.task.name}.onnx")
        parts.append(html.command("\n".join((again, *rest))))
        parts.append(_changed(config))
    parts.append(html.command(" ".join(["robot-ppo report", *map(shlex.quote, words)])))
    return html.section("How to repeat it", *parts)


def _changed(config: Config) -> str:
    """Say that settings which differ from the preset are those of the run's config.yaml."""
    return html.text(
        "Every setting stands in the run's config.yaml; with the same settings, seed and versions "
        "the weights are the same, bit for bit, on the same kind of processor."
    )
