"""Small problems whose answers are known, put to the project's own functions.

Each function computes the numbers of one figure of docs/ppo.md; make.py draws them, and
tests/test_lecture.py holds the text to them.
"""

import math
from collections.abc import Callable

import torch
from msgspec.structs import replace
from torch import Tensor

from robot_ppo import config
from robot_ppo.config import Networks, Ppo
from robot_ppo.ppo import advantages, gaussian, objectives, penalty, trpo
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.ppo.update import Learner

EPSILON = 0.2
STD = 0.5
"""Of the policies below, which have one action."""


# -- the four cases -----------------------------------------------------------------------------


def clipping_alone(ratio: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """Return E[clip(r) A]: what PPO would be without the minimum. The negative control."""
    return (ratio.clamp(1 - epsilon, 1 + epsilon) * gain).mean()


def one_sample(objective: Callable[[Tensor, Tensor], Tensor], gain: float, ratios: Tensor) -> tuple:
    """Return an objective of one sample and its derivative in the ratio, (m,) each.

    Args:
        objective: (ratio (1,), advantage (1,)) -> scalar.
        gain: the sample's advantage.
        ratios: (m,).
    """
    values = []
    slopes = []
    for ratio in ratios:
        r = ratio[None].clone().requires_grad_()
        value = objective(r, torch.tensor([gain], dtype=r.dtype))
        values.append(value.item())
        slopes.append(torch.autograd.grad(value, r)[0].item())
    return torch.tensor(values), torch.tensor(slopes)


# -- how far a batch can be trusted -------------------------------------------------------------

PEAK = 1.0
WIDTH = 0.5
"""The reward of an action is a bell around `PEAK`."""


def reward(action: Tensor) -> Tensor:
    """Return exp(-(a - PEAK)^2 / (2 WIDTH^2))."""
    return torch.exp(-((action - PEAK) ** 2) / (2 * WIDTH**2))


def expected_reward(mean: Tensor) -> Tensor:
    """Return the expectation of `reward` under N(mean, STD), in closed form."""
    variance = WIDTH**2 + STD**2
    return WIDTH / math.sqrt(variance) * torch.exp(-((mean - PEAK) ** 2) / (2 * variance))


def trust(shifts: Tensor, size: int = 256, batches: int = 400) -> dict[str, Tensor]:
    """Return what batches from N(0, STD) say about policies N(shift STD, STD).

    Args:
        shifts: of the mean, in standard deviations, (m,).
        size: samples of a batch.
        batches: number of them.

    Returns:
        `kl`, `truth` (m,); `unclipped`, `clipped` (batches, m): the objectives; `effective` (m,):
        the share of the samples that still counts, (sum r)^2 / (size sum r^2).
    """
    torch.manual_seed(0)
    actions = STD * torch.randn(batches, size, 1, dtype=torch.float64)
    old = torch.zeros(1, dtype=torch.float64)
    log_std = torch.tensor([math.log(STD)]).double()
    gain = reward(actions[..., 0]) - expected_reward(old)
    before = gaussian.log_prob(actions, old, log_std)
    of_batches = (
        torch.func.vmap(objectives.unclipped),
        torch.func.vmap(lambda r, a: objectives.clip(r, a, EPSILON)),
    )
    rows: dict[str, list[Tensor]] = {k: [] for k in ("kl", "unclipped", "clipped", "effective")}
    for shift in shifts:
        mean = (shift * STD)[None]
        ratio = torch.exp(gaussian.log_prob(actions, mean, log_std) - before)
        rows["kl"].append(gaussian.kl(old, log_std, mean, log_std))
        rows["unclipped"].append(of_batches[0](ratio, gain))
        rows["clipped"].append(of_batches[1](ratio, gain))
        rows["effective"].append((ratio.sum(1) ** 2 / (ratio**2).sum(1)).mean() / size)
    found = {name: torch.stack(values, -1) for name, values in rows.items()}
    return found | {"truth": expected_reward(shifts * STD) - expected_reward(old)}


# -- the price of KL ----------------------------------------------------------------------------

BOUND = 0.01
MULTIPLIER = 5.6
"""Between 4 and 8: no power of two has a KL within a factor of 1.5 of the bound."""


def prices(objective: str, updates: int, rate: float = 0.2) -> tuple[list[float], list[float]]:
    """Return beta and the KL of every update on a problem whose multiplier is `MULTIPLIER`.

    One Gaussian whose advantage is linear in the action: each update goes to the best mean at the
    present price, whose KL is BOUND (MULTIPLIER / beta)^2.
    """
    rule = penalty.create(Ppo(objective=objective, kl_bound=BOUND, beta_rate=rate))  # pyright: ignore
    assert rule is not None
    betas = []
    kls = []
    for _ in range(updates):
        betas.append(rule.beta)
        kls.append(BOUND * (MULTIPLIER / rule.beta) ** 2)
        rule.follow(kls[-1])
    return betas, kls


# -- TRPO's step --------------------------------------------------------------------------------


class OneAction:
    """A policy N(mean, std) of one action, the surrogate and the KL on a dense grid of actions."""

    def __init__(self, peak: float, width: float, points: int = 4000) -> None:
        """Start at mean 0 and `STD`; the reward of an action is a bell.

        Args:
            peak: where the bell stands.
            width: its standard deviation.
            points: of the grid; each has an equal share of the old policy's mass.
        """
        share = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        self.actions = (STD * torch.special.ndtri(share))[:, None]
        self.old = torch.tensor([0.0, math.log(STD)], dtype=torch.float64)
        self.gain = torch.exp(-((self.actions[:, 0] - peak) ** 2) / (2 * width**2))
        self.gain -= self.gain.mean()

    def kl(self, at: Tensor) -> Tensor:
        """Return KL(old || at), `at` = (..., 2): mean and log std."""
        return gaussian.kl(self.old[:1], self.old[1:], at[..., :1], at[..., 1:])

    def surrogate(self, at: Tensor) -> Tensor:
        """Return E[r A] at `at` = (mean, log std)."""
        new = gaussian.log_prob(self.actions, at[:1], at[1:])
        old = gaussian.log_prob(self.actions, self.old[:1], self.old[1:])
        return objectives.unclipped(torch.exp(new - old), self.gain)


def natural_step(problem: OneAction, bound: float) -> dict:
    """Return TRPO's step: what was tried, where it ended, and the gradient.

    Returns:
        `tried` (m, 2): points of the line search; `end` (2,); `gradient` (2,); `fisher` (2, 2).
    """
    at = problem.old.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.surrogate(at), at)
    product = trpo.fisher_product(problem.kl(at), [at])
    vector = at.data
    tried = []

    def evaluate() -> tuple[float, float]:
        with torch.no_grad():
            tried.append(vector.clone())
            return problem.surrogate(vector).item(), problem.kl(vector).item()

    fisher = torch.stack([product(v) for v in torch.eye(2, dtype=torch.float64)])
    figures = trpo.ascend(vector, gradient, product, evaluate, bound)
    tried = torch.stack(tried[1:])  # the first one asks where we are
    return {"tried": tried, "end": vector, "gradient": gradient, "fisher": fisher, **figures}


