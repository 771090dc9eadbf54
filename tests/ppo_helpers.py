"""Small learners and random experience for the tests of PPO."""

import hashlib

import env_helpers as helpers
import torch

from robot_ppo.config import Distill, Networks, Ppo
from robot_ppo.ppo import objectives
from robot_ppo.ppo.distill import Distiller
from robot_ppo.ppo.networks import Actor, Critic
from robot_ppo.ppo.rollout import Rollout
from robot_ppo.ppo.update import Learner

SIZE = 5
CRITIC_SIZE = 7
ACTIONS = 3
STEPS = 6
N = 20
OBJECTIVES = tuple(objectives.OBJECTIVES)
NETWORKS = Networks(actor=(16, 16), critic=(16, 16), activation="tanh", init_std=0.5)


def learner(seed=0, networks=NETWORKS, **ppo):
    settings = {"epochs": 2, "minibatches": 3, "entropy": 0.0, "learning_rate": 1e-3}
    config = helpers.replace(
        helpers.shipped(), seed=seed, networks=networks, ppo=Ppo(**(settings | ppo))
    )
    torch.manual_seed(seed)
    critic = Critic(CRITIC_SIZE, networks, config.ppo.normalize_returns)
    return Learner(config, Actor(SIZE, ACTIONS, networks), critic)


def distiller(networks=NETWORKS, latent=0.0, tie=None, **ppo):
    """A learner that imitates for the first half of its run, in one step per rollout.

    `tie` makes its actor symmetric.
    """
    config = learner(networks=networks, epochs=1, minibatches=1, max_grad_norm=1e9, **ppo).config
    half = Distill(teacher="any", until=0.5, latent=latent)
    config = helpers.replace(config, algorithm="distill", distill=half)
    torch.manual_seed(0)
    actor = Actor(SIZE, ACTIONS, networks)
    if tie:
        tie(actor)
    return Distiller(config, actor, Critic(CRITIC_SIZE, networks, False))


def rollout(of, seed=0, steps=STEPS, n=N, end=0.1):
    """Random experience under the policy of learner `of`."""
    generator = torch.Generator().manual_seed(seed)
    state_std = getattr(of.actor, "log_std_head", None) is not None
    full = Rollout.empty(steps, n, SIZE, CRITIC_SIZE, ACTIONS, state_std, state=of.actor.state_size)
    full.observations.normal_(generator=generator)
    full.critic_inputs.normal_(generator=generator)
    full.last_critic_inputs.normal_(generator=generator)
    full.rewards.normal_(generator=generator)
    ends = torch.rand(steps, n, generator=generator)
    full.terminated[:] = ends < end
    full.truncated[:] = ends > 1 - end
    for t in range(steps):
        (ids,) = torch.nonzero(full.truncated[t], as_tuple=True)
        full.finals.append((t, ids, torch.randn(len(ids), CRITIC_SIZE, generator=generator)))
    with torch.no_grad():
        if of.actor.state_size:
            full.state.uniform_(-0.5, 0.5, generator=generator)
            full.means[:], log_std = _collected(of, full)
        else:
            full.means[:], log_std = of.actor.distribution(full.observations)
        if full.log_stds is not None:
            full.log_stds[:] = log_std
        noise = torch.randn(steps, n, ACTIONS, generator=generator)
        full.actions[:] = full.means + noise * log_std.exp()
    return full


def _collected(of, full):
    """Means (T, n, k) and log std step by step, as a rollout is collected."""
    state = full.state.clone()
    steps = []
    for t, observations in enumerate(full.observations):
        mean, log_std, state = of.policy(observations, state)
        state[full.terminated[t] | full.truncated[t]] = 0
        steps.append((mean, log_std))
    means, log_stds = zip(*steps, strict=True)
    return torch.stack(means), log_stds[0] if full.log_stds is None else torch.stack(log_stds)


def weights(of):
    return [p.detach().clone() for m in (of.actor, of.critic) for p in m.parameters()]


def fingerprint(of):
    tensors = [*of.actor.state_dict().values(), *of.critic.state_dict().values()]
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


def trained(updates=3, **kwargs):
    one = learner(**kwargs)
    for i in range(updates):
        one.update(rollout(one, seed=i))
    return one


def bandit_step(one, seed):
    """One update where each step is an episode: reward -|action - wanted(observation)|^2.

    Returns the error of the policy that acted, and the metrics.
    """
    experience = rollout(one, seed=seed, steps=4, n=64)
    wanted = 0.8 * torch.stack([experience.observations[..., k].sin() for k in range(3)], -1)
    experience.critic_inputs[..., :SIZE] = experience.observations
    experience.rewards[:] = -(experience.actions - wanted).square().sum(-1)
    experience.terminated[:] = True
    experience.truncated[:] = False
    experience.finals = []
    error = (experience.means - wanted).square().mean().sqrt().item()
    return error, one.update(experience)


def bandit(updates, **ppo):
    """Return the errors of so many updates of `bandit_step`, and the last metrics."""
    one = learner(**({"epochs": 5, "minibatches": 2, "critic_learning_rate": 3e-3} | ppo))
    steps = [bandit_step(one, i) for i in range(updates)]
    return [error for error, _ in steps], steps[-1][1]
