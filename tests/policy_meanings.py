"""Contracts that mean something else than the golden traces beside them, or nothing at all.

Each function changes a contract, as plain data, in place.
"""

import random
from typing import Any


def _swap_joints(data: dict[str, Any], rng: random.Random) -> None:
    """Joints of different kinds, whose defaults differ, change places."""
    joints = data["robot"]["joints"]
    i, j = rng.sample(range(len(joints)), 2)
    if joints[i]["default"] != joints[j]["default"]:
        joints[i], joints[j] = joints[j], joints[i]


def _scale_term(data: dict[str, Any], rng: random.Random) -> None:
    """A term of the observation is scaled otherwise, with a layout that says so."""
    i = rng.randrange(len(data["observation"]))
    factor = rng.choice((0.5, 2.0, -1.0))
    data["observation"][i]["scale"] *= factor
    data["layout"][i]["scale"] *= factor


def _clip_term(data: dict[str, Any], rng: random.Random) -> None:
    """A term is clipped where its values are."""
    i = rng.randrange(len(data["observation"]))
    data["observation"][i]["clip"] = data["layout"][i]["clip"] = 1e-3


def _layout_only(data: dict[str, Any], rng: random.Random) -> None:
    row = rng.choice(data["layout"])
    row[rng.choice(("offset", "size", "history"))] += rng.choice((-1, 1, 12))


def _history_only(data: dict[str, Any], rng: random.Random) -> None:
    rng.choice(data["observation"])["history"] += rng.choice((1, 2, -1))


def _swap_terms(data: dict[str, Any], rng: random.Random) -> None:
    i, j = rng.sample(range(len(data["observation"])), 2)
    terms = data["observation"]
    terms[i], terms[j] = terms[j], terms[i]


def _action(data: dict[str, Any], rng: random.Random) -> None:
    key, values = rng.choice((("scale", (0.25, 1.0, -0.5, 0.0)), ("clip", (0.01, 0.0, -4.0))))
    data["action"][key] = rng.choice(values)


def _default(data: dict[str, Any], rng: random.Random) -> None:
    rng.choice(data["robot"]["joints"])["default"] += rng.choice((0.01, -0.05, 10.0))


def _impossible(data: dict[str, Any], rng: random.Random) -> None:
    """A figure that no robot has."""
    joint = rng.choice(data["robot"]["joints"])
    robot = data["robot"]
    places = [(joint, "kp"), (joint, "kd"), (joint, "torque_limit"), (joint, "velocity_limit")]
    places += [(robot["stand"], "kp"), (robot["stand"], "kd"), (robot["damping"], "kd")]
    places += [(robot["stand"], "duration"), (robot["base"], "height"), (data, "control_period")]
    where, key = rng.choice(places)
    where[key] = rng.choice((0, -1, -where[key]))


def _ranges(data: dict[str, Any], rng: random.Random) -> None:
    """A range that is empty or upside down."""
    if rng.random() < 0.5:
        joint = rng.choice(data["robot"]["joints"])
        joint["range"] = joint["range"][::-1]
    elif "commands" in data:  # format 2
        data["commands"]["vx"] = data["commands"]["vx"][::-1]
    else:
        entry = rng.choice(data["command"]["entries"])
        entry["low"], entry["high"] = entry["high"], entry["low"]


def _normalizer(data: dict[str, Any], rng: random.Random) -> None:
    values = data["normalizer"][rng.choice(("mean", "std"))]
    if rng.random() < 0.5:
        del values[rng.randrange(len(values))]
    else:
        data["normalizer"]["std"][rng.randrange(len(values))] = rng.choice((0.0, -1.0))


def _distribution(data: dict[str, Any], rng: random.Random) -> None:
    """Quantiles that do not ascend, or of another observation."""
    seen = data["distribution"]
    if rng.random() < 0.5:
        del seen[rng.choice(("minimum", "low", "median", "high", "maximum"))][-1]
    else:
        i = rng.randrange(len(seen["median"]))
        seen["median"][i] = seen["maximum"][i] + 1


def _version(data: dict[str, Any], rng: random.Random) -> None:
    data["format_version"] += rng.choice((-1, 1, 100))


MEANINGS = (
    *(_swap_joints, _scale_term, _clip_term, _layout_only, _history_only, _swap_terms, _action),
    *(_default, _impossible, _ranges, _normalizer, _distribution, _version),
)
