"""Copies an environment's state out and in: nested dicts of arrays, numbers and text.

What an environment works on is `live`: `copy(live)` goes into a checkpoint, `fill(live, state)`
comes back from one, all of it or nothing. `copy_rows` copies simulations over others.
"""

from typing import Any

import numpy as np

from robot_ppo_export.errors import InputError

State = dict[str, Any]


def copy(live: State) -> State:
    """Return `live` with every array copied, those of tensors as numpy's."""
    return {name: _copied(value) for name, value in live.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return copy(value)
    there = _array(value)
    return there.copy() if isinstance(there, np.ndarray) else value


def _array(value: Any) -> Any:
    """Return a tensor as numpy's array, which may share memory; other values as they are."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def fill(live: State, state: State) -> None:
    """Write the arrays of `state` into those of `live`; the rest is for the caller to take up.

    Raises:
        InputError: `state` has other entries, shapes, types or texts; nothing was written then.
    """
    _check(live, state, "state")
    _fill(live, state)


def copy_rows(rows: State, source: np.ndarray, target: np.ndarray) -> None:
    """Make rows `target` of every array equal to rows `source`, in place.

    Args:
        rows: nested dicts of arrays (n, ...), a row per simulation.
        source: (m,) ids.
        target: (m,) ids, none of them twice.
    """
    for value in rows.values():
        if isinstance(value, dict):
            copy_rows(value, source, target)
        else:
            value[target] = value[source]


def _check(live: Any, state: Any, name: str) -> None:
    if _kind(live) != _kind(state):
        raise InputError(f"{name} is {_kind(state)}, not {_kind(live)}")
    if isinstance(live, dict):
        for key in sorted(live.keys() ^ state.keys()):
            raise InputError(f"{name}.{key} is {'missing' if key in live else 'unknown'}")
        for key, value in live.items():
            _check(value, state[key], f"{name}.{key}")
    elif isinstance(live, str) and live != state:  # what a state belongs to: no text is a number
        raise InputError(f"{name} is another")


def _kind(value: Any) -> str:
    value = _array(value)
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _fill(live: State, state: State) -> None:
    for name, value in live.items():
        if isinstance(value, dict):
            _fill(value, state[name])
        elif isinstance(value, np.ndarray):
            value[...] = state[name]
        elif hasattr(value, "detach"):
            value.copy_(value.new_tensor(state[name]))
