"""The learner on a GPU: networks, rollout and update are tensors on one device.

It learns what `update.Learner` learns from the same minibatches, to the order of additions. There
the arithmetic around a small network is numpy's, since a call of torch takes longer than its work;
here everything is torch's, and autograd differentiates loss and network in one pass. Simulations
stay where they are: those of the CPU have their steps copied to the device, and actions come back;
those on the device (`engine: warp`) give and take its tensors.

It was not run on a GPU: the tests run it on the CPU, and on a device that computes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_ppo.config import Config
from robot_ppo.ppo import advantages, gaussian, objectives
from robot_ppo.ppo.metrics import Metrics
from robot_ppo.ppo.networks import Policy, Value
from robot_ppo.ppo.objectives import Comparison
from robot_ppo.ppo.parameters import FlatParameters
from robot_ppo.ppo.ranks import Ranks
from robot_ppo.ppo.rollout import ActorSamples, CriticSamples, Rollout
from robot_ppo.ppo.update import Learner
from robot_ppo_export.errors import InputError


def check(config: Config, ranks: Ranks) -> None:
    """Raise `InputError` for a device that is not there, and for what it cannot do."""
    name = f"`device: {config.device}`"
    try:
        kind = torch.device(config.device).type
    except RuntimeError:
        raise InputError(f"{name}: is no device; cpu, cuda or cuda:N") from None
    if kind != "cuda":
        raise InputError(f"{name}: networks learn on cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise InputError(f"{name}: torch finds no GPU, or was installed without CUDA; leave it out")
    if config.ppo.objective == "trpo":
        raise InputError(f"{name}: `ppo.objective: trpo` learns on the CPU; leave the device out")
    if ranks.size > 1:
        raise InputError(f"{name}: learns in one process; start it without torchrun")


class _ActorTensors(ActorSamples):
    """Samples whose arrays are tensors on the device."""

    def take(self, rows: np.ndarray) -> "_ActorTensors":
        """Return copies of the samples at the indices `rows`."""
        return _ActorTensors(*_at(rows, self.arrays()))

    @property
    def count(self) -> int:
        """Number of steps."""
        return len(self)


class _CriticTensors(CriticSamples):
    """Samples whose arrays are tensors on the device."""

    def take(self, rows: np.ndarray) -> "_CriticTensors":
        """Return copies of the samples at the indices `rows`."""
        return _CriticTensors(*_at(rows, self.arrays()))


def _at(rows: np.ndarray, arrays: list) -> list:
    index = torch.from_numpy(rows).to(arrays[0].device)
    return [x[index] for x in arrays]


class DeviceParameters(FlatParameters):
    """Parameters on a device; nothing is read back but a gradient's length."""

    def __init__(self, network: Policy | Value) -> None:
        """Move the parameters into one vector, where they stay as views."""
        super().__init__(network)
        if self.mirror is not None:
            device = self.vector.device
            self._index = torch.from_numpy(self.mirror.index).to(device)
            self._sign = torch.from_numpy(self.mirror.sign).to(device)

    def symmetrize_gradient(self) -> None:
        """Replace the gradient by its mean with its mirror image, where there is one."""
        if self.mirror is not None:
            image = self.gradient[self._index] * self._sign
            self.gradient.add_(image).mul_(0.5)

    def clip_grad_norm(self, limit: float) -> float:
        """Scale the gradient down to the length `limit` if it is longer; return its length."""
        return self.clip(limit).item()

    def clip(self, limit: float) -> Tensor:
        """Do the same, and return the length as a tensor."""
        length = self.gradient.norm()
        factor = torch.where(length > limit, limit / (length + 1e-6), torch.ones_like(length))
        self.gradient.mul_(factor)
        return length


class _Outputs:
    """Replaces an actor's passes where only its outputs are needed."""

    most_rows: int | None = None

    def __init__(self, actor: Policy) -> None:
        self._actor = actor

    def inputs(self, observations: Tensor) -> Tensor:
        """Return what `forward` takes."""
        return observations

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> tuple[np.ndarray, ...]:
        """Return mean and log std, as arrays."""
        return tuple(x.detach().cpu().numpy() for x in self._actor.distribution(inputs))


