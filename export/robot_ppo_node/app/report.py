"""A policy file for human eyes: the page of `describe` and the table of `check`."""

import math
from typing import Any

import numpy as np

from robot_ppo_export.contract.contract import LEVELS, Contract
from robot_ppo_export.contract.spec import Gain
from robot_ppo_export.policy import TOLERANCE, Difference, Policy
from robot_ppo_node.host.text_table import table
from robot_ppo_node.safety.measured import needed_signals
from robot_ppo_node.safety.self_test import Result


def check_page(policy: Policy, worst: Difference) -> str:
    """Return what was verified, one line each."""
    contract = policy.contract
    ticks = len(policy.golden)
    return table(
        ("check", "result", "detail"),
        [
            ("checksum", "ok", f"SHA-256 {policy.sha256}"),
            (
                "contract",
                "ok",
                f"format {contract.format_version}, {contract.task} on {contract.robot.name}",
            ),
            (
                "graph",
                "ok",
                f"{policy.layout.size} observations -> {len(contract.robot.joints)} actions",
            ),
            ("golden", "ok", f"{ticks} ticks, worst difference {worst} (limit {TOLERANCE:g})"),
        ],
    )


def selftest_page(results: list[Result]) -> str:
    """Return what every guard made of the fault that was injected into it."""
    rows = [
        (
            r.guard.name,
            "-" if r.off else _with_unit(r.value, r),
            "finite" if r.guard.limit == "none" and r.limit == math.inf else _with_unit(r.limit, r),
            _became(r),
        )
        for r in results
    ]
    silent = sum(not r.good for r in results)
    off = sum(r.off for r in results)
    verdict = f"{silent} DID NOT FIRE" if silent else "all others fired" if off else "all fired"
    count = f"{len(rows)} guards, " + (f"{off} off, " if off else "")
    return table(("guard", "injected", "limit", "fired"), rows) + f"\n{count}{verdict}"


def _became(result: Result) -> str:
    if result.off:
        return "off: its limit is 0"
    name = result.fired.name.lower()
    return name if result.good else f"{name}: DID NOT FIRE"


def _with_unit(value: float, result: Result) -> str:
    return f"{value:.4g} {result.guard.unit}".rstrip()


def describe_page(policy: Policy) -> str:
    """Return all that a person wants to know of a policy file before running it."""
    contract = policy.contract
    parts = (
        _identity(policy),
        ("Observation", _observation(contract)),
        ("Action and joints", _joints(contract)),
        ("Command it was trained with", _command(contract)),
        ("Safety limits", _limits(contract)),
        ("Training", _training(contract)),
        ("Scorecard", _scores(contract)),
        ("What it saw in training", _seen(contract)),
    )
    return "\n\n".join(f"{title}\n{'=' * len(title)}\n{body}" for title, body in parts)


def _identity(policy: Policy) -> tuple[str, str]:
    contract = policy.contract
    robot = contract.robot
    network = " x ".join(str(n) for n in contract.network.hidden)
    network = f"{network} {contract.network.activation}, after a normalizer{_memory(contract)}"
    period = contract.control_period
    gait = contract.gait_frequency
    clock = "no gait" if gait is None else f"gait clock {gait:g} Hz"
    lines = [
        ("robot", f"{robot.name}: {robot.description}"),
        ("task", contract.task),
        ("file", policy.path),
        ("sha256", policy.sha256),
        ("rate", f"{1 / period:g} Hz (every {period * 1e3:g} ms), {clock}"),
        ("network", network),
        ("needs", ", ".join(needed_signals(contract))),
        ("model", contract.model_fingerprint or "no fingerprint of the robot's model files"),
    ]
    return f"{contract.task} on {robot.name}", "\n".join(f"{k:<8} {v}" for k, v in lines)


def _memory(contract: Contract) -> str:
    numbers = sum(contract.states.values())
    return f" and a memory of {numbers} numbers" if numbers else ""


def _observation(contract: Contract) -> str:
    columns = ("name", "offset", "size", "unit", "frame", "scale", "clip", "history")
    if any("parameters" in row for row in contract.layout):
        columns += ("parameters",)
    rows = [row | {"parameters": _parameters(row)} for row in contract.layout]
    return table(columns, [tuple(row[c] for c in columns) for row in rows])


def _parameters(row: dict[str, Any]) -> str:
    """Return a term's parameters as text."""
    return ", ".join(f"{name}: {value}" for name, value in row.get("parameters", {}).items())


