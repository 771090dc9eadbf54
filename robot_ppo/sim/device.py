"""Where the arrays of n simulations are, and how what is drawn in numpy gets there and back.

    on = Device.of_torch("cuda")
    command = on.put(drawn)                     # a tensor there
    ended = on.fetch(failed)                    # a numpy array
    actions = on.moved(actions, ActionMap)      # a copy whose constants are tensors there

`CPU` is where numpy's own arrays are: what it puts, fetches and moves stays as it is.
"""

import copy
import dataclasses
import functools
from typing import Any

import numpy as np

from robot_ppo_export.contract.frames import Array


class Device:
    """One kind of arrays: their functions, and the device that they are on."""

    def __init__(self, xp: Any, name: str | None) -> None:
        """Take the array API's functions, and the device as they call it; None: their own."""
        self.xp = xp
        self.name = name
        self.numpy = xp is np
        """True where arrays are numpy's."""

    @classmethod
    def of_torch(cls, name: str) -> "Device":
        """Return one of torch's: "cuda", "cuda:1" or "cpu"."""
        import array_api_compat.torch as xp

        return cls(xp, name)

    def put(self, values: np.ndarray) -> Array:
        """Return an array of numpy's there; it may share memory with `values`.

        Tensors of fractions are float32.
        """
        if self.numpy:
            return values
        if values.dtype.kind == "f":
            values = values.astype(np.float32, copy=False)
        return self.xp.asarray(values, device=self.name)

    def fetch(self, values: Array) -> np.ndarray:
        """Return an array from there as numpy's, and wait for it; it may share memory."""
        return values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()

    def zeros(self, *shape: int, dtype: str = "float32") -> Array:
        """Return zeros; numpy's lie column by column in memory."""
        if self.numpy:
            return np.zeros(shape, dtype, order="F")
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype), device=self.name)

    def copied(self, values: Array) -> Array:
        """Return a float32 copy; numpy's lie column by column, which is faster for few columns."""
        if self.numpy:
            return values.astype(np.float32, order="F")
        return self.xp.astype(values, self.xp.float32, copy=True)

    def moved(self, value: Any, *kinds: type) -> Any:
        """Return a structure with its arrays there, as `put` puts them.

        Args:
            value: an array, a number, a container of them, a function with bound arguments, or an
                object of one of `kinds`. What is none of these stays as it is.
            kinds: classes whose objects are copied, with their attributes moved.
        """
        if self.numpy:
            return value

        def move(part: Any) -> Any:
            return self.moved(part, *kinds)

        if isinstance(value, np.ndarray):
            return self.put(value)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, list | tuple):
            return type(value)(move(part) for part in value)
        if isinstance(value, dict):
            return {key: move(part) for key, part in value.items()}
        if isinstance(value, functools.partial):
            return functools.partial(value.func, *map(move, value.args), **move(value.keywords))
        if isinstance(value, kinds):
            return _copied(value, move)
        return value


def _copied(value: Any, move: Any) -> Any:
    """Return a copy of an object whose attributes are moved."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        names = list(vars(value))
    made = copy.copy(value)
    for name in names:
        object.__setattr__(made, name, move(getattr(value, name)))
    return made


CPU = Device(np, None)
"""Where numpy's arrays are."""
