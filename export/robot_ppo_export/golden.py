"""Golden traces: recorded ticks state -> observation -> action -> target.

Training code and training weights write them; the deployed code recomputes them on the robot's
own CPU before it arms. A trace is one continuous run of ticks, so that histories are exercised;
that of a network with a memory goes over the end of an episode, where it must forget.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from robot_ppo_export.contract.state import SIGNALS, RobotState
from robot_ppo_export.contract.terms import Inputs
from robot_ppo_export.errors import RefusedError

MIN_TICKS = 64


@dataclass
class GoldenTraces:
    """`T` ticks of one robot, float32, from a reset on."""

    inputs: dict[str, np.ndarray]
    """Inputs of the observation: signals (T, ...), `last_action` (T, actions), where the
    task has a command `command` (T, k), where it has a gait `phase` (T,)."""
    observation: np.ndarray
    """(T, size)"""
    action: np.ndarray
    """(T, actions)"""
    target: np.ndarray
    """(T, joints) [rad]"""
    starts: np.ndarray | None = None
    """(T,) 1 at ticks before which the policy starts anew; None: at the first alone."""

    def tick(self, t: int, default_pose: np.ndarray) -> Inputs:
        """Return the recorded inputs of tick `t`."""
        # [t, ...] keeps `phase` an array; a scalar has no array namespace in numpy 2.0.
        row = {name: values[t, ...] for name, values in self.inputs.items()}
        state = RobotState(**{name: row[name] for name in row if name in SIGNALS})
        command = row.get("command", np.zeros(0, np.float32))
        phase = row.get("phase", np.zeros((), np.float32))
        return Inputs(state, command, row["last_action"], phase, default_pose)

    def begins(self, t: int) -> bool:
        """Return whether the policy starts anew before tick `t`."""
        return t == 0 or (self.starts is not None and bool(self.starts[t]))

    def __len__(self) -> int:
        """Return the number of ticks."""
        return len(self.action)


def record(inputs: list[Inputs], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return consecutive inputs as arrays (T, ...): those in `Contract.input_names`."""
    rows = {
        name: [item.state[name] if name in SIGNALS else getattr(item, name) for item in inputs]
        for name in names
    }
    return {name: np.stack(values).astype(np.float32) for name, values in rows.items()}


def to_json(golden: GoldenTraces) -> str:
    """Return the traces as JSON; arrays are little-endian float32 in base64."""
    arrays = {f"inputs.{name}": values for name, values in golden.inputs.items()}
    arrays |= {name: getattr(golden, name) for name in ("observation", "action", "target")}
    if golden.starts is not None:
        arrays["starts"] = golden.starts
    packed = {
        name: {
            "shape": values.shape,
            "data": base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode(),
        }
        for name, values in arrays.items()
    }
    return msgspec.json.encode(packed, order="deterministic").decode()


def from_json(text: str) -> GoldenTraces:
    """Return the traces in `text`, or raise `RefusedError` where they are incomplete."""
    try:
        packed = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
        arrays = {
            name: np.frombuffer(base64.b64decode(entry["data"]), "<f4").reshape(entry["shape"])
            for name, entry in packed.items()
        }
        inputs = {name[7:]: a for name, a in arrays.items() if name.startswith("inputs.")}
        golden = GoldenTraces(
            inputs,
            *(arrays[name] for name in ("observation", "action", "target")),
            starts=arrays.get("starts"),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"the golden traces are malformed: {error}") from None
    lengths = {a.shape[:1] for a in arrays.values()}
    if len(lengths) != 1 or lengths.pop() < (MIN_TICKS,):
        raise RefusedError(f"the golden traces must be {MIN_TICKS} ticks or more, all of a length")
    if golden.starts is not None and golden.starts.ndim != 1:
        raise RefusedError("the golden traces are malformed: starts must be one number per tick")
    return golden