@dataclass
class DeviceLearner(Learner):
    """A learner whose networks and samples are on one device."""

    def __post_init__(self) -> None:
        """Move the networks; then as on the CPU, one network after the other."""
        self.on = torch.device(self.config.device)
        self.actor.to(self.on)
        self.critic.to(self.on)
        super().__post_init__()
        self._cores = 1

    def _create_passes(self) -> None:
        self.actor_parameters = DeviceParameters(self.actor)
        self.critic_parameters = DeviceParameters(self.critic)
        outputs: Any = _Outputs(self.actor)  # a `Pass` of tensors, without what is never called
        self.actor_pass = outputs
        self.critic_passes = []

    # -- losses -----------------------------------------------------------------------------

    def _actor_gradient(self, minibatch: ActorSamples) -> Metrics:
        return _read(self.actor_backward(minibatch))

    def actor_backward(self, minibatch: ActorSamples) -> dict[str, Tensor]:
        """Write the gradient of the actor's loss; return metrics, still on the device."""
        both = self._compare(minibatch)
        value = self.loss.objective.value(both, self.loss.at)
        entropy = gaussian.entropy(both.log_std).mean()
        self.actor_parameters.gradient.zero_()
        (-value - self.loss.entropy_weight * entropy).backward()
        return self._metrics(both, value)

    def _compare(self, samples: ActorSamples) -> Comparison:
        s = vars(samples)
        mean, log_std = self.actor.distribution(s["observations"])
        old = s["log_stds"]
        if old is None:
            old = torch.from_numpy(self.loss.old_log_std).to(self.on)
        log_probs = gaussian.log_prob(s["actions"], mean, log_std)
        return Comparison(
            log_probs, s["log_probs"], s["advantages"], mean, log_std, s["means"], old
        )

    @torch.no_grad()
    def _metrics(self, both: Comparison, value: Tensor) -> dict[str, Tensor]:
        ratio = both.ratio
        metrics = {
            "kl": both.kl.mean(),
            "surrogate": value,
            "entropy": gaussian.entropy(both.log_std).mean(),
            "clip_fraction": objectives.clip_fraction(ratio, self.loss.at.clip),
            "ratio_max": ratio.max(),
        }
        if both.log_std.ndim > 1:
            metrics["std"] = both.log_std.exp().mean()
        return metrics

    def _learn_critic(self, samples: CriticSamples, epochs: int) -> None:
        """Descend the value loss in minibatches."""
        ppo = self.config.ppo
        values = vars(samples)["values"]
        returns = vars(samples)["returns"]
        if self._explained_variance is None:
            self._explained_variance = objectives.explained_variance(values, returns).item()
        self.critic.update_returns(returns)
        normalized: list[Any] = [self.critic.normalize(x) for x in (values, returns)]
        own = _CriticTensors(samples.inputs, *normalized)
        for minibatch in own.minibatches(ppo.minibatches, epochs, self.generators[1]):
            loss = self.critic_backward(minibatch).item()
            self.critic_parameters.symmetrize_gradient()
            length = self.critic_parameters.clip_grad_norm(ppo.max_grad_norm)
            self.critic_optimizer.step(self.critic_learning_rate)
            self._critic_metrics.add({"value_loss": loss, "critic_grad_norm": length})

    def critic_backward(self, minibatch: CriticSamples) -> Tensor:
        """Write the gradient of the value loss and return it, still on the device."""
        s = vars(minibatch)
        values = self.critic.normalize(self.critic(s["inputs"]))
        loss = objectives.value_loss(values, s["returns"], s["values"], self.config.ppo.value_clip)
        self.critic_parameters.gradient.zero_()
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def _evaluate(self, samples: ActorSamples) -> Metrics:
        both = self._compare(samples)
        return _read(self._metrics(both, self.loss.objective.value(both, self.loss.at)))

    # -- samples ----------------------------------------------------------------------------

    @torch.no_grad()
    def policy(self, observations: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean (n, k) and log of the deviation of actions, on the device; no memory."""
        mean, log_std = self.actor.distribution(observations.to(self.on))
        return mean.detach(), log_std.detach(), state

    @torch.no_grad()
    def _samples(self, rollout: Rollout) -> tuple[ActorSamples, CriticSamples | None]:
        """Return what the actor learns from, and what the critic does, where there is one."""
        ppo = self.config.ppo
        if not self.has_critic:
            estimated, running = advantages.scores(ppo, rollout)
            taken = np.flatnonzero(running.flatten().cpu().numpy())
            return self._normal(self._of_actor(rollout, estimated).take(taken)), None
        values, next_values = self._next_values(rollout)
        estimated, returns = advantages.estimate(ppo, rollout, values, next_values)
        flat = (rollout.critic_inputs, values, returns)
        for_critic = _CriticTensors(*_rows(flat))
        return self._normal(self._of_actor(rollout, estimated)), for_critic

    def _of_actor(self, rollout: Rollout, estimated: Tensor) -> ActorSamples:
        old = rollout.log_stds
        if old is None:
            old = torch.from_numpy(self.loss.old_log_std).to(self.on)
        log_probs = gaussian.log_prob(rollout.actions, rollout.means, old)
        parts = (rollout.observations, rollout.actions, rollout.means, log_probs, estimated)
        every = (*parts, rollout.log_stds) if rollout.log_stds is not None else parts
        return _ActorTensors(*_rows(every))

    def _normal(self, samples: ActorSamples) -> ActorSamples:
        if self.config.ppo.normalize_advantages == "batch":
            samples.advantages = self._normalized(samples.advantages)
        return samples

    def _normalized(self, raw: Any) -> Any:
        """Return advantages, which are tensors here, with mean 0 and deviation 1."""
        return advantages.normalize(raw)

    def _next_values(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return V(s_t) and V(s_t+1), (T, n)."""
        values = self.critic(rollout.critic_inputs)
        last = self.critic(rollout.last_critic_inputs.to(self.on))
        next_values = torch.cat((values[1:], last[None]))
        for t, ids, final in rollout.finals:
            next_values[t, ids.to(self.on)] = self.critic(final.to(self.on))
        return values, next_values

    def state_dict(self) -> dict:
        """Return all that learning needs to go on, on the CPU."""
        return _on_cpu(super().state_dict())


def _rows(parts: Sequence[Tensor]) -> list[Any]:
    """Return tensors (T, n, ...) as (T n, ...), for samples whose fields are declared as arrays."""
    return [part.flatten(0, 1) for part in parts]


def _read(metrics: dict[str, Tensor]) -> Metrics:
    """Return metrics as numbers, read from the device at once."""
    values = torch.stack([value.detach().float() for value in metrics.values()]).tolist()
    return dict(zip(metrics, values, strict=True))


def _on_cpu(part: Any) -> Any:
    """Return a structure of dicts and lists with its tensors on the CPU."""
    if isinstance(part, Tensor):
        return part.cpu()
    if isinstance(part, dict):
        return {name: _on_cpu(value) for name, value in part.items()}
    return [_on_cpu(x) for x in part] if isinstance(part, list) else part
