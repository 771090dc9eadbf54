"""Layers of a configuration: files that extend others, flags, `--set`, in this order.

    layers = Layers()
    layers.add_file(project.preset_path, "gym")              # after what it extends
    layers.add_file(project.task_path, "go2_walk", below="task")
    layers.override("ppo.gamma=0.98")
    layers.data, layers.source("ppo.gamma")                  # {...}, "--set ppo.gamma=0.98"

Mappings merge, key by key; anything else replaces. `null` in a table (a mapping of terms, say)
takes the entry out; elsewhere it is a value.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect
import yaml

from robot_ppo import project
from robot_ppo_export.contract import strict
from robot_ppo_export.contract.strict import SettingError
from robot_ppo_export.errors import InputError

Data = dict[str, Any]

SAVED = 0
"""Rank of what a run was started with, which nobody gives anew."""
TYPED = 1 << 30
"""Rank of the command line, of which nothing is later than the rest."""
DRAWN = TYPED + 1
"""Rank of what a search draws, where one setting may leave another without effect."""


class Layers:
    """Plain data, merged, and the source of every value in them."""

    def __init__(self) -> None:
        """Start empty."""
        self.data: Data = {}
        self._layers: list[tuple[str, Data, int]] = []

    def add(self, source: str, data: Data, rank: int | None = None) -> None:
        """Merge data over what is there; without a rank they are later than those before."""
        self._layers.append((source, data, len(self._layers) + 1 if rank is None else rank))
        self.data = merge(self.data, data)

    def add_file(
        self,
        find: Callable[[str], Path],
        name: str,
        below: str = "",
        adapt: Callable[[Path, Data], Data] = lambda path, data: data,
    ) -> None:
        """Merge the YAML `find(name)`, after those that it extends, under the key `below`.

        `adapt` changes what a file holds before it is merged.
        """
        for path, read in chain(find, name):
            data = adapt(path, read)
            self.add(str(path), {below: data} if below else data)

    def override(self, text: str, rank: int = TYPED) -> None:
        """Apply one "path.to.key=value": it replaces the value, and does not merge."""
        keys, value = _assignment(text)
        *parents, last = keys
        self.data = data = dict(self.data)
        for part in parents:
            child = data.get(part)
            data[part] = child = dict(child) if isinstance(child, dict) else {}
            data = child
        data[last] = value
        for key in reversed(keys):
            value = {key: value}
        self._layers.append((f"--set {text}", value, rank))

    def source(self, key: str) -> str:
        """Return the origin of the value at a dotted path, or of the nearest one around it."""
        parts = key.replace("[", ".").replace("]", "").split(".")
        reached = [(_depth(data, parts), i) for i, (_, data, _) in enumerate(self._layers)]
        return self._layers[max(reached)[1]][0] if reached else ""

    def rank(self, key: str) -> int:
        """Return how late a dotted path was given: 0 for never, then files in order, `TYPED`."""
        parts = key.split(".")
        given = [rank for _, data, rank in self._layers if _depth(data, parts) == len(parts)]
        return max(given, default=0)

    def convert(self, kind: type, data: Any = None, path: str = "") -> Any:
        """Return the data, or part of them, as a `kind`; an error names its source."""
        given = self.data if data is None else data
        with self.naming():
            return strict.convert(kind, without_nulls(kind, given), path=path)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let every `SettingError` that is raised inside name the source of its key."""
        try:
            yield
        except SettingError as error:
            raise self.named(error) from None

    def named(self, error: SettingError) -> SettingError:
        """Return the error with the source of its key."""
        return SettingError(error.key, error.text, error.source or self.source(error.key))


def chain(find: Callable[[str], Path], name: str) -> Iterator[tuple[Path, Data]]:
    """Yield a YAML file's data after those of the files that it extends."""
    found: list[tuple[Path, Data]] = []
    names = [name]
    while True:
        path = find(names[-1])
        data = mapping(path)
        parent = data.pop("extends", None)
        found.append((path, data))
        if parent is None:
            return reversed(found)
        if not isinstance(parent, str):
            raise SettingError("extends", f"must be a name or a path, got {parent!r}", str(path))
        if project.is_path(parent):  # relative to the file that says it
            parent = str(path.parent / parent)
        if parent in names:
            circle = " -> ".join([*names, parent])
            raise SettingError("extends", f"leads back to itself: {circle}", str(path))
        names.append(parent)


def mapping(path: Path) -> Data:
    """Return the keys and values in a YAML file; an empty file has none."""
    data = strict.read_yaml(path)
    if not isinstance(data, dict | None):
        raise InputError(f"{path}: must hold keys and values, got {type(data).__name__}")
    return data or {}


def merge(under: Any, over: Any) -> Any:
    """Return two values as one: mappings key by key, anything else is the second."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    both = {key: merge(under[key], over[key]) for key in over if key in under}
    return under | over | both


def without_nulls(kind: Any, data: Any) -> Any:
    """Return the data without those entries of tables that are null."""
    return _kept(strict.type_info(kind), data)


def _kept(info: Any, data: Any) -> Any:
    if isinstance(info, msgspec.inspect.UnionType):
        meant = [kind for kind in info.types if strict.is_meant(kind, data)]
        return _kept(meant[0], data) if meant else data
    if not isinstance(data, dict):
        return data
    if isinstance(info, msgspec.inspect.StructType):
        kinds = {field.encode_name: field.type for field in info.fields}
        return {k: _kept(kinds[k], v) if k in kinds else v for k, v in data.items()}
    if isinstance(info, msgspec.inspect.DictType):
        kind = info.value_type
        free = isinstance(kind, msgspec.inspect.AnyType)
        return {k: _kept(kind, v) for k, v in data.items() if free or v is not None}
    return data


def _depth(data: Any, parts: list[str]) -> int:
    """Return how many of a path's parts lead into the data."""
    for depth, part in enumerate(parts):
        if isinstance(data, dict) and part in data:
            data = data[part]
        else:
            return depth
    return len(parts)


def _assignment(text: str) -> tuple[list[str], Any]:
    """Return the keys and the value of "path.to.key=value"."""
    path, separator, value = text.partition("=")
    if not separator:
        raise InputError(f"--set {text}: write it as path.to.key=value")
    try:
        return path.split("."), strict.parse_yaml(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: {value!r} is not a YAML value") from None