def _joints(contract: Contract) -> str:
    robot = contract.robot
    action = contract.action
    scales = contract.action_map().scale * np.ones(len(robot.joints), np.float32)
    moves = [
        "held" if j.name in action.held else float(scales[i]) for i, j in enumerate(robot.joints)
    ]
    rows = [
        (j.name, j.default, *j.range, j.velocity_limit, j.torque_limit, j.kp, j.kd, scale)
        for j, scale in zip(robot.joints, moves, strict=True)
    ]
    header = ("joint", "default", "low", "high", "rad/s", "N m", "kp", "kd", "scale")
    return (
        "target [rad] = default + scale * action, action within "
        f"+-{action.clip:g}; torque = kp (target - q) - kd dq\n"
        f"standing up: kp {_gain(robot.stand.kp)}, kd {_gain(robot.stand.kd)}, "
        f"{robot.stand.duration:g} s; damping: kd {_gain(robot.damping.kd)}\n\n"
        + table(header, rows)
    )


def _gain(gain: Gain) -> str:
    """Return a gain as text: one number, or those of each joint."""
    if isinstance(gain, dict):
        return "{" + ", ".join(f"{name}: {value:g}" for name, value in gain.items()) + "}"
    return f"{gain:g}"


def _command(contract: Contract) -> str:
    command = contract.command
    if not command.entries:
        return "none: the policy is not told anything"
    rows = [(entry.name, entry.unit, entry.low, entry.high) for entry in command.entries]
    page = table(("entry", "unit", "low", "high"), rows)
    return f"{command.kind}, frame {command.frame}\n\n{page}"


def _limits(contract: Contract) -> str:
    safety = contract.robot.safety
    units = {"max_tilt": "rad", "max_angular_rate": "rad/s", "max_target_step": "rad per tick"}
    units |= {"joint_range_margin": "rad", "stale_after": "s", "frozen_ticks": "ticks"}
    units |= {"max_joint_overrun": "rad", "max_clock_step": "s", "min_voltage": "V"}
    units |= {"max_motor_temperature": "degC"}
    return "\n".join(
        f"{name:<22} {getattr(safety, name):g} {units.get(name, '')}".rstrip()
        for name in safety.__struct_fields__
    )


def _training(contract: Contract) -> str:
    training = contract.training
    versions = ", ".join(f"{k} {v}" for k, v in sorted(training.versions.items()))
    lines = [
        f"{training.steps} steps, seed {training.seed}, git {training.git_commit or '-'}",
        f"physics every {training.physics_timestep * 1e3:g} ms; {versions}",
        *(f"randomized {k}: {v}" for k, v in sorted(training.randomization.items())),
        *(f"noise on {k}: +-{v:g}" for k, v in sorted(training.noise.items())),
        *(f"map, {k}: {v}" for k, v in sorted(training.map.items())),
        *([f"explored by +-{np.mean(training.deviation):.3g}"] if training.deviation else []),
    ]
    if contract.evaluation is not None:
        lines.append(f"scored by: {', '.join(sorted(contract.evaluation)) or 'nothing'}")
    return "\n".join(lines)


def _scores(contract: Contract) -> str:
    """Return what the policy did when its file was written, and the gain of each axis."""
    scores = contract.scores
    if scores is None:
        return "not stated: `robot-ppo eval` scores a policy, `robot-ppo export` writes it down"
    verdict = "passed" if scores.passed else "did not pass"
    page = table(("figure", "mean"), [(k, f"{v:.4g}") for k, v in scores.figures.items()])
    if scores.gain:
        rows = [(name, f"{value:.2f}") for name, value in scores.gain.items()]
        page += "\n\n" + table(("axis", "measured over commanded"), rows)
    return f"{scores.condition}: {verdict}\n\n{page}"


def _seen(contract: Contract) -> str:
    """Return the quantiles of each entry of the observation, in the unit of its term."""
    seen = contract.distribution
    if seen is None:
        return "not stated: what leaves the training is not noticed"
    rows = []
    for i, entry in enumerate(contract.resolve().entries(contract.robot.joint_names)):
        if entry.age == 0:
            rows.append((str(entry), *(getattr(seen, k)[i] / entry.scale for k in LEVELS)))
    header = ("entry", *(f"{100 * share:g} %" for share in LEVELS.values()))
    return f"{seen.robot_ticks} observations, quantiles\n\n" + table(header, rows)
