"""Ordered terms -> observation vector, with clip, scale and history per term.

Of each term, in this order: the value in its unit is clipped to [-clip, clip], multiplied by
scale, and appended to the term's history, oldest first. After a reset the history is filled with
the first value. The vector is the terms in order, each contiguous.

    layout = Layout(specs, joints=12)
    observer = Observer(layout, batch=(1024,))
    observation = observer.observe(inputs)            # (1024, layout.size) float32
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from robot_ppo_export.contract import frames, strict
from robot_ppo_export.contract.command import TWIST, CommandSpec
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.state import ANY, NO_WIDTHS, SIGNALS
from robot_ppo_export.contract.terms import TERMS, Inputs
from robot_ppo_export.errors import InputError


class TermSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Scale, clip and history of one term in the observation."""

    name: str
    scale: float = 1.0
    clip: float | None = None
    """Bound on the absolute value, in the term's unit, before scaling."""
    history: int = 1
    """Number of consecutive values, the newest last."""


class Entry(NamedTuple):
    """One number of the observation vector."""

    term: str
    part: str
    """The joint, the axis, or whatever the term's numbers are called."""
    age: int
    """Ticks ago; 0 but for the older values of a history."""
    unit: str
    """Unit of the value before `scale`."""
    scale: float

    def __str__(self) -> str:
        """Return the name, e.g. "joint_vel FL_calf_joint"."""
        return f"{self.term} {self.part}" + (f" {self.age} ticks ago" if self.age else "")


