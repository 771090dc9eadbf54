"""The joints of a run's robot: weights know them by their places alone, so checkpoints name them.

joints.of(config)                       # ["FR_hip_joint", ...], or None without a robot
joints.check(config, checkpoint)        # InputError where robot.yaml lists others now
"""

from collections.abc import Sequence

from robot_ppo import project
from robot_ppo.config import Config, Task
from robot_ppo.training.checkpoint import Checkpoint
from robot_ppo_export.errors import InputError


def of(config: Config) -> list[str] | None:
    """Return the names of the robot's joints, in their order; None for a task without a robot."""
    if not isinstance(config.task, Task):
        return None
    return list(project.load_robot(config.task.robot).joint_names)


def check(config: Config, checkpoint: Checkpoint) -> None:
    """Raise `InputError` where the robot's joints are not those of the weights, in their order.

    A checkpoint from before they were named cannot tell; `check_sizes` is then what is left.
    """
    now = of(config)
    if now is None or checkpoint.joints is None or now == list(checkpoint.joints):
        return
    raise _error(config, _difference(checkpoint.joints, now))


def check_sizes(config: Config, trained: tuple[int, int], now: tuple[int, int]) -> None:
    """Raise `InputError` where weights have other numbers of inputs and outputs than the task.

    Args:
        config: of the run.
        trained: numbers of observations and actions of the weights.
        now: those of the task with its robot.
    """
    if trained != now:
        raise _error(
            config,
            f"make {now[0]} observations and {now[1]} actions, and the run's weights have "
            f"{trained[0]} and {trained[1]}",
        )


def _difference(trained: Sequence[str], now: Sequence[str]) -> str:
    """Return the first difference of two lists of joints as a part of a sentence."""
    missing = [name for name in trained if name not in now]
    more = [name for name in now if name not in trained]
    if missing:
        return f"lack {missing[0]!r}, with which the run's weights were trained"
    if more:
        return f"have {more[0]!r}, without which the run's weights were trained"
    place = next(i for i, name in enumerate(trained) if name != now[i])
    return (
        f"have {now[place]!r} in place {place}, where {trained[place]!r} was when the run's "
        "weights were trained"
    )


def _error(config: Config, difference: str) -> InputError:
    assert isinstance(config.task, Task)
    path = project.robot_folder(config.task.robot) / "robot.yaml"
    return InputError(
        f"{path}: `joints`: {difference}; weights know joints by their places alone, so restore "
        "the list, or train a new run"
    )
