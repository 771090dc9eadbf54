"""Tasks in the layout of the first edition, read as what they mean today.

    task = first_edition.translated(data, joints=12)     # or the same data, if it is of today

The keys `observation`, `privileged`, `reset`, `randomization`, `pushes` and `physics_timestep`
became terms in tables, and rewards changed their unit: what belongs to joints was a sum over them
and is a mean, and `termination` was multiplied by the control period and is given once. The numbers
are changed so that the rewards stay what they were.
"""

import math
from typing import Any

Data = dict[str, Any]

KEYS = ("observation", "privileged", "physics_timestep", "reset", "randomization", "pushes")
"""Any of these at the top of a task says that it is of the first edition."""
SUMS = ("torque", "action_rate", "joint_acc", "joint_limits", "joint_pose", "stand_still")
"""Rewards that were sums over joints."""
CLEARANCE = 0.03
"""[m] So much above the ground every robot started."""


def is_first(data: Data) -> bool:
    """Return whether a task's data are in the layout of the first edition."""
    return any(key in data for key in KEYS)


def translated(data: Data, joints: int) -> Data:
    """Return a task in today's layout.

    Args:
        data: of the YAML, as it was read; what is malformed in it is left for the checks.
        joints: number of the robot's joints.
    """
    old = dict(data)
    new: Data = {
        "physics": {"timestep": old.pop("physics_timestep", None)},
        "observations": {
            "actor": _observation(old.pop("observation", [])),
            "critic": {name: {} for name in old.pop("privileged", [])},
        },
        "events": {
            "reset": _reset(old.pop("reset", {}), old.pop("randomization", {})),
            "interval": _pushes(old.pop("pushes", None)),
        },
        "metrics": {"velocity_error": {}, "yaw_error": {}},
    }
    new["commands"] = {"twist": old.pop("commands", {})}
    period = old.get("control_period", 0.0)
    new["rewards"] = _rewards(old.pop("rewards", {}), joints, period)
    if "joint_pose" in new["rewards"]:
        new["rewards"]["joint_pose"]["joints"] = 1.0
    limits = old.pop("terminations", {})
    new["terminations"] = {name: {"limit": limit} for name, limit in limits.items()}
    return {**old, **new}


def _observation(terms: Any) -> Data:
    """Return a list of terms as a table."""
    return {t["name"]: {k: v for k, v in t.items() if k != "name"} for t in terms}


def _reset(states: Data, ranges: Data) -> Data:
    """Return initial states and randomizations as events."""
    home = {"clearance": CLEARANCE, "heading": [-math.pi, math.pi], **states}
    return {"home_pose": home, **{name: {"range": value} for name, value in ranges.items()}}


def _pushes(pushes: Data | None) -> Data:
    return {"push": dict(pushes)} if pushes else {}


def _rewards(rewards: Data, joints: int, control_period: float) -> Data:
    """Return rewards with today's units."""
    factors = {name: float(joints) for name in SUMS} | {"termination": control_period}
    return {
        name: {**entry, "weight": entry["weight"] * factors.get(name, 1.0)}
        if "weight" in entry
        else entry
        for name, entry in rewards.items()
    }
