"""One PPO update: samples -> epochs of minibatch gradient steps on actor and critic.

Actor and critic share nothing: not a weight, not a loss, not an optimizer. So they learn side by
side, each on one thread of its own, which is faster than either on all threads and repeats to the
bit at any number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from robot_ppo.config import Config
from robot_ppo.ppo import advantages, gaussian, minibatches, objectives, penalty, schedules, trpo
from robot_ppo.ppo.flat_adam import FlatAdam
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples, Rollout
from robot_ppo.ppo.sums import Sums


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
        self.critic_learning_rate = ppo.critic_learning_rate
        self.penalty = penalty.create(ppo)
        self.generators = [torch.Generator().manual_seed(self.config.seed * 2 + i) for i in (0, 1)]
        torch.set_num_threads(1)
        self._threads = ThreadPoolExecutor(2, initializer=lambda: torch.set_num_threads(1))

    def update(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Learn from one rollout, then count it into the normalizers; return the figures.

        Args:
            rollout: one iteration's experience.
            progress: fraction of the run's steps that are done; schedules follow it.
        """
        ppo = self.config.ppo
        self._begin(progress)
        rounds, epochs = (ppo.epochs, 1) if ppo.recompute_advantages else (1, ppo.epochs)
        for_actor, for_critic = self._samples(rollout)
        self._learn(for_actor, for_critic, epochs)
        for _ in range(1, rounds):
            for_actor, for_critic = self._samples(rollout)
            self._learn(for_actor, for_critic, epochs)
        figures = self._end(for_actor)
        self.count(rollout)
        return figures

    def count(self, rollout: Rollout) -> None:
        """Count a rollout's observations into the normalizers."""
        self._together(
            lambda: _count(self.actor, rollout.observations.flatten(0, 1)),
            lambda: _count(self.critic, rollout.critic_inputs.flatten(0, 1)),
        )

    def _together(self, *jobs: Callable[[], None]) -> None:
        """Run jobs side by side."""
        for future in [self._threads.submit(job) for job in jobs]:
            future.result()

    # -- begin and end ----------------------------------------------------------------------

    def _begin(self, progress: float) -> None:
        """Move the schedules, remember the policy that acted, and clear the figures."""
        self._move_schedules(progress)
        self._old_log_std = self.actor.common_log_std().detach().clone()
        self._actor_sums, self._critic_sums = Sums(), Sums()
        self._actor_steps, self._stopped = 0, False

    def _move_schedules(self, progress: float) -> None:
        ppo = self.config.ppo
        target = ppo.kl_target
        self.kl_target = target and schedules.linear(target, ppo.kl_target_end, progress)
        self.entropy_weight = schedules.linear(ppo.entropy, ppo.entropy_end, progress)
        if ppo.learning_rate_schedule == "linear":
            self.learning_rate = schedules.linear(ppo.learning_rate, 0.0, progress)
            self.critic_learning_rate = schedules.linear(ppo.critic_learning_rate, 0.0, progress)

    def _end(self, samples: ActorSamples) -> dict[str, float]:
        """Return the update's figures; beta follows the KL that was reached."""
        ppo = self.config.ppo
        figures = self._actor_sums.means() | self._critic_sums.means()
        if self.actor.log_std_head is None:
            figures["std"] = self.actor.common_log_std().detach().exp().mean().item()
        if ppo.objective != "trpo":
            figures["learning_rate"] = self.learning_rate
        if ppo.stop_kl is not None:
            figures["actor_steps"] = self._actor_steps
        if self.penalty is not None:
            reached = self._evaluate(samples)["kl"]
            figures |= {"kl_after": reached, "beta": self.penalty.beta}
            self.penalty.follow(reached)
        return figures

    # -- samples ----------------------------------------------------------------------------

    @torch.no_grad()
    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples]:
        """Compute values, advantages and old log-probabilities, and flatten time away."""
        ppo = self.config.ppo
        inputs, values, next_values = self._values(rollout)
        ends = rollout.terminated, rollout.truncated
        if ppo.estimator == "gae":
            gain = advantages.gae(
                rollout.rewards, values, next_values, *ends, ppo.gamma, ppo.gae_lambda
            )
            returns = gain + values
        else:
            gain = advantages.rewards_to_go(rollout.rewards, next_values, *ends, ppo.gamma)
            returns = gain
        old = self._old_log_std if rollout.log_stds is None else rollout.log_stds
        for_actor = ActorSamples(
            self.actor.normalizer(rollout.observations),
            rollout.actions,
            rollout.means,
            gaussian.log_prob(rollout.actions, rollout.means, old),
            advantages.normalize(gain) if ppo.normalize_advantages == "batch" else gain,
            rollout.log_stds,
        )
        return for_actor.flattened(), CriticSamples(inputs, values, returns).flattened()

    def _values(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        """Return the critic's normalized inputs (T, n, size), V(s_t) and V(s_t+1), (T, n)."""
        steps = len(rollout.rewards)
        inputs = torch.empty_like(rollout.critic_inputs)
        values = torch.empty(steps + 1, *rollout.rewards.shape[1:])

        @torch.no_grad()  # grad mode belongs to a thread
        def evaluate(rows: range) -> None:
            for t in rows:
                inputs[t] = self.critic.normalizer(rollout.critic_inputs[t])
                values[t] = self.critic.of_normalized(inputs[t])

        self._together(
            lambda: evaluate(range(steps // 2)), lambda: evaluate(range(steps // 2, steps))
        )
        values[-1] = self.critic(rollout.last_critic_inputs)
        next_values = values[1:].clone()
        for t, ids, final in rollout.finals:
            next_values[t, ids] = self.critic(final)
        return inputs, values[:-1], next_values

    # -- learning ---------------------------------------------------------------------------

    def _learn(self, for_actor: ActorSamples, for_critic: CriticSamples, epochs: int) -> None:
        """Take actor and critic through epochs, side by side."""
        actor = self._ascend if self.config.ppo.objective == "trpo" else self._learn_actor
        self._together(
            lambda: actor(for_actor, epochs), lambda: self._learn_critic(for_critic, epochs)
        )

    def _learn_actor(self, samples: ActorSamples, epochs: int) -> None:
        """Ascend the objective in minibatches; the learning rate follows the KL."""
        ppo, sums = self.config.ppo, self._actor_sums
        for some in minibatches.shuffled(samples, ppo.minibatches, epochs, self.generators[0]):
            if self._stopped:
                return
            if ppo.normalize_advantages == "minibatch":
                some.advantages = advantages.normalize(some.advantages)
            figures = minibatches.gradient(self._actor_loss, some, self.actor_optimizer)
            if ppo.learning_rate_schedule == "kl" and self.kl_target is not None:
                self.learning_rate = schedules.by_kl(
                    self.learning_rate, figures["kl"], self.kl_target
                )
            norm = self.actor_optimizer.limit(ppo.max_grad_norm)
            self._stopped = ppo.stop_kl is not None and figures["kl"] > ppo.stop_kl
            if not self._stopped:
                self.actor_optimizer.step(self.learning_rate)
                self._actor_steps += 1
            sums.max(ratio_max=figures.pop("ratio_max"))
            sums.add(**figures, actor_grad_norm=norm)

    def _ascend(self, samples: ActorSamples, _: int) -> None:
        """Take TRPO's one step over the whole batch; its figures are those after it."""
        optimizer, parameters = self.actor_optimizer, list(self.actor.parameters())
        minibatches.gradient(self._actor_loss, samples, optimizer)

        def evaluate() -> tuple[float, float]:
            figures = self._evaluate(samples)
            bonus = self.entropy_weight * figures["entropy"]
            return figures["surrogate"] + bonus, figures["kl"]

        kls = []
        for some, share in minibatches.pieces(samples):
            policy = self.actor.distribution_of_normalized(some.observations)
            kls.append(share * self._kl(some, *policy))
        gradient, product = -optimizer.gradient, trpo.fisher_product(kls, parameters)
        step = trpo.ascend(
            optimizer.vector.data, gradient, product, evaluate, self.config.ppo.kl_bound
        )
        figures = self._evaluate(samples) | step
        self._actor_sums.add(**figures, actor_grad_norm=gradient.norm().item())

    def _actor_loss(self, some: ActorSamples) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what falls when the objective and the entropy bonus rise, and figures."""
        ppo, priced = self.config.ppo, self.penalty is not None
        mean, log_std = self.actor.distribution_of_normalized(some.observations)
        log_prob = gaussian.log_prob(some.actions, mean, log_std)
        ratio = torch.exp(log_prob - some.log_probs)
        with torch.set_grad_enabled(priced and torch.is_grad_enabled()):
            kl = self._kl(some, mean, log_std)
        surrogate = self._surrogate(ratio, some.advantages, kl)
        entropy = gaussian.entropy(log_std).mean()
        with torch.no_grad():
            clipped = objectives.clip_fraction(ratio, ppo.clip)
        figures = {"kl": kl, "surrogate": surrogate, "entropy": entropy}
        figures |= {"clip_fraction": clipped, "ratio_max": ratio.max()}
        if self.actor.log_std_head is not None:
            figures["std"] = log_std.exp().mean()
        return -surrogate - self.entropy_weight * entropy, figures

    def _surrogate(self, ratio: Tensor, gain: Tensor, kl: Tensor) -> Tensor:
        """Return the objective that the settings name, a scalar."""
        if self.config.ppo.objective == "clip":
            return objectives.clip(ratio, gain, self.config.ppo.clip)
        if self.penalty is not None:
            return objectives.penalized(ratio, gain, kl, self.penalty.beta)
        return objectives.unclipped(ratio, gain)

    def _kl(self, some: ActorSamples, mean: Tensor, log_std: Tensor) -> Tensor:
        """Return KL(policy that acted || policy now), mean over the samples, a scalar."""
        old = self._old_log_std if some.log_stds is None else some.log_stds
        return gaussian.kl(some.means, old, mean, log_std).mean()

    @torch.no_grad()
    def _evaluate(self, samples: ActorSamples) -> dict[str, float]:
        """Return the figures of the policy as it is now."""
        return minibatches.in_pieces(samples, lambda piece, _: self._actor_loss(piece)[1])

    def _learn_critic(self, samples: CriticSamples, epochs: int) -> None:
        """Descend the value loss."""
        ppo, sums = self.config.ppo, self._critic_sums
        explained = objectives.explained_variance(samples.values, samples.returns).item()
        sums.first(explained_variance=explained)
        self.critic.count_returns(samples.returns)
        for some in minibatches.shuffled(samples, ppo.minibatches, epochs, self.generators[1]):
            figures = minibatches.gradient(self._critic_loss, some, self.critic_optimizer)
            norm = self.critic_optimizer.limit(ppo.max_grad_norm)
            self.critic_optimizer.step(self.critic_learning_rate)
            sums.add(**figures, critic_grad_norm=norm)

    def _critic_loss(self, some: CriticSamples) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the value loss, in the critic's own unit, and figures."""
        values, returns, old = self.critic.of_normalized(some.inputs), some.returns, some.values
        unit = self.critic.return_std()
        if unit is not None:
            values, returns, old = values / unit, returns / unit, old / unit
        error = objectives.value_loss(values, returns, old, self.config.ppo.value_clip)
        return error, {"value_loss": error}

    # -- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Return all that learning needs to go on."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "learning_rate": self.learning_rate,
            "beta": self.penalty and self.penalty.beta,
            "generators": [g.get_state() for g in self.generators],
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a `state_dict`."""
        for name in ("actor", "critic", "actor_optimizer", "critic_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.learning_rate = state["learning_rate"]
        if self.penalty is not None and state.get("beta") is not None:  # else: a new objective
            self.penalty.beta = state["beta"]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)


def _count(model: Actor | Critic, x: Tensor) -> None:
    with torch.no_grad():
        model.normalizer.update(x)
