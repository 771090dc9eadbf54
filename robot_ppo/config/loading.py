"""YAML -> one checked `Config`, with `--set a.b=c` on top.

    config = load("go2_walk", overrides=["ppo.gamma=0.98"])
    config = load_run(Path("runs/go2_walk"))          # as it was saved beside the checkpoints

It is resolved once and never changed.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from robot_ppo import project
from robot_ppo.config import first_edition, unused
from robot_ppo.config.check import check
from robot_ppo.config.layers import DRAWN, SAVED, TYPED, Layers, chain
from robot_ppo.config.schema import FOREIGN, AnyTask, Config, GymTask, Task
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Derived:
    """A task that no YAML holds, because it is computed from a robot's model."""

    name: str
    data: dict[str, Any]
    """Plain data, as its YAML would hold."""
    source: str
    """Source named in errors, as the command line has it."""
    preset: str
    """The preset that it trains with where none is given."""

    def __str__(self) -> str:
        """Return how the command line names it."""
        return self.source


def task_names() -> list[str]:
    """Return the names of all tasks that are ours: robots', then Gymnasium's."""
    return [*project.task_names(), *project.GYM_TASKS]


def load_task(name: str | Derived) -> AnyTask:
    """Return a task: derived, or by name or path; Gymnasium's too, or "gym:" and any id of it."""
    layers = Layers()
    _add_task(layers, name)
    kind = GymTask if layers.data["task"]["kind"] == "gym" else Task
    return layers.convert(kind, layers.data["task"], "task")


def load(
    task: str | Derived,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    drawn: Sequence[str] = (),
    **flags: Any,
) -> Config:
    """Return the configuration of a run.

    Args:
        task: name or path of a robot's task, a derived one, name of a Gymnasium task, or "gym:"
            and an id.
        preset: name or path; None: see `default_preset`.
        overrides: "path.to.key=value", value as YAML, applied last.
        drawn: the same after these, of a search, of which one may leave another without effect.
        flags: top-level keys from the command line; None means not given.
    """
    layers = layers_of(task, preset, **flags)
    layers.convert(Config)  # before overrides too: they hide what is wrong with a file
    return _overridden(layers, overrides, drawn)


def layers_of(
    task: str | Derived, preset: str | None = None, overrides: Sequence[str] = (), **flags: Any
) -> Layers:
    """Return what `load` makes a configuration of: which value comes from where."""
    layers = Layers()
    layers.add_file(project.preset_path, preset or default_preset(task))
    _add_task(layers, task)
    layers.add("the command line", {k: v for k, v in flags.items() if v is not None}, TYPED)
    for text in overrides:
        layers.override(text)
    return layers


def default_preset(task: str | Derived) -> str:
    """Return the preset of a task.

    A derived task says which; else it is the one of the task's name, or of the nearest task that it
    extends and that has one; else `default` for robots and `gym` for Gymnasium's.
    """
    if isinstance(task, Derived):
        return task.preset
    robots = isinstance(load_task(task), Task)
    names = [path.stem for path, _ in chain(project.task_path, task)] if robots else [task]
    presets = project.preset_names()
    known = [name for name in names if name in presets]
    return known[-1] if known else "default" if robots else "gym"


def _name_of(task: str | Derived) -> str:
    """Return the name of a task that is derived, or given by name or path."""
    return task.name if isinstance(task, Derived) else project.name_of(task)


def _add_task(layers: Layers, name: str | Derived) -> None:
    """Add a task as the key `task`."""
    if isinstance(name, Derived):
        layers.add(name.source, {"task": name.data | {"kind": "robot", "name": name.name}})
        return
    if name in project.GYM_TASKS or name.startswith(FOREIGN):
        layers.add(name, {"task": {"kind": "gym", "name": name}})
        return
    if not project.is_path(name) and name not in task_names():
        hint = strict.did_you_mean(name, task_names())
        raise InputError(
            f"unknown task {name!r}{hint}, and gym:ID for any other id of Gymnasium"
            f"{project.looked('task')}"
        )
    layers.add_file(project.task_path, name, below="task", adapt=_adapted)
    given = {"kind": "robot", "name": project.name_of(name)}
    layers.add(str(project.task_path(name)), {"task": given})


