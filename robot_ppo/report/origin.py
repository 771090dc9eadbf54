"""Sections of a report: what was trained, what the policy assumes, how to repeat it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from robot_ppo.config import GymTask
from robot_ppo.report import html
from robot_ppo.report.source import Runs, Shown

_SAME = html.text(
    "Every setting stands in the run's config.yaml; with the same settings, seed and versions the "
    "weights are the same, bit for bit, on the same kind of processor. A run that was resumed with "
    "other settings takes its commands in turn."
)


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
    states = [f"{name}: {width} numbers" for name, width in contract.states.items()]
    return [
        html.facts({
            "policy": f"{hidden} units, {contract.network.activation}",
            "memory": ", ".join(states) or "none",
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
        again = run.origin.command or (  # a run from before it was recorded
            f"robot-ppo train {shlex.quote(config.task.name)} --out {folder} --seed {config.seed} "
            f"--steps {config.steps}"
        )
        rest = [f"robot-ppo eval {folder}", f"robot-ppo play {folder} --video film.mp4"]
        if run.contract:
            rest.append(f"robot-ppo export {folder} -o {config.task.name}.onnx")
        parts.append(html.command("\n".join((again, *rest))))
        parts.append(_SAME)
    parts.append(html.command(" ".join(["robot-ppo report", *map(shlex.quote, words)])))
    return html.section("How to repeat it", *parts)