# -- lambda -------------------------------------------------------------------------------------

STATES = 8
GAMMA = 0.95
SLIP = 0.2
NOISE = 0.5


def ring() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a ring of states: chance to go on, rewards, true values and advantages.

    Action 1 goes on by one state, action 0 stays; one in five times the other happens. State 0
    pays 1. The policy tosses a coin. Shapes (2,), (S,), (S,), (S, 2).
    """
    going = torch.tensor([SLIP, 1 - SLIP], dtype=torch.float64)
    pay = torch.zeros(STATES, dtype=torch.float64)
    pay[0] = 1.0
    stay = torch.eye(STATES, dtype=torch.float64)
    go = stay.roll(1, 1)
    half = going.mean()
    values = torch.linalg.solve(stay - GAMMA * ((1 - half) * stay + half * go), pay)
    q = pay[:, None] + GAMMA * ((1 - going) * values[:, None] + going * (go @ values)[:, None])
    return going, pay, values, q - values[:, None]


def walk(steps: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return states (steps + 1, n), actions and noisy rewards (steps, n) on the ring."""
    generator = torch.Generator().manual_seed(0)
    going, pay, *_ = ring()
    states = torch.empty(steps + 1, n, dtype=torch.long)
    states[0] = torch.arange(n) % STATES
    actions = torch.randint(2, (steps, n), generator=generator)
    luck = torch.rand(steps, n, generator=generator)
    for t in range(steps):
        states[t + 1] = (states[t] + (luck[t] < going[actions[t]])) % STATES
    noise = NOISE * torch.randn(steps, n, generator=generator, dtype=torch.float64)
    return states, actions, pay[states[:-1]] + noise


