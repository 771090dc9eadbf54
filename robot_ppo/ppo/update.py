"""One PPO update: advantages, then epochs of minibatch steps on actor and critic.

`Learner.update` reads like the algorithm. The loss is in actor_loss.py, for any objective of
objectives.py; how a network is differentiated is in autograd.py, and for plain MLPs in mlp.py.

Actor and critic share nothing: not a weight, not a loss, not an optimizer. So they learn side by
side, each in one thread, where the minibatches are large enough to be worth it. An update repeats
to the bit as long as every product is computed by one thread, which the command that trains sees
to (training/threads.py).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from robot_ppo.config import Config
from robot_ppo.ppo import (
    actor_loss,
    advantages,
    autograd,
    mlp,
    objectives,
    penalty,
    schedules,
    trpo,
)
from robot_ppo.ppo.actor_loss import ActorLoss
from robot_ppo.ppo.autograd import Pass
from robot_ppo.ppo.metrics import Metrics, RunningMetrics
from robot_ppo.ppo.networks import Normalizer, Policy, Value
from robot_ppo.ppo.optimizer import Adam
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.ranks import ACTOR, CRITIC, Ranks
from robot_ppo.ppo.reduction import Reduction
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples, Rollout, rows
from robot_ppo.ppo.sequences import arrangement, records, starts_of
from robot_ppo.ppo.values import Values
from robot_ppo_export.errors import InputError

SIDE_BY_SIDE = 256
"""Rows per minibatch from which two threads are faster than one after the other: below, a product
is too short to pay for handing over Python's lock."""


