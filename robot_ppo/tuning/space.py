"""Space of a search: a YAML of keys of task or preset, each with a range or with choices.

Example:
    ppo.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}
    ppo.epochs: {low: 2, high: 8}
    networks.activation: {choices: [elu, tanh]}
    task.rewards.action_rate.weight: {low: -3.0, high: -0.3}

Where both bounds are whole numbers, whole numbers are drawn.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import optuna
import yaml

from robot_ppo.config import Config
from robot_ppo.config.layers import mapping
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

Value = Any
Load = Callable[[list[str]], Config]
"""Overrides "path.to.key=value" -> the settings of a run, checked."""


class _Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None


class _Choices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    choices: tuple[bool | int | float | str | None, ...]


@dataclass(frozen=True)
class Space:
    """Key -> distribution that values are drawn from."""

    distributions: dict[str, optuna.distributions.BaseDistribution]

    def draw(self, trial: optuna.Trial) -> dict[str, Value]:
        """Return key -> value of a trial, in the order of the file."""
        return {key: _drawn(trial, key, one) for key, one in self.distributions.items()}

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """Return drawn values as what `--set` takes."""
        return [f"{key}={as_yaml(value)}" for key, value in values.items()]

    def describe(self) -> dict[str, str]:
        """Return key -> its distribution in words that compare equal where it is equal."""
        to_json = optuna.distributions.distribution_to_json
        return {key: to_json(one) for key, one in self.distributions.items()}


def read(path: Path, load: Load) -> Space:
    """Return the space in a YAML file.

    Args:
        path: of the file.
        load: makes settings of overrides; both ends of every range are tried with it.

    Raises:
        InputError: a key that no run has, a range that is none, or a value that a run refuses.
    """
    entries = mapping(path)
    if not entries:
        raise InputError(
            f"{path}: names no key to try, as in `ppo.gamma: {{low: 0.9, high: 0.99}}`"
        )
    known = dict(leaves(msgspec.to_builtins(load([]))))
    found = {}
    for key, entry in entries.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]}?" if near else "; `config.yaml` of a run has all"
            raise InputError(f"{path}: unknown key {key!r}{hint}")
        found[key] = _distribution(path, key, entry)
    for key, one in found.items():
        for value in _ends(one):
            _try(path, key, value, load)
    return Space(found)


def leaves(data: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return dotted path -> value of everything in nested mappings that is no mapping."""
    if not isinstance(data, dict):
        return [(path, data)]
    below = (leaves(value, f"{path}.{key}" if path else str(key)) for key, value in data.items())
    return [leaf for part in below for leaf in part]


def as_yaml(value: Value) -> str:
    """Return a value in one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True).strip()
    return text.removesuffix("...").strip()


def _distribution(path: Path, key: str, entry: Any) -> optuna.distributions.BaseDistribution:
    """Return what one key is drawn from."""
    here = f"{path}: {key}"
    if not isinstance(entry, dict) or not ({"choices"} & entry.keys() or {"low"} & entry.keys()):
        raise InputError(f"{here}: write it as {{low: ..., high: ...}} or as {{choices: [...]}}")
    if "choices" in entry:
        choices = strict.convert(_Choices, entry, here).choices
        if len(choices) < 2:
            raise InputError(f"{here}: fewer than two choices leave nothing to try")
        return optuna.distributions.CategoricalDistribution(choices)
    one = strict.convert(_Range, entry, here)
    if not one.low < one.high:
        raise InputError(f"{here}: low {one.low} must be below high {one.high}")
    if one.log and not one.low > 0:
        raise InputError(f"{here}: a logarithmic range must be above 0; low is {one.low}")
    if one.log and one.step is not None:
        raise InputError(f"{here}: a logarithmic range has no step; leave one of them out")
    if one.step is not None and not one.step > 0:
        raise InputError(f"{here}: step {one.step} must be above 0")
    if isinstance(one.low, int) and isinstance(one.high, int) and isinstance(one.step or 1, int):
        step = int(one.step or 1)
        return optuna.distributions.IntDistribution(one.low, one.high, one.log, step)
    low = float(one.low)
    high = float(one.high)
    return optuna.distributions.FloatDistribution(low, high, one.log, one.step)


def _drawn(trial: optuna.Trial, key: str, one: optuna.distributions.BaseDistribution) -> Value:
    if isinstance(one, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(key, one.choices)
    if isinstance(one, optuna.distributions.IntDistribution):
        return trial.suggest_int(key, one.low, one.high, step=one.step, log=one.log)
    assert isinstance(one, optuna.distributions.FloatDistribution)
    return trial.suggest_float(key, one.low, one.high, step=one.step, log=one.log)


def _ends(one: Any) -> tuple[Value, ...]:
    """Return the values of a distribution that are tried before the search starts."""
    if isinstance(one, optuna.distributions.CategoricalDistribution):
        return one.choices
    return one.low, one.high


def _try(path: Path, key: str, value: Value, load: Load) -> None:
    try:
        load([f"{key}={as_yaml(value)}"])
    except InputError as error:
        raise InputError(f"{path}: {key}: a run refuses {as_yaml(value)}: {error}") from None
