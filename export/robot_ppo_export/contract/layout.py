"""Ordered terms -> observation vector, with clip, scale and history per term.

Of each term, in this order: the value in its unit is clipped to [-clip, clip], multiplied by
scale, and appended to the term's history, oldest first. After a reset the history is filled with
the first value. The vector is the terms in order, each contiguous.

    layout = Layout(specs, joints=12)
    observer = Observer(layout, batch=(1024,))
    observation = observer.observe(inputs)            # (1024, layout.size) float32
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from robot_ppo_export.contract.command import TWIST, CommandSpec
from robot_ppo_export.contract.frames import Array
from robot_ppo_export.contract.scan import ScanGrid
from robot_ppo_export.contract.state import ANY, MOST_NUMBERS, NO_WIDTHS, SIGNALS
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.contract.tables import Term
from robot_ppo_export.contract.terms import HANDLING, NUMBERS, TERMS, Inputs
from robot_ppo_export.errors import InputError


class TermSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Parameters, scale, clip and history of one term in the observation."""

    name: str
    scale: float = 1.0
    clip: float | None = None
    """Bound on the absolute value, in the term's unit, before scaling."""
    history: int = 1
    """Number of consecutive values, the newest last."""
    parameters: dict[str, Any] = {}
    """Keyword parameters of the term's function, as plain data; those that are not here have their
    defaults."""

    def __hash__(self) -> int:
        """Return a hash that follows from the values."""
        return hash((self.name, self.scale, self.clip, self.history, repr(self.parameters)))


def term_spec(
    path: str,
    name: str,
    entry: Mapping[str, Any],
    joints: tuple[str, ...],
    has: frozenset[str],
) -> TermSpec:
    """Return how a term enters the observation, from what a task's YAML says of it.

    All parameters are in it, those with defaults too: a policy file keeps its meaning when a
    default changes. See `Table.resolve` for the arguments and errors.
    """
    term = TERMS.one(path, name, entry, joints, has)
    values = TERMS.defaults(name) | dict(entry)
    parameters = {key: values[key] for key in TERMS.parameters(name)}
    plain = msgspec.json.decode(msgspec.json.encode(parameters))
    return TermSpec(name=name, **term.own, parameters=plain)