@dataclass
class Learner:
    """Networks, optimizers and the random streams of their minibatches."""

    config: Config
    actor: Policy
    critic: Value
    ranks: Ranks = field(default_factory=Ranks)
    """The processes that learn together."""

    def __post_init__(self) -> None:
        """Create passes, optimizers, random streams and the two threads."""
        ppo = self.config.ppo
        self.objective = objectives.find(ppo.objective)
        self.penalty = penalty.create(ppo)
        self.objective = actor_loss.verified(ppo.objective, self.objective, self._coefficients())
        self._create_passes()
        self.actor_optimizer = Adam(self.actor_parameters)
        self.critic_optimizer = Adam(self.critic_parameters)
        self.learning_rate = ppo.learning_rate
        self.critic_learning_rate = ppo.critic_learning_rate
        self.entropy_weight = ppo.entropy
        self.has_critic = ppo.estimator != "group_relative"
        """True where a critic learns and estimates values; else it stays unchanged."""
        seed = self.config.seed * 2 + (self.ranks.rank << 40)
        self.generators = [torch.Generator().manual_seed(seed + i) for i in (0, 1)]
        self.values = Values(self.critic, self.critic_passes, self._side_by_side)
        self._threads = ThreadPoolExecutor(2)
        self._cores = len(os.sched_getaffinity(0))
        self.actor_mean = Reduction(self.actor_parameters, self.ranks, ACTOR, ppo.reduction)
        self.critic_mean = Reduction(self.critic_parameters, self.ranks, CRITIC, ppo.reduction)
        if self.ranks.size > 1:
            self._join_ranks()

    def _join_ranks(self) -> None:
        """Let normalizers count the observations of all ranks."""
        ppo = self.config.ppo
        if ppo.objective == "trpo" or ppo.estimator == "group_relative":
            name = "objective: trpo" if ppo.objective == "trpo" else "estimator: group_relative"
            raise InputError(f"`ppo.{name}` learns in one process; start it without torchrun")
        for channel, network in ((ACTOR, self.actor), (CRITIC, self.critic)):
            for module in network.modules():
                if isinstance(module, Normalizer):
                    module.pool = partial(self.ranks.sum, channel=channel)

    def _create_passes(self) -> None:
        """Choose how the networks are differentiated: by hand where that is possible.

        TRPO differentiates twice, which only autograd can.
        """
        by_hand = [] if self.config.ppo.objective == "trpo" else mlp.layers(self.actor)
        self.actor_parameters = FlatParameters(self.actor, by_hand)
        of_actor = mlp.of_actor if by_hand else autograd.of_actor
        self.actor_pass: Pass = of_actor(self.actor, self.actor_parameters)
        by_hand = mlp.layers(self.critic)
        self.critic_parameters = FlatParameters(self.critic, by_hand)
        of_critic = mlp.of_critic if by_hand else autograd.of_critic
        self.critic_passes: Sequence[Pass] = [
            of_critic(self.critic, self.critic_parameters) for _ in range(2)
        ]
        """Passes of the critic, one for each thread."""

    # -- the algorithm ----------------------------------------------------------------------

    def update(self, rollout: Rollout, progress: float = 0.0) -> Metrics:
        """Learn from one rollout, then update the normalizers with it; return metrics.

        Args:
            rollout: one iteration's experience.
            progress: fraction of the run's steps that are done; schedules follow it.
        """
        self._begin(rollout, progress)
        learn_actor = self._ascend if self.config.ppo.objective == "trpo" else self._learn_actor
        for epochs in self._rounds():
            for_actor, for_critic = self._samples(rollout)
            jobs = [partial(learn_actor, for_actor, epochs)]
            if for_critic is not None:
                jobs.append(partial(self._learn_critic, for_critic, epochs))
            self._side_by_side(for_actor.count // self.config.ppo.minibatches, *jobs)
        self.values.advance()
        metrics = self._finish(for_actor)
        self.update_normalizers(rollout)
        return metrics

    def _learn_actor(self, samples: ActorSamples, epochs: int) -> None:
        """Ascend the objective in minibatches; the learning rate follows the KL."""
        ppo = self.config.ppo
        for minibatch in samples.minibatches(ppo.minibatches, epochs, self.generators[0]):
            if self._stopped:
                return
            if ppo.normalize_advantages == "minibatch":
                minibatch.advantages = self._normalized(minibatch.advantages)
            metrics = self._actor_gradient(minibatch)
            self.actor_parameters.symmetrize_gradient()
            metrics["kl"] = self.actor_mean(metrics["kl"])
            if ppo.learning_rate_schedule == "kl" and self.kl_target is not None:
                self.learning_rate = schedules.by_kl(
                    self.learning_rate, metrics["kl"], self.kl_target
                )
            metrics["actor_grad_norm"] = self.actor_parameters.clip_grad_norm(ppo.max_grad_norm)
            self._stopped = ppo.stop_kl is not None and metrics["kl"] > ppo.stop_kl
            if not self._stopped:
                self.actor_optimizer.step(self.learning_rate)
                self._actor_steps += 1
            self._actor_metrics.add(metrics)

    def _actor_gradient(self, minibatch: ActorSamples) -> Metrics:
        """Write the gradient of the actor's loss; return metrics."""
        one = self.actor_pass
        whole = minibatch.count
        running = RunningMetrics()
        for piece in minibatch.pieces(one.most_rows):
            mean, log_std = one.forward(piece.observations)
            gradient = self.loss.differentiate(mean, log_std, piece.steps(), whole)
            one.backward(gradient.by_mean, gradient.by_log_std, first=running.empty)
            running.add(gradient.metrics, piece.count / whole)
        return running.result()

    def _learn_critic(self, samples: CriticSamples, epochs: int) -> None:
        """Descend the value loss in minibatches."""
        ppo = self.config.ppo
        values = torch.from_numpy(samples.values)
        returns = torch.from_numpy(samples.returns)
        if self._explained_variance is None:
            self._explained_variance = objectives.explained_variance(values, returns).item()
        self.critic.update_returns(returns.flatten())
        own = CriticSamples(
            samples.inputs,
            self.critic.normalize(values).numpy(),
            self.critic.normalize(returns).numpy(),
        )
        for minibatch in own.minibatches(ppo.minibatches, epochs, self.generators[1]):
            metrics = self._critic_gradient(minibatch)
            self.critic_parameters.symmetrize_gradient()
            self.critic_mean(0.0)
            metrics["critic_grad_norm"] = self.critic_parameters.clip_grad_norm(ppo.max_grad_norm)
            self.critic_optimizer.step(self.critic_learning_rate)
            self._critic_metrics.add(metrics)

    def _critic_gradient(self, minibatch: CriticSamples) -> Metrics:
        """Write the gradient of the value loss; values are normalized ones. Return metrics."""
        one = self.critic_passes[0]
        whole = minibatch.count
        running = RunningMetrics()
        for piece in minibatch.pieces(one.most_rows):
            (values,) = one.forward(piece.inputs)
            steps = piece.steps()
            loss, by_value = objectives.value_loss_derivative(
                values, steps.returns, steps.values, self.config.ppo.value_clip
            )
            by_value *= 1 / whole
            one.backward(by_value, first=running.empty)
            running.add({"value_loss": loss}, piece.count / whole)
        return running.result()

    def _normalized(self, raw: np.ndarray) -> np.ndarray:
        """Return advantages with mean 0 and deviation 1 over all ranks."""
        values = torch.from_numpy(raw)
        return advantages.normalize(values, *self.ranks.mean_and_std(values)).numpy()

    def _side_by_side(self, rows: int, *jobs: Callable[[], None]) -> None:
        """Run jobs side by side, or one after the other if each handles few rows at a time.

        On one core, too, where there are other ranks: one job computes while the other waits.
        """
        alone = self._cores == 1 and self.ranks.size == 1
        if rows < SIDE_BY_SIDE or len(jobs) == 1 or alone:
            for job in jobs:
                job()
        else:
            self.ranks.stopwatch.finish([self._threads.submit(job) for job in jobs])

    def _ascend(self, samples: ActorSamples, _: int) -> None:
        """Take TRPO's one step over the whole batch; its metrics are those after it."""
        parameters = self.actor_parameters
        self._actor_gradient(samples)
        parameters.symmetrize_gradient()
        gradient = -parameters.in_order(parameters.gradient)
        vector = parameters.in_order(parameters.vector.detach())

        def evaluate() -> tuple[float, float]:
            parameters.vector.data.copy_(parameters.symmetric(parameters.from_order(vector)))
            metrics = self._evaluate(samples)
            value = metrics["surrogate"] + self.entropy_weight * metrics["entropy"]
            return value, metrics["kl"]

        policy = self.actor.distribution(torch.from_numpy(samples.observations))
        kl = actor_loss.compare(*policy, samples, self.loss.old_log_std).kl.mean()
        product = trpo.fisher_product(kl, list(self.actor.parameters()))
        step = trpo.ascend(vector, gradient, product, evaluate, self.config.ppo.kl_bound)
        evaluate()  # at the vector that it settled for
        metrics = self._evaluate(samples) | step
        self._actor_metrics.add(metrics | {"actor_grad_norm": gradient.norm().item()})

    # -- the policy as it is ----------------------------------------------------------------

    @torch.no_grad()
    def policy(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean (n, k), log of the deviation (k,) or (n, k), and what is remembered (n, S).

        They are those of observations (n, size) and of a state (n, S), by the passes that learn.
        """
        if self.actor.state_size:
            mean, log_std, state = self.actor.step(observations, state)
            return mean, log_std.detach(), state
        mean, log_std = self.actor_pass.forward(self.actor_pass.inputs(observations))
        return torch.from_numpy(mean), torch.from_numpy(log_std), state

    @torch.no_grad()
    def _evaluate(self, samples: ActorSamples) -> Metrics:
        """Return the metrics of the policy as it is now."""
        running = RunningMetrics()
        for piece in samples.pieces(self.actor_pass.most_rows):
            mean, log_std = self.actor_pass.forward(piece.observations)
            found = self.loss.differentiate(mean, log_std, piece.steps(), samples.count)
            running.add(found.metrics, piece.count / samples.count)
        return running.result()

    def update_normalizers(self, rollout: Rollout) -> None:
        """Update the statistics of observations with those of a rollout."""
        actor = rollout.observations.flatten(0, 1)
        critic = rollout.critic_inputs.flatten(0, 1)
        self._side_by_side(
            len(actor),
            lambda: self.actor.update_normalizer(actor),
            lambda: self.critic.update_normalizer(critic),
        )

    # -- begin and finish -------------------------------------------------------------------

    def _begin(self, rollout: Rollout, progress: float) -> None:
        """Move the schedules, remember the policy that acted, and clear the metrics."""
        self._move_schedules(progress)
        self.actor_mean.begin()
        self.critic_mean.begin()
        _, log_std, _ = self.policy(rollout.observations[0, :1], rollout.state[:1])
        log_std = log_std.cpu().numpy().copy()
        self.loss = ActorLoss(self.objective, self._coefficients(), log_std, self.entropy_weight)
        self._actor_metrics = RunningMetrics()
        self._critic_metrics = RunningMetrics()
        self._explained_variance: float | None = None
        self._actor_steps = 0
        self._stopped = False

    def _coefficients(self) -> objectives.Coefficients:
        ppo = self.config.ppo
        beta = ppo.beta if self.penalty is None else self.penalty.beta
        return objectives.Coefficients(ppo.clip, beta)

    def _move_schedules(self, progress: float) -> None:
        ppo = self.config.ppo
        target = ppo.kl_target
        self.kl_target = target and schedules.linear(target, ppo.kl_target_end, progress)
        self.entropy_weight = schedules.linear(ppo.entropy, ppo.entropy_end, progress)
        if ppo.learning_rate_schedule == "linear":
            self.learning_rate = schedules.linear(ppo.learning_rate, 0.0, progress)
            self.critic_learning_rate = schedules.linear(ppo.critic_learning_rate, 0.0, progress)

    def _rounds(self) -> Iterator[int]:
        """Yield the epochs that learn from the same advantages."""
        ppo = self.config.ppo
        if ppo.recompute_advantages and self.has_critic:  # without one they stay the same
            yield from [1] * ppo.epochs
        else:
            yield ppo.epochs

    def _finish(self, samples: ActorSamples) -> Metrics:
        """Return the update's metrics; beta follows the KL that was reached."""
        ppo = self.config.ppo
        metrics = self._actor_metrics.result() | self._critic_metrics.result()
        if self._explained_variance is not None:
            metrics["explained_variance"] = self._explained_variance
        if self.loss.old_log_std.ndim == 1:
            with torch.no_grad():
                log_std = self.actor_pass.forward(samples.observations[:1])[1]
            metrics["std"] = float(np.exp(log_std).mean())
        if ppo.objective != "trpo":
            metrics["learning_rate"] = self.learning_rate
            if ppo.learning_rate_schedule == "kl" and self.kl_target is not None:
                metrics["kl_target"] = self.kl_target
        if self.has_critic:
            metrics["critic_learning_rate"] = self.critic_learning_rate
        if ppo.stop_kl is not None:
            metrics["actor_steps"] = self._actor_steps
        if self.penalty is not None:
            reached = self.ranks.metrics(self._evaluate(samples))["kl"]
            metrics |= {"kl_after": reached, "beta": self.penalty.beta}
            self.penalty.follow(reached)
        return self.ranks.metrics(metrics)

    # -- samples ----------------------------------------------------------------------------

    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples | None]:
        """Return what the actor learns from, and what the critic does, where there is one."""
        ppo = self.config.ppo
        if self.actor.state_size:
            inputs = records(rollout.observations, starts_of(rollout), rollout.state)
        else:
            inputs = self.actor_pass.inputs(rollout.observations.flatten(0, 1))
        arranged = arrangement(self.actor)
        of_actor = partial(ActorSamples.of, rollout, inputs, arranged, self.loss.old_log_std)
        if self.has_critic:
            critic_inputs, values, next_values = self.values(rollout)
            estimated, returns = advantages.estimate(ppo, rollout, values, next_values)
            for_actor = of_actor(estimated)
            arranged = arrangement(self.critic)
            for_critic = CriticSamples(critic_inputs, arranged(values), arranged(returns))
        else:
            estimated, running = advantages.scores(ppo, rollout)
            for_actor = of_actor(estimated).take(np.flatnonzero(rows(running)))
            for_critic = None
        if ppo.normalize_advantages == "batch":
            for_actor.advantages = self._normalized(for_actor.advantages)
        return for_actor, for_critic

    # -- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Return the state from which learning resumes."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "learning_rate": self.learning_rate,
            "beta": self.penalty and self.penalty.beta,
            "generators": self.generator_states(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`."""
        for name in ("actor", "critic", "actor_optimizer", "critic_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        if self.config.ppo.learning_rate_schedule == "kl":  # else the settings say it
            self.learning_rate = state["learning_rate"]
        if self.penalty is not None and state.get("beta") is not None:  # else: a new objective
            self.penalty.beta = state["beta"]
        self.load_generator_states(state["generators"])

    def generator_states(self) -> list[Tensor]:
        """Return the states of the random streams, the actor's and the critic's."""
        return [generator.get_state() for generator in self.generators]

    def load_generator_states(self, states: Sequence[Tensor]) -> None:
        """Go on with the `generator_states` of a rank."""
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
