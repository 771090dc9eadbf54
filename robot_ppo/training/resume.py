"""Check the settings that `--resume` changes.

A key that changes what the weights mean is refused, since the policy file would be wrong; so is a
key that a run reads at its start only, since it would do nothing.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from robot_ppo.config import Config, Task
from robot_ppo.ppo.update import Learner
from robot_ppo_export.errors import InputError

MEANING = (
    "networks",
    "ppo.normalize_returns",
    "task.kind",
    "task.name",
    "task.robot",
    "task.control_period",
    "task.gait",
    "task.action",
    "task.observations",
)
"""Keys that the weights depend on: their inputs, the use of their outputs, and their shapes."""


def check(before: Config, now: Config) -> None:
    """Raise `InputError` where a run that was trained with `before` cannot go on with `now`."""
    changed = dict(_changes(msgspec.to_builtins(before), msgspec.to_builtins(now), ""))
    for path, (old, new) in changed.items():
        if any(f"{path}.".startswith(f"{key}.") for key in MEANING):
            raise InputError(
                f"`{path}`: {new} instead of {old}, which the run's weights were trained with and "
                "mean nothing without; --resume cannot change it, train a new run in another --out"
            )
        if path.startswith("task.commands.") and None in (old, new):
            raise InputError(
                f"`{path}`: {new} instead of {old} makes another command of it than the run's "
                "weights were trained with; train a new run in another --out"
            )
        for key, reason in _without_effect(before, now):
            if path == key:
                raise InputError(f"`{path}`: {new} instead of {old} does nothing: {reason}")
    _check_critic(before.task, now.task)


def _without_effect(before: Config, now: Config) -> Iterator[tuple[str, str]]:
    """Yield what only counts at a run's start, and why."""
    on = "--resume goes on with"
    yield "seed", f"{on} the random streams of the run; a seed belongs to a new one"
    if now.ppo.learning_rate_schedule == "kl":
        yield (
            "ppo.learning_rate",
            f"{on} the rate that the run is at, which follows the KL; set ppo.kl_target, or "
            "ppo.learning_rate_schedule=constant with it",
        )
    if before.ppo.objective.startswith("kl_") and now.ppo.objective.startswith("kl_"):
        yield "ppo.beta", f"{on} the price that the run is at; a price belongs to a new run"


def _check_critic(before: Any, now: Any) -> None:
    """Raise `InputError` where the critic would see other draws than it learned from."""
    if not isinstance(now, Task) or not any("randomized" in g for g in now.observations.values()):
        return
    for name in before.randomization.keys() ^ now.randomization.keys():
        said = "is new" if name in now.randomization else "is gone"
        raise InputError(
            f"`task.events: {name}` {said}: a network reads one number for each draw "
            "(`randomized` in task.observations), so --resume can change the ranges only; to "
            "switch one off give it a range that does nothing, or train a new run in another --out"
        )
    for name in now.randomization:
        if _parameters(before, name) != _parameters(now, name):
            raise InputError(
                f"`task.events: {name}` draws by other parameters than it did: a network reads "
                "its draws (`randomized` in task.observations), so --resume can change the range "
                "only; train a new run in another --out"
            )


def _parameters(task: Task, name: str) -> dict[str, Any]:
    """Return what a task says of a randomization beside its range."""
    drawn = {**task.events.start, **task.events.reset}
    return {key: value for key, value in drawn[name].items() if key != "range"}


def _changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield path -> (old, new) of every leaf that differs; a list is a leaf."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield path, (old, new)
        return
    if path.startswith("task.observations.") and old == new and list(old) != list(new):
        yield path, (list(old), list(new))
    for key in old | new:
        deeper = f"{path}.{key}" if path else str(key)
        yield from _changes(old.get(key), new.get(key), deeper)


def load(learner: Learner, state: dict[str, Any]) -> None:
    """Let the learner go on from a checkpoint's state, or raise `InputError`."""
    try:
        learner.load_state_dict(state)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the checkpoint is of another robot, other networks or another release ({reason}): "
            "train a new run in another --out"
        ) from None
