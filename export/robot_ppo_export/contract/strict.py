"""Data from YAML or JSON into frozen structures, strictly.

An unknown key, a wrong type or a missing value is an `InputError` that names the file, the path
of the key and the nearest right name. Nothing is guessed and nothing is ignored: a key that is
given twice is an error too.

    spec = strict.load_yaml(RobotSpec, Path("robots/go2/robot.yaml"))
"""

import contextlib
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    import yaml

T = TypeVar("T")


class SettingError(InputError):
    """A value of a configuration that cannot be used."""

    def __init__(self, key: str, text: str, source: str = "") -> None:
        """Say what is wrong with the value at `key`, a dotted path, "" for the whole."""
        self.key = key
        self.text = text
        self.source = source
        unknown = f"unknown key `{key}`"
        where = f"`{key}`: " if key and not text.startswith(unknown) else ""
        super().__init__(f"{source}: {where}{text}" if source else f"{where}{text}")


MOST_OPENINGS = 5000
"""libyaml's stack overflows where lists or mappings are nested some 20,000 deep."""


@functools.cache
def _loader(fast: bool) -> "type[yaml.SafeLoader]":
    """Return YAML in which `1e-3` is a number, as in YAML 1.2, and a key stands once.

    Made when it is first needed: a node reads no YAML, and PyYAML takes 20 ms to import.

    Args:
        fast: by libyaml, eight times as fast, where PyYAML was built with it.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader

    class Loader(base):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """Return the mapping; a key given twice is an error, where YAML keeps the last."""
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    problem = f"the key {key.value!r} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )
    return Loader


def did_you_mean(name: str, known: Any) -> str:
    """Return "; did you mean 'x'?" for the nearest of `known`, and always the list of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(names)}"


def read_yaml(path: Path) -> Any:
    """Return the plain data in a YAML file; unreadable or malformed is an `InputError`."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None


def parse_yaml(text: str) -> Any:
    """Return the plain data in YAML text, or raise `yaml.YAMLError`."""
    import yaml

    if sum(map(text.count, "[{-?:")) < MOST_OPENINGS:
        with contextlib.suppress(Exception):  # the other says it better: with the line
            return yaml.load(text, _loader(fast=True))
    try:
        return yaml.load(text, _loader(fast=False))
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML trips over an impossible date or an empty `!!bool`
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


def load_yaml(kind: type[T], path: Path) -> T:
    """Return the structure of type `kind` that the YAML file at `path` describes."""
    return convert(kind, read_yaml(path), str(path))


def convert(kind: type[T], data: Any, source: str = "", *, path: str = "") -> T:
    """Return `data` (dicts, lists, scalars) as a `kind`.

    Args:
        kind: a structure, or any other type that msgspec knows.
        data: what was read.
        source: its origin, named in errors.
        path: of `data` in the configuration, "" where it is the whole.

    Raises:
        SettingError: with the path of the first value that does not fit.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        found = _problem(type_info(kind), data, path)
        key, text = found or (path, str(error))
        raise SettingError(key, text, source) from None


_Problem = tuple[str, str]
"""Path of a value, and what is wrong with it."""


@functools.cache
def type_info(kind: Any) -> Any:
    """Return msgspec's description of a type.

    The module that makes it is imported here: a robot whose files are right does without it.
    """
    import msgspec.inspect

    return msgspec.inspect.type_info(kind)


def _problem(info: Any, data: Any, path: str) -> _Problem | None:
    """Return what is the first thing wrong with `data` as a type, or None."""
    return _CHECKS[type(info).__name__](info, data, path)


def _struct_problem(info: Any, data: Any, path: str) -> _Problem | None:
    """Check a structure, which is read from a mapping; its tag may stand in it, too."""
    if not isinstance(data, dict):
        return _unexpected("object", data, path)
    fields = {field.encode_name: field for field in info.fields}
    for key, value in data.items():
        if key in fields:
            if found := _problem(fields[key].type, value, _below(path, key)):
                return found
        elif key != info.tag_field and info.forbid_unknown_fields:
            deeper = _below(path, key)
            return deeper, f"unknown key `{deeper}`{did_you_mean(str(key), fields)}"
    for key, field in fields.items():
        if field.required and key not in data:
            return path, f"Object missing required field `{key}`"
    return None


def _dict_problem(info: Any, data: Any, path: str) -> _Problem | None:
    if not isinstance(data, dict):
        return _unexpected("object", data, path)
    for key, value in data.items():
        if found := _problem(info.key_type, key, path):
            return path, f"its key: {found[1]}"
        if found := _problem(info.value_type, value, _below(path, key)):
            return found
    return None


def _fixed_problem(info: Any, data: Any, path: str) -> _Problem | None:
    """Check a tuple of so many values."""
    if not isinstance(data, list | tuple):
        return _unexpected("array", data, path)
    if len(data) != len(info.item_types):
        return path, f"Expected `array` of length {len(info.item_types)}, got {len(data)}"
    pairs = enumerate(zip(info.item_types, data, strict=True))
    found = (_problem(kind, value, f"{path}[{i}]") for i, (kind, value) in pairs)
    return next((problem for problem in found if problem), None)


