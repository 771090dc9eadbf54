"""Checks of the simulation, the rewards, the episodes, and the use of time.

Each function takes the record of a run and returns a finding or None; its name is the finding's.
"""

import math

import numpy as np

from robot_ppo.config import Task
from robot_ppo.diagnostics.checks.finding import Finding, figure, needs, rounded
from robot_ppo.diagnostics.checks.record import Record

FINITE = (
    "kl", "surrogate", "entropy", "std", "ratio_max", "value_loss", "explained_variance",
    "actor_grad_norm", "critic_grad_norm",
)  # fmt: skip
"""Columns that are finite in every update of a healthy run."""
MANY_DIVERGED = 5
PHYSICS_SHARE = 0.3


def not_finite(record: Record) -> Finding | None:
    """Find that a metric of learning is no longer finite."""
    known = [name for name in FINITE if record.has(name)]
    wrong = {name: ~np.isfinite(record[name]) & ~record.gaps.get(name, False) for name in known}
    names = [name for name, where in wrong.items() if where.any()]
    if not names:
        return None
    first = min(int(np.flatnonzero(wrong[name])[0]) for name in names)
    ppo = record.settings.ppo
    settings = (
        f"ppo.learning_rate={min(1e-3, rounded(ppo.learning_rate / 3)):g}",
        "ppo.learning_rate_schedule=kl",
        "ppo.kl_target=0.01",
    )
    if ppo.objective == "trpo":
        settings = (f"ppo.kl_bound={rounded(ppo.kl_bound / 2):g}",)
    return Finding(
        "not_finite",
        f"{', '.join(names)} not finite, {record.span(first, len(record) - 1)}",
        "Learning diverged: a step was so long that the next values have no number. Weights that "
        "are not finite do not come back.",
        "Start anew with shorter steps that follow the KL.",
        settings,
        lost=True,
    )


@needs("diverged")
def simulations_diverge(record: Record) -> Finding | None:
    """Find that simulations diverge."""
    count = record["diverged"]
    task = record.task
    if task is None or count[-1] < MANY_DIVERGED:
        return None
    finer = task.control_period / (2 * round(task.control_period / task.physics.timestep))
    first = int(np.flatnonzero(count > 0)[0])
    return Finding(
        "simulations_diverge",
        f"{count[-1]:.0f} simulations left the finite numbers, "
        f"{record.span(first, len(record) - 1)}",
        "The physics step is too large for the gains, masses and contacts of some randomized "
        "robots, or the model has bodies that start inside each other.",
        "Halve the physics step.",
        (f"task.physics.timestep={finer:g}",),
    )


# -- rewards and episodes -----------------------------------------------------------------------


def reward_terms(record: Record) -> dict[str, float]:
    """Return reward name -> its sum over an episode, late in the run."""
    names = [name.removeprefix("reward_") for name in record.columns if name.startswith("reward_")]
    return {name: record.late(f"reward_{name}") for name in names}


def reward_drowns(record: Record) -> Finding | None:
    """Find that one reward is so large that the others do not count."""
    terms = reward_terms(record)
    task = record.task
    total = sum(abs(value) for value in terms.values())
    if task is None or len(terms) < 2 or not total > 0:
        return None
    name = max(terms, key=lambda one: abs(terms[one]))
    share = abs(terms[name]) / total
    # A penalty should only shape; a positive reward may well be most of the return.
    if share < (0.5 if terms[name] < 0 else 0.85):
        return None
    rest = total * (1 - share)
    weight = task.rewards.get(name, {}).get("weight")
    settings = ()
    if weight is not None:  # such that the term would have been a tenth of the whole
        lower = rounded(weight * rest / (9 * abs(terms[name])))
        settings = (f"task.rewards.{name}.weight={lower:g}",)
    return Finding(
        "reward_drowns",
        f"reward_{name} is {figure(terms[name])} per episode, {share:.0%} of all rewards' size; "
        f"the others together {figure(rest)}, {record.late_span()}",
        "Advantages are normalized, so what is small beside one large term is not learned at all.",
        "Lower its weight until it is about a tenth of the whole.",
        settings,
    )


@needs("length", "failed", "return")
def episodes_end_at_once(record: Record) -> Finding | None:
    """Find that episodes end in failures right after the start, and grow no longer."""
    task = record.task
    length = record.late("length")
    if task is None:
        return None
    brief = length < 0.05 * task.episode_length and record.late("failed") > 0.9
    if not brief or length > 1.5 * record.early("length"):
        return None
    evidence = (
        f"episodes last {length:.2g} of {task.episode_length:g} s, {record.late('failed'):.0%} "
        f"end in a failure, {record.late_span()}"
    )
    penalties = {k: v for k, v in reward_terms(record).items() if v < 0 and k != "termination"}
    living = record.late("return") - reward_terms(record).get("termination", 0.0)
    worst = min(penalties, key=lambda name: penalties[name]) if penalties else ""
    if living < 0 and worst in task.rewards:
        lower = rounded(task.rewards[worst]["weight"] / 10)
        return Finding(
            "episodes_end_at_once",
            f"{evidence}; living costs {figure(-living / length)} per second, most of it {worst}",
            "Every second costs more than it earns, so the policy learns to end the episode soon.",
            "Make living pay: lower the largest penalty.",
            (f"task.rewards.{worst}.weight={lower:g}",),
        )
    return Finding(
        "episodes_end_at_once",
        evidence,
        "The limits that end an episode are met right after the start, or the start is so "
        "disturbed that no policy can stand.",
        "Widen the limits and start calmly, then tighten step by step.",
        _calmer(task),
    )