def _adapted(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return what the YAML of a robot's task holds, with its robot as it is found from there."""
    if isinstance(data.get("robot"), str):
        data = data | {"robot": project.robot_beside(path, data["robot"])}
    return _in_todays_layout(path, data)


def _in_todays_layout(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return a robot's task in today's layout; one of the first edition is told."""
    if not first_edition.is_first(data):
        return data
    _tell(path)
    robot = project.load_robot(str(data.get("robot")))
    try:
        return first_edition.translated(data, len(robot.joints))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: is neither in the layout of the first edition (it has one of the keys "
            f"{', '.join(first_edition.KEYS)}) nor in today's: see docs/tasks.md"
        ) from None


@functools.cache
def _tell(path: Path) -> None:
    """Say, once for a file, that it is of the first edition."""
    log.warning(
        "%s: is in the layout of the first edition and is read as what it meant; docs/tasks.md has "
        "today's keys, which --set and the run's config.yaml use",
        path,
    )


def load_resumed(
    folder: Path, task: str | Derived, overrides: Sequence[str] = (), **flags: Any
) -> Config:
    """Return the configuration that a run in `folder` goes on with: its own, then what is new.

    Args:
        folder: of the run.
        task: must be the run's.
        overrides: as for `load`.
        flags: as for `load`.
    """
    layers = resumed_layers_of(folder, **flags)
    name = layers.data["task"]["name"]
    if name != _name_of(task):
        raise InputError(f"{folder}: is a run of the task {name!r}, not {_name_of(task)!r}")
    if isinstance(task, Derived):
        _require_same_robot(folder, str(layers.data["task"]["robot"]), str(task.data["robot"]))
    return _overridden(layers, overrides)


def _require_same_robot(folder: Path, trained: str, asked: str) -> None:
    """Raise `InputError` where a run is one of another robot."""
    if project.robot_folder(trained) != project.robot_folder(asked):
        raise InputError(f"{folder}: is a run of the robot {trained}, not {asked}")


def resumed_layers_of(folder: Path, overrides: Sequence[str] = (), **flags: Any) -> Layers:
    """Return what `load_resumed` makes a configuration of: which value comes from where."""
    layers = Layers()
    layers.add(str(folder / "config.yaml"), msgspec.to_builtins(load_run(folder)), SAVED)
    layers.add("the command line", {k: v for k, v in flags.items() if v is not None}, TYPED)
    for text in overrides:
        layers.override(text)
    return layers


def _overridden(layers: Layers, overrides: Sequence[str], drawn: Sequence[str] = ()) -> Config:
    """Return the configuration with overrides applied, checked."""
    kind = layers.data["task"]["kind"]
    name = layers.data["task"]["name"]
    for text in overrides:
        layers.override(text)
    for text in drawn:
        layers.override(text, DRAWN)
    config = layers.convert(Config)
    if isinstance(config.task, Task) and project.has_folder(config.task.robot):
        # A run is resumed and scored from any folder.
        robot = str(project.robot_folder(config.task.robot))
        config = msgspec.structs.replace(
            config, task=msgspec.structs.replace(config.task, robot=robot)
        )
    if (config.task.__struct_config__.tag, config.task.name) != (kind, name):
        raise InputError(f"`task`: --set cannot make another one of {name!r}; name that instead")
    with layers.naming():
        check(config)
        unused.check(config, layers)
    return config


def load_run(folder: Path) -> Config:
    """Return the configuration that a run was started with."""
    path = folder / "config.yaml"
    data = strict.read_yaml(path)
    if isinstance(data, dict) and isinstance(data.get("task"), dict):
        data = {**data, "task": _in_todays_layout(path, data["task"])}
    return strict.convert(Config, data, str(path))


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML."""
    return yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, width=100)
