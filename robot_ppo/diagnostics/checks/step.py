"""Checks of the length of the policy's steps.

Each function takes the record of a run and returns a finding or None; its name is the finding's.
The thresholds come from runs of the shipped task: KL at 0.5 to 1.5 of its target, 10 to 30 % of
the ratios clipped.
"""

import numpy as np

from robot_ppo.diagnostics.checks.finding import Finding, figure, needs, rounded
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.ppo.penalty import MAX_BETA, MIN_BETA
from robot_ppo.ppo.schedules import MAX_LEARNING_RATE, MIN_LEARNING_RATE
from robot_ppo.ppo.trpo import TRIES

TOO_FAR = 3.0
"""Multiple of the KL target; the schedule lowers the learning rate at 2."""
LOOSE = 0.05
"""KL target that is assumed where none is set."""
LASTING = 0.25
"""Fraction of a run for which a value may stay at its bound."""


def kl_by_target(record: Record) -> tuple[str, np.ndarray] | None:
    """Return the name of the column that has a target, and the target (iterations,), or None."""
    ppo = record.settings.ppo
    if ppo.objective in ("kl_adaptive", "kl_dual") and record.has("kl_after"):
        return "kl_after", np.full(len(record), ppo.kl_bound)
    if ppo.learning_rate_schedule != "kl" or ppo.kl_target is None or ppo.objective == "trpo":
        return None
    if record.has("kl_target"):
        return "kl", record["kl_target"]
    return "kl", np.full(len(record), ppo.kl_target)


@needs("kl")
def kl_runaway(record: Record) -> Finding | None:
    """Find that an update changes the policy much more than its target allows."""
    name, target = kl_by_target(record) or ("kl", np.full(len(record), LOOSE))
    found = record.stretch(record.smooth(name) > TOO_FAR * target)
    if found is None:
        return None
    first, last = found
    worst = record[name][first : last + 1].max()
    settings, advice = shorter_steps(record)
    if name == "kl_after" and last < len(record) // 2:
        settings = (f"ppo.beta={rounded(record.late('beta')):g}",)
        advice = "The price found its level later: start with that one."
    aimed = f"a target of {figure(target[last])}" if kl_by_target(record) else "0.01 to 0.03"
    return Finding(
        "kl_runaway",
        f"{name} up to {figure(worst)} instead of {aimed}, {record.span(first, last)}",
        "Every update leaves the policy whose experience it learns from; what it learns there is "
        "not true of the policy that comes out, and the next update starts from a worse one.",
        advice,
        settings,
        lost=last - first >= len(record) // 2,
    )


def shorter_steps(record: Record) -> tuple[tuple[str, ...], str]:
    """Return settings that shorten the actor's steps, and a sentence about them."""
    ppo = record.settings.ppo
    if ppo.objective == "unclipped":
        return ("ppo.objective=clip",), "Bound the step: this objective is the control that fails."
    if ppo.objective == "trpo":
        return (f"ppo.kl_bound={rounded(ppo.kl_bound / 2):g}",), "Bound the step more tightly."
    if ppo.objective == "kl_fixed":
        return ("ppo.objective=kl_dual",), "Let the price of KL follow the KL."
    if ppo.learning_rate_schedule != "kl" or ppo.kl_target is None:
        slower = ("ppo.learning_rate=0.001",) if ppo.learning_rate > 0.001 else ()
        follow = ("ppo.learning_rate_schedule=kl", "ppo.kl_target=0.01", *slower)
        return follow, "Let the learning rate follow the KL."
    if ppo.epochs > 1:
        return (f"ppo.epochs={ppo.epochs // 2}",), "Take fewer gradient steps on the same data."
    settings = f"rollout={2 * record.settings.rollout}"
    return (settings,), "Learn from more data at a time: its advantages are less noisy."


def faster(rate: float) -> float:
    """Return the learning rate to try after one that was too small."""
    return 1e-3 if rate < 1e-3 else rounded(3 * rate)


@needs("kl", "learning_rate")
def kl_too_small(record: Record) -> Finding | None:
    """Find that the policy hardly changes in an update, for a stretch of the run."""
    ppo = record.settings.ppo
    rate = record["learning_rate"]
    aimed = kl_by_target(record)
    if aimed is None:
        still = (record.smooth("kl") < 1e-4) & (rate > 0.5 * ppo.learning_rate)
        settings = f"ppo.learning_rate={faster(ppo.learning_rate):g}"
        advice = "Take longer steps."
        wanted = "0.01 to 0.03"
    else:
        low = record.smooth(aimed[0]) < aimed[1] / 2
        still = low & (rate >= 0.99 * MAX_LEARNING_RATE)
        settings = f"ppo.epochs={2 * ppo.epochs}"
        advice = "Take more gradient steps on the same data."
        wanted = f"a target of {figure(aimed[1][-1])}"
    found = record.stretch(still, LASTING)
    if found is None:
        return None
    return Finding(
        "kl_too_small",
        f"KL {figure(np.median(record['kl'][slice(*found)]))} instead of {wanted}, with the "
        f"learning rate at {figure(rate[found[1]])}, {record.span(*found)}",
        "Updates change next to nothing: the learning rate is too small, or it stands at its "
        "upper bound and there are too few gradient steps.",
        advice,
        (settings,),
    )


