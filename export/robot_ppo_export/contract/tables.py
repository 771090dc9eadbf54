"""The one mechanism behind everything that a task or a contract names: tables of functions.

A term is a function. What it computes from comes first, positional; its parameters are keywords,
annotated with their types and bounds:

    REWARDS = Table("reward")

    @REWARDS.add()
    def base_height(world: World, *, target: Positive) -> Array: ...

The YAML names the function and gives the parameters, `base_height: {target: 0.29}`. `resolve`
turns such a mapping into callables, or raises a `SettingError` that names the key: an unknown
name, an unknown or missing parameter, a value of the wrong type or out of bounds, a term that
needs a part of the task that is not there. The sentences are the same for every kind, and for a
policy file, whose observation terms are resolved here too.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from msgspec import Meta

from robot_ppo_export.contract import strict
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

Range = tuple[float, float]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
NonNegativeRange = tuple[NonNegative, NonNegative]
PositiveRange = tuple[Positive, Positive]

F = TypeVar("F", bound=Callable[..., Any])
Entries = Mapping[str, Mapping[str, Any]]
"""Term -> parameter -> value, as in the YAML."""

PerJoint = float | dict[str, float]
"""One number, or joint names and patterns (`"*_hip_joint"`) with a number each; the function gets
a float32 array (joints,). A later pattern overrides an earlier one, and joints that none names
have 1."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Term:
    """A function with its parameters filled in."""

    name: str
    function: Callable[..., Any]
    """Takes what the kind computes from."""
    parameters: dict[str, Any]
    own: dict[str, Any]
    """Values of the kind's own keys, such as a reward's weight."""


class Table(Generic[F]):
    """The functions of one kind, by name."""

    def __init__(self, kind: str, optional: Mapping[str, Any] = NOTHING, **own: Any) -> None:
        """Start empty.

        Args:
            kind: the word for one term in errors, such as "reward".
            optional: name -> type of keys that a term of the kind may have beside its parameters.
            own: the same of keys that every one must have.
        """
        self.kind = kind
        self.optional = optional
        self.own = {**own, **optional}
        self.functions: dict[str, F] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self.reads: dict[str, tuple[str, ...]] = {}

    def add(self, *needs: str, reads: tuple[str, ...] = ()) -> Callable[[F], F]:
        """Return a decorator that adds a function.

        Args:
            needs: keys of a task that it cannot do without, dotted, as "gait" or "commands.twist".
            reads: what of its input is there only for terms that say so, by name.

        Raises:
            InputError: another module has added a function of that name.
        """

        def register(function: F) -> F:
            name = function.__name__
            self._require_free(name, function)
            self.functions[name] = function
            self.needs[name] = needs
            self.reads[name] = reads
            return function

        return register

    def _require_free(self, name: str, function: F) -> None:
        """Raise `InputError` where `name` is a term of another file."""
        there = self.functions.get(name)
        if there is not None and _file(there) != _file(function):
            raise InputError(
                f"the {self.kind} {name!r} is there already, from {there.__module__}; give that of "
                f"{function.__module__} another name"
            )

    def parameters(self, name: str) -> dict[str, inspect.Parameter]:
        """Return the keyword parameters of a term."""
        return dict(_keywords(self.functions[name]))

    def defaults(self, name: str) -> dict[str, Any]:
        """Return the values that a term's parameters have where nobody gives them."""
        found = self.parameters(name).items()
        return {k: p.default for k, p in found if p.default is not inspect.Parameter.empty}

    def resolve(
        self,
        path: str,
        entries: Entries,
        joints: tuple[str, ...],
        has: frozenset[str] | None = frozenset(),
    ) -> dict[str, Term]:
        """Return the terms of a task, in its order.

        Args:
            path: of `entries` in the configuration, such as "task.rewards".
            entries: what the YAML says.
            joints: their names, of which parameters speak.
            has: the parts that the task has, for terms that need one; None does not ask.
        """
        return {name: self.one(path, name, entries[name], joints, has) for name in entries}

    def one(
        self,
        path: str,
        name: str,
        given: Mapping[str, Any],
        joints: tuple[str, ...],
        has: frozenset[str] | None = frozenset(),
    ) -> Term:
        """Return one term of a task; see `resolve`."""
        here = f"{path}.{name}"
        self._check_name(here, name, has)
        types = self._types(name)
        self._check_keys(here, given, types, self.defaults(name).keys() | self.optional.keys())
        values = {k: _value(types[k], v, f"{here}.{k}", joints) for k, v in given.items()}
        own = {key: value for key, value in values.items() if key in self.own}
        mine = {key: value for key, value in values.items() if key not in self.own}
        return Term(name, functools.partial(self.functions[name], **mine), mine, own)

    def _check_name(self, here: str, name: str, has: frozenset[str] | None) -> None:
        """Raise `SettingError` unless the term exists and the task has what it needs."""
        if name not in self.functions:
            hint = strict.did_you_mean(name, self.functions)
            raise SettingError(here, f"unknown {self.kind} {name!r}{hint}")
        for need in self.needs[name]:
            if has is not None and need not in has:
                raise SettingError(
                    here, f"needs `task.{need}`, and the task has none; add it or leave this out"
                )

    def _check_keys(
        self, here: str, given: Mapping[str, Any], types: Mapping[str, Any], may_lack: Set[str]
    ) -> None:
        """Raise `SettingError` for a key that is unknown or missing."""
        for key in given:
            if key not in types:
                takes = f"it takes {', '.join(types)}" if types else "it takes none"
                raise SettingError(f"{here}.{key}", f"unknown parameter {key!r}; {takes}")
        lacking = [key for key in types if key not in given and key not in may_lack]
        if lacking:
            raise SettingError(here, f"lacks {', '.join(lacking)}")

    def _types(self, name: str) -> dict[str, Any]:
        """Return the type of each key that a term takes, the kind's own ones first."""
        return self.own | _hints(self.functions[name])


