"""A pass of a network over samples: outputs -> loss -> gradient of all parameters.

mlp.py knows the network and gradients.py the loss; here they meet.
"""

from functools import partial

import numpy as np

from robot_ppo.config import Ppo
from robot_ppo.ppo import gradients, minibatches
from robot_ppo.ppo.minibatches import Figures
from robot_ppo.ppo.mlp import Mlp
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples


class ActorPass:
    """The actor's pass: what `ppo.objective` maximizes, and the entropy bonus."""

    old_log_std: np.ndarray
    """(k, 1) of the policy that acted, unless it depends on the state: then the samples have it"""
    beta: float = 0.0
    """Price of KL."""
    entropy_weight: float = 0.0

    def __init__(self, actor: Actor, parameters: FlatParameters, ppo: Ppo) -> None:
        """Work on the parameters of `actor`."""
        self.mlp = Mlp(parameters.layers, parameters.gradients, actor.activation)
        self._gradient, self._clip, self._bounds = parameters.gradient, ppo.clip, actor.range
        self._surrogate: gradients.Surrogate = gradients.unclipped
        if ppo.objective == "clip":
            self._surrogate = partial(gradients.clip, epsilon=ppo.clip)
        self._actions = len(actor.log_std)
        self._state_std = actor.log_std_head is not None
        log_std = actor.log_std
        assert log_std.grad is not None
        self._log_std, self._log_std_gradient = log_std.detach().numpy(), log_std.grad.numpy()

    def distribution(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean (k, m) and log std, (k, m) or (k, 1), of `ActorSamples.observations`."""
        mean, raw = self._outputs(observations)
        return mean, gradients.bounded(raw, self._bounds)[0]

    def gradient(self, minibatch: ActorSamples) -> Figures:
        """Set the gradient to that of what falls when the objective rises; return figures."""
        return minibatches.accumulate(self._descend, minibatch, self._gradient)

    def evaluate(self, samples: ActorSamples) -> Figures:
        """Return the figures of the policy as it is now."""
        return minibatches.in_pieces(samples, lambda piece, _: self._descend(piece, None))

    def _descend(self, some: ActorSamples, share: float | None) -> Figures:
        """Compute figures, and the gradient times `share` unless that is None."""
        mean, raw = self._outputs(some.observations)
        log_std, by_raw = gradients.bounded(raw, self._bounds)
        old_log_std = self.old_log_std if some.log_stds is None else some.log_stds.T
        two = gradients.compare(mean, log_std, some, old_log_std)
        terms, by_ratio = self._surrogate(two.ratio, some.advantages)
        if share is not None:
            by_mean, by_log_std = gradients.ascent(two, by_ratio, self.beta, self.entropy_weight)
            self._backward(by_mean, by_log_std * by_raw, -share / len(some))
        outside = np.count_nonzero(np.abs(two.ratio - 1) > self._clip)
        figures = {
            "kl": two.kl,
            "surrogate": float(terms.sum()) / len(some) - self.beta * two.kl,
            "entropy": gradients.entropy(log_std),
            "clip_fraction": float(outside) / len(some),
            "ratio_max": float(two.ratio.max()),
        }
        if self._state_std:
            figures["std"] = float(np.exp(log_std).mean())
        return figures

    def _outputs(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and what the log of the deviation is before it is bounded."""
        outputs = self.mlp.forward(observations)
        if self._state_std:
            return outputs[: self._actions], outputs[self._actions :]
        return outputs, self._log_std[:, None]

    def _backward(self, by_mean: np.ndarray, by_raw: np.ndarray, scale: float) -> None:
        if self._state_std:
            self.mlp.backward(scale * np.concatenate((by_mean, by_raw)))
        else:
            self.mlp.backward(scale * by_mean)
            self._log_std_gradient[:] = scale * by_raw.sum(1)


class CriticPass:
    """The critic's pass: the value loss, in the unit of the network's output."""

    def __init__(self, critic: Critic, parameters: FlatParameters, ppo: Ppo) -> None:
        """Work on the parameters of `critic`."""
        self.mlp = Mlp(parameters.layers, parameters.gradients, critic.activation)
        self._gradient, self._clip = parameters.gradient, ppo.value_clip

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """Return the network's output (m,) for `CriticSamples.inputs`."""
        pieces = (
            inputs[i : i + minibatches.CHUNK] for i in range(0, len(inputs), minibatches.CHUNK)
        )
        return np.concatenate([self.mlp.forward(piece)[0] for piece in pieces])

    def gradient(self, minibatch: CriticSamples) -> Figures:
        """Set the gradient to that of the value loss; return figures."""
        return minibatches.accumulate(self._descend, minibatch, self._gradient)

    def _descend(self, some: CriticSamples, share: float) -> Figures:
        (values,) = self.mlp.forward(some.inputs)
        terms, by_value = gradients.value_loss(values, some.returns, some.values, self._clip)
        by_value *= share / len(some)
        self.mlp.backward(by_value[None])
        return {"value_loss": float(terms.sum()) / len(some)}