@needs("kl", "learning_rate")
def learning_rate_at_floor(record: Record) -> Finding | None:
    """Find that the KL exceeds its target although the learning rate is at its lower bound."""
    aimed = kl_by_target(record)
    if record.settings.ppo.learning_rate_schedule != "kl" or aimed is None:
        return None
    name, target = aimed
    above = record.smooth(name) > 1.5 * target
    found = record.stretch(above & (record["learning_rate"] <= 1.01 * MIN_LEARNING_RATE))
    if found is None:
        return None
    settings, advice = shorter_steps(record)
    return Finding(
        "learning_rate_at_floor",
        f"learning rate {MIN_LEARNING_RATE:g} (the lower bound) and still {name} "
        f"{figure(record[name][found[1]])} for a target of {figure(target[found[1]])}, "
        f"{record.span(*found)}",
        "A small deviation of actions makes every change of the mean a large KL, or too many "
        "gradient steps add up.",
        advice,
        settings,
    )


@needs("clip_fraction")
def clip_always(record: Record) -> Finding | None:
    """Find that most ratios are clipped, so that most samples have no gradient."""
    ppo = record.settings.ppo
    late = record.late("clip_fraction")
    if ppo.objective != "clip" or not late > 0.5:
        return None
    settings, advice = shorter_steps(record)
    return Finding(
        "clip_always",
        f"{late:.0%} of the ratios outside 1 +- {ppo.clip:g}, {record.late_span()}",
        "The ratios leave the clip range early in the update; the later gradient steps see only "
        "the few samples that are left.",
        advice,
        settings,
    )


@needs("clip_fraction", "learning_rate")
def clip_never(record: Record) -> Finding | None:
    """Find that hardly any ratio is clipped: steps are far smaller than the clip allows."""
    ppo = record.settings.ppo
    typical = float(np.median(record["clip_fraction"]))
    if ppo.objective != "clip" or not typical < 1e-3:
        return None
    longer = f"ppo.learning_rate={faster(ppo.learning_rate):g}"
    more = f"ppo.epochs={2 * ppo.epochs}"
    return Finding(
        "clip_never",
        f"{typical:.2%} of the ratios outside 1 +- {ppo.clip:g}, {record.span(0, len(record) - 1)}",
        "Updates use little of the trust that the objective gives them; experience is wasted.",
        "Take longer or more gradient steps on the same data.",
        (more if ppo.learning_rate_schedule == "kl" else longer,),
    )


@needs("beta")
def beta_pinned(record: Record) -> Finding | None:
    """Find that beta, the price of KL, stays at a bound and no longer controls the step."""
    ppo = record.settings.ppo
    low = record["beta"] <= 1.01 * MIN_BETA
    high = record["beta"] >= 0.99 * MAX_BETA
    found = record.stretch(low | high, LASTING)
    if ppo.objective == "kl_fixed" or found is None:
        return None
    if low[found[1]]:
        cause = "Something else, the learning rate or few epochs, keeps the KL below its bound."
        settings = ("ppo.learning_rate_schedule=constant", "ppo.learning_rate=0.001")
        advice = "Leave the step to the price: a constant learning rate."
    else:
        cause = "Epochs times learning rate are too much for any price."
        settings, advice = shorter_steps(record)
    return Finding(
        "beta_pinned",
        f"beta at {record['beta'][found[1]]:g}, its bound, {record.span(*found)}",
        cause,
        advice,
        settings,
    )


@needs("backtracks")
def no_step_found(record: Record) -> Finding | None:
    """Find that TRPO's line search often ends without a step."""
    share = float((record["backtracks"] >= TRIES).mean())
    if share < 0.3:
        return None
    return Finding(
        "no_step_found",
        f"in {share:.0%} of the updates no step was better and within kl_bound, "
        f"{record.span(0, len(record) - 1)}",
        "The direction is mostly noise: too few samples for the advantages' noise.",
        "Learn from more data at a time.",
        (f"rollout={2 * record.settings.rollout}",),
    )


@needs("actor_steps")
def stops_at_once(record: Record) -> Finding | None:
    """Find that `stop_kl` ends nearly every update after a few gradient steps."""
    ppo = record.settings.ppo
    late = record.late("actor_steps")
    possible = ppo.epochs * ppo.minibatches
    if not late <= max(1.0, 0.1 * possible):
        return None
    target = ppo.kl_target if ppo.learning_rate_schedule == "kl" else None
    if target is not None and ppo.stop_kl is not None and ppo.stop_kl < 2 * target:
        advice = "Stop later: minibatches go past kl_target, which the learning rate looks after."
        settings = f"ppo.stop_kl={rounded(2 * target):g}"
    else:
        advice = "Take shorter steps."
        settings = f"ppo.learning_rate={rounded(ppo.learning_rate / 3):g}"
    return Finding(
        "stops_at_once",
        f"{late:g} of {possible} gradient steps before stop_kl, {record.late_span()}",
        "Single steps are as long as a whole update may be.",
        advice,
        (settings,),
    )