class Layout:
    """Place of each term in the observation vector."""

    def __init__(
        self,
        specs: tuple[TermSpec, ...],
        joints: int,
        command: CommandSpec = TWIST,
        signal_sizes: Mapping[str, int] = NO_WIDTHS,
    ) -> None:
        """Resolve the terms by name; an unknown one is an `InputError` with the list.

        Args:
            specs: the terms, in order.
            joints: how many the robot has.
            command: what term `command` is.
            signal_sizes: widths of the signals of size `ANY`.
        """
        self.specs = specs
        self.command = command
        self._sizes = {**signal_sizes, "joints": joints, "command": command.size}
        self.slices: dict[str, slice] = {}
        self.plan: list[tuple[Callable[[Inputs], Array], TermSpec, bool, slice]] = []
        """For each term: function, spec, whether its value is changed on the way, place."""
        self.widths: dict[str, int] = {}
        offset = 0
        for spec in specs:
            if spec.name not in TERMS:
                hint = strict.did_you_mean(spec.name, TERMS)
                raise InputError(f"observation: unknown term {spec.name!r}{hint}")
            if spec.name in self.slices:
                raise InputError(f"observation: term {spec.name!r} is listed twice")
            if spec.history < 1:
                raise InputError(f"observation: {spec.name}.history must be at least 1")
            if spec.clip is not None and not spec.clip > 0:
                raise InputError(f"observation: {spec.name}.clip {spec.clip} must be above 0")
            self.widths[spec.name] = width = self._width(spec.name)
            self.slices[spec.name] = place = slice(offset, offset + width * spec.history)
            worked = spec.clip is not None or spec.scale != 1.0 or spec.history > 1
            self.plan.append((TERMS[spec.name].function, spec, worked, place))
            offset += width * spec.history
        self.size = offset

    @property
    def signals(self) -> tuple[str, ...]:
        """The measured signals that the observation needs."""
        return tuple(sorted({s for spec in self.specs for s in TERMS[spec.name].reads}))

    def _width(self, name: str) -> int:
        """Return the width of one value of term `name`, or `InputError` where nobody states it."""
        term = TERMS[name]
        lacking = [s for s in term.reads if SIGNALS[s].size == ANY and s not in self._sizes]
        if lacking:
            raise InputError(f"observation: {name} reads {lacking[0]}, whose size is not stated")
        width = self._sizes[term.size] if term.size in self._sizes else int(term.size)
        if width == 0:
            raise InputError(f"observation: term {name!r} is empty: the task has no command")
        return width

    def _parts(self, name: str, joints: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the entries of term `name`."""
        term = TERMS[name]
        if term.size == "command":
            return self.command.names
        if term.size == "joints":
            return joints
        return term.parts or tuple(str(i) for i in range(self.widths[name]))

    def _unit_and_frame(self, name: str) -> tuple[str, str]:
        term = TERMS[name]
        if term.size == "command":
            return self.command.unit, self.command.frame
        return term.unit, term.frame

    def entries(self, joints: tuple[str, ...]) -> tuple[Entry, ...]:
        """Return what each number of the vector is; `joints` are the joints' names."""
        entries = []
        for spec in self.specs:
            parts = self._parts(spec.name, joints)
            unit, _ = self._unit_and_frame(spec.name)
            units = unit.split(", ")
            if len(units) != len(parts):
                units = [unit] * len(parts)
            for age in range(spec.history - 1, -1, -1):
                pairs = zip(parts, units, strict=True)
                entries += [Entry(spec.name, part, age, unit, spec.scale) for part, unit in pairs]
        return tuple(entries)

    def describe(self) -> list[dict[str, Any]]:
        """Return one row per term: name, offset, size, unit, frame, scale, clip, history."""
        return [
            {
                "name": spec.name,
                "offset": self.slices[spec.name].start,
                "size": self.widths[spec.name] * spec.history,
                "unit": self._unit_and_frame(spec.name)[0],
                "frame": self._unit_and_frame(spec.name)[1],
                "scale": spec.scale,
                "clip": spec.clip,
                "history": spec.history,
            }
            for spec in self.specs
        ]


class Observer:
    """Computes observations, and holds the histories that they need.

    `batch` is (n,) for n simulations and () for one robot.
    """

    def __init__(self, layout: Layout, batch: tuple[int, ...]) -> None:
        """Start as after a reset: histories are empty."""
        self.layout = layout
        self.batch = batch
        self._histories = {
            s.name: np.zeros((*batch, s.history, layout.widths[s.name]), np.float32)
            for s in layout.specs
            if s.history > 1
        }
        self._fresh = np.ones(batch, bool)

    def reset(self, ids: Any = ...) -> None:
        """Forget the histories of the simulations `ids`, by default of all."""
        self._fresh[ids] = True

    def observe(self, inputs: Inputs, ids: Any = ...) -> np.ndarray:
        """Return the observation (..., size), float32, and append to the histories.

        Args:
            inputs: leading axes as `batch`, or as `batch` indexed by `ids`.
            ids: the simulations that `inputs` holds, by default all.
        """
        xp = frames.namespace(inputs.command)
        lead = inputs.command.shape[:-1]
        out = xp.empty((*lead, self.layout.size), dtype=xp.float32)
        for function, spec, worked, place in self.layout.plan:
            value = function(inputs)
            if worked:
                if spec.clip is not None:
                    value = xp.clip(value, -spec.clip, spec.clip)
                if spec.scale != 1.0:
                    value = value * spec.scale
                if spec.history > 1:
                    value = self._append(spec.name, value, ids)
            out[..., place] = value
        self._fresh[ids] = False
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next observations depend on, not copies.

        Another observer of the same layout goes on bit for bit when they are written into its own.
        """
        return self._histories | {"fresh": self._fresh}

    def _append(self, name: str, value: np.ndarray, ids: Any) -> np.ndarray:
        """Return the flattened history (..., history * width) with `value` as its newest."""
        history = self._histories[name]
        old = history[ids]
        new = np.concatenate((old[..., 1:, :], value[..., None, :]), axis=-2)
        fresh = self._fresh[ids][..., None, None]
        new = np.where(fresh, value[..., None, :], new)
        history[ids] = new
        return new.reshape(*new.shape[:-2], -1)
