"""Data from YAML or JSON into frozen structures, strictly.

An unknown key, a wrong type or a missing value is an `InputError` that names the file, the path
of the key and the nearest right name. Nothing is guessed and nothing is ignored.

    spec = strict.load_yaml(RobotSpec, Path("robots/go2/robot.yaml"))
"""

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from robot_ppo_export.errors import InputError

T = TypeVar("T")

_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<key>[^`]*)`(?: - at `\$?(?P<path>[^`]*)`)?")
_AT = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`")


def did_you_mean(name: str, known: Any) -> str:
    """Return "; did you mean 'x'?" for the nearest of `known`, and always the list of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(names)}"


def read_yaml(path: Path) -> Any:
    """Return the plain data in a YAML file; unreadable or malformed is an `InputError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from None


def load_yaml(kind: type[T], path: Path) -> T:
    """Return the structure of type `kind` that the YAML file at `path` describes."""
    return convert(kind, read_yaml(path), str(path))


def convert(kind: type[T], data: Any, source: str) -> T:
    """Return `data` (dicts, lists, scalars) as a `kind`; `source` names its origin in errors."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {explain(str(error), kind)}") from None


def explain(message: str, kind: type) -> str:
    """Return msgspec's message as a sentence with the key's full path and the nearest name."""
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown:
        parent = (unknown["path"] or "").strip(".")
        path = f"{parent}.{unknown['key']}" if parent else unknown["key"]
        known = _fields_at(kind, parent)
        return f"unknown key `{path}`" + (did_you_mean(unknown["key"], known) if known else "")
    at = _AT.search(message)
    where = f"`{at['path']}`: " if at else ""
    return where + _AT.sub("", message)


def _fields_at(kind: Any, path: str) -> list[str]:
    """Return the field names of the structure that `path` leads to inside `kind`, or []."""
    for part in [p for p in re.split(r"[.\[]", path) if p]:
        kind = _child(kind, part)
    structs = [k for k in (kind, *_arguments(kind)) if hasattr(k, "__struct_fields__")]
    return list(structs[0].__struct_fields__) if structs else []


def _child(kind: Any, part: str) -> Any:
    """Return the type of member `part` of a structure, a mapping or a sequence."""
    for k in (kind, *_arguments(kind)):
        if hasattr(k, "__struct_fields__"):
            types = {f.name: f.type for f in msgspec.structs.fields(k)}
            if part in types:
                return types[part]
    inner = [k for k in _arguments(kind) if k not in (Ellipsis, type(None))]
    return inner[-1] if inner else None


def _arguments(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", ())
