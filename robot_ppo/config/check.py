"""What no structure of schema.py forbids and no run can use, one sentence each."""

import math
from operator import attrgetter

import msgspec

from robot_ppo.config.schema import Config, GymTask, Range, Task
from robot_ppo_export.contract import strict
from robot_ppo_export.errors import InputError

_AT_LEAST = {
    "num_envs": 1,
    "rollout": 1,
    "steps": 1,
    "threads": 0,
    "seed": 0,
    "keep": 0,
    "ppo.epochs": 1,
    "ppo.minibatches": 1,
    "ppo.group_size": 2,
    "ppo.learning_rate": 0,
    "ppo.critic_learning_rate": 0,
}
_AT_MOST = {"num_envs": 2**20, "seed": 2**32 - 1}
_ABOVE_ZERO = (
    "minutes",
    "ppo.gamma",
    "ppo.clip",
    "ppo.beta",
    "ppo.beta_rate",
    "ppo.kl_bound",
    "ppo.stop_kl",
    "ppo.value_clip",
    "ppo.kl_target",
    "ppo.max_grad_norm",
    "networks.init_std",
    "networks.last_gain",
    "networks.obs_clip",
)
_FRACTIONS = ("ppo.gamma", "ppo.gae_lambda")
_TASK_ABOVE_ZERO = (
    "task.control_period",
    "task.physics_timestep",
    "task.episode_length",
    "task.gait.frequency",
    "task.gait.swing_height",
)
_TASK_FRACTIONS = ("task.commands.standing_fraction",)


def check(config: Config) -> None:
    """Raise `InputError` for values that no structure forbids but no run can use."""
    strict.check_finite(msgspec.to_builtins(config), "configuration")
    for key, least in _AT_LEAST.items():
        value = attrgetter(key)(config)
        _require(value >= least, key, f"{value} must be at least {least}")
    for key, most in _AT_MOST.items():
        value = attrgetter(key)(config)
        _require(value <= most, key, f"{value} must be at most {most}")
    robot = isinstance(config.task, Task)
    for key in (*_ABOVE_ZERO, *(_TASK_ABOVE_ZERO if robot else ())):
        value = attrgetter(key)(config)
        _require(value is None or value > 0, key, f"{value} must be above 0")
    for key in (*_FRACTIONS, *(_TASK_FRACTIONS if robot else ())):
        value = attrgetter(key)(config)
        _require(0 <= value <= 1, key, f"{value} is not in [0, 1]")
    batch = config.num_envs * config.rollout
    _require(
        config.ppo.minibatches <= batch,
        "ppo.minibatches",
        f"{config.ppo.minibatches} is more than the {batch} samples of an iteration",
    )
    _check_learner(config)
    if config.ppo.estimator == "group_relative":
        _check_groups(config)
    if isinstance(config.task, Task):
        _check_task(config.task)


def _check_task(task: Task) -> None:
    """Raise `InputError` for values of a robot's task that contradict each other."""
    stance = task.gait.stance
    _require(0 < stance < 1, "task.gait.stance", f"{stance} is not between 0 and 1")
    ratio = task.control_period / task.physics_timestep
    _require(
        ratio >= 1 and abs(ratio - round(ratio)) < 1e-6,
        "task.physics_timestep",
        f"{task.physics_timestep} must divide control_period {task.control_period}",
    )
    _require(
        task.episode_length >= task.control_period,
        "task.episode_length",
        f"{task.episode_length} is shorter than one control_period, {task.control_period}",
    )
    _require(
        task.gait.frequency * task.control_period <= 0.5,
        "task.gait.frequency",
        f"{task.gait.frequency} has fewer than two ticks of {task.control_period} s in a cycle",
    )
    _require(len(task.observation) > 0, "task.observation", "must hold at least one term")
    for path, value in _ranges(task):
        _require(value[0] <= value[1], path, f"[{value[0]}, {value[1]}] is not [low, high]")
    for name, entry in task.rewards.items():
        _require("weight" in entry, f"task.rewards.{name}", "lacks `weight`")
        sigma2 = entry.get("sigma2", 1.0)
        _require(sigma2 > 0, f"task.rewards.{name}.sigma2", f"{sigma2} must be above 0")


def _check_learner(config: Config) -> None:
    """Raise `InputError` for settings of the learner that contradict each other."""
    ppo, networks = config.ppo, config.networks
    for key in ("networks.actor", "networks.critic"):
        widths = attrgetter(key)(config)
        _require(all(w >= 1 for w in widths), key, f"{list(widths)} must be widths of at least 1")
    for key in ("networks.actor_groups", "networks.critic_groups"):
        _require(len(attrgetter(key)(config)) > 0, key, "must name at least one observation group")
    if ppo.objective == "trpo":
        one = "does nothing for `ppo.objective: trpo`, which takes one step over the whole batch"
        _require(ppo.stop_kl is None, "ppo.stop_kl", f"{one}; leave it null")
        _require(not ppo.recompute_advantages, "ppo.recompute_advantages", f"{one}; leave it false")
        _require(
            ppo.normalize_advantages != "minibatch",
            "ppo.normalize_advantages",
            f"minibatch {one}; use batch",
        )
    _require(
        not ppo.recompute_advantages or ppo.epochs > 1,
        "ppo.recompute_advantages",
        "needs ppo.epochs of at least 2; the first epoch has fresh ones anyway",
    )
    batch = config.num_envs * config.rollout
    piece = math.ceil(batch / ppo.minibatches)
    _require(
        ppo.normalize_advantages != "minibatch" or (batch % piece or piece) > 1,
        "ppo.normalize_advantages",
        f"minibatch: {batch} samples in {ppo.minibatches} minibatches leave one with a single "
        "sample, which has no deviation; use fewer minibatches",
    )
    if networks.log_std_range is not None:
        low, high = networks.log_std_range
        _require(
            low < math.log(networks.init_std) < high,
            "networks.log_std_range",
            f"[{low}, {high}] does not hold log(init_std) = {math.log(networks.init_std):.3g}",
        )


def _check_groups(config: Config) -> None:
    """Raise `InputError` for settings with which groups cannot start, or not be scored."""
    key, task, size = "ppo.estimator", config.task, config.ppo.group_size
    _require(
        not isinstance(task, GymTask) or task.foreign_id is None,
        key,
        f"group_relative starts groups from exact copies of one simulation, and those of "
        f"{task.name} cannot be copied; use gae",
    )
    _require(
        config.num_envs % size == 0,
        "ppo.group_size",
        f"{size} must divide num_envs {config.num_envs}, so that every group is full",
    )
    _require(
        config.ppo.normalize_advantages != "minibatch",
        "ppo.normalize_advantages",
        "minibatch does not go with `ppo.estimator: group_relative`, whose scores are normalized "
        "within groups, and whose last minibatch may hold a single one; use batch or none",
    )


def _ranges(task: Task) -> list[tuple[str, Range]]:
    ranges = [(f"task.randomization.{name}", r) for name, r in task.randomization.items()]
    ranges += [
        (f"task.commands.{k}", getattr(task.commands, k))
        for k in ("vx", "vy", "yaw_rate", "resample")
    ]
    if task.pushes:
        ranges += [(f"task.pushes.{k}", getattr(task.pushes, k)) for k in ("interval", "speed")]
    return ranges


def _require(condition: bool, key: str, text: str) -> None:
    if not condition:
        raise InputError(f"`{key}`: {text}")
