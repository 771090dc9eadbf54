"""Checks of exploration, the critic and the gradients.

Each function takes the record of a run and returns a finding or None; its name is the finding's.
The thresholds come from runs of the shipped task: std from 0.5 to 0.2 within 500 iterations,
explained variance above 0.8 after 50, gradients up to five times their limit.
"""

import numpy as np

from robot_ppo.diagnostics.checks.finding import Finding, figure, needs, rounded
from robot_ppo.diagnostics.checks.record import Record
from robot_ppo.diagnostics.checks.step import shorter_steps

DEAD_STD = 0.05
"""Standard deviation in units of the network's output, which is of the order of 1."""
LITTLE = 0.1
"""Explained variance: a critic that only knows the mean has 0."""
TOO_LONG = 10.0
"""Multiple of the gradient's limit."""


@needs("std")
def dead_exploration(record: Record) -> Finding | None:
    """Find that actions hardly differ from their mean, so that nothing new is tried."""
    std = record.smooth("std")
    if not record.late("std") < DEAD_STD:
        return None
    since = int(np.flatnonzero(std >= DEAD_STD)[-1]) + 1 if (std >= DEAD_STD).any() else 0
    evidence = f"std {figure(record.late('std'))}, {record.span(since, len(record) - 1)}"
    cause = (
        "Actions hardly differ from their mean, so no advantage tells a better one from a worse "
        "one, and every small change of the mean is a large KL. "
    )
    if since == 0:
        cause += "It was so from the start: networks.init_std is too small."
        advice = "Start wider."
        settings = ("networks.init_std=0.5",)
        return Finding("dead_exploration", evidence, cause, advice, settings)
    weight = rounded(max(0.005, 3 * record.settings.ppo.entropy))
    return Finding(
        "dead_exploration",
        f"{evidence}; it was {figure(std[0])} at the start",
        cause + "It collapsed: nothing pays for keeping it, or one lucky action ended the search.",
        "Pay more for entropy, so that the deviation stays until the behaviour is found.",
        (f"ppo.entropy={weight:g}", f"ppo.entropy_end={rounded(weight / 10):g}"),
    )


@needs("std")
def exploration_grows(record: Record) -> Finding | None:
    """Find that the deviation of actions keeps rising."""
    start = record.early("std")
    late = record.late("std")
    end = float(record["std"][-1])
    if not (end > 2 * start and end > 1.0 and end > late):
        return None
    weight = record.settings.ppo.entropy
    if weight > 0:
        settings = (f"ppo.entropy={rounded(weight / 10):g}",)
        advice = "Pay less for entropy."
    else:
        settings, advice = shorter_steps(record)
    return Finding(
        "exploration_grows",
        f"std from {figure(start)} to {figure(end)}, {record.span(0, len(record) - 1)}",
        "The bonus for entropy outweighs what actions earn, or nothing that the policy does "
        "changes its return.",
        advice,
        settings,
    )


@needs("explained_variance")
def critic_explains_nothing(record: Record) -> Finding | None:
    """Find that the critic predicts no more than the mean, so that advantages are raw returns."""
    late = record.late("explained_variance")
    if not late < LITTLE:
        return None
    ppo = record.settings.ppo
    if ppo.critic_learning_rate < 1e-4:
        settings = "ppo.critic_learning_rate=0.001"
        advice = "Let the critic learn faster."
    elif ppo.value_clip is not None:
        settings = "ppo.value_clip=null"
        advice = "Let the critic move as far as it must."
    elif not ppo.normalize_returns:
        settings = "ppo.normalize_returns=true"
        advice = "Give the critic returns of size one."
    else:
        settings = f"ppo.critic_learning_rate={rounded(ppo.critic_learning_rate / 3):g}"
        advice = "Let the critic learn more calmly; then look whether it sees what matters."
    return Finding(
        "critic_explains_nothing",
        f"explained variance {late:.2f}, {record.late_span()} (1: all of it, 0: nothing)",
        "The critic learns too slowly, its targets are too large or jump, or it does not see what "
        "the return depends on. Advantages are then little more than noise.",
        advice,
        (settings,),
    )


def gradient_always_limited(record: Record) -> Finding | None:
    """Find that all gradients are clipped to one length, by a large factor."""
    limit = record.settings.ppo.max_grad_norm
    norms = {}
    for part in ("actor", "critic"):
        name = f"{part}_grad_norm"
        exempt = part == "actor" and record.settings.ppo.objective == "trpo"
        if not exempt and record.has(name) and np.quantile(record[name], 0.1) > TOO_LONG * limit:
            norms[part] = float(np.median(record[name]))
    if not norms:
        return None
    seen = ", ".join(f"{part} {figure(norm)}" for part, norm in norms.items())
    return Finding(
        "gradient_always_limited",
        f"gradient norm {seen}, limit {limit:g}, {record.span(0, len(record) - 1)}",
        "All gradients are cut to one length: a minibatch that knows much moves the weights as "
        "far as one that knows nothing. Large values or a small deviation of actions do this.",
        "First mend what makes them large (see the other findings); else raise the limit.",
        (f"ppo.max_grad_norm={rounded(max(norms.values())):g}",),
    )
