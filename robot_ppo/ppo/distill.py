"""A student that imitates a teacher, and may learn by PPO from there.

    loss = mean over samples and actions of (mean action of the student - that of the teacher)^2 / 2
         + distill.latent * mean over samples and units of (latent of the student - that of the
           teacher)^2 / 2

A latent is the activation of an actor's last hidden layer, behind its memory where it has one. A
rollout has the teacher's actions, its labels, and its latents in all visited states, whether
teacher or student acted there. The student's share of the actions grows (DAgger: Ross et al. 2011,
arXiv:1011.0686), so that it learns to recover from its own mistakes. The critic learns the rewards
from the beginning: where PPO takes over, its values are those of the student.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_ppo.config import Config
from robot_ppo.ppo import autograd, mlp, schedules
from robot_ppo.ppo.metrics import Metrics
from robot_ppo.ppo.networks import Actor
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples, Rollout
from robot_ppo.ppo.sequences import arrangement
from robot_ppo.ppo.update import Learner


def imitates(config: Config, progress: float) -> bool:
    """Return whether a run still imitates at `progress`, the fraction of its steps, in [0, 1]."""
    return config.algorithm == "distill" and progress < config.distill.until


def student_share(config: Config, progress: float) -> float:
    """Return the fraction of the simulations in which the student acts at `progress`."""
    if not imitates(config, progress):
        return 1.0
    alone = config.distill.alone * config.distill.until
    return min(1.0, progress / alone) if alone > 0 else 1.0


@dataclass
class Distiller(Learner):
    """A learner that imitates the labels of rollouts for the first part of a run."""

    _imitates = False

    def _create_passes(self) -> None:
        """Choose how the networks are differentiated, the actor's latent among its outputs."""
        super()._create_passes()
        self._imitation_pass = self.actor_pass
        if self.config.distill.latent:
            assert isinstance(self.actor, Actor)
            of_latent = mlp.of_latent if mlp.layers(self.actor) else autograd.of_latent
            self._imitation_pass = of_latent(self.actor, self.actor_parameters)

    def update(self, rollout: Rollout, progress: float = 0.0) -> Metrics:
        """Learn from one rollout, as a `Learner` does; while it imitates, from its labels."""
        imitated = self._imitates
        self._imitates = imitates(self.config, progress)
        if imitated and not self._imitates:
            self._begin_ppo()
        metrics = super().update(rollout, progress)
        if self._imitates:
            metrics["student_share"] = student_share(self.config, progress)
        return metrics

    def _begin_ppo(self) -> None:
        """Forget the moments of Adam's steps, and begin with small ones.

        The gradient of an imitation is a hundredth of the one that follows: divided by the root of
        its mean square, PPO's first steps were several times too long, and a robot that had walked
        fell at once.
        """
        self.actor_optimizer.forget()
        if self.config.ppo.learning_rate_schedule == "kl":
            self.learning_rate = min(self.learning_rate, schedules.MIN_LEARNING_RATE)

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which learning resumes, and whether its last update imitated."""
        return super().state_dict() | {"imitates": self._imitates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        super().load_state_dict(state)
        self._imitates = state.get("imitates", False)  # an older one does not say

    def _move_schedules(self, progress: float) -> None:
        """Move the schedules; while it imitates, there is no KL that the learning rate follows."""
        super()._move_schedules(progress)
        if self._imitates:
            self.kl_target = None

    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples | None]:
        """Return what actor and critic learn from; means to imitate stand for those that acted."""
        for_actor, for_critic = super()._samples(rollout)
        if self._imitates:
            assert rollout.labels is not None
            arranged = arrangement(self.actor)
            for_actor.means = arranged(rollout.labels)
            if self.config.distill.latent:
                assert rollout.latents is not None
                for_actor.latents = arranged(rollout.latents)
        return for_actor, for_critic

    def _learn_actor(self, samples: ActorSamples, epochs: int) -> None:
        """Descend the error of the imitation in minibatches."""
        if not self._imitates:
            super()._learn_actor(samples, epochs)
            return
        ppo = self.config.ppo
        for minibatch in samples.minibatches(ppo.minibatches, epochs, self.generators[0]):
            metrics = self._imitation_gradient(minibatch)
            self.actor_parameters.symmetrize_gradient()
            self.actor_mean(0.0)
            metrics["actor_grad_norm"] = self.actor_parameters.clip_grad_norm(ppo.max_grad_norm)
            self.actor_optimizer.step(self.learning_rate)
            self._actor_steps += 1
            self._actor_metrics.add(metrics)

    def _imitation_gradient(self, minibatch: ActorSamples) -> Metrics:
        """Write the gradient of the imitation's loss; return metrics."""
        one = self._imitation_pass
        weight = np.float32(self.config.distill.latent)
        squares = {"imitation_error": 0.0}
        for i, piece in enumerate(minibatch.pieces(one.most_rows)):
            mean, log_std, *latent = one.forward(piece.observations)
            wanted = piece.steps()
            by_mean, square = _half_square(mean, wanted.means, minibatch.count)
            squares["imitation_error"] += square
            gradients = [by_mean, np.zeros_like(log_std)]
            if wanted.latents is not None:
                by_latent, square = _half_square(latent[0], wanted.latents, minibatch.count)
                squares["latent_error"] = squares.get("latent_error", 0.0) + square
                gradients.append(weight * by_latent)
            one.backward(*gradients, first=i == 0)
        return {name: square**0.5 for name, square in squares.items()}


def _half_square(found: np.ndarray, wanted: np.ndarray, whole: int) -> tuple[np.ndarray, float]:
    """Return the gradient of mean((found - wanted)^2) / 2 by `found`, and that mean square.

    Args:
        found: (B, k), a piece of a minibatch.
        wanted: (B, k).
        whole: samples of the minibatch; what its pieces give adds up to its own.
    """
    error = found - wanted
    scale = np.float32(1 / (whole * error.shape[1]))
    return scale * error, float(scale) * float(np.square(error, dtype=np.float64).sum())