def _calmer(task: Task) -> tuple[str, ...]:
    """Return the settings that end fewer episodes, of those that the task has."""
    tilt, low = (task.terminations.get(name) for name in ("tilt", "base_height"))
    settings = []
    if tilt:
        settings.append(f"task.terminations.tilt.limit={min(1.5, 1.5 * tilt['limit']):g}")
    if low:
        settings.append(f"task.terminations.base_height.limit={rounded(low['limit'] / 2):g}")
    return (*settings, "task.events.interval={}")


@needs("return", "velocity_error", "length")
def earns_without_following(record: Record) -> Finding | None:
    """Find that the return rises while the robot does not follow its commands."""
    task = record.task
    if task is None or "twist" not in task.commands:
        return None
    if not record.late("length") > 0.25 * task.episode_length:
        return None  # it still learns to stand
    twist = task.commands["twist"]
    squares = [max(abs(low), abs(high)) ** 2 / 3 for low, high in (twist["vx"], twist["vy"])]
    standing = math.sqrt(sum(squares)) * (1 - twist["standing_fraction"])
    early = record.early("velocity_error")
    late = record.late("velocity_error")
    risen = record.late("return") > record.early("return")
    if not (risen and late > 0.9 * early and late > 0.7 * standing):
        return None
    settings = ()
    if "lin_vel_tracking" in task.rewards:
        weight = 2 * task.rewards["lin_vel_tracking"]["weight"]
        settings = (f"task.rewards.lin_vel_tracking.weight={weight:g}",)
    return Finding(
        "earns_without_following",
        f"return from {record.early('return'):.3g} to {record.late('return'):.3g}, velocity error "
        f"from {early:.2f} to {late:.2f} m/s (standing still: about {standing:.2f}), "
        f"{record.span(0, len(record) - 1)}",
        "Surviving or avoiding penalties earns enough; following the command earns too little "
        "more, or exploration is too small to find out.",
        "Pay more for following; if the deviation of actions is small, mend that first.",
        settings,
    )


@needs("return")
def stopped_improving(record: Record) -> Finding | None:
    """Find that the best return was in the first half of the run."""
    known = np.isfinite(record["return"])
    known[: len(record) // 10] = False  # the first episodes to end are the short ones
    if known.sum() < 50:
        return None
    returns = record.smooth("return")[known]
    numbers = np.flatnonzero(known)
    half = len(returns) // 2
    best = np.nanmax(returns[:half])
    later = np.nanmax(returns[half:])
    size = np.nanmax(returns) - np.nanmin(returns)
    if later > best + 0.02 * size:
        return None
    peak = int(numbers[np.nanargmax(returns[:half])])
    last = record.late("return")
    ppo = record.settings.ppo
    fell = last < best - 0.2 * size
    advice = (
        "Bound the update more tightly; the checkpoint of the peak may still be there (`keep`)."
        if fell
        else "If it does what it should, train shorter; if not, explore more."
    )
    tighter = ("ppo.learning_rate_schedule=kl", "ppo.kl_target=0.01")
    if ppo.objective == "trpo":
        tighter = (f"ppo.kl_bound={rounded(ppo.kl_bound / 2):g}",)
    elif ppo.learning_rate_schedule == "kl" and ppo.kl_target is not None:
        tighter = (f"ppo.kl_target={rounded(ppo.kl_target / 2):g}",)
    wider = f"ppo.entropy={rounded(max(0.005, 3 * ppo.entropy)):g}"
    return Finding(
        "stopped_improving",
        f"best return {best:.3g} at iteration {record['iteration'][peak]:.0f} of "
        f"{record['iteration'][-1]:.0f}, late {last:.3g}",
        "It was better before: an update broke what had been learned."
        if fell
        else "It has converged, or it is stuck where small changes do not pay.",
        advice,
        tighter if fell else (wider,),
    )


# -- time -----------------------------------------------------------------------------------------


@needs("time_physics", "time_policy", "time_environment", "time_learn")
def time_outside_physics(record: Record) -> Finding | None:
    """Find that physics takes less than a third of the time."""
    parts = {n: record.late(f"time_{n}") for n in ("physics", "policy", "environment", "learn")}
    total = sum(parts.values())
    if not parts["physics"] < PHYSICS_SHARE * total:
        return None
    ppo = record.settings.ppo
    most = max(parts, key=lambda name: parts[name])
    if most == "learn" and ppo.epochs > 1:
        advice = "Take fewer gradient steps per sample, or make the networks smaller."
        settings = (f"ppo.epochs={ppo.epochs // 2}",)
    else:
        advice = "More simulations in one step share the cost of every call."
        settings = (f"num_envs={2 * record.settings.num_envs}",)
    shares = ", ".join(f"{name} {value / total:.0%}" for name, value in parts.items())
    return Finding(
        "time_outside_physics",
        f"{shares} of {figure(total)} s per iteration, {record.late_span()}",
        "Experience is what a run is short of, and little of its time makes any.",
        advice,
        settings,
    )
