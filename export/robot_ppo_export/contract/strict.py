"""Data from YAML or JSON into frozen structures, strictly.

An unknown key, a wrong type or a missing value is an `InputError` that names the file, the path
of the key and the nearest right name. Nothing is guessed and nothing is ignored: a key that is
given twice is an error too.

    spec = strict.load_yaml(RobotSpec, Path("robots/go2/robot.yaml"))
"""

import difflib
import functools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from robot_ppo_export.errors import InputError

if TYPE_CHECKING:
    import yaml

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<key>[^`]*)`(?: - at `\$?(?P<path>[^`]*)`)?")
_AT = re.compile(r" - at (?P<key>`key` in )?`\$?\.?(?P<path>[^`]*)`")
_CHOICE = re.compile(r"Invalid enum value '(?P<value>[^']*)'")


@functools.cache
def _loader() -> "type[yaml.SafeLoader]":
    """Return YAML in which `1e-3` is a number, as in YAML 1.2, and a key stands once.

    Made when it is first needed: a node reads no YAML, and PyYAML takes 20 ms to import.
    """
    import yaml

    class Loader(yaml.SafeLoader):
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

    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML trips over an impossible date or an empty `!!bool`
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


def load_yaml(kind: type[T], path: Path) -> T:
    """Return the structure of type `kind` that the YAML file at `path` describes."""
    return convert(kind, read_yaml(path), str(path))


def convert(kind: type[T], data: Any, source: str) -> T:
    """Return `data` (dicts, lists, scalars) as a `kind`; `source` names its origin in errors."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        message = _with_keys(str(error), data, kind)
        raise InputError(f"{source}: {explain(message, kind, data)}") from None


def _with_keys(message: str, data: Any, kind: Any) -> str:
    """Return msgspec's message with the key of a mapping where it writes `[...]`."""
    text, *rest = message.split("[...]")
    path = text.rpartition("`$")[2]
    for tail in rest:
        for part in _parts(path):
            data = data[int(part[:-1]) if isinstance(data, list) else part]
            kind = _child(kind, part)
        kind = _child(kind, "")
        wrong = next(key for key, value in data.items() if not _converts(kind, value))
        data = data[wrong]
        text += f".{wrong}{tail}"
        path = tail.partition("`")[0]
    return text


def _converts(kind: type, data: Any) -> bool:
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError:
        return False
    return True


def explain(message: str, kind: type, data: Any = None) -> str:
    """Return msgspec's message as a sentence with the key's full path and the nearest name.

    With `data`, what was read, a union of structures is known by the tag that is in it.
    """
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown:
        parent = (unknown["path"] or "").strip(".")
        path = f"{parent}.{unknown['key']}" if parent else unknown["key"]
        known = _fields_at(kind, parent, data)
        return f"unknown key `{path}`" + (did_you_mean(unknown["key"], known) if known else "")
    at = _AT.search(message)
    where = f"`{at['path']}`: {'its key: ' if at['key'] else ''}" if at else ""
    choice = _CHOICE.search(message)
    known = _choices(_kind_at(kind, at["path"] if at else "")) if choice else []
    return where + _AT.sub("", message) + (did_you_mean(choice["value"], known) if choice else "")


def check_finite(data: Any, source: str) -> None:
    """Raise `InputError`, naming the key, where plain data hold a number that is not finite."""
    for path, value in _numbers(data, ""):
        if not math.isfinite(value):
            raise InputError(f"{source}: `{path}`: {value} is not a finite number")


def _numbers(data: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _numbers(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list | tuple):
        for i, value in enumerate(data):
            yield from _numbers(value, f"{path}[{i}]")
    elif isinstance(data, float):
        yield path, data


def _kind_at(kind: Any, path: str) -> Any:
    """Return the type that `path` leads to inside `kind`."""
    for part in _parts(path):
        kind = _child(kind, part)
    return kind


def _parts(path: str) -> list[str]:
    """Return "a.b[0].c" as ["a", "b", "0]", "c"]."""
    return [part for part in re.split(r"[.\[]", path) if part]


def _fields_at(kind: Any, path: str, data: Any) -> list[str]:
    """Return the field names of the structure that `path` leads to inside `kind`, or []."""
    kind = _kind_at(kind, path)
    for part in _parts(path):
        data = data.get(part) if isinstance(data, dict) else None
    structs = [k for k in (kind, *_arguments(kind)) if hasattr(k, "__struct_fields__")]
    tagged = [k for k in structs if isinstance(data, dict) and _has_tag(k, data)]
    return list((tagged or structs)[0].__struct_fields__) if structs else []


def _has_tag(kind: Any, data: dict[str, Any]) -> bool:
    """Return whether `data` says by its tag that it is a `kind`."""
    tag = kind.__struct_config__
    return tag.tag is not None and data.get(tag.tag_field) == tag.tag


def _choices(kind: Any) -> list[str]:
    """Return the strings that a `Literal` type, or an optional one, allows."""
    arguments = _arguments(kind)
    return [a for k in arguments for a in ([k] if isinstance(k, str) else _choices(k))]


def _child(kind: Any, part: str) -> Any:
    """Return the type of member `part` of a structure, a mapping or a sequence."""
    if getattr(kind, "__origin__", None) is dict:
        return kind.__args__[1]
    for k in (kind, *_arguments(kind)):
        if hasattr(k, "__struct_fields__"):
            types = {f.name: f.type for f in msgspec.structs.fields(k)}
            if part in types:
                return types[part]
    inner = [k for k in _arguments(kind) if k not in (Ellipsis, type(None))]
    return inner[-1] if inner else None


def _arguments(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", ())
