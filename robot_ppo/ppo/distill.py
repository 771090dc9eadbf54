"""A student that imitates a teacher, and may learn by PPO from there.

    loss = mean over samples and actions of (mean action of the student - that of the teacher)^2 / 2

A rollout has the teacher's actions, its labels, in all visited states, whether teacher or student
acted there. The student's share of the actions grows (DAgger: Ross et al. 2011, arXiv:1011.0686),
so that it learns to recover from its own mistakes. The critic learns the rewards from the
beginning: where PPO takes over, its values are those of the student.
"""

from dataclasses import dataclass

import numpy as np

from robot_ppo.config import Config
from robot_ppo.ppo.metrics import Metrics
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

    def update(self, rollout: Rollout, progress: float = 0.0) -> Metrics:
        """Learn from one rollout, as a `Learner` does; while it imitates, from its labels."""
        self._imitates = imitates(self.config, progress)
        metrics = super().update(rollout, progress)
        if self._imitates:
            metrics["student_share"] = student_share(self.config, progress)
        return metrics

    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples | None]:
        """Return what actor and critic learn from; means to imitate stand for those that acted."""
        for_actor, for_critic = super()._samples(rollout)
        if self._imitates:
            assert rollout.labels is not None
            for_actor.means = arrangement(self.actor)(rollout.labels)
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
            self._actor_metrics.add(metrics)

    def _imitation_gradient(self, minibatch: ActorSamples) -> Metrics:
        """Write the gradient of the imitation's loss; return metrics."""
        one = self.actor_pass
        total = 0.0
        for i, piece in enumerate(minibatch.pieces(one.most_rows)):
            mean, log_std = one.forward(piece.observations)
            error = mean - piece.steps().means
            scale = np.float32(1 / (minibatch.count * mean.shape[1]))
            one.backward(scale * error, np.zeros_like(log_std), first=i == 0)
            total += float(scale) * float(np.square(error, dtype=np.float64).sum())
        return {"imitation_error": total**0.5}