class Step(NamedTuple):
    """A term's function and its place in the observation."""

    function: Callable[[Any], Array]
    """With its parameters filled in."""
    spec: TermSpec
    place: slice


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
        joints: int | tuple[str, ...],
        command: CommandSpec = TWIST,
        signal_sizes: Mapping[str, int] = NO_WIDTHS,
        moved: Sequence[int] | None = None,
    ) -> None:
        """Resolve the terms by name; one that cannot be computed is an `InputError`.

        Args:
            specs: the terms, in order.
            joints: names of the robot's, or how many it has where no parameter speaks of them.
            command: what term `command` is.
            signal_sizes: widths of the signals of size `ANY`, but those that follow from a term's
                parameters.
            moved: places of the joints that the network moves; None: all.
        """
        self.command = command
        names = joints if isinstance(joints, tuple) else tuple(map(str, range(joints)))
        self.moved = tuple(range(len(names)) if moved is None else moved)
        terms = [_resolved(spec, names) for spec in specs]
        self._names = {
            spec.name: NUMBERS[spec.name].named(TERMS.defaults(spec.name) | term.parameters)
            for spec, term in zip(specs, terms, strict=True)
        }
        self.signal_sizes = self._signal_sizes(signal_sizes)
        """Width of each signal of size `ANY`, stated or found."""
        counts = {"joints": len(names), "actions": len(self.moved), "command": command.size}
        self._sizes = {**self.signal_sizes, **counts}
        functions = [
            term.function if term.parameters else TERMS.functions[term.name] for term in terms
        ]
        self._place(specs, functions, [self._width(spec.name) for spec in specs])

    def _place(
        self, specs: tuple[TermSpec, ...], functions: list[Callable[..., Array]], widths: list[int]
    ) -> None:
        """Give every term its place, in order; `widths` are those of one value of each."""
        self.specs = specs
        self.slices: dict[str, slice] = {}
        self.widths: dict[str, int] = {}
        self.plan: list[Step] = []
        """One step per term."""
        offset = 0
        for spec, function, width in zip(specs, functions, widths, strict=True):
            if spec.name in self.slices:
                raise InputError(f"observation: term {spec.name!r} is listed twice")
            place = slice(offset, offset + width * spec.history)
            self.widths[spec.name] = width
            self.slices[spec.name] = place
            self.plan.append(Step(function, spec, place))
            offset = place.stop
        self.size = offset

    @property
    def signals(self) -> tuple[str, ...]:
        """The measured signals that the observation needs."""
        return tuple(sorted({s for spec in self.specs for s in NUMBERS[spec.name].reads}))

    @property
    def scan_grid(self) -> ScanGrid | None:
        """The grid of the height scan; None where no term reads one."""
        for spec in self.specs:
            if spec.name == "height_scan":
                return ScanGrid(**(TERMS.defaults(spec.name) | spec.parameters))
        return None

    def _signal_sizes(self, stated: Mapping[str, int]) -> dict[str, int]:
        """Return the widths of signals, stated or found; two that differ are an `InputError`."""
        widths = dict(stated)
        for name, parts in self._names.items():
            signal = NUMBERS[name].size
            if parts and signal in SIGNALS and widths.setdefault(signal, len(parts)) != len(parts):
                raise InputError(
                    f"observation: {name} has {len(parts)} numbers by its parameters, and the "
                    f"signal {signal} has {widths[signal]}"
                )
        return widths

    def _width(self, name: str) -> int:
        """Return the width of one value of term `name`, or `InputError` where nobody states it."""
        numbers = NUMBERS[name]
        lacking = [s for s in numbers.reads if SIGNALS[s].size == ANY and s not in self._sizes]
        if lacking:
            raise InputError(f"observation: {name} reads {lacking[0]}, whose size is not stated")
        width = self._sizes[numbers.size] if numbers.size else len(self._names[name])
        if width == 0:
            raise InputError(f"observation: term {name!r} is empty: the task has no command")
        if width > MOST_NUMBERS:
            raise InputError(f"observation: {name} has {width} numbers, more than {MOST_NUMBERS}")
        return width

    def _parts(self, name: str, joints: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of the entries of term `name`."""
        size = NUMBERS[name].size
        if size == "command":
            return self.command.names
        if size == "joints":
            return joints
        if size == "actions":
            return tuple(joints[i] for i in self.moved)
        return self._names[name] or tuple(str(i) for i in range(self.widths[name]))

    def _unit_and_frame(self, name: str) -> tuple[str, str]:
        numbers = NUMBERS[name]
        if numbers.size == "command":
            return self.command.unit, self.command.frame
        return numbers.unit, numbers.frame

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
        """Return one row per term: name, offset, size, unit, frame, scale, clip, history.

        A term that is given parameters has them in its row, too.
        """
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
            | ({"parameters": spec.parameters} if spec.parameters else {})
            for spec in self.specs
        ]


def _resolved(spec: TermSpec, joints: tuple[str, ...]) -> Term:
    """Return the term with its parameters filled in, or raise `SettingError`."""
    handling = {key: getattr(spec, key) for key in HANDLING}
    for key in handling.keys() & spec.parameters.keys():
        raise SettingError(
            f"observation.{spec.name}.parameters.{key}", "is no parameter; it stands beside them"
        )
    return TERMS.one("observation", spec.name, handling | spec.parameters, joints, has=None)


class Observer:
    """Computes observations, and holds the histories that they need.

    `batch` is (n,) for n simulations and () for one robot. On tensors:

        observer = Observer(layout, (4096,), array_api_compat.torch, device="cuda")
    """

    def __init__(
        self, layout: Layout, batch: tuple[int, ...], xp: Any = np, device: Any = None
    ) -> None:
        """Start as after a reset: histories are empty.

        Args:
            layout: what is observed.
            batch: leading axes of the inputs.
            xp: the array API's functions for the arrays of the inputs.
            device: on which these are, as `xp` calls it; None for its own choice.
        """
        self.layout = layout
        self.batch = batch
        self._xp = xp
        self._device = device
        self._plan = [
            (self._function(step.function), step.spec, self._bounds(step.spec.clip), step.place)
            for step in layout.plan
        ]
        self._histories = {
            s.name: xp.zeros(
                (*batch, s.history, layout.widths[s.name]), dtype=xp.float32, device=device
            )
            for s in layout.specs
            if s.history > 1
        }
        self._fresh = xp.ones(batch, dtype=xp.bool, device=device)

    def _function(self, function: Callable[[Any], Array]) -> Callable[[Any], Array]:
        """Return a term with those of its parameters that are arrays on our device."""
        if not isinstance(function, functools.partial):
            return function
        given = {
            key: self._xp.asarray(value, device=self._device)
            if isinstance(value, np.ndarray)
            else value
            for key, value in function.keywords.items()
        }
        return functools.partial(function.func, *map(self._function, function.args), **given)

    def _bounds(self, clip: float | None) -> tuple[Array, Array] | None:
        """Return the least and the largest value, float32, (); None for no bound."""
        if clip is None:
            return None
        make = functools.partial(self._xp.asarray, dtype=self._xp.float32, device=self._device)
        return make(-clip), make(clip)

    def reset(self, ids: Any = ...) -> None:
        """Forget the histories of the simulations `ids`, by default of all."""
        self._fresh[ids] = True

    def observe(self, inputs: Inputs, ids: Any = ...) -> Array:
        """Return the observation (..., size), float32, and append to the histories.

        Args:
            inputs: leading axes as `batch`, or as `batch` indexed by `ids`.
            ids: the simulations that `inputs` holds, by default all.
        """
        xp = self._xp
        shape = (*inputs.command.shape[:-1], self.layout.size)
        out = xp.empty(shape, dtype=xp.float32, device=self._device)
        for function, spec, bounds, place in self._plan:
            value = function(inputs)
            if bounds is not None:
                # Not xp.clip, which takes four times as long for a dozen numbers.
                value = xp.minimum(xp.maximum(value, bounds[0]), bounds[1])
            if spec.scale != 1.0:
                value = value * spec.scale
            if spec.history > 1:
                value = self._append(spec.name, value, ids)
            out[..., place] = value
        self._fresh[ids] = False
        return out

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that the next observations depend on, not copies.

        Another observer of the same layout goes on bit for bit when they are written into its own.
        """
        return self._histories | {"fresh": self._fresh}

    def _append(self, name: str, value: Array, ids: Any) -> Array:
        """Return the flattened history (..., history * width) with `value` as its newest."""
        xp = self._xp
        history = self._histories[name]
        newest = value[..., None, :]
        new = xp.concat((history[ids][..., 1:, :], newest), axis=-2)
        fresh = self._fresh[ids][..., None, None]
        new = xp.where(fresh, newest, new)
        history[ids] = new
        return xp.reshape(new, (*new.shape[:-2], -1))
