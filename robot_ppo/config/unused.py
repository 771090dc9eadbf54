"""Settings that do nothing beside others, one row each; who gives one is told so.

A key is refused where it is given together with what makes it useless, or after that: in one file,
in a file that extends another, on the command line. A file whose keys another objective leaves
without effect (`--preset mine --set ppo.objective=trpo`) is fine.
"""

from collections.abc import Iterator
from typing import Any

from robot_ppo.config.layers import TYPED, Layers
from robot_ppo.config.schema import Config, Distill, MapErrors, Networks, Ppo, Task
from robot_ppo_export.contract.strict import SettingError

WITHOUT_CRITIC = ("group_relative",)
UNUSED: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("ppo.kl_target", "ppo.learning_rate_schedule", ("constant", "linear")),
    ("ppo.kl_target", "ppo.objective", ("trpo",)),
    ("ppo.kl_target_end", "ppo.learning_rate_schedule", ("constant", "linear")),
    ("ppo.kl_target_end", "ppo.objective", ("trpo",)),
    ("ppo.kl_target_end", "ppo.kl_target", (None,)),
    ("ppo.learning_rate", "ppo.objective", ("trpo",)),
    ("ppo.beta", "ppo.objective", ("clip", "unclipped", "trpo")),
    ("ppo.beta_rate", "ppo.objective", ("clip", "unclipped", "trpo", "kl_fixed", "kl_adaptive")),
    ("ppo.kl_bound", "ppo.objective", ("clip", "unclipped", "kl_fixed")),
    ("ppo.gae_lambda", "ppo.estimator", ("rewards_to_go", "group_relative")),
    ("ppo.group_size", "ppo.estimator", ("gae", "rewards_to_go")),
    ("ppo.recompute_advantages", "ppo.estimator", WITHOUT_CRITIC),
    ("ppo.value_clip", "ppo.estimator", WITHOUT_CRITIC),
    ("ppo.normalize_returns", "ppo.estimator", WITHOUT_CRITIC),
    ("ppo.critic_learning_rate", "ppo.estimator", WITHOUT_CRITIC),
    ("distill.until", "algorithm", ("ppo",)),
    ("distill.alone", "algorithm", ("ppo",)),
)
"""Key, and the key of which these values leave it without effect."""
OF_PPO_ALONE = (
    *("ppo.clip", "ppo.stop_kl", "ppo.kl_target", "ppo.kl_target_end"),
    *("ppo.normalize_advantages", "ppo.entropy", "ppo.entropy_end"),
)
"""Keys that an imitation to the end of the run leaves without effect."""
OF_GRADIENT_STEPS = ("ppo.epochs", "ppo.minibatches", "ppo.max_grad_norm")
"""Keys that TRPO leaves to the critic."""
OFF = (None, False)
"""Values that ask for nothing."""


def check(config: Config, layers: Layers) -> None:
    """Raise `SettingError` for a key that was given beside what leaves it without effect."""
    for key, by, reason in _unused(config):
        rank = layers.rank(key)
        by_rank = max(1, *(layers.rank(one) for one in by))
        if _is_off(config, key) or rank < by_rank or rank > TYPED:
            continue
        if rank == TYPED or _at(config, key) != _default(key):
            raise SettingError(key, f"does nothing {reason}; leave it out, or change {by[0]}")


def names(config: Config) -> set[str]:
    """Return the keys that are without effect, given or not."""
    return {key for key, _, _ in _unused(config)}


def _unused(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield a key without effect, the keys that are why, and the reason."""
    for key, by, values in UNUSED:
        if (value := _at(config, by)) in values:
            yield key, (by,), f"with `{by}: {'null' if value is None else value}`"
    ppo = config.ppo
    if ppo.learning_rate_schedule == "kl" and ppo.kl_target is None:
        yield "ppo.learning_rate_schedule", ("ppo.kl_target",), "as kl with `ppo.kl_target: null`"
    if ppo.objective == "trpo":
        if ppo.learning_rate_schedule == "kl":
            by = ("ppo.objective",)
            yield "ppo.learning_rate_schedule", by, "as kl with `ppo.objective: trpo`"
        if ppo.estimator in WITHOUT_CRITIC:
            for key in OF_GRADIENT_STEPS:
                by = ("ppo.estimator", "ppo.objective")
                yield key, by, "with trpo and no critic, which take no steps along a gradient"
    imitates = config.algorithm == "distill"
    if imitates and config.distill.until == 1:
        for key in OF_PPO_ALONE:
            by = ("distill.until", "algorithm")
            yield key, by, "with `distill.until: 1`, which imitates to the end"
    networks = config.networks
    of_run = imitates and not config.distill.teacher.endswith(".onnx")  # a file may not say it
    if of_run and networks.std == "global" and networks.log_std_range is None:
        yield "networks.init_std", ("algorithm",), "with `algorithm: distill`: the teacher's counts"
    if isinstance(config.task, Task) and not imitates:  # a teacher may bring the term
        groups = config.task.observations.values()
        if not any("height_scan" in terms for terms in groups):
            yield "task.map", ("task.observations",), "without the term `height_scan`"


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _is_off(config: Config, key: str) -> bool:
    return any(_at(config, key) is value for value in OFF)


def _default(key: str) -> Any:
    """Return what a key is where nobody gives it."""
    section, name = key.split(".")
    known: dict[str, Any] = {"ppo": Ppo(), "distill": Distill(), "networks": Networks()}
    return MapErrors() if key == "task.map" else getattr(known[section], name)