def _sequence_problem(info: Any, data: Any, path: str) -> _Problem | None:
    if not isinstance(data, list | tuple):
        return _unexpected("array", data, path)
    if info.min_length is not None and len(data) < info.min_length:
        return path, f"must hold at least {info.min_length}, got {len(data)}"
    found = (_problem(info.item_type, value, f"{path}[{i}]") for i, value in enumerate(data))
    return next((problem for problem in found if problem), None)


def _union_problem(info: Any, data: Any, path: str) -> _Problem | None:
    """Check a union: no member takes the data; say why not the one that was meant."""
    found = [(kind, _problem(kind, data, path)) for kind in info.types]
    if any(problem is None for _, problem in found):
        return None
    meant = [problem for kind, problem in found if is_meant(kind, data)]
    return (meant or [problem for _, problem in found])[0]


def is_meant(info: Any, data: Any) -> bool:
    """Return whether `data` have the shape of a type, by their tag where there are several."""
    name = type(info).__name__
    if name == "StructType":
        tag = getattr(info, "tag", None)
        return isinstance(data, dict) and (tag is None or data.get(info.tag_field) == tag)
    shapes = {"DictType": dict, "LiteralType": str, "StrType": str, "BoolType": bool}
    shapes |= {"TupleType": list | tuple, "VarTupleType": list | tuple, "ListType": list | tuple}
    shapes |= {"FloatType": int | float, "IntType": int}
    return isinstance(data, shapes.get(name, ()))


def _literal_problem(info: Any, data: Any, path: str) -> _Problem | None:
    if data in info.values and not isinstance(data, bool):
        return None
    if isinstance(data, str):
        return path, f"Invalid enum value {data!r}{did_you_mean(data, info.values)}"
    return _unexpected("str", data, path)


def _number_problem(info: Any, data: Any, path: str) -> _Problem | None:
    """Check an `int` or a `float` and its bounds; an int is a float, and no bool is either."""
    name = "int" if type(info).__name__ == "IntType" else "float"
    whole = isinstance(data, float) and data.is_integer() and abs(data) < 2**53
    fits = isinstance(data, int) or whole if name == "int" else isinstance(data, int | float)
    if isinstance(data, bool) or not fits:
        return _unexpected(name, data, path)
    said = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    for bound, words in said.items():
        limit = getattr(info, bound)
        if limit is None or _within(bound, data, limit):
            continue
        if not math.isfinite(data):
            return path, f"{data} is not a finite number"
        return path, f"{data} must be {words} {int(limit) if limit == int(limit) else limit}"
    return None


def _within(bound: str, value: float, limit: float) -> bool:
    """Return whether a value keeps to a bound: gt, ge, lt or le."""
    if bound in ("gt", "ge"):
        return value > limit or (bound == "ge" and value == limit)
    return value < limit or (bound == "le" and value == limit)


def _text_problem(info: Any, data: Any, path: str) -> _Problem | None:
    return None if isinstance(data, str) else _unexpected("str", data, path)


def _bool_problem(info: Any, data: Any, path: str) -> _Problem | None:
    return None if isinstance(data, bool) else _unexpected("bool", data, path)


def _none_problem(info: Any, data: Any, path: str) -> _Problem | None:
    return None if data is None else _unexpected("null", data, path)


_CHECKS: dict[str, Callable[[Any, Any, str], _Problem | None]] = {
    "StructType": _struct_problem,
    "DictType": _dict_problem,
    "TupleType": _fixed_problem,
    "VarTupleType": _sequence_problem,
    "ListType": _sequence_problem,
    "UnionType": _union_problem,
    "LiteralType": _literal_problem,
    "IntType": _number_problem,
    "FloatType": _number_problem,
    "StrType": _text_problem,
    "BoolType": _bool_problem,
    "NoneType": _none_problem,
    "AnyType": lambda info, data, path: None,
}
"""Name of a type in `msgspec.inspect` -> its check; our structures are made of these alone."""

_WORDS = {dict: "object", list: "array", tuple: "array", type(None): "null"}


def _unexpected(expected: str, data: Any, path: str) -> _Problem:
    kind = type(data)
    return path, f"Expected `{expected}`, got `{_WORDS.get(kind, kind.__name__)}`"


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def check_finite(data: Any, source: str = "", *, path: str = "") -> None:
    """Raise `SettingError`, naming the key, where plain data hold a number that is not finite."""
    for key, value in _numbers(data, path):
        if not math.isfinite(value):
            raise SettingError(key, f"{value} is not a finite number", source)


def _numbers(data: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list | tuple):
        for i, value in enumerate(data):
            yield from _numbers(value, f"{path}[{i}]")
    elif isinstance(data, float):
        yield path, data