def lambda_errors(
    lambdas: Tensor, critic_errors: list[float], steps: int = 120, n: int = 16_000
) -> tuple[Tensor, Tensor]:
    """Return bias and standard deviation of `advantages.gae` on the ring.

    Estimates are linear in rewards and values, and unbiased under the true values, so the bias is
    the mean of what they make of the critic's error alone. An error that is the same for both
    actions of a state is a baseline and changes no gradient: what counts is the difference.

    Args:
        lambdas: (m,).
        critic_errors: the critic's values are wrong by a fixed vector of this root mean square.
        steps: of a trajectory; only the first step's estimate is looked at.
        n: trajectories.

    Returns:
        Root mean squares over states and actions, (critics, m) each.
    """
    states, actions, rewards = walk(steps, n)
    values = ring()[2]
    wrong = torch.randn(STATES, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    wrong /= wrong.square().mean().sqrt()
    never = torch.zeros(steps, n, dtype=torch.bool)
    cell = 2 * states[0] + actions[0]
    size = torch.bincount(cell, minlength=2 * STATES)

    def estimates(rewards: Tensor, seen: Tensor, lam: float) -> Tensor:
        return advantages.gae(rewards, seen[:-1], seen[1:], never, never, GAMMA, lam)[0]

    def means(x: Tensor) -> Tensor:
        return torch.bincount(cell, x, 2 * STATES) / size

    biases = []
    spreads = []
    nothing = torch.zeros_like(rewards)
    for error in critic_errors:
        wrongly = (error * wrong)[states]
        seen = (values + error * wrong)[states]
        for lam in lambdas.tolist():
            of_error = means(estimates(nothing, wrongly, lam)).view(STATES, 2)
            biases.append((of_error - of_error.mean(1, keepdim=True)).square().mean().sqrt())
            found = estimates(rewards, seen, lam)
            spreads.append(means((found - means(found)[cell]) ** 2).mean().sqrt())
    shape = (len(critic_errors), len(lambdas))
    return torch.stack(biases).view(shape), torch.stack(spreads).view(shape)


# -- entropy ------------------------------------------------------------------------------------

NEAR = 0.7
FAR = 2.2


def two_hills(action: Tensor) -> Tensor:
    """Return a reward with a low hill near the start and one twice as high behind a valley."""
    low = 0.5 * torch.exp(-((action - NEAR) ** 2) / (2 * 0.4**2))
    return low + torch.exp(-((action - FAR) ** 2) / (2 * 0.4**2))


def search(entropy: float, updates: int, seed: int, size: int = 256) -> tuple[list, list]:
    """Return deviation and mean reward of every update of a learner on `two_hills`.

    Args:
        entropy: weight of the bonus.
        updates: number of them, each on `size` actions.
        seed: of everything.
        size: actions per update.
    """
    ppo = Ppo(entropy=entropy, learning_rate=3e-3, kl_target=0.02, epochs=4, minibatches=4)
    networks = Networks(actor=(8,), critic=(8,), activation="tanh", init_std=STD)
    settings = replace(config.load("go2_walk"), seed=seed, ppo=ppo, networks=networks)
    torch.manual_seed(seed)
    learner = Learner(settings, Actor(1, 1, networks), Critic(1, networks))
    generator = torch.Generator().manual_seed(seed)
    deviations = []
    rewards = []
    for _ in range(updates):
        batch = Rollout.empty(1, size, 1, 1, 1)
        with torch.no_grad():
            batch.means[:], log_std = learner.actor.distribution(batch.observations)
            noise = torch.randn(1, size, 1, generator=generator)
            batch.actions[:] = batch.means + noise * log_std.exp()
        batch.rewards[:] = two_hills(batch.actions[..., 0])
        batch.terminated[:] = True
        deviations.append(log_std.exp().item())
        rewards.append(batch.rewards.mean().item())
        learner.update(batch)
    return deviations, rewards
