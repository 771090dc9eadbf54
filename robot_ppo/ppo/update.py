"""One PPO update: samples -> epochs of minibatch gradient steps on actor and critic.

Actor and critic share nothing: not a weight, not a loss, not an optimizer. So they learn side by
side, each on one thread of its own, which is faster than either on all threads and repeats to the
bit at any number of threads.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from robot_ppo.config import Config
from robot_ppo.ppo import advantages, gaussian, objectives
from robot_ppo.ppo.flat_adam import FlatAdam
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.rollout import ActorSamples, AnySamples, CriticSamples, Rollout

CHUNK = 1536
"""Rows that go through a network at once while learning."""
MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 1e-2


@dataclass
class Learner:
    """Networks, optimizers and the random streams of their minibatches."""

    config: Config
    actor: Actor
    critic: Critic

    def __post_init__(self) -> None:
        """Create optimizers, random streams and the two threads."""
        ppo = self.config.ppo
        self.actor_optimizer = FlatAdam(self.actor, ppo.learning_rate)
        self.critic_optimizer = FlatAdam(self.critic, ppo.critic_learning_rate)
        self.learning_rate = ppo.learning_rate
        self.kl_target = ppo.kl_target
        self.generators = [torch.Generator().manual_seed(self.config.seed * 2 + i) for i in (0, 1)]
        torch.set_num_threads(1)
        self._threads = ThreadPoolExecutor(2, initializer=lambda: torch.set_num_threads(1))

    def together(self, *jobs: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Run jobs side by side; return their figures in one dict."""
        futures = [self._threads.submit(job) for job in jobs]
        return {k: v for future in futures for k, v in future.result().items()}

    def update(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Learn from one rollout, then count it into the normalizers; return the figures.

        Args:
            rollout: one iteration's experience.
            progress: fraction of the run's budget that is spent; schedules follow it.
        """
        self.kl_target = self._scheduled_kl_target(progress)
        for_actor, for_critic = self._samples(rollout)
        figures = self.together(
            lambda: self._learn_actor(for_actor), lambda: self._learn_critic(for_critic)
        )
        self.count(rollout)
        return figures

    def count(self, rollout: Rollout) -> None:
        """Count a rollout's observations into the normalizers."""
        self.together(
            lambda: _count(self.actor, rollout.observations.flatten(0, 1)),
            lambda: _count(self.critic, rollout.critic_inputs.flatten(0, 1)),
        )

    # -- the parts --------------------------------------------------------------------------

    @torch.no_grad()
    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples]:
        """Compute values, advantages and old log-probabilities, and flatten time away."""
        ppo = self.config.ppo
        steps = len(rollout.rewards)
        inputs = torch.empty_like(rollout.critic_inputs)
        values = torch.empty(steps + 1, *rollout.rewards.shape[1:])

        @torch.no_grad()  # grad mode belongs to a thread
        def evaluate(rows: range) -> dict[str, float]:
            for t in rows:
                inputs[t] = self.critic.normalizer(rollout.critic_inputs[t])
                values[t] = self.critic.of_normalized(inputs[t])
            return {}

        self.together(
            lambda: evaluate(range(steps // 2)), lambda: evaluate(range(steps // 2, steps))
        )
        values[-1] = self.critic(rollout.last_critic_inputs)
        next_values = values[1:].clone()
        for t, ids, final in rollout.finals:
            next_values[t, ids] = self.critic(final)
        gain = advantages.gae(
            rollout.rewards,
            values[:-1],
            next_values,
            rollout.terminated,
            rollout.truncated,
            ppo.gamma,
            ppo.gae_lambda,
        )
        log_probs = gaussian.log_prob(rollout.actions, rollout.means, self.actor.log_std.detach())
        for_actor = ActorSamples(
            self.actor.normalizer(rollout.observations),
            rollout.actions,
            rollout.means,
            log_probs,
            advantages.normalize(gain),
        )
        for_critic = CriticSamples(inputs, values[:-1], gain + values[:-1])
        return for_actor.flattened(), for_critic.flattened()

    def _learn_actor(self, samples: ActorSamples) -> dict[str, float]:
        """Ascend the objective; the learning rate follows the KL."""
        ppo, actor, sums = self.config.ppo, self.actor, Sums()
        old_log_std = actor.log_std.detach().clone()

        def loss(some: ActorSamples) -> tuple[Tensor, dict[str, Tensor]]:
            mean = actor.of_normalized(some.observations)
            log_prob = gaussian.log_prob(some.actions, mean, actor.log_std)
            ratio = torch.exp(log_prob - some.log_probs)
            surrogate = objectives.clip(ratio, some.advantages, ppo.clip)
            entropy = gaussian.entropy(actor.log_std)
            with torch.no_grad():
                kl = gaussian.kl(some.means, old_log_std, mean, actor.log_std).mean()
                clipped = objectives.clip_fraction(ratio, ppo.clip)
            figures = {"kl": kl, "surrogate": surrogate, "entropy": entropy}
            figures |= {"clip_fraction": clipped, "ratio_max": ratio.max()}
            return -surrogate - ppo.entropy * entropy, figures

        for some in _minibatches(samples, self.config, self.generators[0]):
            figures = _gradient(loss, some, self.actor_optimizer)
            self._follow(figures["kl"])
            norm = self.actor_optimizer.limit(ppo.max_grad_norm)
            self.actor_optimizer.step(self.learning_rate)
            sums.max(ratio_max=figures.pop("ratio_max"))
            sums.add(**figures, actor_grad_norm=norm)
        std = actor.log_std.detach().exp().mean().item()
        return sums.means() | {"std": std, "learning_rate": self.learning_rate}

    def _learn_critic(self, samples: CriticSamples) -> dict[str, float]:
        """Descend the value loss."""
        ppo, critic, sums = self.config.ppo, self.critic, Sums()
        explained = objectives.explained_variance(samples.values, samples.returns).item()

        def loss(some: CriticSamples) -> tuple[Tensor, dict[str, Tensor]]:
            values = critic.of_normalized(some.inputs)
            error = objectives.value_loss(values, some.returns, some.values, ppo.value_clip)
            return error, {"value_loss": error}

        for some in _minibatches(samples, self.config, self.generators[1]):
            figures = _gradient(loss, some, self.critic_optimizer)
            norm = self.critic_optimizer.limit(ppo.max_grad_norm)
            self.critic_optimizer.step(ppo.critic_learning_rate)
            sums.add(**figures, critic_grad_norm=norm)
        return sums.means() | {"explained_variance": explained}

    def _follow(self, kl: float) -> None:
        """Lower the actor's learning rate above twice the KL target, raise it below half of it."""
        target = self.kl_target
        if target is None:
            return
        if kl > 2 * target:
            self.learning_rate = max(MIN_LEARNING_RATE, self.learning_rate / 1.5)
        elif 0 < kl < target / 2:
            self.learning_rate = min(MAX_LEARNING_RATE, self.learning_rate * 1.5)

    def _scheduled_kl_target(self, progress: float) -> float | None:
        start, end = self.config.ppo.kl_target, self.config.ppo.kl_target_end
        if start is None or end is None:
            return start
        return start + min(1.0, progress) * (end - start)

    def state_dict(self) -> dict:
        """Return all that learning needs to go on."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "learning_rate": self.learning_rate,
            "generators": [g.get_state() for g in self.generators],
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`."""
        for name in ("actor", "critic", "actor_optimizer", "critic_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.learning_rate = state["learning_rate"]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)


class Sums:
    """Means and maxima of figures over minibatches."""

    def __init__(self) -> None:
        """Start empty."""
        self._sums: dict[str, float] = {}
        self._maxima: dict[str, float] = {}
        self._count = 0

    def add(self, **figures: float) -> None:
        """Add one minibatch's figures."""
        self._count += 1
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def max(self, **figures: float) -> None:
        """Keep the largest."""
        for name, value in figures.items():
            self._maxima[name] = max(value, self._maxima.get(name, value))

    def means(self) -> dict[str, float]:
        """Return the means and maxima."""
        return {k: v / self._count for k, v in self._sums.items()} | self._maxima


def _minibatches(
    samples: AnySamples, config: Config, generator: torch.Generator
) -> Iterator[AnySamples]:
    """Yield every epoch's minibatches, shuffled anew each time."""
    for _ in range(config.ppo.epochs):
        shuffled = samples.take(torch.randperm(len(samples), generator=generator))
        yield from shuffled.pieces(math.ceil(len(samples) / config.ppo.minibatches))


def _gradient(
    loss: Callable[[AnySamples], tuple[Tensor, dict[str, Tensor]]],
    minibatch: AnySamples,
    optimizer: FlatAdam,
) -> dict[str, float]:
    """Set the model's gradient to that of a minibatch; return its figures.

    The minibatch goes through in pieces whose activations stay in the cache, which is a quarter
    faster than all at once and the same sum.
    """
    optimizer.zero()
    sums: dict[str, float] = {}
    for piece in minibatch.pieces(CHUNK):
        weight = len(piece) / len(minibatch)
        value, figures = loss(piece)
        (weight * value).backward()
        for name, figure in figures.items():
            if name.endswith("_max"):
                sums[name] = max(sums.get(name, -math.inf), figure.item())
            else:
                sums[name] = sums.get(name, 0.0) + weight * figure.item()
    return sums


def _count(model: Actor | Critic, x: Tensor) -> dict[str, float]:
    with torch.no_grad():
        model.normalizer.update(x)
    return {}
