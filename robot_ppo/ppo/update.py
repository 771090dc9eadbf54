"""One PPO update: samples -> epochs of minibatch gradient steps on actor and critic.

objectives.py defines what is optimized, gradients.py its derivatives in closed form, mlp.py a
network's passes, passes.py brings them together. Autograd serves TRPO's second derivatives only.

Actor and critic share nothing: not a weight, not a loss, not an optimizer. So they learn side by
side, each on one thread of its own, where the minibatches are large enough to be worth it. Every
product is computed on one thread: an update repeats to the bit at any number of threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from robot_ppo.config import Config
from robot_ppo.ppo import advantages, gaussian, minibatches, objectives, penalty, schedules, trpo
from robot_ppo.ppo.adam import Adam
from robot_ppo.ppo.mlp import with_one
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.passes import ActorPass, CriticPass
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples, Rollout
from robot_ppo.ppo.sums import Sums

SIDE_BY_SIDE = 256
"""Rows per minibatch from which two threads are faster than one after the other: below, a product
is too short to pay for handing over Python's lock."""


@dataclass
class Learner:
    """Networks, optimizers and the random streams of their minibatches."""

    config: Config
    actor: Actor
    critic: Critic

    def __post_init__(self) -> None:
        """Create optimizers, random streams and the two threads."""
        ppo = self.config.ppo
        actor, critic = FlatParameters(self.actor), FlatParameters(self.critic)
        self.actor_parameters, self.critic_parameters = actor, critic
        self.actor_pass = ActorPass(self.actor, actor, ppo)
        self.critic_pass = CriticPass(self.critic, critic, ppo)
        self._second_critic_pass = CriticPass(self.critic, critic, ppo)  # for the other thread
        self.actor_optimizer, self.critic_optimizer = Adam(actor), Adam(critic)
        self.learning_rate = ppo.learning_rate
        self.critic_learning_rate = ppo.critic_learning_rate
        self.penalty = penalty.create(ppo)
        self.generators = [torch.Generator().manual_seed(self.config.seed * 2 + i) for i in (0, 1)]
        torch.set_num_threads(1)
        threadpool_limits(1, user_api="blas")  # numpy's: by default it takes all, for any product
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

    def policy(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return `Actor.distribution` of observations (n, size), by the passes that learn."""
        inputs = with_one(self.actor.normalizer(observations).numpy())
        mean, log_std = self.actor_pass.distribution(inputs)
        log_std = log_std.T if self.actor.log_std_head is not None else log_std[:, 0]
        return torch.from_numpy(mean.T), torch.from_numpy(log_std)

    def count(self, rollout: Rollout) -> None:
        """Count a rollout's observations into the normalizers."""
        self._together(
            rollout.rewards.numel(),
            lambda: _count(self.actor, rollout.observations.flatten(0, 1)),
            lambda: _count(self.critic, rollout.critic_inputs.flatten(0, 1)),
        )

    def _together(self, rows: int, *jobs: Callable[[], None]) -> None:
        """Run jobs side by side, or one after the other if each handles few rows at a time."""
        if rows < SIDE_BY_SIDE:
            for job in jobs:
                job()
        else:
            for future in [self._threads.submit(job) for job in jobs]:
                future.result()

    # -- begin and end ----------------------------------------------------------------------

    def _begin(self, progress: float) -> None:
        """Move the schedules, remember the policy that acted, and clear the figures."""
        self._move_schedules(progress)
        old_log_std = self.actor.common_log_std().detach().clone()
        self.actor_pass.old_log_std = old_log_std[:, None].numpy()
        self.actor_pass.beta = 0.0 if self.penalty is None else self.penalty.beta
        self._actor_sums, self._critic_sums = Sums(), Sums()
        self._actor_steps, self._stopped = 0, False

    def _move_schedules(self, progress: float) -> None:
        ppo = self.config.ppo
        target = ppo.kl_target
        self.kl_target = target and schedules.linear(target, ppo.kl_target_end, progress)
        weight = schedules.linear(ppo.entropy, ppo.entropy_end, progress)
        self.actor_pass.entropy_weight = weight
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
            if ppo.learning_rate_schedule == "kl" and self.kl_target is not None:
                figures["kl_target"] = self.kl_target
        figures["critic_learning_rate"] = self.critic_learning_rate
        if ppo.stop_kl is not None:
            figures["actor_steps"] = self._actor_steps
        if self.penalty is not None:
            reached = self.actor_pass.evaluate(samples)["kl"]
            figures |= {"kl_after": reached, "beta": self.penalty.beta}
            self.penalty.follow(reached)
        return figures

    # -- samples ----------------------------------------------------------------------------

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
        old = rollout.log_stds
        if old is None:
            old = torch.from_numpy(self.actor_pass.old_log_std[:, 0])
        if ppo.normalize_advantages == "batch":
            gain = advantages.normalize(gain)
        for_actor = ActorSamples(
            with_one(_rows(self.actor.normalizer(rollout.observations))),
            _rows(rollout.actions),
            _rows(rollout.means),
            _rows(gaussian.log_prob(rollout.actions, rollout.means, old)),
            _rows(gain),
            None if rollout.log_stds is None else _rows(rollout.log_stds),
        )
        return for_actor, CriticSamples(inputs, _rows(values), _rows(returns))

    def _values(self, rollout: Rollout) -> tuple[np.ndarray, Tensor, Tensor]:
        """Return the critic's inputs, (T n, size + 1), V(s_t) and V(s_t+1), (T, n)."""
        steps, n = rollout.rewards.shape
        raw, half = rollout.critic_inputs.flatten(0, 1), steps * n // 2
        inputs = np.ones((steps * n, raw.shape[1] + 1), np.float32)
        outputs = np.empty(steps * n, np.float32)

        def evaluate(critic: CriticPass, begin: int, end: int) -> None:
            inputs[begin:end, :-1] = self.critic.normalizer(raw[begin:end]).numpy()
            outputs[begin:end] = critic.outputs(inputs[begin:end])

        self._together(
            half,
            lambda: evaluate(self.critic_pass, 0, half),
            lambda: evaluate(self._second_critic_pass, half, steps * n),
        )
        values = self.critic.value_of(torch.from_numpy(outputs)).view(steps, n)
        with torch.no_grad():
            next_values = torch.cat((values[1:], self.critic(rollout.last_critic_inputs)[None]))
            for t, ids, final in rollout.finals:
                next_values[t, ids] = self.critic(final)
        return inputs, values, next_values

    # -- learning ---------------------------------------------------------------------------

    def _learn(self, for_actor: ActorSamples, for_critic: CriticSamples, epochs: int) -> None:
        """Take actor and critic through epochs, side by side."""
        actor = self._ascend if self.config.ppo.objective == "trpo" else self._learn_actor
        self._together(
            len(for_critic) // self.config.ppo.minibatches,
            lambda: actor(for_actor, epochs),
            lambda: self._learn_critic(for_critic, epochs),
        )

    def _learn_actor(self, samples: ActorSamples, epochs: int) -> None:
        """Ascend the objective in minibatches; the learning rate follows the KL."""
        ppo, sums = self.config.ppo, self._actor_sums
        for some in minibatches.shuffled(samples, ppo.minibatches, epochs, self.generators[0]):
            if self._stopped:
                return
            if ppo.normalize_advantages == "minibatch":
                gain = torch.from_numpy(some.advantages)
                some.advantages = advantages.normalize(gain).numpy()
            figures = self.actor_pass.gradient(some)
            if ppo.learning_rate_schedule == "kl" and self.kl_target is not None:
                self.learning_rate = schedules.by_kl(
                    self.learning_rate, figures["kl"], self.kl_target
                )
            norm = self.actor_parameters.limit(ppo.max_grad_norm)
            self._stopped = ppo.stop_kl is not None and figures["kl"] > ppo.stop_kl
            if not self._stopped:
                self.actor_optimizer.step(self.learning_rate)
                self._actor_steps += 1
            sums.max(ratio_max=figures.pop("ratio_max"))
            sums.add(**figures, actor_grad_norm=norm)

    def _ascend(self, samples: ActorSamples, _: int) -> None:
        """Take TRPO's one step over the whole batch; its figures are those after it."""
        parameters, one = self.actor_parameters, self.actor_pass
        one.gradient(samples)
        gradient = torch.from_numpy(-parameters.gradient[parameters.order])
        vector = torch.from_numpy(parameters.vector[parameters.order])

        def evaluate() -> tuple[float, float]:
            parameters.vector[parameters.order] = vector.numpy()
            figures = one.evaluate(samples)
            return figures["surrogate"] + one.entropy_weight * figures["entropy"], figures["kl"]

        kls = [share * self._kl(some) for some, share in minibatches.pieces(samples)]
        product = trpo.fisher_product(kls, list(self.actor.parameters()))
        step = trpo.ascend(vector, gradient, product, evaluate, self.config.ppo.kl_bound)
        evaluate()  # at the vector that it settled for
        figures = one.evaluate(samples) | step
        self._actor_sums.add(**figures, actor_grad_norm=gradient.norm().item())

    def _kl(self, some: ActorSamples) -> Tensor:
        """Return KL(policy that acted || policy now), a scalar that autograd can differentiate."""
        observations = torch.from_numpy(some.observations[:, :-1])
        means = torch.from_numpy(some.means)
        old = self.actor_pass.old_log_std[:, 0] if some.log_stds is None else some.log_stds
        policy = self.actor.distribution_of_normalized(observations)
        return gaussian.kl(means, torch.from_numpy(old), *policy).mean()

    def _learn_critic(self, samples: CriticSamples, epochs: int) -> None:
        """Descend the value loss, in the unit of the network's output."""
        ppo, sums = self.config.ppo, self._critic_sums
        values, returns = torch.from_numpy(samples.values), torch.from_numpy(samples.returns)
        explained = objectives.explained_variance(values, returns).item()
        sums.first(explained_variance=explained)
        self.critic.count_returns(returns)
        own = CriticSamples(
            samples.inputs,
            self.critic.output_of(values).numpy(),
            self.critic.output_of(returns).numpy(),
        )
        for some in minibatches.shuffled(own, ppo.minibatches, epochs, self.generators[1]):
            figures = self.critic_pass.gradient(some)
            norm = self.critic_parameters.limit(ppo.max_grad_norm)
            self.critic_optimizer.step(self.critic_learning_rate)
            sums.add(**figures, critic_grad_norm=norm)

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
        if self.config.ppo.learning_rate_schedule == "kl":  # else the settings say it
            self.learning_rate = state["learning_rate"]
        if self.penalty is not None and state.get("beta") is not None:  # else: a new objective
            self.penalty.beta = state["beta"]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved)


def _count(model: Actor | Critic, x: Tensor) -> None:
    with torch.no_grad():
        model.normalizer.update(x)


def _rows(x: Tensor) -> np.ndarray:
    """Return (T, n, ...) as rows (T n, ...)."""
    return x.detach().flatten(0, 1).numpy()
