"""Places of robots, tasks and presets.

A path is taken as it is. A name is looked for in `robots/`, `configs/tasks/` and `configs/train/`
of these folders, and the first one that has it wins:

1. the working folder,
2. each folder in the environment variable ROBOT_PPO_PATH, in its order,
3. what is shipped: beside the package in a checkout, inside it in a wheel.

    robot_folder("go2"), robot_folder("../my_robots/dog")
    task_path("go2_walk"), task_path("my_tasks/dog_walk.yaml")
"""

import difflib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robot_ppo_export.contract import spec, strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
PATH_VARIABLE = "ROBOT_PPO_PATH"
"""Environment variable that names more folders, separated as in PATH."""
SHIPPED = "shipped"
"""Label of what comes with the package."""
MODELS = (".xml", ".mjcf", ".urdf")
"""Endings of model files, of which a robot's folder is made by `robot-ppo import`."""

GYM_TASKS = (
    "Ant-v5",
    "HalfCheetah-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "InvertedDoublePendulum-v5",
    "InvertedPendulum-v5",
    "Pusher-v5",
    "Reacher-v5",
    "Swimmer-v5",
    "Walker2d-v5",
)
"""Gymnasium's tasks that run on the native engine: the keys of `envs.gymnasium.gym_tasks.TASKS`."""

_PATTERNS = {
    "robot": "robots/*/robot.yaml",
    "task": "configs/tasks/*.yaml",
    "preset": "configs/train/*.yaml",
}
"""Kind -> where its files are in a place."""


@dataclass(frozen=True)
class Place:
    """A folder that may hold `robots/` and `configs/`."""

    path: Path
    label: str
    """For people: the folder as they wrote it, or `SHIPPED`."""


@dataclass(frozen=True)
class Found:
    """A robot, a task or a preset, and where it is from."""

    name: str
    path: Path
    """The robot's folder, or the YAML."""
    label: str
    """Name of its place."""


def root() -> Path:
    """Return the folder that holds the shipped `robots/` and `configs/`."""
    inside = _PACKAGE / "_assets"
    return inside if inside.is_dir() else _PACKAGE.parent


def places() -> list[Place]:
    """Return the folders in which names are looked for, the first one first, each once."""
    shipped = Place(root(), SHIPPED)
    given = os.environ.get(PATH_VARIABLE, "").split(os.pathsep)
    own = [Place(Path(text), text) for text in (".", *filter(None, given))]
    seen = {shipped.path.resolve()}
    kept = []
    for place in own:
        path = place.path.resolve()
        if path not in seen:
            seen.add(path)
            kept.append(place)
    return [*kept, shipped]


def found(kind: str) -> list[Found]:
    """Return every robot, task or preset that has a name, sorted by it; hidden ones are not in."""
    first: dict[str, Found] = {}
    for place in places():
        for path in sorted(place.path.glob(_PATTERNS[kind])):
            path = path.parent if kind == "robot" else path
            name = path.name if kind == "robot" else path.stem
            first.setdefault(name, Found(name, path, place.label))
    return [first[name] for name in sorted(first)]


def robot_names() -> list[str]:
    """Return the names of the robots that exist, sorted."""
    return [robot.name for robot in found("robot")]


def task_names() -> list[str]:
    """Return the names of the tasks that exist, sorted."""
    return [task.name for task in found("task")]


def preset_names() -> list[str]:
    """Return the names of the training presets that exist, sorted."""
    return [preset.name for preset in found("preset")]


def robot_folder(robot: str) -> Path:
    """Return the folder of a robot that is given by name or path, or raise `InputError`."""
    path = Path(robot)
    if robot and (path / "robot.yaml").is_file():
        return path.resolve()
    if robot and path.name == "robot.yaml" and path.is_file():
        return path.resolve().parent
    if path.suffix.lower() in MODELS:
        if (path.parent / "robot.yaml").is_file():
            raise InputError(f"{robot}: is a model; give its folder, {str(path.parent)!r}")
        raise InputError(
            f"{robot}: is a model and no robot's folder; import it: robot-ppo import "
            f"{shlex.quote(robot)}"
        )
    if has_folder(robot):
        raise InputError(f"{robot}: has no robot.yaml{_near(path, '*/robot.yaml')}")
    return _named("robot", robot)


