"""A run's configuration: its keys (schema), from YAML (loading), what no run can use (check)."""

from robot_ppo.config.loading import (
    load,
    load_resumed,
    load_run,
    load_task,
    task_names,
    to_yaml,
)
from robot_ppo.config.schema import (
    AnyTask,
    Commands,
    Config,
    Gait,
    GymTask,
    Networks,
    Ppo,
    Pushes,
    Range,
    Reset,
    Task,
    Terminations,
    robot_task,
)

__all__ = [
    "AnyTask",
    "Commands",
    "Config",
    "Gait",
    "GymTask",
    "Networks",
    "Ppo",
    "Pushes",
    "Range",
    "Reset",
    "Task",
    "Terminations",
    "load",
    "load_resumed",
    "load_run",
    "load_task",
    "robot_task",
    "task_names",
    "to_yaml",
]
