"""YAML -> one checked `Config`, with `--set a.b=c` on top.

    config = load("go2_walk", overrides=["ppo.gamma=0.98"])
    config = load_run(Path("runs/go2_walk"))          # as it was saved beside the checkpoints

It is resolved once and never changed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from robot_ppo import project
from robot_ppo.config.check import check
from robot_ppo.config.schema import FOREIGN, AnyTask, Config, GymTask, Task
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError


def task_names() -> list[str]:
    """Return the names of all tasks that are ours: robots', then Gymnasium's."""
    return [*project.task_names(), *project.GYM_TASKS]


def load_task(name: str) -> AnyTask:
    """Return a task by name: of a robot, of Gymnasium, or "gym:" and any Gymnasium id."""
    data = _task(name)
    if data["kind"] == "gym":
        return strict.convert(GymTask, data, name)
    return strict.convert(Task, data, str(project.task_path(name)))


def load(
    task: str, preset: str | None = None, overrides: Sequence[str] = (), **flags: Any
) -> Config:
    """Return the configuration of a run.

    Args:
        task: name of a file in configs/tasks, of a Gymnasium task, or "gym:" and an id.
        preset: name of a file in configs/train; None: see `default_preset`.
        overrides: "path.to.key=value", value as YAML, applied last.
        flags: top-level keys from the command line; None means not given.
    """
    # Checked before overrides too, so that an error names the file it comes from.
    preset = preset or default_preset(task)
    data = _mapping(project.preset_path(preset))
    data["task"] = _task(task)
    data |= {key: value for key, value in flags.items() if value is not None}
    strict.convert(Config, data, str(project.preset_path(preset)))
    return _overridden(data, overrides)


def default_preset(task: str) -> str:
    """Return the preset of a task: the one of its name, else `default` for robots, else `gym`."""
    kind = load_task(task)
    if task in project.preset_names():
        return task
    return "default" if isinstance(kind, Task) else "gym"


def _task(name: str) -> dict[str, Any]:
    """Return a task as plain data."""
    if name in project.GYM_TASKS or name.startswith(FOREIGN):
        return {"kind": "gym", "name": name}
    if name not in task_names():
        hint = strict.did_you_mean(name, task_names())
        raise InputError(f"unknown task {name!r}{hint}, and gym:ID for any other id of Gymnasium")
    return {"kind": "robot", "name": name, **_mapping(project.task_path(name))}


def load_resumed(folder: Path, task: str, overrides: Sequence[str] = (), **flags: Any) -> Config:
    """Return the configuration that a run in `folder` goes on with: its own, then what is new.

    Args:
        folder: of the run.
        task: must be the run's.
        overrides: as for `load`.
        flags: as for `load`.
    """
    data = msgspec.to_builtins(load_run(folder))
    if data["task"]["name"] != task:
        raise InputError(f"{folder}: is a run of the task {data['task']['name']!r}, not {task!r}")
    data |= {key: value for key, value in flags.items() if value is not None}
    return _overridden(data, overrides)


def _overridden(data: dict[str, Any], overrides: Sequence[str]) -> Config:
    kind, name = data["task"]["kind"], data["task"]["name"]
    for text in overrides:
        _override(data, text)
    config = strict.convert(Config, data, "--set")
    if (config.task.__struct_config__.tag, config.task.name) != (kind, name):
        raise InputError(f"`task`: --set cannot make another one of {name!r}; name that instead")
    check(config)
    return config


def _mapping(path: Path) -> dict[str, Any]:
    """Return the keys and values in a YAML file; an empty file has none."""
    data = strict.read_yaml(path)
    if not isinstance(data, dict | None):
        raise InputError(f"{path}: must hold keys and values, got {type(data).__name__}")
    return data or {}


def load_run(folder: Path) -> Config:
    """Return the configuration that a run was started with."""
    return strict.load_yaml(Config, folder / "config.yaml")


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML."""
    return yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, width=100)


def _override(data: dict[str, Any], text: str) -> None:
    """Apply one "path.to.key=value" to plain data, in place."""
    path, separator, value = text.partition("=")
    if not separator:
        raise InputError(f"--set {text}: write it as path.to.key=value")
    try:
        parsed = strict.parse_yaml(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: {value!r} is not a YAML value") from None
    *parents, last = path.split(".")
    for part in parents:
        child = data.get(part)
        data[part] = child = dict(child) if isinstance(child, dict) else {}
        data = child
    data[last] = parsed
