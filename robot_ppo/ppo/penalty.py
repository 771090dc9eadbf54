"""The price of KL, beta: three rules that say what it is after an update.

Each rule is a pure function (beta, kl, target, rate) -> beta, called once per update with the KL
between the policy that acted and the one that came out, over the whole batch. Beta is state of
the learner: it is saved and it is logged.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from robot_ppo.config import Ppo

MIN_BETA = 1e-6
MAX_BETA = 1e6
"""Bounds, so that a rule that moves one way for a thousand updates can still return."""


def kl_fixed(beta: float, kl: float, target: float, rate: float) -> float:
    """Return beta as it is: a constant price."""
    return beta


def kl_adaptive(beta: float, kl: float, target: float, rate: float) -> float:
    """Return beta / 2 if kl < target / 1.5, 2 beta if kl > 1.5 target, else beta.

    A bang-bang rule with a dead band (PPO paper, section 4). Where KL falls as 1 / beta^2, a
    factor of 2 in beta is 4 in KL and the band only 2.25 wide: it may switch for ever.
    """
    if kl < target / 1.5:
        return beta / 2
    return 2 * beta if kl > 1.5 * target else beta


def kl_dual(beta: float, kl: float, target: float, rate: float) -> float:
    """Return beta exp(rate (kl / target - 1)), the exponent bounded by +-rate.

    Dual gradient ascent on the multiplier of KL <= target: the dual's gradient is kl - target.
    In log space (exponentiated gradient), not projected at 0: multipliers differ by orders of
    magnitude between tasks and in one run, and a relative step has no scale to be tuned; beta
    stays positive by itself. The price: an inactive bound gives a small beta, never exactly 0.
    Near the solution, where KL falls as 1 / beta^2, the error in log beta shrinks by
    1 - 2 rate per update: it converges for rates below 1.
    """
    return beta * math.exp(rate * min(kl / target - 1, 1.0))


RULES: dict[str, Callable[[float, float, float, float], float]] = {
    "kl_fixed": kl_fixed,
    "kl_adaptive": kl_adaptive,
    "kl_dual": kl_dual,
}


@dataclass
class Penalty:
    """Beta and the rule that moves it."""

    rule: Callable[[float, float, float, float], float]
    beta: float
    target: float
    rate: float

    def follow(self, kl: float) -> None:
        """Move beta after an update that ended at `kl`."""
        beta = self.rule(self.beta, kl, self.target, self.rate)
        self.beta = min(max(beta, MIN_BETA), MAX_BETA)


def create(ppo: Ppo) -> Penalty | None:
    """Return the penalty of an objective, or None if it has none."""
    rule = RULES.get(ppo.objective)
    return None if rule is None else Penalty(rule, ppo.beta, ppo.kl_bound, ppo.beta_rate)
