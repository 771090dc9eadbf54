"""Numbers that remember the formula they come from.

Number(1.0, "0.59 sqrt(g leg)")
plain(tree)        # what a configuration takes
page(tree)         # the same as YAML, with each formula as a comment
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Tree = dict[str, Any]
"""A task's YAML, with a `Number` wherever a value is derived."""
_COLUMN = 52
"""Comments start here, or after the value."""


@dataclass(frozen=True)
class Number:
    """A value, or a list or mapping of values, and where it is from."""

    value: Any
    formula: str


def rounded(value: float, digits: int = 3) -> float:
    """Return a number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def number(value: Any, formula: str) -> Number:
    """Return a `Number` whose floats are rounded."""
    return Number(_rounded(value), formula)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return rounded(value) if isinstance(value, float) else value


def plain(tree: Any) -> Any:
    """Return a tree without formulas."""
    if isinstance(tree, Number):
        return tree.value
    return {k: plain(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def replaced(tree: Any, keys: Sequence[str], data: Any, formula: str) -> Any:
    """Return a tree with one value from `data`, found in both by `keys`."""
    if not keys:
        return Number(data, formula)
    key = keys[0]
    rest = keys[1:]
    below = tree.get(key, {}) if isinstance(tree, dict) else {}
    if key not in data:  # an entry that was taken out
        return {k: v for k, v in tree.items() if k != key}
    return {**_table(tree), key: replaced(below, rest, data[key], formula)}


def _table(tree: Any) -> dict[str, Any]:
    """Return a tree's entries, also where it is one derived mapping."""
    whole = tree.value if isinstance(tree, Number) else tree
    return whole if isinstance(whole, dict) else {}


def page(tree: dict[str, Any]) -> str:
    """Return a tree as YAML, each derived value with its formula."""
    return "\n".join(_lines(tree, "")) + "\n"


def _lines(tree: dict[str, Any], indent: str) -> Iterator[str]:
    for key, item in tree.items():
        if isinstance(item, dict) and item:
            yield f"{indent}{_flow(key)}:"
            yield from _lines(item, indent + "  ")
            continue
        value, formula = (item.value, item.formula) if isinstance(item, Number) else (item, "")
        text = f"{indent}{_flow(key)}: {_flow(value)}"
        yield f"{text.ljust(_COLUMN)} # {formula}" if formula else text


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")
