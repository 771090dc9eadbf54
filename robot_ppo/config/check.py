"""Keys that contradict each other, one sentence each. Bounds of single keys are in schema.py."""

import math

import msgspec

from robot_ppo.config.schema import Config, GymTask, Task
from robot_ppo_export.contract import strict, tables
from robot_ppo_export.contract.strict import SettingError


def check(config: Config) -> None:
    """Raise `SettingError` for values that contradict each other."""
    strict.check_finite(msgspec.to_builtins(config))
    _check_order(config)
    batch = config.num_envs * config.rollout
    _require(
        config.ppo.minibatches <= batch,
        "ppo.minibatches",
        f"{config.ppo.minibatches} is more than the {batch} samples of an iteration",
    )
    _check_learner(config)
    _check_distillation(config)
    _check_engine(config)
    if config.ppo.estimator == "group_relative":
        _check_groups(config)
    if isinstance(config.task, Task):
        _check_task(config.task)


def _check_order(struct: msgspec.Struct, path: str = "") -> None:
    """Raise `SettingError` for a range, here or deeper, whose ends are the wrong way round."""
    for field in msgspec.structs.fields(type(struct)):
        value = getattr(struct, field.name)
        here = f"{path}{field.encode_name}"
        if isinstance(value, msgspec.Struct):
            _check_order(value, f"{here}.")
        else:
            tables.check_order(field.type, value, here)


def _check_task(task: Task) -> None:
    """Raise `SettingError` for values of a robot's task that contradict each other."""
    ratio = task.control_period / task.physics.timestep
    _require(
        ratio >= 1 and abs(ratio - round(ratio)) < 1e-6,
        "task.physics.timestep",
        f"{task.physics.timestep} must divide control_period {task.control_period}",
    )
    _require(
        task.episode_length >= task.control_period,
        "task.episode_length",
        f"{task.episode_length} is shorter than one control_period, {task.control_period}",
    )
    gait = task.gait
    _require(
        gait is None or gait.frequency * task.control_period <= 0.5,
        "task.gait.frequency",
        f"{gait and gait.frequency} has fewer than two ticks of {task.control_period} s in a cycle",
    )
    _require("actor" in task.observations, "task.observations", "must have the group `actor`")
    for group, terms in task.observations.items():
        _require(len(terms) > 0, f"task.observations.{group}", "must hold at least one term")


def _check_learner(config: Config) -> None:
    """Raise `SettingError` for settings of the learner that contradict each other."""
    ppo = config.ppo
    networks = config.networks
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
    _require(
        ppo.normalize_advantages != "minibatch" or batch // ppo.minibatches > 1,
        "ppo.normalize_advantages",
        f"minibatch: {batch} samples in {ppo.minibatches} minibatches leave one with a single "
        "sample, which has no deviation; use fewer minibatches",
    )
    _check_memory(config)
    if networks.log_std_range is not None:
        low, high = networks.log_std_range
        _require(
            low < math.log(networks.init_std) < high,
            "networks.log_std_range",
            f"[{low}, {high}] does not hold log(init_std) = {math.log(networks.init_std):.3g}",
        )


def _check_distillation(config: Config) -> None:
    """Raise `SettingError` for settings of the learner that imitation cannot have."""
    imitates = config.algorithm == "distill"
    _require(
        imitates or not config.distill.teacher,
        "distill.teacher",
        "does nothing without `algorithm: distill`; add --preset distill",
    )
    _require(
        imitates or not config.distill.latent,
        "distill.latent",
        "does nothing without `algorithm: distill`; add --preset distill",
    )
    _require(
        len(config.networks.actor) > 0 or not config.distill.latent,
        "distill.latent",
        "is about the actor's last hidden layer, and networks.actor has none; give it one, as wide "
        "as the teacher's",
    )
    _require(
        not (imitates and config.device != "cpu"),
        "device",
        f"{config.device} does not go with `algorithm: distill`, which learns on the CPU; leave it "
        "out",
    )
    objective = config.ppo.objective
    _require(
        not (imitates and (objective == "trpo" or objective.startswith("kl_"))),
        "ppo.objective",
        f"{objective} measures the KL to the policy that acted, which `algorithm: distill` does "
        "not stay near; use clip",
    )
    _require(
        not (imitates and config.ppo.estimator == "group_relative"),
        "ppo.estimator",
        "group_relative does not go with `algorithm: distill`, whose critic learns; use gae",
    )


def _check_engine(config: Config) -> None:
    """Raise `SettingError` for what is not simulated on a GPU."""
    warp = config.engine == "warp"
    _require(
        not (warp and isinstance(config.task, GymTask)),
        "engine",
        f"warp simulates robots, and {config.task.name} is a task of Gymnasium; leave it out",
    )
    _require(
        not (warp and config.device == "cpu"),
        "engine",
        "warp is mujoco_warp, which is for a GPU (its CPU device is for tests); add device=cuda, "
        "or leave it out",
    )


def _check_memory(config: Config) -> None:
    """Raise `SettingError` for what cannot learn from sequences."""
    networks = config.networks
    for name in ("actor_memory", "critic_memory"):
        key = f"networks.{name}"
        if getattr(networks, name) is None:
            continue
        _require(
            config.device == "cpu",
            key,
            f"does not go with `device: {config.device}`: a cell learns on the CPU; leave the "
            "device out",
        )
        _require(
            config.ppo.objective != "trpo",
            key,
            "does not go with `ppo.objective: trpo`, which differentiates twice, and a cell can be "
            "differentiated once; use clip",
        )
        _require(
            config.ppo.estimator != "group_relative",
            key,
            "does not go with `ppo.estimator: group_relative`, which leaves out steps within a "
            "rollout, and sequences have no gaps; use gae",
        )
        _require(
            config.ppo.minibatches <= config.num_envs,
            "ppo.minibatches",
            f"{config.ppo.minibatches} is more than the {config.num_envs} sequences of an "
            f"iteration, one per simulation; with `{key}` a minibatch holds whole sequences",
        )


def _check_groups(config: Config) -> None:
    """Raise `SettingError` for settings with which groups cannot start, or not be scored."""
    key = "ppo.estimator"
    task = config.task
    size = config.ppo.group_size
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


def _require(condition: bool, key: str, text: str) -> None:
    if not condition:
        raise SettingError(key, text)
