"""Where `robots/` and `configs/` are: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

from robot_ppo_export.contract import spec, strict
from robot_ppo_export.contract.spec import RobotSpec
from robot_ppo_export.errors import InputError

_PACKAGE = Path(__file__).resolve().parent

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


def root() -> Path:
    """Return the folder that holds `robots/` and `configs/`."""
    inside = _PACKAGE / "_assets"
    return inside if inside.is_dir() else _PACKAGE.parent


def robot_names() -> list[str]:
    """Return the names of the robots that exist, sorted."""
    return sorted(p.parent.name for p in (root() / "robots").glob("*/robot.yaml"))


def task_names() -> list[str]:
    """Return the names of the tasks that exist, sorted."""
    return sorted(p.stem for p in (root() / "configs" / "tasks").glob("*.yaml"))


def preset_names() -> list[str]:
    """Return the names of the training presets that exist, sorted."""
    return sorted(p.stem for p in (root() / "configs" / "train").glob("*.yaml"))


def robot_folder(name: str) -> Path:
    """Return the folder of robot `name`, or raise `InputError` with the list of robots."""
    return _find("robot", name, robot_names(), root() / "robots" / name)


def task_path(name: str) -> Path:
    """Return the YAML of task `name`, or raise `InputError` with the list of tasks."""
    return _find("task", name, task_names(), root() / "configs" / "tasks" / f"{name}.yaml")


def preset_path(name: str) -> Path:
    """Return the YAML of preset `name`, or raise `InputError` with the list of presets."""
    return _find("preset", name, preset_names(), root() / "configs" / "train" / f"{name}.yaml")


def folder_of(robot: str) -> Path:
    """Return the folder of a robot that is given by name or as a folder."""
    path = Path(robot)
    return path.resolve() if (path / "robot.yaml").is_file() else robot_folder(robot)


def load_robot(name: str) -> RobotSpec:
    """Return robot `name` from its robot.yaml, which must call it so, too."""
    return load_robot_in(robot_folder(name))


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


def _find(kind: str, name: str, names: list[str], path: Path) -> Path:
    if name not in names:
        raise InputError(f"unknown {kind} {name!r}{strict.did_you_mean(name, names)}")
    return path