def task_path(task: str) -> Path:
    """Return the YAML of a task that is given by name or path, or raise `InputError`."""
    return _yaml("task", task)


def preset_path(preset: str) -> Path:
    """Return the YAML of a preset that is given by name or path, or raise `InputError`."""
    return _yaml("preset", preset)


def has_folder(text: str) -> bool:
    """Return whether a name is none, but a path with a folder in it."""
    return "/" in text or os.sep in text


def is_path(text: str) -> bool:
    """Return whether a task or a preset is given as a path: it ends in .yaml or has a folder.

    "gym:" and an id of Gymnasium is none, whatever is in it.
    """
    named = text.startswith("gym:")
    return not named and (text.endswith((".yaml", ".yml")) or has_folder(text))


def name_of(text: str) -> str:
    """Return the name of a task or a preset that is given by name or path."""
    return Path(text).stem if is_path(text) else text


def robot_beside(task: Path, robot: str) -> str:
    """Return `robot` as the task in the YAML `task` means it.

    A relative path starts at the YAML's folder. A name is first looked for near a YAML that lies in
    none of `places`: as its folder, beside it, and in `robots/` beside its `configs/`.
    """
    folder = task.resolve().parent
    if has_folder(robot):
        return str((folder / robot).resolve())
    if any(folder == (place.path / "configs" / "tasks").resolve() for place in places()):
        return robot
    near = [folder / robot, folder.parent.parent / "robots" / robot]
    near += [folder] if folder.name == robot else []
    there = [path for path in near if (path / "robot.yaml").is_file()]
    return str(there[0]) if there else robot


def load_robot(robot: str) -> RobotSpec:
    """Return a robot, given by name or path, from its robot.yaml, which must call it so, too."""
    return load_robot_in(robot_folder(robot))


def load_robot_in(folder: Path) -> RobotSpec:
    """Return the robot in `folder`, which its robot.yaml must call as the folder is called."""
    path = folder / "robot.yaml"
    robot = spec.load(path)
    if robot.name != path.parent.name:
        raise InputError(
            f"{path}: `name`: is {robot.name!r} in the folder {path.parent.name!r}; a robot is "
            "found by its folder, so call both the same"
        )
    return robot


def _yaml(kind: str, text: str) -> Path:
    if not is_path(text):
        return _named(kind, text)
    path = Path(text)
    if not path.is_file():
        raise InputError(f"{text}: no such file{_near(path, '*.yaml')}")
    return path


def _named(kind: str, name: str) -> Path:
    there = {item.name: item.path for item in found(kind)}
    if name not in there:
        raise InputError(f"unknown {kind} {name!r}{strict.did_you_mean(name, there)}{looked(kind)}")
    return there[name]


def looked(kind: str) -> str:
    """Return the places at which a name of this kind was looked for, as the end of a sentence."""
    sub = str(Path(_PATTERNS[kind]).parent).removesuffix("/*")
    own = [str(place.path / sub) for place in places() if place.label != SHIPPED]
    return f"; looked in {', '.join([*own, 'what is shipped'])}"


def _near(path: Path, pattern: str) -> str:
    """Return the nearest path of the same folder that exists, as a hint."""
    folder = path.parent
    there = list(folder.glob(pattern)) if folder.is_dir() else []
    names = [p.parent.name if p.name == "robot.yaml" else p.name for p in there]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {str(folder / close[0])!r}?" if close else ""


def listing(kind: str) -> Iterator[str]:
    """Yield a line for everything of a kind: its name, and where it is from."""
    items = found(kind)
    width = max((len(item.name) for item in items), default=0)
    for item in items:
        where = SHIPPED if item.label == SHIPPED else str(item.path)
        yield f"{item.name.ljust(width)}  {where}"
