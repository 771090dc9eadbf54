"""Objectives of a search: figures of a policy's behaviour, or of its returns.

| objective | of | figure |
|---|---|---|
| `scorecard` | robots | the worst figure over its limit under the first condition; 1 passes |
| `seconds` | robots | wall-clock seconds of training until the scorecard passes |
| `return` | tasks of Gymnasium | mean return of whole episodes, without exploration |
"""

from collections.abc import Mapping
from dataclasses import dataclass

from robot_ppo import project
from robot_ppo.config import Config, Task
from robot_ppo.evaluation import evaluate, gym_evaluation, scorecard
from robot_ppo.training.checkpoint import Checkpoint, load_actor
from robot_ppo_export.errors import InputError

OBJECTIVES = ("scorecard", "seconds", "return")
MAXIMIZED = ("return",)


@dataclass(frozen=True)
class Verdict:
    """Value of one policy."""

    value: float
    passed: bool
    """No limit is exceeded; a return has none."""
    figures: dict[str, float]


def default_objective(config: Config) -> str:
    """Return the objective of a task for which none was asked."""
    return "scorecard" if isinstance(config.task, Task) else "return"


def check(objective: str, config: Config) -> None:
    """Raise `InputError` where a task cannot be judged so."""
    is_robot = isinstance(config.task, Task)
    if is_robot == (objective == "return"):
        kinds = (
            "a task of Gymnasium has no scorecard" if not is_robot else "a robot has a scorecard"
        )
        fits = "return" if not is_robot else "scorecard or seconds"
        raise InputError(f"--objective {objective}: {kinds}; use {fits}")


def judge(config: Config, checkpoint: Checkpoint) -> Verdict:
    """Return what the policy of a checkpoint does."""
    if not isinstance(config.task, Task):
        actor = load_actor(config, checkpoint)
        score = gym_evaluation.evaluate(config, actor, gym_evaluation.QUICK)
        return Verdict(score.mean, False, {"return": score.mean, "return_std": score.std})
    contract, act = scorecard.from_checkpoint(config, checkpoint)
    first = evaluate.plan(contract).conditions[:1]
    xml = project.robot_folder(config.task.robot) / contract.robot.model
    card = evaluate.evaluate(contract, act, first, config.threads, xml=xml)
    nominal = card.overall(0)
    return Verdict(worst(nominal, card.limits), card.passed, nominal)


def worst(figures: Mapping[str, float], limits: Mapping[str, float]) -> float:
    """Return the largest figure in units of its limit: at most 1 passes.

    A limit of 0, as of falls, has no unit: what exceeds it counts as 1 and itself.
    """
    if not limits:
        raise InputError("the task's `evaluation:` has no `limits`, which a search needs; add some")
    return max(_over(figures[name], limit) for name, limit in limits.items())


def _over(value: float, limit: float) -> float:
    if limit > 0:
        return value / limit
    return 0.0 if value <= limit else 1.0 + value