@functools.cache
def _keywords(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the keyword parameters of a term's function; a start asks for each a dozen times."""
    found = inspect.signature(function).parameters.values()
    return {p.name: p for p in found if p.kind is inspect.Parameter.KEYWORD_ONLY}


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the type of each of them."""
    hints = get_type_hints(function, include_extras=True)
    return {key: hints[key] for key in _keywords(function)}


def _file(function: Callable[..., Any]) -> str:
    """Return the file that a function is from; a module may be imported under two names."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return function.__module__ if code is None else code.co_filename


def _value(kind: Any, value: Any, path: str, joints: tuple[str, ...]) -> Any:
    """Return one parameter as the type that the function declares."""
    converted = strict.convert(kind, value, path=path)
    strict.check_finite(value, path=path)
    check_order(kind, converted, path)
    if kind == PerJoint:
        return per_joint(converted, path, joints)
    return converted


def check_order(kind: Any, value: Any, path: str) -> None:
    """Raise `SettingError` where the type is a range, if there is one, and it is not in order.

    A range is a tuple of two, such as `Range` or `Range | None`.
    """
    kinds = (kind, *get_args(kind))
    pairs = [one for one in kinds if get_origin(one) is tuple and len(get_args(one)) == 2]
    if any(... not in get_args(one) for one in pairs) and value and value[0] > value[1]:
        raise SettingError(path, f"[{value[0]}, {value[1]}] is not [low, high]")


def per_joint(
    value: PerJoint, path: str, joints: tuple[str, ...], unnamed: float = 1.0
) -> np.ndarray:
    """Return the number of each joint, (joints,) float32; `unnamed` of those that none names."""
    if not isinstance(value, dict):
        return np.full(len(joints), value, np.float32)
    numbers = np.full(len(joints), unnamed, np.float32)
    for pattern, number in value.items():
        named = [fnmatchcase(joint, pattern) for joint in joints]
        if not any(named):
            hint = strict.did_you_mean(pattern, joints)
            raise SettingError(path, f"no joint is named {pattern!r}{hint}")
        numbers[named] = number
    return numbers
